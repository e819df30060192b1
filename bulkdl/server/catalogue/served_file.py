"""A served file: where it is, which instance it holds, and whether it is still the file that was scanned.

A scan finds no file behind a link that leads out of its folder, but links can be made afterwards. So what is opened is
looked at again each time: no link may be on the way to it.
"""

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# Opening a pipe must not block; Windows has only the last of these.
_FLAGS: Final = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_NOFOLLOW", "O_BINARY"))


@dataclass(frozen=True, slots=True)
class ServedFile:
    """The file of an instance, as the last scan found it. `md5` is None until it is requested for the first time.

    `path` is a link if there is a `target`, which is the file itself.
    """

    id: int
    path: Path
    target: Path | None
    series_uid: str
    sop_uid: str
    size_bytes: int
    mtime_ns: int
    instance_number: int | None
    acquisition_number: int | None
    md5: bytes | None


def open_served(file: ServedFile) -> io.FileIO:
    """Open a file for reading if it is the one that was scanned, by its place, its size and its time of modification.

    Raises:
        OSError: it is missing or has changed, or a link leads to it.
    """
    source = open_unlinked(file.target or file.path)
    status = os.fstat(source.fileno())
    if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.mtime_ns):
        source.close()
        raise OSError(f"{file.path} has changed since the scan, which found {file.size_bytes} bytes")
    return source


def open_unlinked(path: Path) -> io.FileIO:
    """Open a regular file for reading. `path` is absolute.

    Raises:
        OSError: it cannot be opened, is not a regular file, or a link is in its path.
    """
    place = os.fspath(path)
    descriptor = os.open(place, os.O_RDONLY | _FLAGS)
    try:  # Linux knows where an open file is without links, other systems where its path leads
        location = os.readlink(f"/proc/self/fd/{descriptor}")  # noqa: PTH115 - for each instance that is sent
    except OSError:
        location = os.path.realpath(place)
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and location == place:
        return io.FileIO(descriptor)
    os.close(descriptor)
    raise OSError(f"{place} is not a regular file, or a link leads to it")
