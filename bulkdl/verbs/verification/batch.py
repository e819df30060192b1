"""Compare a batch of files with size and SHA-256; blocking.

Batches, because for small files the way to a thread or another process costs several times as much as the file
(measured: 170 µs per file one by one, 27 µs in batches). This is also the program of a process that does nothing else:
hashing large files releases the interpreter lock, so threads are enough for them; small files need processes.
"""

import hashlib
import os
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bulkdl.model.reports.verify import ProblemKind
from bulkdl.runtime.disk import READ
from bulkdl.runtime.processes import answer_all

_READ_BYTES: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class ExpectedFile:
    """A file by its absolute path, and what it should be; `sha256` is None where only the size is compared."""

    path: str
    size_bytes: int
    sha256: bytes | None


class _Stopped(Exception):
    """The verification was stopped."""


def verify_batch(
    files: tuple[ExpectedFile, ...], goes_on: Callable[[int], bool] = lambda _: True
) -> tuple[ProblemKind | None, ...] | None:
    """The problem of each file, in the same order; None where there is none.

    Calls `goes_on` with the number of bytes after each read, within large files too. Once it returns False there is no
    answer at all.
    """
    buffer = memoryview(bytearray(_READ_BYTES))
    try:
        return tuple(_verify_one(file, buffer, goes_on) for file in files)
    except _Stopped:
        return None


def _verify_one(file: ExpectedFile, buffer: memoryview, goes_on: Callable[[int], bool]) -> ProblemKind | None:
    try:
        found = os.lstat(file.path)
        if not stat.S_ISREG(found.st_mode):  # a link counts as altered, whatever its target
            return ProblemKind.ALTERED
        if found.st_size != file.size_bytes:
            return ProblemKind.TRUNCATED if found.st_size < file.size_bytes else ProblemKind.ALTERED
        if file.sha256 is not None and _sha256(file.path, buffer, goes_on) != file.sha256:
            return ProblemKind.ALTERED
    except (FileNotFoundError, NotADirectoryError):
        return ProblemKind.MISSING
    except OSError:
        return ProblemKind.UNREADABLE
    return None


def _sha256(path: str, buffer: memoryview, goes_on: Callable[[int], bool]) -> bytes:
    hashing = hashlib.sha256()
    with open(path, "rb", buffering=0, opener=lambda file, _: os.open(file, READ)) as file:
        while count := file.readinto(buffer):
            hashing.update(buffer[:count])
            if not goes_on(count):
                raise _Stopped
    return hashing.digest()


def main() -> None:
    """Answer batches from the parent process."""
    answer_all(verify_batch, sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
