"""The rules of the disk: how files and folders are synced, what `.bulkdl` holds, and what an OSError means.

A file is durable when its bytes and its entry in the folder are synced. On macOS fsync leaves the bytes in the drive's
cache (its manual page), so F_FULLFSYNC is used where the file system supports it. On Windows folders cannot be opened;
NTFS journals their entries. Some file systems, mostly network shares, cannot sync folders: CIFS before Linux 4.17
answers EINVAL, others ENOTSUP, ENOSYS or EBADF. There an entry is as durable as the file system makes it. Every other
error of a sync, including EIO, is a failure: nothing in that folder may be relied on.

Everything here blocks, and raises OSError where nothing else is stated.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkdl.errors import DiskFull, MirrorUnwritable

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ctypes import CDLL

# Paths relative to a mirror.
BOOKKEEPING: Final = ".bulkdl"
JOURNAL: Final = f"{BOOKKEEPING}/journal.sqlite"
LOCK: Final = f"{BOOKKEEPING}/lock"
LOCK_FILES: Final = f"{BOOKKEEPING}/locks"
PARTIAL: Final = f"{BOOKKEEPING}/partial"
QUARANTINE: Final = f"{BOOKKEEPING}/quarantine"
SUPERSEDED: Final = f"{BOOKKEEPING}/superseded"
PROGRESS: Final = f"{BOOKKEEPING}/progress.json"
VERIFY_POSITION: Final = f"{BOOKKEEPING}/verify.json"
VIEW: Final = f"{BOOKKEEPING}/view.jsonl"

# Flags to open files of a mirror; 0 where the platform does not have the flag.
NO_FOLLOW: Final[int] = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final[int] = getattr(os, "O_BINARY", 0)
READ: Final = os.O_RDONLY | NO_FOLLOW | _BINARY
_DIRECTORY: Final[int] = getattr(os, "O_DIRECTORY", 0)
_TO_SYNC: Final = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows syncs only what may be written

_LAST_NS: Final = (1 << 63) - 1
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
# Linux: the numbers of statfs(2) of file systems whose syncfs(2) writes everything, and does not return before. That of
# FUSE writes to its server and does not make it sync.
_SYNCS_WHOLE: Final = frozenset(
    {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994}
)  # ext4, XFS, Btrfs, F2FS, tmpfs
_REPORTS_ERRORS: Final = (5, 8)  # the release of Linux since which syncfs reports failed writes
_STATFS_BYTES: Final = 512  # more than the structure has
MANY_FILES: Final = 8
"""So many files are worth a sync of their whole file system."""
_MEMINFO: Final = Path("/proc/meminfo")
_UNWRITTEN: Final = re.compile(rb"^(?:Dirty|Writeback):\s*(\d+) kB", re.MULTILINE)
# Beside more than this, which other programs have written, a sync of the whole file system could take minutes.
_MOST_UNWRITTEN_KB: Final = 1 << 20

_CANNOT_SYNC_FOLDERS: Final = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})


@contextmanager
def disk_errors(
    action: str, path: str | os.PathLike[str], *, kept: str = "everything finished is saved"
) -> Iterator[None]:
    """Translate an OSError of the block. `action` completes "cannot …"; `kept` says what became of the work.

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
            raise DiskFull(f"cannot {action} {where}: {reason}; {kept}: free some space, then resume") from error
        raise MirrorUnwritable(f"cannot {action} {where}: {reason}; {kept}") from error


@contextmanager
def shortage_errors() -> Iterator[None]:
    """Translate that memory or threads are short in the block.

    Raises:
        MirrorUnwritable: they are.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        what = "memory" if isinstance(error, MemoryError) else "memory, or too few processes, for another thread"
        raise MirrorUnwritable(f"not enough {what}; everything finished is saved: free some, then resume") from error


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory or threads are short."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "start new thread" in str(error))


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file; False where that cannot be seen: a name that is too long, or a folder without access."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib raises in those cases


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Whether there is a folder, as `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def modified_ns(status: os.stat_result) -> int:
    """When a file was modified, in nanoseconds since 1970: from 1677 to 2262, as far as databases hold the number."""
    return max(-_LAST_NS, min(status.st_mtime_ns, _LAST_NS))


def is_private(folder: Path) -> bool:
    """Whether a folder is for its owner alone, and so what is put into it; False if it does not exist."""
    try:
        return sys.platform != "win32" and not folder.stat().st_mode & 0o077
    except OSError:
        return False


def open_new(path: str | os.PathLike[str], flags: int, *, private: bool) -> int:
    """Open a file of a mirror, never through a symbolic link. A new one that is `private` is for its owner alone."""
    return os.open(path, flags | NO_FOLLOW | _BINARY, 0o600 if private else 0o666)


def write_new(path: Path, content: bytes, *, private: bool) -> None:
    """Write a file of a mirror as `open_new` opens it; not synced."""
    with open(path, "wb", opener=lambda file, flags: open_new(file, flags, private=private)) as file:
        file.write(content)


def sync_open_file(descriptor: int) -> None:
    """Sync an open file or folder to the drive."""
    if sys.platform == "darwin":
        with suppress(OSError):  # not every file system supports it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sync_file(path: str | Path) -> None:
    """Sync a file that is closed. Does not follow a symbolic link."""
    descriptor = os.open(path, _TO_SYNC | NO_FOLLOW)
    try:
        sync_open_file(descriptor)
    finally:
        os.close(descriptor)


def sync_files(paths: Sequence[str | Path], folder: Path, *, meminfo: Path = _MEMINFO) -> None:
    """Sync closed files of the file system that `folder` is in. Does not follow symbolic links.

    Where Linux can, many files take one call: each fsync waits for the drive, even where nothing is left to write
    (measured: 0.3 ms a file, 0.03 ms together). That call also writes what other programs have written to the file
    system, so it is not used while `meminfo`, the state of the system's memory (proc(5)), shows much of that.
    """
    if len(paths) < MANY_FILES or _much_is_unwritten(meminfo) or not _sync_file_system(folder):
        for path in paths:
            sync_file(path)


def _much_is_unwritten(meminfo: Path) -> bool:
    try:
        found = _UNWRITTEN.findall(meminfo.read_bytes())
    except OSError:  # of another system, or of a container that hides it
        return True
    return not found or sum(map(int, found)) > _MOST_UNWRITTEN_KB


def _sync_file_system(folder: Path) -> bool:
    """Sync the whole file system of a folder; False where one call does not do that reliably."""
    if (calls := _file_system_calls()) is None:
        return False
    import ctypes  # noqa: PLC0415 - few processes need it

    examine, sync = calls
    found = (ctypes.c_long * (_STATFS_BYTES // ctypes.sizeof(ctypes.c_long)))()  # it begins with the number of its kind
    descriptor = os.open(folder, os.O_RDONLY | _DIRECTORY)
    try:
        if examine(descriptor, found) or found[0] not in _SYNCS_WHOLE:
            return False
        if sync(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
    return True


def _file_system_calls() -> tuple[Callable[..., int], Callable[..., int]] | None:
    """The functions fstatfs and syncfs of the C library; None before Linux 5.8, and elsewhere."""
    if sys.platform != "linux":
        return None
    with suppress(ValueError, OSError, AttributeError):  # another kind of release, or another C library
        release = tuple(int(number) for number in os.uname().release.split(".")[:2])
        library = _c_library()
        return (library.fstatfs, library.syncfs) if release >= _REPORTS_ERRORS else None
    return None


@cache
def _c_library() -> CDLL:
    """The C library, opened once: each time makes classes, which stay until the next search for garbage."""
    import ctypes  # noqa: PLC0415 - few processes need it

    return ctypes.CDLL(None, use_errno=True)


def sync_folder(path: Path) -> None:
    """Sync the entries of a folder, where its file system can.

    Raises:
        DiskError: it cannot be synced: nothing renamed into it may be relied on.
    """
    if sys.platform == "win32":
        return
    with disk_errors("sync the folder", path):
        descriptor = os.open(path, os.O_RDONLY | _DIRECTORY)
        try:
            sync_open_file(descriptor)
        except OSError as error:
            if error.errno not in _CANNOT_SYNC_FOLDERS:
                raise
        finally:
            os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, durably, as private as its folder: after a crash the file is as before or complete.

    Raises:
        DiskError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.partial")
    with disk_errors("write", path):
        write_new(new, content, private=is_private(path.parent))
        sync_file(new)
        new.replace(path)
    sync_folder(path.parent)


@cache
def boot_id() -> str:
    """What identifies the run of the system since it was started; empty where that is not known.

    Bytes that a process wrote are lost with the system, not with the process: page cache. Source: random(4).
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
