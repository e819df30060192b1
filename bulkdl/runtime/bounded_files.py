"""Read whole files that a user names, up to a limit: a device, or the pipe of a program, may have no end."""

import errno
import os
from pathlib import Path
from typing import BinaryIO, Final

SMALL_FILE_BYTES: Final = 4 << 20
"""The most that a configuration, a password or a list of users has."""

_PIECE_BYTES: Final = 1 << 20


def read_file(path: str | os.PathLike[str], *, at_most: int = SMALL_FILE_BYTES) -> bytes:
    """The content of a file. Raises OSError: it cannot be read, or has more than `at_most` bytes (EFBIG)."""
    with Path(path).open("rb") as file:
        return read_all(file, at_most=at_most)


def read_all(file: BinaryIO, *, at_most: int) -> bytes:
    """What is left of an open file. Raises as `read_file`."""
    pieces, size_bytes = [], 0
    while piece := file.read(_PIECE_BYTES):
        size_bytes += len(piece)
        if size_bytes > at_most:
            raise OSError(errno.EFBIG, f"it has more than {at_most:,} bytes")
        pieces.append(piece)
    return b"".join(pieces)
