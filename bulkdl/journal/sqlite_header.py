"""Recognise an SQLite file by its header, before SQLite opens it.

Source: the SQLite file format (sqlite.org/fileformat2.html §1.3): magic text at byte 0, application id at byte 68.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID: Final = slice(68, 72)


def read_application_id(path: Path) -> int | None:
    """The application id of an SQLite file; None if the file is not one, or its header is truncated.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    return int.from_bytes(header[_APPLICATION_ID], "big")
