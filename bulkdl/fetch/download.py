"""One instance, or the zip of one Series, from the archive to sealed instances: request, stream, repeat.

A request's permit is held until the instance has its name, so a process that dies loses no more than was in flight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from bulkdl.archive.client import ArchiveClient, Body
from bulkdl.errors import (
    AccessDenied,
    BundleError,
    ChecksumMismatch,
    InstanceError,
    RequestFailed,
    RequestRejected,
    Unsound,
)
from bulkdl.fetch.sealing import Hashing, Prepared, Sealer, Seen, Target, compare_md5
from bulkdl.flow.patience import Patience
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.model.records import InstanceKey
from bulkdl.model.states import Outcome
from bulkdl.store.bundles import BundleEvent, BundleReader, EntryData, EntryEnded, EntryStarted, parse_md5hashes
from bulkdl.store.files import MirrorFiles, PartialStream, partial_name

# Bodies up to here stay in memory until they are written once; larger ones go to a partial file as they come.
MEMORY_BYTES: Final = 4 << 20
_MOST_BUNDLE_ATTEMPTS: Final = 2
_MOST_TEXT_ENTRY_BYTES: Final = 64 << 20
_PREAMBLE_BYTES: Final = 132


def targets_of(work: SeriesWork) -> list[Target]:
    """Where the instances that a Series owes belong, in order."""
    return [
        Target(InstanceKey(work.series_uid, sop_uid), work.folder, name)
        for sop_uid, name in zip(work.sop_uids, work.names, strict=True)
    ]


class Incoming:
    """The bytes of one instance on their way in: in memory while they are few, else streamed to a partial file."""

    def __init__(self, files: MirrorFiles, sealer: Sealer, name: str) -> None:
        self._files = files
        self._sealer = sealer
        self._name = name
        self._pieces: list[bytes] = []
        self._in_memory = 0
        self._stream: PartialStream | None = None
        self._hashing = Hashing()

    async def take(self, chunk: bytes) -> None:
        """The next bytes."""
        self._pieces.append(chunk)
        self._in_memory += len(chunk)
        if self._stream is None and self._in_memory > MEMORY_BYTES:
            self._stream = await self._files.open_partial_stream(self._name)
        if self._stream is not None and self._in_memory >= 1 << 20:
            await self._write(self._stream)

    async def _write(self, stream: PartialStream) -> None:
        content = b"".join(self._pieces)
        self._pieces.clear()
        self._in_memory = 0
        await self._sealer.in_thread(self._hashing.update, content)
        await stream.write(content)

    def in_memory(self) -> bytes | None:
        """All bytes so far, if they are still in memory."""
        if self._stream is not None:
            return None
        if len(self._pieces) > 1:
            self._pieces = [b"".join(self._pieces)]
        return self._pieces[0] if self._pieces else b""

    async def prepare(self, expected: InstanceKey | None, seen: Seen) -> Prepared:
        """The bytes are complete: validate them; see `Sealer.prepare`."""
        content = self.in_memory()
        if content is not None:
            return await self._sealer.prepare(content, name=self._name, expected=expected, seen=seen)
        stream = self._stream
        assert stream is not None  # noqa: S101 - what is not in memory was streamed
        await self._write(stream)
        await stream.finish()
        self._stream = None
        return await self._sealer.prepare_file(stream.path, self._hashing.digests(), expected=expected, seen=seen)

    async def drop(self) -> None:
        """Forget the bytes; safe after `prepare`."""
        self._pieces.clear()
        if self._stream is not None:
            await self._stream.abort()
            self._stream = None


class Downloader:
    """Fetches from one archive into one mirror."""

    def __init__(self, client: ArchiveClient, files: MirrorFiles, sealer: Sealer, patience: Patience) -> None:
        self._client = client
        self._files = files
        self._sealer = sealer
        self._patience = patience

    async def instance(self, target: Target) -> InstanceOutcome:
        """Fetch one instance by getSingleImage, as often as it takes, and tell how it ended.

        Raises:
            AccessDenied: the archive refuses; the run must stop.
            ArchiveUnreachable, DiskError, Interrupted: the run must stop.
        """
        seen = Seen()

        async def once(_: int) -> InstanceOutcome:
            incoming = Incoming(self._files, self._sealer, partial_name(target.key.series_uid, target.key.sop_uid))
            try:
                async with self._client.open_instance(target.key) as body:
                    await self._receive(body, incoming)
                return await self._sealer.commit(await incoming.prepare(target.key, seen), target)
            finally:
                await incoming.drop()

        try:
            outcome, attempts = await self._patience.attempt(f"instance {target.key.sop_uid}", once)
        except AccessDenied:
            raise
        except (RequestFailed, InstanceError) as error:
            return failed(target.key, error)
        return replace(outcome, attempts=attempts)

    async def _receive(self, body: Body, incoming: Incoming) -> None:
        if body.length is not None and body.length <= MEMORY_BYTES:
            content = await body.read()
            await self._patience.received(len(content))
            await incoming.take(content)
            return
        async for chunk in body.chunks():
            await self._patience.received(len(chunk))
            await incoming.take(chunk)

    async def bundle(
        self, work: SeriesWork, deliver: Callable[[InstanceOutcome], Awaitable[None]]
    ) -> frozenset[SopInstanceUid]:
        """Fetch a Series by its zip; the instances that it brought, each of them delivered.

        What it did not bring is the caller's to fetch singly: a zip that is refused, cut or broken is no failure of
        any instance.

        Raises:
            AccessDenied, ArchiveUnreachable, DiskError, Interrupted: the run must stop.
        """
        wanted = {target.key.sop_uid: target for target in targets_of(work)}
        brought: set[SopInstanceUid] = set()

        async def once(attempt: int) -> None:
            unpacking = Unpacking(self._files, self._sealer, work, wanted.keys() - brought)
            try:
                async with self._client.open_bundle(work.series_uid) as body:
                    async for chunk in body.chunks():
                        await self._patience.received(len(chunk))
                        await unpacking.take(chunk)
                await unpacking.close()
            except AccessDenied:
                raise
            except (RequestFailed, BundleError) as error:
                is_last = attempt >= _MOST_BUNDLE_ATTEMPTS or isinstance(error, RequestRejected)
                if not unpacking.ready and not is_last:
                    raise
            finally:
                await unpacking.drop()
            for sop_uid, prepared in unpacking.ready.items():
                outcome = await self._sealer.commit(prepared, wanted[sop_uid])
                brought.add(sop_uid)
                await deliver(replace(outcome, attempts=attempt))

        await self._patience.attempt(f"the zip of series {work.series_uid}", once)
        return frozenset(brought)


class Unpacking:
    """The zip of a Series while it streams in: entries become prepared instances, known by their content alone.

    `ready` holds the instances whose entries were complete and sound. Names in the zip serve one purpose: to match the
    rows of its md5hashes.csv.
    """

    def __init__(
        self, files: MirrorFiles, sealer: Sealer, work: SeriesWork, wanted: AbstractSet[SopInstanceUid]
    ) -> None:
        self.ready: dict[SopInstanceUid, Prepared] = {}
        self._files = files
        self._sealer = sealer
        self._series_uid = work.series_uid
        self._wanted = wanted
        self._reader = BundleReader()
        self._entry: Incoming | None = None
        self._name = ""
        self._by_name: dict[str, SopInstanceUid] = {}
        self._checksums: dict[str, str] = {}

    async def take(self, chunk: bytes) -> None:
        """The next bytes of the zip.

        Raises:
            BundleError: it is broken.
            DiskError: what is in it cannot be written.
        """
        await self._follow(self._reader.feed(chunk))

    async def close(self) -> None:
        """The zip has ended; hold its checksums against what came.

        Raises:
            BundleError: it is cut.
        """
        await self._follow(self._reader.close())
        for name, checksum in self._checksums.items():
            sop_uid = self._by_name.get(name)
            if sop_uid is None or sop_uid not in self.ready:
                continue
            prepared = self.ready[sop_uid]
            try:
                compare_md5(prepared.digests, bytes.fromhex(checksum))
            except ChecksumMismatch as error:
                del self.ready[sop_uid]
                await self._sealer.in_thread(self._sealer.put_aside, prepared.partial, sop_uid, error)

    async def _follow(self, events: Iterable[BundleEvent]) -> None:
        for event in events:
            match event:
                case EntryStarted():
                    self._name = event.name
                    label = hashlib.sha256(f"{self._series_uid}/{event.position}".encode()).hexdigest()[:32]
                    self._entry = Incoming(self._files, self._sealer, f"{label}.zip-entry")
                case EntryData() if self._entry is not None:
                    await self._entry.take(event.data)
                case EntryEnded() if self._entry is not None:
                    entry, self._entry = self._entry, None
                    await self._finish(entry)

    async def _finish(self, entry: Incoming) -> None:
        content = entry.in_memory()
        if content is not None and content[128:_PREAMBLE_BYTES] != b"DICM":
            if self._name == "md5hashes.csv" and len(content) <= _MOST_TEXT_ENTRY_BYTES:
                self._checksums = parse_md5hashes(content.decode("utf-8", errors="replace"))
            return
        try:
            prepared = await entry.prepare(None, Seen())
        except InstanceError:
            return  # it is in quarantine, and will be fetched singly
        finally:
            await entry.drop()
        verdict = prepared.verdict
        if verdict is None or verdict.series_uid != self._series_uid or verdict.sop_uid not in self._wanted:
            await self._sealer.in_thread(prepared.partial.unlink)
            return
        if verdict.sop_uid in self.ready:
            error = Unsound("the zip holds this instance twice")
            await self._sealer.in_thread(self._sealer.put_aside, prepared.partial, verdict.sop_uid, error)
            return
        self.ready[verdict.sop_uid] = prepared
        self._by_name[self._name] = verdict.sop_uid

    async def drop(self) -> None:
        """Forget an entry that is not complete."""
        if self._entry is not None:
            await self._entry.drop()
            self._entry = None


def failed(key: InstanceKey, error: RequestFailed | InstanceError) -> InstanceOutcome:
    """The outcome of an instance that was given up: quarantined if something unsound came, else failed."""
    outcome = Outcome.QUARANTINED if isinstance(error, InstanceError) else Outcome.FAILED
    return InstanceOutcome(
        series_uid=key.series_uid,
        sop_uid=key.sop_uid,
        outcome=outcome,
        attempts=error.attempts,
        error=error.code,
        message=str(error),
    )
