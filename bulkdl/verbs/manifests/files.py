"""Manifest files: read one of any form row by row, and write one in the form that its name says. Blocking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from bulkdl.errors import SelectionError
from bulkdl.manifest import ManifestReading, locked, open_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.text import OpenFile
from bulkdl.manifest.writing import ManifestFormat
from bulkdl.manifest.zstandard import compressed_text
from bulkdl.runtime.new_files import new_file, new_text_file
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.locks.files import is_lock, open_lines

NO_LOCK: Final = "a lock has the checksums of instances; to make one: bulkdl manifest lock DIR|FILE"
"""What a user reads who asks for a lock where none can be made."""
_NOT_COMPRESSED: Final = "only a lock is written compressed: leave out .zst"


@contextmanager
def reading(content: bytes | OpenFile, name: str, *, skip_bad_lines: bool = False) -> Iterator[ManifestReading]:
    """A manifest or a lock while it is read, line by line. Messages call it `name`.

    Raises:
        ManifestError: it cannot be read.
    """
    if is_lock(content):
        with open_lines(content, name) as lines:
            yield locked.read(lines, Remarks(name))
    else:
        yield open_manifest(content, source=name, skip_bad_lines=skip_bad_lines)


def format_of_file(path: Paths) -> ManifestFormat:
    """The form in which a manifest of this name is written: by the suffix, else `.tcia`. Raises SelectionError."""
    suffix = Path(path).suffix.casefold().removeprefix(".")
    if suffix in {"lock", "zst"}:
        raise SelectionError(NO_LOCK if suffix == "lock" else _NOT_COMPRESSED)
    return ManifestFormat(suffix) if suffix in set(ManifestFormat) else ManifestFormat.TCIA


def save_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the lines of a manifest to a file. Raises DiskError: it cannot be written."""
    with new_manifest_file(path) as file:
        file.writelines(lines)


@contextmanager
def new_manifest_file(path: Path) -> Iterator[TextIO]:
    """A manifest for text, compressed if its name says so. As `runtime.new_files.new_file`."""
    if not is_compressed_name(path):
        with new_text_file(path) as file:
            yield file
        return
    with new_file(path) as compressed, compressed_text(compressed) as file:
        yield file


def is_compressed_name(path: Path) -> bool:
    """Whether a lock of this name is written compressed."""
    return path.suffix.casefold() == ".zst"
