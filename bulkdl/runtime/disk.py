"""What an OSError means for the mirror: `DiskFull` or `MirrorUnwritable`, in one line."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bulkdl.errors import DiskFull, MirrorUnwritable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def disk_errors(action: str, path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into an error of our own. `action` completes "cannot …".

    Raises:
        DiskFull: no space, no quota or no inodes are left.
        MirrorUnwritable: anything else: permissions, a read-only file system, input/output, too many open files.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        where = ascii(str(path)) if not str(path).isprintable() else str(path)
        if error.errno in _FULL:
            raise DiskFull(
                f"cannot {action} {where}: {reason}; what was finished is kept: make room, then resume"
            ) from error
        raise MirrorUnwritable(f"cannot {action} {where}: {reason}; what was finished is kept") from error
