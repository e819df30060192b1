"""The process of `Inspector`: reads files with a limit of the memory that they may take."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bulkdl.dicom.bulk_data import read_bulk_data, read_frames
from bulkdl.dicom.frame_facts import read_frame_facts
from bulkdl.dicom.json_model import read_json
from bulkdl.dicom.overlays import contours, mask
from bulkdl.dicom.pictures import picture, thumbnail
from bulkdl.dicom.tags import read_tags
from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.runtime.processes import answer_all, limit_memory
from bulkdl.server.catalogue import ServedFile, open_served
from bulkdl.server.inspection import Inspection

_MOST_BYTES: Final = 200 << 20
_MODULES: Final = ("pydicom.pixels", "numpy", "PIL.Image")


def main() -> None:
    """Answer questions until there are no more."""
    for name in _MODULES:  # what they take does not count
        with suppress(ImportError):
            import_module(name)
    limit_memory(_MOST_BYTES)
    answer_all(_answer, sys.stdin.buffer, sys.stdout.buffer)


def _answer(question: tuple[Inspection, ServedFile, Any]) -> Any:
    what, file, more = question
    try:
        return _READERS[what](_path_of(file), more)
    except BulkdlError as error:
        return error
    except (OSError, MemoryError) as error:
        # Without the folders of the file, which are not for people elsewhere.
        reason = str(error).replace(str(file.path), file.path.name)
        return InvalidInstance((isinstance(error, OSError) and error.strerror) or reason or "it takes too much memory")


def _path_of(file: ServedFile) -> Path:
    """The path of a file that is still the one that was scanned."""
    open_served(file).close()
    return file.target or file.path


def _mask(path: Path, more: Any) -> bytes:
    image, frame = more
    return mask(path, _path_of(image), frame)


_READERS: Final[Mapping[Inspection, Callable[[Path, Any], Any]]] = {
    Inspection.THUMBNAIL: lambda path, _: thumbnail(path),
    Inspection.TAGS: lambda path, _: read_tags(path),
    Inspection.PICTURE: picture,
    Inspection.FACTS: lambda path, _: read_frame_facts(path),
    Inspection.MASK: _mask,
    Inspection.CONTOURS: lambda path, image: contours(path, _path_of(image)),
    Inspection.METADATA: read_json,
    Inspection.FRAMES: read_frames,
    Inspection.BULK_DATA: read_bulk_data,
}
"""What reads a file for each inspection."""


if __name__ == "__main__":
    main()
