"""Partial files: the bodies that are not complete yet, in `.bulkdl/partial/`.

A partial file of a large body can be resumed, also by another run: a note beside it (`Partials.note`) states which
object it is of, and how many of its bytes are synced. Except for `PartialStream` everything here blocks; several
threads may call at once. No call writes through a symbolic link.
"""

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Final, Self

import aiofiles
from aiofiles.threadpool.binary import AsyncFileIO

from bulkdl.errors import MirrorUnwritable
from bulkdl.runtime.disk import boot_id, disk_errors, open_new, sync_files, sync_open_file, write_new
from bulkdl.runtime.tasks import in_thread
from bulkdl.store.space import measure

_NOTE: Final = ".json"


@dataclass(frozen=True, slots=True)
class KeptPartial:
    """A partial file that can be resumed.

    `source` and `validator` identify the object, `length` is its size in bytes. Only the first `synced_bytes` of the
    file are valid: after a power cut the others may be anything. Of a file that was received in parts of `part_bytes`,
    the first bytes of each part are valid, as many as `written` has, `synced_bytes` in all. `arrived` has as many as
    are written, and perhaps not synced: they are valid as long as the system runs that `boot` identifies, whatever
    becomes of the process.
    """

    source: str
    validator: str
    length: int
    synced_bytes: int
    part_bytes: int = 0
    written: tuple[int, ...] = ()
    arrived: tuple[int, ...] = ()
    boot: str = ""

    def valid_now(self) -> Self:
        """The same with what `arrived`, if the system was not restarted since."""
        if not self.arrived or not self.boot or self.boot != boot_id():
            return replace(self, written=tuple(self.written), arrived=(), boot="")
        return replace(self, written=tuple(self.arrived), synced_bytes=sum(self.arrived), arrived=(), boot="")


class PartialStream:
    """A partial file that one task writes. `finish` or `abort` ends it, once.

    What cannot be written raises DiskError: then nothing in the file can be relied on, and `abort` is still due.
    """

    def __init__(self, path: Path, file: AsyncFileIO) -> None:
        self.path = path
        self._file = file
        self._writing = threading.Lock()

    async def write(
        self, chunks: Sequence[bytes | memoryview], *, watch: Callable[[bytes | memoryview], None] = lambda _: None
    ) -> None:
        """Append `chunks` in a thread, which also passes each of them to `watch`."""
        await in_thread(self._append, chunks, watch)

    async def write_at(self, position: int, chunks: Sequence[bytes | memoryview]) -> None:
        """Write `chunks` from `position` on, in a thread. Several tasks may do so."""
        await in_thread(self.put, position, *chunks)

    def put(self, position: int, *chunks: bytes | memoryview) -> None:
        """Write `chunks` from `position` on. Blocking."""
        with self._writing, disk_errors("write", self.path):
            descriptor = self._file.fileno()
            os.lseek(descriptor, position, os.SEEK_SET)
            for chunk in chunks:
                _write_all(descriptor, chunk)

    def _append(self, chunks: Sequence[bytes | memoryview], watch: Callable[[bytes | memoryview], None]) -> None:
        for chunk in chunks:
            watch(chunk)
            self.append(chunk)

    def append(self, chunk: bytes | memoryview) -> None:
        """Append one chunk. Blocking."""
        with disk_errors("write", self.path):
            _write_all(self._file.fileno(), chunk)

    async def checkpoint(self, executor: Executor | None = None) -> None:
        """Sync everything written so far, in a thread of `executor`."""
        with disk_errors("sync", self.path):
            await in_thread(sync_open_file, self._file.fileno(), executor=executor)

    async def finish(self) -> None:
        """Sync and close. The file is then ready for `commit`."""
        try:
            await self.checkpoint()
        finally:
            await self._file.close()

    async def abort(self, *, keep: bool = False) -> None:
        """Close and remove the file; with `keep` it stays, to be resumed. Never raises a DiskError."""
        with suppress(OSError):
            await self._file.close()
        if not keep:
            with suppress(OSError):
                self.path.unlink()


class Partials:
    """The partial files in `folder`. With `private`, new files are for their owner alone (0600).

    A method that cannot do what it says raises DiskError.
    """

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self.folder = folder
        self._private = private

    def path(self, name: str) -> Path:
        """Where the partial file `name` is; see `partial_name`."""
        return self.folder / name

    def path_text(self, name: str) -> str:
        """The same as a text, which takes less time, and does not stay in the table of texts that `Path` keeps."""
        return f"{self.folder}/{name}"

    def free_bytes(self) -> int:
        """How much is free where the partial files are."""
        return measure(self.folder).free_bytes

    def size(self, name: str) -> int | None:
        """The bytes that the partial file `name` holds, None where there is none."""
        try:
            found = self.path(name).lstat()
        except OSError:
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def write(self, name: str, data: bytes | bytearray | memoryview, *, is_synced: bool = True) -> None:
        """Write the complete partial file `name`; replaces any earlier one. Leaves nothing after a failure.

        Without `is_synced`, `sync` comes next.
        """
        path = self.path_text(name)
        with disk_errors("write", path):
            descriptor = open_new(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, private=self._private)
            try:
                _write_all(descriptor, data)
                if is_synced:
                    sync_open_file(descriptor)
            except BaseException:
                os.close(descriptor)
                with suppress(OSError):
                    Path(path).unlink()
                raise
            os.close(descriptor)

    def create(self, name: str) -> FileIO:
        """Open the new partial file `name` to be written. `sync` comes when it is closed."""
        path = self.path(name)
        with disk_errors("write", path):
            return FileIO(path, "x", opener=lambda file, flags: open_new(file, flags, private=self._private))

    def sync(self, names: Sequence[str]) -> None:
        """Sync many partial files that are written. Removes them after a failure."""
        paths = [self.path_text(name) for name in names]
        try:
            with disk_errors("sync the files in", self.folder):
                sync_files(paths, self.folder)
        except BaseException:
            for path in paths:
                with suppress(OSError):
                    Path(path).unlink()
            raise

    async def open_stream(self, name: str, *, keep_bytes: int = 0, keep_all: bool = False) -> PartialStream:
        """Open the partial file `name` for a body that is too large for memory.

        Keeps the first `keep_bytes` of an earlier attempt, to resume after them, and cuts off the rest; or keeps all.
        """
        path = self.path(name)

        def opener(file: str, flags: int) -> int:
            cut = 0 if keep_bytes or keep_all else os.O_TRUNC
            return open_new(file, (flags & ~os.O_TRUNC) | os.O_CREAT | cut, private=self._private)

        with disk_errors("write", path):
            file = await aiofiles.open(path, "r+b", buffering=0, opener=opener)
            try:
                if keep_bytes:
                    await _cut_after(keep_bytes, file, path)
            except BaseException:
                await file.close()
                raise
        return PartialStream(path, file)

    def note(self, name: str, kept: KeptPartial) -> None:
        """Note beside the partial file `name` which object it is of. Not synced: a lost note costs a download only."""
        note = self.path(name + _NOTE)
        with disk_errors("write", note):
            new = note.with_name(note.name + ".new")
            write_new(new, json.dumps(asdict(kept)).encode(), private=self._private)
            new.replace(note)

    def resumable(self) -> dict[str, KeptPartial]:
        """The partial files that can be resumed, by name: each has a note, and holds the bytes that the note states."""
        found: dict[str, KeptPartial] = {}
        with disk_errors("read", self.folder), os.scandir(self.folder) as entries:
            notes = [entry.name for entry in entries if entry.name.endswith(_NOTE)]
        for note in notes:
            name = note.removesuffix(_NOTE)
            with suppress(OSError, ValueError, TypeError):
                kept = KeptPartial(**json.loads(self.path(note).read_bytes())).valid_now()
                if _is_valid(kept, self.size(name) or 0):
                    found[name] = kept
        return found

    def forget(self, name: str) -> None:
        """Remove the note beside the partial file `name`, if there is one."""
        note = self.path(name + _NOTE)
        with disk_errors("remove", note):
            note.unlink(missing_ok=True)

    def discard_stale(self) -> int:
        """Remove partial files that cannot be resumed, under the lock and before workers start; returns how many."""
        removed = 0
        kept = self.resumable()
        keep = {*kept, *(name + _NOTE for name in kept)}
        with disk_errors("clear", self.folder), os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name not in keep and not entry.is_dir(follow_symlinks=False):
                    Path(entry).unlink()
                    removed += 1
        return removed


def _is_valid(kept: KeptPartial, size_bytes: int) -> bool:
    """Whether a note may be of a partial file of this size."""
    if not 0 < kept.synced_bytes <= min(size_bytes, kept.length):
        return False
    if not kept.part_bytes:
        return not kept.written
    ends = [number * kept.part_bytes + written for number, written in enumerate(kept.written) if written]
    is_within = all(0 <= written <= kept.part_bytes for written in kept.written) and max(ends) <= size_bytes
    return is_within and sum(kept.written) == kept.synced_bytes


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def partial_name(series_uid: str, sop_uid: str) -> str:
    """The name of the partial file of an instance: always the same, so that a later run finds it."""
    return f"{hashlib.sha256(f'{series_uid}/{sop_uid}'.encode()).hexdigest()[:32]}.part"


async def _cut_after(keep_bytes: int, file: AsyncFileIO, path: Path) -> None:
    if await file.seek(0, os.SEEK_END) < keep_bytes:
        raise MirrorUnwritable(f"{path} holds fewer than {keep_bytes} bytes: it cannot be resumed there")
    await file.truncate(keep_bytes)
    await file.seek(keep_bytes)
