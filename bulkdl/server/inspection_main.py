"""The process of `Inspector`: reads files with a limit of the memory that they may take."""

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from bulkdl.dicom.tags import read_tags
from bulkdl.dicom.thumbnail import thumbnail
from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.runtime.processes import answer_all
from bulkdl.server.catalogue import ServedFile, open_served
from bulkdl.server.inspection import Inspection

_MOST_BYTES: Final = 200 << 20
_MODULES: Final = ("pydicom.pixels", "numpy", "PIL.Image")


def main() -> None:
    """Answer questions until there are no more."""
    for name in _MODULES:  # what they take does not count
        with suppress(ImportError):
            import_module(name)
    _limit_memory()
    answer_all(_answer, sys.stdin.buffer, sys.stdout.buffer)


def _limit_memory() -> None:
    """Limit the address space to a little more than now. Elsewhere than on Linux only time is limited."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Windows does not have it

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + _MOST_BYTES
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def _answer(question: tuple[Inspection, ServedFile]) -> Any:
    what, file = question
    read = thumbnail if what is Inspection.THUMBNAIL else read_tags
    try:
        open_served(file).close()
        return read(file.target or file.path)
    except BulkdlError as error:
        return error
    except (OSError, MemoryError) as error:
        return InvalidInstance(str(error) or "reading it takes too much memory")


if __name__ == "__main__":
    main()
