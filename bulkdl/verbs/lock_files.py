"""Lock files on the disk: which file is one, reading it Series by Series, and the copies that a mirror keeps.

A mirror keeps a copy of each lock that it was made from in `.bulkdl/locks/`. Everything here blocks.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import MAGIC, LockedGroup, LockHead, read_lock
from bulkdl.manifest.zstandard import text_lines
from bulkdl.runtime.disk import LOCK_FILES, disk_errors, open_new
from bulkdl.verbs.signatures import Paths


def is_lock(lock: Paths | bytes) -> bool:
    """Whether a file, or its content, begins as a lock does; it may be compressed. Raises ManifestError: unreadable."""
    if not isinstance(lock, bytes) and _is_pipe(Path(lock)):
        return False
    with open_lines(lock) as lines, suppress(ManifestError):
        return next(lines, "").startswith(MAGIC)
    return False


def _is_pipe(path: Path) -> bool:
    """Whether a file can be read once only."""
    return path.is_fifo() or path.is_char_device() or path.is_socket()


@contextmanager
def open_lock(lock: Paths | bytes) -> Iterator[tuple[LockHead, Iterator[LockedGroup]]]:
    """A lock while it is read, Series by Series. Raises ManifestError, also while it is read."""
    with open_lines(lock) as lines:
        yield read_lock(lines, Remarks(name_of(lock)))


@contextmanager
def open_lines(lock: Paths | bytes) -> Iterator[Iterator[str]]:
    """The lines of a lock as they are read. Raises ManifestError, also while they are read."""
    with _opened(lock) as file:
        yield text_lines(file, Remarks(name_of(lock)))


def name_of(lock: Paths | bytes) -> str:
    """What messages call a lock."""
    return "the lock" if isinstance(lock, bytes) else str(lock)


@contextmanager
def _opened(lock: Paths | bytes) -> Iterator[BinaryIO]:
    if isinstance(lock, bytes):
        yield io.BytesIO(lock)
        return
    try:
        file = Path(lock).open("rb")  # noqa: SIM115 - what the block raises is not of this file
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=str(lock)) from error
    with file:
        yield file


def keep_locks(root: Path, locks: Iterable[str | bytes], *, private: bool) -> tuple[Path, ...]:
    """Keep copies of lock files, given by path or as content, in a mirror, named by their digests."""
    kept = []
    for lock in locks:
        with open_lock(lock) as (head, _):
            place = root / LOCK_FILES / f"{head.sha256}.lock"
        partial = place.with_suffix(".partial")
        with _opened(lock) as file, disk_errors("write", place):
            place.parent.mkdir(mode=0o700 if private else 0o777, exist_ok=True)
            with open(partial, "wb", opener=lambda path, flags: open_new(path, flags, private=private)) as copy:
                shutil.copyfileobj(file, copy)
            partial.replace(place)
        kept.append(place)
    return tuple(kept)
