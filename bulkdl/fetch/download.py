"""One instance, or the zip of one Series, from the archive to sealed instances: request, stream, repeat.

A request's permit is held until the instance has its name, so a process that dies loses no more than was in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive, Body, Rest
from bulkdl.errors import (
    AccessDenied,
    BundleError,
    ChecksumMismatch,
    InstanceError,
    Interrupted,
    InvalidAtSource,
    InvalidInstance,
    NotFound,
    RequestFailed,
    RequestRejected,
    UnexpectedAnswer,
)
from bulkdl.fetch.commit import Committer, Prepared, Seen, Target, compare_md5, invalid_at_source
from bulkdl.fetch.digests import Hashing
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.model.preamble import is_dicom
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.states import Outcome
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.loop_cycle import OnePerLoopCycle
from bulkdl.store.bundles import BundleEvent, BundleReader, EntryData, EntryEnded, EntryStarted, parse_md5hashes
from bulkdl.store.files import MirrorFiles
from bulkdl.store.partials import KeptPartial, PartialStream, partial_name

# Bodies up to here stay in memory until they are written once; larger ones go to a partial file as they come.
MEMORY_BYTES: Final = 4 << 20
CHECKPOINT_BYTES: Final = 16 << 20  # of a large body are synced, and noted, at a time
_MOST_BUNDLE_ATTEMPTS: Final = 2
_MOST_TEXT_ENTRY_BYTES: Final = 64 << 20


def targets_of(work: SeriesWork) -> list[Target]:
    """Where the instances that a Series owes belong, in order."""
    return [
        Target(work.series_uid, entry, work.folder, name) for entry, name in zip(work.entries, work.names, strict=True)
    ]


class Incoming:
    """The bytes of one instance on their way in: in memory while they are few, else streamed to a partial file.

    Where the archive says which object it is (`is_of`), the partial file outlives a failure and the process: it is
    synced now and then, with a note beside it of how far.
    """

    def __init__(self, files: MirrorFiles, committer: Committer, name: str) -> None:
        self._files = files
        self._committer = committer
        self.name = name
        self._pieces: list[bytes | memoryview] = []
        self._in_memory = 0
        self._stream: PartialStream | None = None
        self._hashing = Hashing()
        self._written = 0
        self._kept: KeptPartial | None = None

    async def resume(self, kept: KeptPartial) -> None:
        """Go on after what was kept.

        Raises:
            DiskError: it cannot be read or written.
        """
        self._stream = await self._files.partials.open_stream(self.name, keep_bytes=kept.synced_bytes)
        self._kept = kept
        with disk_errors("read", self._stream.path):
            await self._committer.in_thread(self._hashing.update_from, self._stream.path)
        self._written = kept.synced_bytes

    def is_of(self, source: str, validator: str, length: int) -> None:
        """What comes is, from its first byte, the object of `length` bytes that `validator` names at `source`."""
        self._kept = KeptPartial(source, validator, length, 0)

    async def take(self, chunk: bytes | memoryview) -> None:
        """The next bytes.

        Raises:
            DiskError: they cannot be written.
        """
        self._pieces.append(chunk)
        self._in_memory += len(chunk)
        if self._stream is None and self._in_memory > MEMORY_BYTES:
            self._stream = await self._files.partials.open_stream(self.name)
        if self._stream is not None and self._in_memory >= 1 << 20:
            await self._write(self._stream)
            if self._kept is not None and self._written - self._kept.synced_bytes >= CHECKPOINT_BYTES:
                await self._checkpoint(self._stream, self._kept)

    async def _write(self, stream: PartialStream) -> None:
        pieces, size_bytes = self._pieces, self._in_memory
        self._pieces, self._in_memory = [], 0
        await stream.write(pieces, watch=self._hashing.update)
        self._written += size_bytes

    async def _checkpoint(self, stream: PartialStream, kept: KeptPartial) -> None:
        await stream.checkpoint()
        self._kept = replace(kept, synced_bytes=self._written)
        await self._committer.in_thread(self._files.partials.note, self.name, self._kept)

    async def keep(self) -> KeptPartial | None:
        """The bytes broke off: keep them for another attempt, where they can be resumed. `drop` is still due.

        Raises:
            DiskError: they cannot be written.
        """
        if self._stream is not None and self._kept is not None:
            await self._write(self._stream)
            await self._checkpoint(self._stream, self._kept)
            return self._kept
        return None

    def in_memory(self) -> bytes | None:
        """All bytes so far, if they are still in memory."""
        if self._stream is not None:
            return None
        if len(self._pieces) == 1 and isinstance(whole := self._pieces[0], bytes):
            return whole
        whole = b"".join(self._pieces)
        self._pieces = [whole]
        return whole

    async def prepare(self, expected: InstanceKey | None, seen: Seen) -> Prepared:
        """The bytes are complete: validate them; see `Committer.prepare`."""
        content = self.in_memory()
        if content is not None:
            return await self._committer.prepare(content, name=self.name, expected=expected, seen=seen)
        stream = self._stream
        assert stream is not None  # noqa: S101 - what is not in memory was streamed
        await self._write(stream)
        await stream.finish()
        self._stream = None
        if self._kept is not None and self._kept.synced_bytes:
            await self._committer.in_thread(self._files.partials.forget, self.name)
        return await self._committer.prepare_file(stream.path, self._hashing.digests(), expected=expected, seen=seen)

    async def drop(self) -> None:
        """Forget the bytes, but for what the last checkpoint keeps; safe after `prepare`."""
        self._pieces.clear()
        if self._stream is not None:
            await self._stream.abort(keep=self._kept is not None and self._kept.synced_bytes > 0)
            self._stream = None


class Downloader:
    """Fetches from one archive into one mirror."""

    def __init__(self, client: Archive, files: MirrorFiles, committer: Committer, retrier: Retrier) -> None:
        self._client = client
        self._files = files
        self._committer = committer
        self._retrier = retrier
        self._kept: dict[str, KeptPartial] = {}
        self._loop_cycle = OnePerLoopCycle()

    async def find_kept(self) -> None:
        """Look for what an earlier run kept; once, before the first instance.

        Raises:
            DiskError: the folder of partial files cannot be read.
        """
        self._kept = await self._committer.in_thread(self._files.partials.resumable)

    async def instance(self, target: Target) -> InstanceOutcome:
        """Fetch one instance by getSingleImage, as often as it takes, and tell how it ended.

        Raises:
            AccessDenied: the archive refuses; the run must stop.
            ArchiveUnreachable, DiskError, Interrupted: the run must stop.
        """
        seen = Seen()
        name = partial_name(target.key.series_uid, target.key.sop_uid)

        async def once(_: int) -> InstanceOutcome:
            incoming = Incoming(self._files, self._committer, name)
            try:
                await self._receive_instance(target.key, name, incoming)
                content = incoming.in_memory()
                if content is not None:
                    await self._loop_cycle.passed()
                    return await self._committer.seal(content, target, name=name, seen=seen)
                return await self._committer.commit(await incoming.prepare(target.key, seen), target)
            except (InvalidInstance, InvalidAtSource) as error:
                raise await self._judged(error, target.key, seen) from error
            finally:
                await incoming.drop()

        try:
            outcome, attempts = await self._retrier.attempt(f"instance {target.key.sop_uid}", once)
        except AccessDenied:
            raise
        except (RequestFailed, InstanceError) as error:
            return failed(target, error)
        return replace(outcome, attempts=attempts)

    async def _receive_instance(self, key: InstanceKey, name: str, incoming: Incoming) -> None:
        """One request: for the whole, or for the rest of what was kept."""
        source, kept = self._client.url, self._kept.get(name)
        rest = None
        is_there = kept is not None and (self._files.partials.size(name) or 0) >= kept.synced_bytes
        if kept is not None and is_there and kept.source == source and kept.synced_bytes < kept.length:
            rest = Rest(kept.synced_bytes, kept.length, kept.validator)
        try:
            async with self._client.open(key.series_uid, Entry(key.sop_uid, key.sop_uid), rest=rest) as body:
                if body.start and kept is not None:
                    del self._kept[name]
                    await incoming.resume(kept)
                else:
                    await self._forget(name)
                    if body.validator is not None and body.length is not None and body.length > MEMORY_BYTES:
                        incoming.is_of(source, body.validator, body.length)
                await self._receive(body, incoming)
        except (RequestFailed, Interrupted) as error:
            if (kept := await incoming.keep()) is not None:
                self._kept[name] = kept
            elif rest is not None and isinstance(error, (RequestRejected, UnexpectedAnswer)):
                await self._forget(name)  # it does not understand ranges, or the object has changed
                raise UnexpectedAnswer(f"asked for the rest of an instance: {error}") from error
            raise

    async def _forget(self, name: str) -> None:
        if self._kept.pop(name, None) is not None:
            await self._committer.in_thread(self._files.partials.forget, name)

    async def _judged(self, error: InvalidInstance | InvalidAtSource, key: InstanceKey, seen: Seen) -> InstanceError:
        """What the archive's own checksum says of unsound bytes: are they its own, or were they damaged on the way?"""
        archives = await self._client.checksum(key.series_uid, Entry(key.sop_uid, key.sop_uid))
        if archives is None or seen.md5 is None:
            return error
        if archives != seen.md5:
            mismatch = ChecksumMismatch(f"MD5 {seen.md5.hex()} came, the archive says {archives.hex()}; {error}")
            seen.forget()
            return mismatch
        if isinstance(error, InvalidAtSource) or self._committer.accepts_unsound:
            return error  # what may be taken in is, when the same bytes come again
        return invalid_at_source(error)

    async def _receive(self, body: Body, incoming: Incoming) -> None:
        if body.length is not None and body.length <= MEMORY_BYTES:
            content = await body.read()
            await self._retrier.received(len(content))
            await incoming.take(content)
        else:
            async for chunk in body.chunks():
                await self._retrier.received(len(chunk))
                await incoming.take(chunk)
        if (held := incoming.in_memory()) is not None:
            _refuse_what_is_no_file(held)

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
            unpacking = Unpacking(self._files, self._committer, work, wanted.keys() - brought)
            try:
                async with self._client.open_bundle(work.series_uid, study_uid=work.study_uid) as body:
                    async for chunk in body.chunks():
                        await self._retrier.received(len(chunk))
                        await self._loop_cycle.passed()
                        await unpacking.take(chunk)
                await unpacking.close()
            except AccessDenied:
                raise
            except (RequestFailed, BundleError) as error:
                is_last = attempt >= _MOST_BUNDLE_ATTEMPTS or isinstance(error, (NotFound, RequestRejected))
                if not unpacking.ready and not is_last:
                    raise
            finally:
                await unpacking.drop()
            if not unpacking.ready:
                return
            brought.update(unpacking.ready)
            ready = [(prepared, wanted[sop_uid]) for sop_uid, prepared in unpacking.ready.items()]
            for outcome in await self._committer.commit_all(ready):
                await deliver(replace(outcome, attempts=attempt))

        try:
            await self._retrier.attempt(f"the zip of series {work.series_uid}", once)
        except AccessDenied:
            raise
        except (RequestFailed, BundleError):
            pass  # no more attempts are allowed: what it would have brought is fetched singly
        return frozenset(brought)


def _refuse_what_is_no_file(content: bytes) -> None:
    """Tell an answer in words, or none, from a damaged file: a page or a document that calls itself DICOM.

    Raises:
        UnexpectedAnswer: it is one.
    """
    if not content:
        raise UnexpectedAnswer("an empty answer came where a DICOM file was due")
    if not is_dicom(content) and content[:256].lstrip()[:1] in {b"<", b"{", b"["}:
        raise UnexpectedAnswer("a text came where a DICOM file was due")


class Unpacking:
    """The zip of a Series while it streams in: entries become prepared instances, known by their content alone.

    `ready` holds the instances whose entries were complete and sound. Names in the zip serve one purpose: to match the
    rows of its md5hashes.csv.
    """

    def __init__(
        self, files: MirrorFiles, committer: Committer, work: SeriesWork, wanted: AbstractSet[SopInstanceUid]
    ) -> None:
        self.ready: dict[SopInstanceUid, Prepared] = {}
        self._files = files
        self._committer = committer
        self._series_uid = work.series_uid
        self._wanted = wanted
        self._reader = BundleReader()
        self._entry: Incoming | None = None
        self._name = ""
        self._by_name: dict[str, SopInstanceUid] = {}
        self._checksums: dict[str, str] = {}
        self._writing: list[asyncio.Future[int]] = []

    async def take(self, chunk: bytes) -> None:
        """The next bytes of the zip.

        Raises:
            BundleError: it is broken.
            DiskError: what is in it cannot be written.
        """
        await self._follow(self._reader.feed(chunk))
        while self._writing:
            await self._writing.pop()

    async def close(self) -> None:
        """The zip has ended; hold its checksums against what came.

        Raises:
            BundleError: it is cut.
        """
        await self._follow(self._reader.close())
        while self._writing:
            await self._writing.pop()
        for name, checksum in self._checksums.items():
            sop_uid = self._by_name.get(name)
            if sop_uid is None or sop_uid not in self.ready:
                continue
            prepared = self.ready[sop_uid]
            try:
                compare_md5(prepared.digests, bytes.fromhex(checksum))
            except ChecksumMismatch as error:
                del self.ready[sop_uid]
                await self._committer.in_thread(self._committer.put_aside, prepared.partial, sop_uid, error)

    async def _follow(self, events: Iterable[BundleEvent]) -> None:
        for event in events:
            match event:
                case EntryStarted():
                    self._name = event.name
                    label = hashlib.sha256(f"{self._series_uid}/{event.position}".encode()).hexdigest()[:32]
                    self._entry = Incoming(self._files, self._committer, f"{label}.zip-entry")
                case EntryData() if self._entry is not None:
                    await self._entry.take(event.data)
                case EntryEnded() if self._entry is not None:
                    entry, self._entry = self._entry, None
                    await self._finish(entry)

    async def _finish(self, entry: Incoming) -> None:
        content = entry.in_memory()
        if content is not None and not is_dicom(content):
            if self._name == "md5hashes.csv" and len(content) <= _MOST_TEXT_ENTRY_BYTES:
                self._checksums = parse_md5hashes(content.decode("utf-8", errors="replace"))
            return
        try:
            if content is not None and self._committer.is_quick(content):
                await self._take_quick(content, entry.name)
            else:
                await self._take_slow(await entry.prepare(None, Seen()))
        except InstanceError:
            pass  # it is in quarantine, and will be fetched singly
        finally:
            await entry.drop()

    async def _take_quick(self, content: bytes, name: str) -> None:
        prepared = self._committer.check_now(content, name=name, expected=None, seen=Seen())
        if (sop_uid := self._wanted_of(prepared)) is None:
            return
        if sop_uid in self.ready:
            await self._committer.in_thread(self._committer.put_aside, content, sop_uid, _twice())
            return
        self._writing.append(self._committer.write_soon(content, name=name))
        self._is_ready(sop_uid, prepared)

    async def _take_slow(self, prepared: Prepared) -> None:
        if (sop_uid := self._wanted_of(prepared)) is None:
            await self._committer.in_thread(prepared.partial.unlink)
        elif sop_uid in self.ready:
            await self._committer.in_thread(self._committer.put_aside, prepared.partial, sop_uid, _twice())
        else:
            self._is_ready(sop_uid, prepared)

    def _wanted_of(self, prepared: Prepared) -> SopInstanceUid | None:
        verdict = prepared.verdict
        if verdict is None or verdict.series_uid != self._series_uid or verdict.sop_uid not in self._wanted:
            return None
        return verdict.sop_uid

    def _is_ready(self, sop_uid: SopInstanceUid, prepared: Prepared) -> None:
        self.ready[sop_uid] = prepared
        self._by_name[self._name] = sop_uid

    async def drop(self) -> None:
        """Forget an entry that is not complete, and wait for those that are being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self._entry is not None:
            await self._entry.drop()
            self._entry = None


def _twice() -> InvalidInstance:
    return InvalidInstance("the zip holds this instance twice")


def failed(target: Target, error: RequestFailed | InstanceError) -> InstanceOutcome:
    """The outcome of an instance that was given up: quarantined if something unsound came, else failed."""
    outcome = Outcome.QUARANTINED if isinstance(error, InstanceError) else Outcome.FAILED
    return InstanceOutcome(
        series_uid=target.series_uid,
        key=target.entry.key,
        sop_uid=target.entry.sop_uid,
        outcome=outcome,
        attempts=error.attempts,
        error=error.code,
        message=str(error),
    )
