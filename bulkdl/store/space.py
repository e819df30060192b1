"""How much the mirror's file system still takes: bytes and files, measured before and during a run."""

from __future__ import annotations

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
    """What is free for us on a file system. `free_inodes` is None where no limit is told."""

    free_bytes: int
    free_inodes: int | None = None


def measure(path: Path) -> Space:
    """The free space where `path` is, or will be: its nearest parent that exists is asked.

    Raises:
        MirrorUnwritable: the file system does not tell.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve would need rights on every folder of a missing path
    with disk_errors("measure the free space of", place):
        while not place.exists() and place != place.parent:
            place = place.parent
        if not hasattr(os, "statvfs"):
            return Space(shutil.disk_usage(place).free)
        found = os.statvfs(place)
    # Btrfs and some network file systems count no inodes, and say 0 of 0.
    return Space(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def check_fits(space: Space, need_bytes: int, need_files: int) -> None:
    """Refuse to begin what cannot end: `need_bytes` more bytes in `need_files` more files and folders.

    Raises:
        DiskFull: it does not fit; the message says by how much.
    """
    if need_bytes > space.free_bytes:
        raise DiskFull(
            f"{human_bytes(need_bytes)} are needed, {human_bytes(space.free_bytes)} are free: "
            f"{human_bytes(need_bytes - space.free_bytes)} too little; nothing was fetched"
        )
    if space.free_inodes is not None and need_files > space.free_inodes:
        raise DiskFull(
            f"{need_files:,} files are needed, inodes for {space.free_inodes:,} are free; nothing was fetched"
        )


def check_room(space: Space) -> None:
    """Refuse to go on when only as much is left as the journal needs to end in good order.

    Raises:
        DiskFull: there is no room for more.
    """
    if space.free_bytes < _RESERVED_BYTES or (space.free_inodes is not None and space.free_inodes < _RESERVED_FILES):
        left = human_bytes(space.free_bytes)
        inodes = "" if space.free_inodes is None else f" and {space.free_inodes:,} inodes"
        raise DiskFull(f"the disk is full: {left}{inodes} are left; what was finished is kept: make room, then resume")
