"""A served file: where it is, which instance it holds, and whether it is still the file that was scanned."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ServedFile:
    """The file of an instance, as the last scan found it. `md5` is None until it is requested for the first time."""

    id: int
    path: Path
    series_uid: str
    sop_uid: str
    size_bytes: int
    mtime_ns: int
    instance_number: int | None
    acquisition_number: int | None
    md5: bytes | None


def open_served(file: ServedFile) -> io.FileIO:
    """Open a file for reading if it still has the size that was scanned.

    Raises:
        OSError: it is missing, is not a regular file, or has another size.
    """
    descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe must not block
    if (change := _change(os.fstat(descriptor), file)) is not None:
        os.close(descriptor)
        raise OSError(change)
    return io.FileIO(descriptor)


def _change(status: os.stat_result, file: ServedFile) -> str | None:
    if not stat.S_ISREG(status.st_mode):
        return f"{file.path} is not a regular file any more"
    if status.st_size != file.size_bytes:
        return f"{file.path} has {status.st_size} bytes instead of the {file.size_bytes} that were scanned"
    return None
