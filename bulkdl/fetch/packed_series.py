"""Download the instances that are packed in one object, which has a checksum itself: all of them, or none.

The object is read as a stream, and its instances are checked and written as they arrive. They are committed once the
whole object was compared with its checksums, so damage that no instance shows is found as well.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import BundleError, ChecksumMismatch, InstanceError, NotInBundle, RequestFailed
from bulkdl.fetch.arrivals import Arrival
from bulkdl.fetch.committer import Checked, Committer, Received, Seen
from bulkdl.fetch.digests import digests_of
from bulkdl.fetch.download import Incoming
from bulkdl.fetch.targets import Target, failed
from bulkdl.fetch.threads import Threads
from bulkdl.model.bundles import BundleEvent, EntryData, EntryEnded, EntryStarted
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry
from bulkdl.runtime.load import WorkPerLoopCycle
from bulkdl.store.bundles import BundleReader
from bulkdl.store.partials import Partials

_MOST_DOWNLOADS: Final = 2  # of an object whose bytes are not those of its checksums


class _UnpackingPackage:
    """An object while it streams in. `ready` and `failures` are by the position of the instance in it."""

    def __init__(
        self, incoming: Callable[[int], Incoming], committer: Committer, wanted: Mapping[int, Target], threads: Threads
    ) -> None:
        self.ready: dict[int, Checked] = {}
        self.failures: dict[int, InstanceError] = {}
        self._incoming = incoming
        self._committer = committer
        self._wanted = wanted
        self._threads = threads
        self._entry: Incoming | None = None
        self._writing: list[asyncio.Future[int]] = []
        self.arrival = Arrival()

    async def follow(self, events: Iterable[BundleEvent]) -> None:
        """Take in what the next bytes contain. Raises BundleError: the object is damaged."""
        for event in events:
            match event:
                case EntryStarted() if event.position in self._wanted:
                    self._entry = self._incoming(event.position)
                case EntryData() if self._entry is not None:
                    await self._entry.take(event.data)
                    self.arrival.add(len(event.data))
                case EntryEnded() if self._entry is not None:
                    entry, self._entry = self._entry, None
                    await self._finish(entry, event.position)
                    self.arrival.ends_other()
        while self._writing:
            await self._writing.pop()

    async def _finish(self, entry: Incoming, position: int) -> None:
        try:
            received = await entry.complete()
            if isinstance(received.source, bytes):
                received = received._replace(digests=await self._threads(digests_of, received.source))
            checked = await self._check(received, self._wanted[position])
            if (writing := self._committer.stage(checked)) is not None:
                self._writing.append(writing)
            self.ready[position] = checked.staged(self._wanted[position])
            self.arrival.ends_instance()
        except InstanceError as error:
            self.failures[position] = error
        finally:
            await entry.drop()

    async def _check(self, received: Received, target: Target) -> Checked:
        # The reader has compared the checksum of the instance in the object: the bytes are those of the archive.
        return await self._committer.check(received, target, Seen(received.digests))

    async def discard(self) -> None:
        """Remove everything that was written."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self._entry is not None:
            await self._entry.drop()
        for checked in self.ready.values():
            with suppress(FileNotFoundError):
                await self._committer.discard(checked)


class PackedDownloader:
    """Downloads objects of one archive, and commits what is packed in them to one mirror."""

    def __init__(self, archive: Archive, partials: Partials, committer: Committer, threads: Threads) -> None:
        self._archive = archive
        self._partials = partials
        self._committer = committer
        self._threads = threads
        self._loop_cycle = WorkPerLoopCycle()
        self.arrivals: set[Arrival] = set()

    async def download(self, targets: Sequence[Target], deliver: Callable[[InstanceOutcome], Awaitable[None]]) -> None:
        """Download the object that has all `targets`, and deliver the outcome of each.

        Raises:
            ArchiveRefused, ArchiveUnreachable, DiskError, Interrupted: the run must stop.
        """
        key = targets[0].entry.package or targets[0].entry.key
        wanted = {target.entry.position or 0: target for target in targets}

        async def once(attempt: int) -> _UnpackingPackage | ChecksumMismatch:
            unpacking = _UnpackingPackage(self._incoming(key, wanted), self._committer, wanted, self._threads)
            self.arrivals.add(unpacking.arrival)
            is_complete = False
            try:
                await self._receive(key, targets[0], unpacking)
                is_complete = True
            except ChecksumMismatch as error:
                if attempt < _MOST_DOWNLOADS:
                    raise
                return error
            finally:
                if not is_complete:
                    self.arrivals.discard(unpacking.arrival)
                    await unpacking.discard()
            return unpacking

        try:
            found, attempts = await self._archive.retrier.attempt(f"the object {key}", once)
        except (RequestFailed, InstanceError, BundleError) as error:
            await self._fail(targets, error, deliver)
            return
        if isinstance(found, ChecksumMismatch):
            found.attempts = attempts
            await self._fail(targets, found, deliver)
            return
        staged = [(checked, wanted[position]) for position, checked in found.ready.items()]
        try:
            for outcome in await self._committer.commit(staged, attempts=attempts) if staged else []:
                found.arrival.is_delivered(outcome.size_bytes)
                await deliver(outcome)
        finally:
            self.arrivals.discard(found.arrival)
        for position, target in wanted.items():
            if position not in found.ready:
                absent = NotInBundle(f"the object {key} does not contain it")
                why = found.failures.get(position, absent)
                why.attempts = attempts
                await deliver(failed(target, why, Outcome.FAILED if why is absent else None))

    @staticmethod
    async def _fail(
        targets: Iterable[Target],
        error: RequestFailed | InstanceError | BundleError,
        deliver: Callable[[InstanceOutcome], Awaitable[None]],
    ) -> None:
        for target in targets:
            await deliver(failed(target, error, Outcome.FAILED))

    async def _receive(self, key: str, target: Target, unpacking: _UnpackingPackage) -> None:
        reader = BundleReader()
        async with self._archive.open(target.series_uid, Entry(key)) as body:
            async for chunk in body.chunks():
                async for piece in self._archive.retrier.paced(chunk):
                    await self._loop_cycle.passed()
                    await unpacking.follow(reader.feed(piece))
        await unpacking.follow(reader.close())

    def _incoming(self, key: str, wanted: Mapping[int, Target]) -> Callable[[int], Incoming]:
        def make(position: int) -> Incoming:
            label = hashlib.sha256(f"{key}#{position}".encode()).hexdigest()[:32]
            return Incoming(self._partials, self._threads, f"{label}.zip-entry", wanted[position].most_bytes)

        return make
