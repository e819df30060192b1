"""One process per mirror: a lock of the kernel on `.bulkdl/lock`, which it releases whenever the process ends.

The content of the file is only used in messages. The file stays when the lock is released: removing it would let two
processes lock two files of the same name. The lock belongs to the open file, which child programs do not inherit
(PEP 446); a plain fork would inherit it, so workers are spawned, never forked.
"""

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from bulkdl.errors import MirrorLocked, MirrorUnwritable
from bulkdl.runtime.disk import LOCK, disk_errors, open_new

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_WINDOWS_BYTE = 1 << 30  # far behind the text, because other processes cannot read a locked byte
_NOTE_BYTES = 4096
# `holder` takes the lock for an instant to see whether it is free, so `_take` tries several times.
_NOTHING_BEGUN = "nothing was begun"
_TRIES = 5
_PAUSE_SECONDS = 0.02


@contextmanager
def lock_mirror(root: Path, verb: str = "bulkdl", *, private: bool = False) -> Iterator[None]:
    """Hold the lock of the mirror at `root`; makes its folder if it is missing. `verb` is shown to other processes.

    Raises:
        MirrorLocked, DiskError: another process has it, and the message names it; its file cannot be written.
    """
    root = root.resolve()
    path = root / LOCK
    with disk_errors("make the lock", path, kept=_NOTHING_BEGUN):
        path.parent.mkdir(mode=0o700 if private else 0o777, parents=True, exist_ok=True)
        descriptor = open_new(path, os.O_RDWR | os.O_CREAT, private=private)
    try:
        with disk_errors("lock", path, kept=_NOTHING_BEGUN):
            _take(descriptor, root)
            started_at = datetime.now(tz=UTC).isoformat(timespec="seconds")
            note = {"pid": os.getpid(), "host": socket.gethostname(), "started_at": started_at, "verb": verb}
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, json.dumps(note).encode())
        try:
            yield
        finally:
            with suppress(OSError):  # the lock is released on a full disk too
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _take(descriptor: int, root: Path) -> None:
    for _ in range(_TRIES):
        if _lock(descriptor):
            return
        time.sleep(_PAUSE_SECONDS)
    raise MirrorLocked(f"{root} is in use by {_describe(descriptor)}; nothing was changed: wait until it ends")


def holder(root: Path) -> str | None:
    """The process that holds the lock of the mirror at `root`, for people; None if the lock is free or missing."""
    try:
        descriptor = os.open(root.resolve() / LOCK, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _lock(descriptor, shared=True) else _describe(descriptor)
    except (OSError, MirrorUnwritable):  # a file system without locks
        return None
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool = False) -> bool:
    """Try to lock, without waiting. Closing the descriptor unlocks."""
    if sys.platform == "win32":
        os.lseek(descriptor, _WINDOWS_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}:
            raise
        raise MirrorUnwritable(
            f"this file system has no locks ({error.strerror}), and without one two runs could damage the mirror: "
            "mount it with locks (NFS: without nolock, with lockd), or put the mirror on another file system"
        ) from error
    return True


def _describe(descriptor: int) -> str:
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        note = json.loads(os.read(descriptor, _NOTE_BYTES))
        return f"`{note['verb']}` (process {note['pid']} on {note['host']}, since {note['started_at']})"
    except (OSError, ValueError, KeyError, TypeError):  # another process is writing it
        return "another process"
