"""The files of a mirror: partial → committed, or quarantined. The one writer below the mirror's folder.

The order of durability is in `commit`, which calls the steps that are here.

A partial file of a large body may be resumed, by a later attempt or another run: a note beside it (`note_partial`)
tells which object it is of, and how many of its bytes are synced. Those beyond may be anything after a power cut.

Where a name is, `layout` decides; what is sound, `dicom`. Paths come in relative to the mirror, with `/`. Except for
`PartialStream`, everything here blocks and is meant for threads; several may call at once. Symbolic links below the
mirror's root are neither written through nor followed: the root itself may be one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiofiles

from bulkdl.errors import MirrorUnwritable
from bulkdl.runtime.disk import (
    BINARY,
    BOOKKEEPING,
    JOURNAL,
    NO_FOLLOW,
    PARTIAL,
    QUARANTINE,
    disk_errors,
    sync_folder,
    sync_open_file,
)
from bulkdl.store.layout import uid_component

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor

    from aiofiles.threadpool.binary import AsyncFileIO

_KNOWN_FOLDERS = 4096
_NOTE = ".json"


@dataclass(frozen=True, slots=True)
class KeptPartial:
    """What is known of a partial file that may be resumed.

    `source` and `validator` tell of which object it is, `length` how many bytes that has; the first `synced_bytes` of
    the file are on the disk, whatever came after them may not be.
    """

    source: str
    validator: str
    length: int
    synced_bytes: int


class MirrorFiles:
    """The files of the mirror at `root`. With `private`, what is made is for its owner alone (0700, 0600).

    Each process makes its own from the same two values.
    """

    def __init__(self, root: Path, *, private: bool = False) -> None:
        self.root = root.resolve()
        self.private = private
        self.journal_path = self.root / JOURNAL
        self.partial_folder = self.root / PARTIAL
        self.quarantine_folder = self.root / QUARANTINE
        self._known = _KnownFolders()

    def prepare(self) -> None:
        """Make the mirror's folder and our own below it, durably. Safe to repeat; touches nothing that is there.

        Raises:
            DiskError: it cannot be made, or something else is in its place.
        """
        missing = [folder for folder in (*reversed(self.root.parents), self.root) if not folder.exists()]
        for folder in missing:
            self._make_folder(folder)
        for relative in (BOOKKEEPING, PARTIAL, QUARANTINE):
            self._ensure(relative)

    def absolute(self, relative: str) -> Path:
        """The path of a committed file or folder.

        Raises:
            MirrorUnwritable: `relative` leads out of the mirror, or to our own files.
        """
        parts = relative.split("/")
        if parts[0] == BOOKKEEPING or any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
            raise MirrorUnwritable(f"{relative!a} is no place for an instance in the mirror")
        return self.root / relative

    # --- partial ------------------------------------------------------------------------------------------------------

    def partial_path(self, name: str) -> Path:
        """Where the partial file `name` is; see `partial_name`."""
        return self.partial_folder / name

    def partial_size(self, name: str) -> int | None:
        """The bytes that the partial file `name` holds, None where there is none."""
        try:
            found = self.partial_path(name).lstat()
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def write_partial(self, name: str, data: bytes | bytearray | memoryview) -> Path:
        """Write the whole partial file `name` and sync it; what was there is replaced. On failure nothing is left.

        Raises:
            DiskError: it cannot be written.
        """
        path = self.partial_path(name)
        with disk_errors("write", path):
            descriptor = self._open_new(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(descriptor, view) :]
                sync_open_file(descriptor)
            except BaseException:
                os.close(descriptor)
                with suppress(OSError):
                    path.unlink()
                raise
            os.close(descriptor)
        return path

    async def open_partial_stream(
        self, name: str, *, keep_bytes: int = 0, executor: Executor | None = None
    ) -> PartialStream:
        """Open the partial file `name` for a body that is too large for memory.

        The first `keep_bytes` of what is there already are kept, to resume after them; the rest is cut off.

        Raises:
            DiskError: it cannot be opened, or holds fewer than `keep_bytes`.
        """
        path = self.partial_path(name)

        def opener(file: str, flags: int) -> int:
            cut = 0 if keep_bytes else os.O_TRUNC
            return self._open_new(Path(file), (flags & ~os.O_TRUNC) | os.O_CREAT | cut)

        with disk_errors("write", path):
            file = await aiofiles.open(path, "r+b", buffering=0, opener=opener, executor=executor)
            try:
                if keep_bytes:
                    await _cut_after(keep_bytes, file, path)
            except BaseException:
                await file.close()
                raise
        return PartialStream(path, file, executor)

    def note_partial(self, name: str, kept: KeptPartial) -> None:
        """Note beside the partial file `name` what it is of; a note that a power cut takes away costs its bytes only.

        Raises:
            DiskError: it cannot be written.
        """
        note = self.partial_path(name + _NOTE)
        with disk_errors("write", note):
            new = note.with_name(note.name + ".new")
            self._write(new, json.dumps(asdict(kept)).encode())
            new.replace(note)

    def kept_partials(self) -> dict[str, KeptPartial]:
        """The partial files that may be resumed, by name: each has a note, and holds the bytes that it promises.

        Raises:
            DiskError: the folder cannot be read.
        """
        found: dict[str, KeptPartial] = {}
        for note in self._notes():
            name = note.removesuffix(_NOTE)
            with suppress(OSError, ValueError, TypeError):
                kept = KeptPartial(**json.loads(self.partial_path(note).read_bytes()))
                if 0 < kept.synced_bytes <= min(self.partial_size(name) or 0, kept.length):
                    found[name] = kept
        return found

    def _notes(self) -> list[str]:
        with disk_errors("read", self.partial_folder), os.scandir(self.partial_folder) as entries:
            return [entry.name for entry in entries if entry.name.endswith(_NOTE)]

    def forget_partial(self, name: str) -> None:
        """Remove the note beside the partial file `name`, if there is one.

        Raises:
            DiskError: it cannot be removed.
        """
        note = self.partial_path(name + _NOTE)
        with disk_errors("remove", note):
            note.unlink(missing_ok=True)

    def discard_stale_partials(self) -> int:
        """Remove the partial files of earlier runs, but those that may be resumed; returns how many.

        For whoever holds the mirror's lock, before any worker starts.

        Raises:
            DiskError: they cannot be removed.
        """
        removed = 0
        kept = self.kept_partials()
        keep = {*kept, *(name + _NOTE for name in kept)}
        with disk_errors("clear", self.partial_folder), os.scandir(self.partial_folder) as entries:
            for entry in entries:
                if entry.name not in keep and not entry.is_dir(follow_symlinks=False):
                    Path(entry).unlink()
                    removed += 1
        return removed

    # --- committed ----------------------------------------------------------------------------------------------------

    def ensure_folder(self, relative: str) -> None:
        """Make the folder `relative` and those above it where they are missing, each entry synced. Safe to repeat.

        A folder counts as made only once its parent was synced by us: one that we merely find may have been made an
        instant ago, by a run that was killed before it could sync.

        Raises:
            DiskError: it cannot be made, or a file or a link is in its place.
        """
        self.absolute(relative)
        self._ensure(relative)

    def rename_partial(self, name: str, relative: str) -> None:
        """Rename the synced partial file `name` to its place, replacing any file there.

        The folder must exist (`ensure_folder`; it is made again if another program removed it meanwhile). It is not
        synced: the file may be journalled only after `sync_folder`.

        Raises:
            DiskError: it cannot be renamed; the partial file still exists.
        """
        partial, final = self.partial_path(name), self.absolute(relative)
        with disk_errors("put in place", final):
            try:
                partial.replace(final)
            except FileNotFoundError:
                if (folder := relative.rpartition("/")[0]) == "":
                    raise
                self._known.forget(folder)
                self._ensure(folder)
                partial.replace(final)

    def mtime_ns(self, relative: str) -> int:
        """When a committed file was last modified, in nanoseconds.

        Raises:
            DiskError: it cannot be read.
        """
        path = self.absolute(relative)
        with disk_errors("read", path):
            return path.lstat().st_mtime_ns

    def sync_folder(self, relative: str) -> None:
        """Sync the entries of a folder; `""` is the mirror's own.

        Raises:
            DiskError: it cannot be synced: nothing renamed into it may be journalled.
        """
        sync_folder(self.absolute(relative) if relative else self.root)

    def existing(self, relative: str) -> dict[str, int]:
        """The regular files in a folder: names and sizes in bytes. Empty where there is no such folder.

        Raises:
            MirrorUnwritable: the folder cannot be read.
        """
        path = self.absolute(relative)
        with disk_errors("read", path):
            try:
                with os.scandir(path) as entries:
                    return {
                        entry.name: entry.stat(follow_symlinks=False).st_size
                        for entry in entries
                        if entry.is_file(follow_symlinks=False)
                    }
            except (FileNotFoundError, NotADirectoryError):
                return {}

    # --- quarantined --------------------------------------------------------------------------------------------------

    def quarantine(
        self, content: Path | bytes, *, sop_uid: str, details: Mapping[str, Any], keep_at_most: int = 3
    ) -> Path:
        """Keep unsound bytes aside for a look: a file is moved, bytes are written. Returns where.

        `details` (what was asked, what came; no secrets) goes into a small JSON file beside it. Of one instance the
        last `keep_at_most` are kept. Not synced: nothing relies on it.

        Raises:
            DiskError: it cannot be written; a file that was to be moved is still where it was.
        """
        stem = uid_component(sop_uid)
        slots = [self.quarantine_folder / f"{stem}.{number}.dcm" for number in range(1, keep_at_most + 1)]
        with disk_errors("quarantine", slots[0]):
            path = next((slot for slot in slots if not slot.exists()), None) or min(slots, key=_last_changed)
            if isinstance(content, bytes):
                self._write(path, content)
            else:
                content.replace(path)
                os.utime(path)  # so that the slots are in the order of their use
            text = json.dumps(details, indent=2, ensure_ascii=False, default=str)
            self._write(path.with_suffix(".json"), f"{text}\n".encode("utf-8", "backslashreplace"))
        return path

    # --- below --------------------------------------------------------------------------------------------------------

    def _open_new(self, path: Path, flags: int) -> int:
        return os.open(path, flags | NO_FOLLOW | BINARY, 0o600 if self.private else 0o666)

    def _write(self, path: Path, data: bytes) -> None:
        with open(path, "wb", opener=lambda file, flags: self._open_new(Path(file), flags)) as file:
            file.write(data)

    def _ensure(self, relative: str) -> None:
        if self._known.holds(relative):
            return
        parent = relative.rpartition("/")[0]
        if parent:
            self._ensure(parent)
        self._make_folder(self.root / relative)
        self._known.add(relative)

    def _make_folder(self, path: Path) -> None:
        with disk_errors("make the folder", path):
            try:
                path.mkdir(mode=0o700 if self.private else 0o777)
            except FileExistsError as error:
                if not stat.S_ISDIR(path.lstat().st_mode):
                    raise MirrorUnwritable(
                        f"{path} is a link or a file where the mirror needs a folder; move it away, then resume"
                    ) from error
        sync_folder(path.parent)


class PartialStream:
    """A partial file that is being written by one task. Ends with `finish` or `abort`, once."""

    def __init__(self, path: Path, file: AsyncFileIO, executor: Executor | None) -> None:
        self.path = path
        self._file = file
        self._executor = executor

    async def write(
        self, chunks: Sequence[bytes | memoryview], *, watch: Callable[[bytes | memoryview], None] = lambda _: None
    ) -> None:
        """Append `chunks`, in one trip to a thread, where `watch` is shown each of them too.

        Raises:
            DiskError: they cannot be written; `abort` is still due.
        """
        await asyncio.get_running_loop().run_in_executor(self._executor, self._append, chunks, watch)

    def _append(self, chunks: Sequence[bytes | memoryview], watch: Callable[[bytes | memoryview], None]) -> None:
        with disk_errors("write", self.path):
            descriptor = self._file.fileno()
            for chunk in chunks:
                watch(chunk)
                data = memoryview(chunk)
                while data:
                    data = data[os.write(descriptor, data) :]

    async def checkpoint(self) -> None:
        """Sync what was written so far.

        Raises:
            DiskError: it cannot be written; `abort` is still due.
        """
        with disk_errors("sync", self.path):
            await asyncio.get_running_loop().run_in_executor(self._executor, sync_open_file, self._file.fileno())

    async def finish(self) -> None:
        """Sync and close. The file is then ready for `commit`.

        Raises:
            DiskError: it cannot be written; the file is closed, and nothing in it can be relied on.
        """
        try:
            await self.checkpoint()
        finally:
            await self._file.close()

    async def abort(self, *, keep: bool = False) -> None:
        """Close, and remove the file; with `keep` what came so far stays, to be resumed. Never raises a DiskError."""
        with suppress(OSError):
            await self._file.close()
        if not keep:
            with suppress(OSError):
                self.path.unlink()


class _KnownFolders:
    """The folders used last that are known to be there; a bounded set, safe for threads."""

    def __init__(self) -> None:
        self._paths: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def holds(self, path: str) -> bool:
        with self._lock:
            if path not in self._paths:
                return False
            self._paths.move_to_end(path)
            return True

    def add(self, path: str) -> None:
        with self._lock:
            self._paths[path] = None
            if len(self._paths) > _KNOWN_FOLDERS:
                self._paths.popitem(last=False)

    def forget(self, path: str) -> None:
        """Forget `path` and the folders above it."""
        with self._lock:
            while path:
                self._paths.pop(path, None)
                path = path.rpartition("/")[0]


def partial_name(series_uid: str, sop_uid: str) -> str:
    """The name of the partial file of an instance: always the same, so that a later run finds what was left."""
    return f"{hashlib.sha256(f'{series_uid}/{sop_uid}'.encode()).hexdigest()[:32]}.part"


async def _cut_after(keep_bytes: int, file: AsyncFileIO, path: Path) -> None:
    if await file.seek(0, os.SEEK_END) < keep_bytes:
        raise MirrorUnwritable(f"{path} holds fewer than {keep_bytes} bytes: it cannot be resumed there")
    await file.truncate(keep_bytes)
    await file.seek(keep_bytes)


def _last_changed(path: Path) -> int:
    return path.stat().st_mtime_ns
