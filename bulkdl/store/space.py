"""The free space of the mirror's file system, in bytes and files, checked before and during a run."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from bulkdl.errors import DiskFull
from bulkdl.model.quantities import human_bytes
from bulkdl.runtime.disk import disk_errors

_RESERVED_BYTES = 4 << 20
_RESERVED_FILES = 16


@dataclass(frozen=True, slots=True)
class Space:
    """The free space of a file system for this user. `free_inodes` is None if the file system has no limit."""

    free_bytes: int
    free_inodes: int | None = None


def measure(path: Path) -> Space:
    """The free space at `path`, or at its nearest existing parent. MirrorUnwritable: it is not reported."""
    place = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would need rights on every folder of a missing path
    with disk_errors("measure the free space of", place):
        while not place.exists() and place != place.parent:
            place = place.parent
        if not hasattr(os, "statvfs"):
            return Space(shutil.disk_usage(place).free)
        found = os.statvfs(place)
    # Btrfs and some network file systems do not count inodes, and report 0 of 0.
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def check_fits(space: Space, need_bytes: int, need_files: int) -> None:
    """Raise DiskFull, with what is missing, unless `need_bytes` in `need_files` new files and folders fit."""
    if need_bytes > space.free_bytes:
        raise DiskFull(
            f"the download needs {human_bytes(need_bytes)}, {human_bytes(space.free_bytes)} are free: "
            f"{human_bytes(need_bytes - space.free_bytes)} are missing; nothing was downloaded"
        )
    if space.free_inodes is not None and need_files > space.free_inodes:
        raise DiskFull(
            f"the download needs {need_files:,} files, {space.free_inodes:,} inodes are free; nothing was downloaded"
        )


def check_room(space: Space) -> None:
    """Raise DiskFull unless more is free than the journal needs to end the run properly."""
    if space.free_bytes < _RESERVED_BYTES or (space.free_inodes is not None and space.free_inodes < _RESERVED_FILES):
        left = human_bytes(space.free_bytes)
        inodes = "" if space.free_inodes is None else f" and {space.free_inodes:,} inodes"
        raise DiskFull(
            f"the disk is full: {left}{inodes} are left; everything finished is saved: free some space, then resume"
        )
