"""Receive one large entry in parallel ranges, each written to its position in one partial file.

The task of the instance receives parts with the permit that it holds; helpers receive others with further permits, if
there are any, so that no instance waits for one forever. A part that breaks off continues where it stopped. What is
synced stands in the note of the partial file, part by part, for a later attempt or another run.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive, Body, Rest, ThreadedBody
from bulkdl.errors import ConnectionLost, Interrupted, RequestFailed, ShortBody, TimedOut, UnexpectedAnswer
from bulkdl.fetch.arrivals import Arrival
from bulkdl.fetch.committer import Received
from bulkdl.fetch.digests import Hashing
from bulkdl.fetch.stated_checksums import stated_checksums
from bulkdl.fetch.targets import Target
from bulkdl.fetch.threads import Threads
from bulkdl.runtime.disk import boot_id, disk_errors
from bulkdl.runtime.tasks import Tasks, in_thread
from bulkdl.store.partials import KeptPartial, Partials, PartialStream

CHECKPOINT_BYTES: Final = 16 << 20  # of a large body are synced, and noted, at a time
WRITE_BYTES: Final = 1 << 20
_RANGE_WRITE_BYTES: Final = 1 << 18  # at a time: what is not written is lost with the process, for each range
_NOTE_BYTES: Final = 1 << 20  # of progress are noted at a time
_PART_BYTES: Final = 16 << 20
_LEAST_PART_BYTES: Final = 64 << 10
_MOST_PARTS: Final = 2_000
_AT_ONCE: Final = 8
_WORTH_BYTES: Final = 1 << 18  # of progress: a request that brought so much is continued at once
_BROKE_OFF: Final = (ConnectionLost, ShortBody, TimedOut)


class Parts:
    """The parts of an object of `length` bytes, and how many bytes of each are written. Pure.

    `written` is what a note says of an earlier attempt.
    """

    def __init__(self, length: int, part_bytes: int, written: tuple[int, ...] = ()) -> None:
        self.length = length
        self.part_bytes = part_bytes
        count = -(-length // part_bytes)
        self.written = [*written[:count], *[0] * (count - len(written))]
        self._in_hand: set[int] = set()

    def start(self, part: int) -> int:
        """The position of the first byte of a part that is not written."""
        return part * self.part_bytes + self.written[part]

    def end(self, part: int) -> int:
        """The position behind the last byte of a part."""
        return min((part + 1) * self.part_bytes, self.length)

    def take(self) -> int | None:
        """The first part that is not complete and not taken; None if there is none."""
        for part in range(len(self.written)):
            if part not in self._in_hand and self.start(part) < self.end(part):
                self._in_hand.add(part)
                return part
        return None

    def give_back(self, part: int) -> None:
        """End the work on a part, complete or not."""
        self._in_hand.discard(part)

    @property
    def missing(self) -> int:
        """How many parts are not complete."""
        return sum(not self.is_done(part) for part in range(len(self.written)))

    @property
    def is_complete(self) -> bool:
        """Whether every byte is written."""
        return sum(self.written) == self.length

    def is_done(self, part: int) -> bool:
        """Whether every byte of a part is written."""
        return self.start(part) == self.end(part)


def fresh(source: str, length: int, above_bytes: int) -> KeptPartial:
    """The state of an object of `length` bytes of which nothing is received."""
    return KeptPartial(source, "", length, 0, part_size(length, above_bytes))


def in_parts(kept: KeptPartial, above_bytes: int) -> KeptPartial:
    """What was kept of a body in ranges, or of the beginning of a whole one."""
    if kept.part_bytes:
        return kept
    part_bytes = part_size(kept.length, above_bytes)
    whole, more = divmod(kept.synced_bytes, part_bytes)
    return replace(kept, part_bytes=part_bytes, written=(*[part_bytes] * whole, *([more] if more else [])))


def part_size(length: int, above_bytes: int) -> int:
    """The size of the parts of an object of `length` bytes, where objects above `above_bytes` come in parts."""
    usual = min(_PART_BYTES, max(_LEAST_PART_BYTES, above_bytes // 4))
    return max(usual, -(-length // _MOST_PARTS))


class RangedDownload:
    """One entry while it is received in ranges into the partial file `name`.

    `kept` is what an earlier attempt left, and has the state of this one. `arrival` counts the bytes received so far.
    `sends_ranges` becomes False if the archive does not send ranges, or does not identify the object. `stated` are the
    checksums of the whole object that it sends with a range.
    """

    def __init__(
        self, archive: Archive, partials: Partials, threads: Threads, target: Target, name: str, kept: KeptPartial
    ) -> None:
        self.kept = kept
        self.arrival = Arrival(kept.length)
        self.sends_ranges = True
        self.stated: Mapping[str, bytes] = {}
        self._archive = archive
        self._partials = partials
        self._threads = threads
        self._target = target
        self._name = name
        self._parts = Parts(kept.length, kept.part_bytes, kept.written)
        self._identified = asyncio.Event()
        self._changed = asyncio.Event()  # a part ended: its bytes may be hashed, or it may be taken again
        self._part_ended = asyncio.Event()
        self._unsynced = self._unnoted = 0
        self._is_syncing = self._is_noted = False
        self._noting = asyncio.Lock()
        self._hashing = Hashing(with_md5=archive.capabilities.knows_md5s or target.entry.md5 is not None)

    async def receive(self) -> Received:
        """Receive what is missing.

        Raises:
            RequestFailed, Interrupted: it broke off; `kept` states what was synced, if the file may be resumed.
            DiskError: the file cannot be written.
        """
        file = await self._partials.open_stream(self._name, keep_all=self.kept.synced_bytes > 0)
        is_finished = False
        try:
            try:
                await self._receive_parts(file)
            except (RequestFailed, Interrupted):
                if sum(self._parts.written) > self.kept.synced_bytes:
                    await self._checkpoint(file)
                raise
            is_finished = True
            await file.finish()
        finally:
            if not is_finished:
                await file.abort(keep=self._is_noted or self.kept.synced_bytes > 0)
        await self._threads(self._partials.forget, self._name)
        return Received(file.path, self._name, self._hashing.digests(), self.kept.validator)

    async def _receive_parts(self, file: PartialStream) -> None:
        parts = self._parts
        async with Tasks() as tasks:
            tasks.join(self._hash_along(file), name="hash")
            helpers = [tasks.join(self._help(file), name="range") for _ in range(min(_AT_ONCE, parts.missing) - 1)]
            while not parts.is_complete:
                self._changed.clear()
                if (part := parts.take()) is not None:
                    await self._receive_part(part, file)
                else:
                    await self._changed.wait()
            for helper in helpers:
                helper.cancel()

    async def _help(self, file: PartialStream) -> None:
        async def receive_one(_: int) -> bool:
            part = self._parts.take()
            if part is not None:
                await self._receive_part(part, file)
            return part is not None

        await self._identified.wait()
        what = f"a range of instance {self._target.entry.key}"
        while (await self._archive.retrier.attempt(what, receive_one))[0]:
            pass

    async def _receive_part(self, part: int, file: PartialStream) -> None:
        """Receive the rest of a part. Where that breaks off after some progress, it is continued at once."""
        try:
            while not self._parts.is_done(part):
                before = self._parts.start(part)
                try:
                    await self._request(part, file)
                except _BROKE_OFF:
                    if self._parts.start(part) - before < _WORTH_BYTES:
                        raise
                    self._archive.retrier.retries += 1
                    await self._archive.retrier.sleep(0)  # which ends here if the run is stopped
        finally:
            self._parts.give_back(part)
            self._changed.set()
            self._part_ended.set()

    async def _request(self, part: int, file: PartialStream) -> None:
        start, end = self._parts.start(part), self._parts.end(part)
        rest = Rest(start, self.kept.length, self.kept.validator or None, end)
        async with self._archive.open(self._target.series_uid, self._target.entry, rest=rest) as body:
            self._check(body, end - start)
            if (threaded := body.threaded) is not None and not self._archive.retrier.is_paced:
                await self._receive(threaded, part, file)
                return
            pieces: list[bytes | memoryview] = []
            size_bytes = 0
            try:
                async for chunk in body.chunks():
                    async for piece in self._archive.retrier.paced(chunk):
                        self.arrival.add(len(piece))
                        pieces.append(piece)
                        size_bytes += len(piece)
                    if size_bytes >= _RANGE_WRITE_BYTES:
                        taken, pieces, size_bytes = pieces, [], 0
                        await self._write(part, taken, file)
            except (RequestFailed, Interrupted):
                await self._write(part, pieces, file)
                raise
            await self._write(part, pieces, file)

    async def _receive(self, body: ThreadedBody, part: int, file: PartialStream) -> None:
        """Receive a part in threads, which write each piece while the cache of the core has it."""
        position = self._parts.start(part)

        def take(piece: memoryview) -> None:
            nonlocal position
            file.put(position, piece)
            position += len(piece)

        while size_bytes := await body.receive(take, WRITE_BYTES):
            self.arrival.add(size_bytes)
            await self._is_written(part, size_bytes, file)

    def _check(self, body: Body, length: int) -> None:
        validator = body.validator
        if not body.is_part or validator is None:
            self.sends_ranges = False
            raise UnexpectedAnswer("the archive sends no ranges of this object, or does not identify it")
        if body.length != length:
            self.sends_ranges = False
            raise UnexpectedAnswer("the archive sent another range than the requested one")
        if not self._identified.is_set():
            self.kept = replace(self.kept, validator=validator)
            self.stated = stated_checksums(body.headers)
            self._identified.set()

    async def _write(self, part: int, pieces: list[bytes | memoryview], file: PartialStream) -> None:
        await file.write_at(self._parts.start(part), pieces)
        await self._is_written(part, sum(map(len, pieces)), file)

    async def _is_written(self, part: int, size_bytes: int, file: PartialStream) -> None:
        self._parts.written[part] += size_bytes
        self._unsynced += size_bytes
        self._unnoted += size_bytes
        if self._unsynced >= CHECKPOINT_BYTES and not self._is_syncing:
            await self._checkpoint(file)
        elif self._unnoted >= _NOTE_BYTES and not self._noting.locked():
            await self._note()

    async def _checkpoint(self, file: PartialStream) -> None:
        self._is_syncing = True
        try:
            await self._sync(file)
            while self._unsynced >= CHECKPOINT_BYTES:  # they arrived meanwhile, and perhaps nothing follows
                await self._sync(file)
        finally:
            self._is_syncing = False

    async def _sync(self, file: PartialStream) -> None:
        self._unsynced = 0
        written = tuple(self._parts.written)  # before the sync: of what is written during it nothing is known
        await file.checkpoint()
        self.kept = replace(self.kept, written=written, synced_bytes=sum(written))
        await self._note()

    async def _note(self) -> None:
        """Note what is synced, and what is written: a process that is killed leaves that to the system."""
        async with self._noting:
            await self._note_now()
            while self._unnoted >= _NOTE_BYTES:  # they arrived meanwhile, and perhaps nothing follows
                await self._note_now()

    async def _note_now(self) -> None:
        self._unnoted, self._is_noted = 0, True
        noted = replace(self.kept, arrived=tuple(self._parts.written), boot=boot_id())
        # Awaited in any case: a note that came after the end of the file would be of no file.
        await in_thread(self._partials.note, self._name, noted, executor=self._threads)

    async def _hash_along(self, file: PartialStream) -> None:
        """Hash the parts in their order, as they are complete: they are in the memory of the system still."""
        for part in range(len(self._parts.written)):
            while not self._parts.is_done(part):
                self._part_ended.clear()
                await self._part_ended.wait()
            with disk_errors("read", file.path):
                start = part * self._parts.part_bytes
                await self._threads(self._hashing.update_from, file.path, start, self._parts.end(part))
