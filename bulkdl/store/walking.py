"""Walk the files below a folder, for `verify`, `adopt` and `serve`. Symbolic links are reported and never followed.

Only the listing of one folder, and the names of the folders to come, are in memory.
"""

import os
import stat
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from bulkdl.runtime.disk import BOOKKEEPING, modified_ns


class FoundKind(StrEnum):
    """What an entry is."""

    FILE = "file"
    LINK = "link"  # a symbolic link
    SPECIAL = "special"  # a socket, a pipe, a device
    UNREADABLE = "unreadable"  # a folder that cannot be listed, or an entry that cannot be examined


class Found(NamedTuple):
    """One entry; `path` is relative to the walked folder, with `/`, and `""` for the folder itself.

    Names that are not UTF-8 have lone surrogates (PEP 383). `reason` says why an entry is UNREADABLE.
    """

    path: str
    kind: FoundKind
    size_bytes: int = 0
    mtime_ns: int = 0
    reason: str = ""


def is_bookkeeping(path: str) -> bool:
    """Whether `path` is the folder in which a mirror keeps its own files."""
    return path.rpartition("/")[2] == BOOKKEEPING


def walk(root: Path, *, skip: Callable[[str], bool] = is_bookkeeping) -> Iterator[Found]:
    """Everything below `root` but folders, and not below those to `skip`: by name, files before folders. Blocking."""
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        below = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # removed since the folder was listed
                continue
            except OSError as error:
                yield _unreadable(path, error)
                continue
            if not stat.S_ISDIR(status.st_mode):
                yield _found(path, status)
            elif not skip(path):
                below.append(path)
        folders.extend(reversed(below))


def _found(path: str, status: os.stat_result) -> Found:
    if stat.S_ISREG(status.st_mode):
        return Found(path, FoundKind.FILE, status.st_size, modified_ns(status))
    return Found(path, FoundKind.LINK if stat.S_ISLNK(status.st_mode) else FoundKind.SPECIAL)


def _unreadable(path: str, error: OSError) -> Found:
    return Found(path, FoundKind.UNREADABLE, reason=error.strerror or type(error).__name__)
