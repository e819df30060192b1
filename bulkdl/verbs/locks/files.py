"""Lock files on the disk: which file is one, reading it Series by Series, and the copies that a mirror keeps.

A mirror keeps a copy of each lock that it was made from in `.bulkdl/locks/`. Everything here blocks.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import MAGIC, LockedGroup, LockHead, read_lock
from bulkdl.manifest.text import OpenFile
from bulkdl.manifest.zstandard import text_lines
from bulkdl.runtime.disk import LOCK_FILES, disk_errors, open_new
from bulkdl.verbs.calls.signatures import Paths

_BYTE_ORDER_MARK: Final = "\ufeff"  # some editors begin UTF-8 with it

LockSource: TypeAlias = Paths | bytes | OpenFile
"""A lock by its path, by its content, or by what opens that."""


def is_lock(lock: LockSource) -> bool:
    """Whether a file, or its content, begins as a lock does; it may be compressed. Raises ManifestError: unreadable."""
    if isinstance(lock, str | PathLike) and _is_pipe(Path(lock)):
        return False
    with open_lines(lock) as lines, suppress(ManifestError):
        return next(lines, "").startswith(MAGIC)
    return False


def _is_pipe(path: Path) -> bool:
    """Whether a file can be read once only."""
    try:
        return path.is_fifo() or path.is_char_device() or path.is_socket()
    except OSError:  # reading it says why
        return False


@contextmanager
def open_lock(lock: LockSource, name: str | None = None) -> Iterator[tuple[LockHead, Iterator[LockedGroup]]]:
    """A lock while it is read, Series by Series. Messages call it `name`.

    Raises ManifestError, also while it is read.
    """
    with open_lines(lock, name) as lines:
        yield read_lock(lines, Remarks(name or name_of(lock)))


@contextmanager
def open_lines(lock: LockSource, name: str | None = None) -> Iterator[Iterator[str]]:
    """The lines of a lock as they are read. Raises ManifestError, also while they are read."""
    with _opened(lock) as file:
        lines = text_lines(file, Remarks(name or name_of(lock)))
        yield (line if number else line.removeprefix(_BYTE_ORDER_MARK) for number, line in enumerate(lines))


def name_of(lock: LockSource) -> str:
    """What messages call a lock that is not a file by another name."""
    return str(lock) if isinstance(lock, str | PathLike) else "the lock"


@contextmanager
def _opened(lock: LockSource) -> Iterator[BinaryIO]:
    try:
        file = _open(lock)
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=name_of(lock)) from error
    with file:  # what the block raises is not of this file
        yield file


def _open(lock: LockSource) -> BinaryIO:
    if isinstance(lock, bytes):
        return io.BytesIO(lock)
    return Path(lock).open("rb") if isinstance(lock, str | PathLike) else lock()


def keep_locks(root: Path, locks: Iterable[LockSource], *, private: bool) -> tuple[Path, ...]:
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
