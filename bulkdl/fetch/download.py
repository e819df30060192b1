"""Download one entry: request, receive, commit, retry.

A request's permit is held until the instance has its final name, so a process that dies loses only what was in flight.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Final

from bulkdl.archive.base import Archive, Body, Rest, ThreadedBody
from bulkdl.errors import (
    ChecksumMismatch,
    InstanceError,
    Interrupted,
    InvalidAtSource,
    InvalidInstance,
    RequestFailed,
    RequestRejected,
    UnexpectedAnswer,
)
from bulkdl.fetch.arrivals import Arrival
from bulkdl.fetch.committer import Committer, Received, Seen, invalid_at_source, md5_mismatch
from bulkdl.fetch.digests import Hashing, tag_of_parts
from bulkdl.fetch.ranges import CHECKPOINT_BYTES, WRITE_BYTES, RangedDownload, fresh, in_parts
from bulkdl.fetch.stated_checksums import NOT_COMPARED, compare_stated, stated_checksums
from bulkdl.fetch.targets import Target, failed
from bulkdl.fetch.threads import Threads
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.preamble import is_dicom
from bulkdl.model.quantities import human_bytes
from bulkdl.model.settings import PARALLEL_ABOVE_BYTES
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.load import WorkPerLoopCycle
from bulkdl.runtime.tasks import Tasks, in_thread
from bulkdl.store.partials import KeptPartial, Partials, PartialStream, partial_name

# Smaller bodies stay in memory until they are written once; larger ones go to a partial file as they arrive.
MEMORY_BYTES: Final = 4 << 20
_SLICE_BYTES: Final = 4 << 20  # that a thread takes at a time
_MOST_UNSYNCED_BYTES: Final = 2 * CHECKPOINT_BYTES  # of a body that can be resumed, while the drive is slower
_REQUEST: Final = "x-amz-request-id"
_SHOWN_CHARACTERS: Final = 80
_PAGE: Final = "text/html"
_PAGE_TYPES: Final = (".html", ".htm")
_TAG_OF_PARTS: Final = re.compile(r'"[0-9a-f]{32}-[0-9]{1,5}"', re.ASCII)
_USUAL_PART_BYTES: Final = 8 << 20  # of uploads with the libraries of AWS
_NOT_COMPARED: Final = "compared by size alone: the archive has no MD5 of the whole file"


class Incoming:
    """A body while it is received: in memory while it is small, else streamed to a partial file.

    Where the archive identifies the object (`is_of`), the partial file outlives a failure and the process: it is synced
    now and then, with a note beside it of how far. It has at most `most_bytes`, or else what is free on the disk. What
    is too large raises UnexpectedAnswer, what cannot be read or written DiskError.
    """

    def __init__(
        self,
        partials: Partials,
        threads: Threads,
        name: str,
        most_bytes: int | None = None,
        *,
        with_md5: bool = True,
    ) -> None:
        self._partials = partials
        self._threads = threads
        self.name = name
        self._most_bytes = most_bytes
        self._pieces: list[bytes | memoryview] = []
        self._in_memory = 0
        self._stream: PartialStream | None = None
        self._with_md5 = with_md5
        self._written = 0
        self._kept: KeptPartial | None = None
        self.was_resumed = False
        self.tag: str | None = None
        self.request = ""  # the name that the archive gave the request, for those who run it
        self.stated: Mapping[str, bytes] = {}  # the checksums that the archive sends with the body
        self.arrival = Arrival()

    @cached_property
    def _hashing(self) -> Hashing:
        """The digests of a body in a file: one in memory is hashed as a whole."""
        return Hashing(with_md5=self._with_md5)

    async def resume(self, kept: KeptPartial) -> None:
        """Continue after the bytes that were kept."""
        self._stream = await self._partials.open_stream(self.name, keep_bytes=kept.synced_bytes)
        self._kept, self.tag = kept, kept.validator
        with disk_errors("read", self._stream.path):
            await self._threads(self._hashing.update_from, self._stream.path)
        self._written = kept.synced_bytes
        self.was_resumed = True

    def is_of(self, source: str, validator: str, length: int) -> None:
        """State that the body is, from its first byte, the object of `length` bytes that `validator` identifies."""
        self._kept = KeptPartial(source, validator, length, 0)

    def expect(self, length: int) -> None:
        """State how long the body says it is, 0 where it does not say."""
        self.arrival.expected_bytes = length
        if length > MEMORY_BYTES:
            _refuse_beyond(self._most_bytes or self._partials.free_bytes(), length)

    async def take(self, chunk: bytes | memoryview) -> None:
        """Add the next bytes."""
        if self._most_bytes is not None:
            _refuse_beyond(self._most_bytes, self._written + self._in_memory)
        self._pieces.append(chunk)
        self._in_memory += len(chunk)
        if self._stream is None and self._in_memory > MEMORY_BYTES:
            self._stream = await self._partials.open_stream(self.name)
        if self._stream is not None and self._in_memory >= WRITE_BYTES:
            await self._write(self._stream)
            if self._kept is not None and self._unsynced_bytes >= CHECKPOINT_BYTES:
                await self._checkpoint(self._stream, self._kept)

    async def receive(self, body: ThreadedBody) -> None:
        """Take all bytes of a large body: threads write and hash each piece while the cache of the core has it."""
        stream = self._stream = self._stream or await self._partials.open_stream(self.name)

        def take(piece: memoryview) -> None:
            self._hashing.update(piece)
            stream.append(piece)

        syncing: asyncio.Task[None] | None = None
        async with Tasks() as tasks:  # the drive writes while more is received
            while size_bytes := await body.receive(take, _SLICE_BYTES):
                self._written += size_bytes
                self.arrival.add(size_bytes)
                if syncing is not None and self._unsynced_bytes >= _MOST_UNSYNCED_BYTES:
                    await asyncio.wait([syncing])
                kept = self._kept if syncing is None or syncing.done() else None
                if kept is not None and self._unsynced_bytes >= CHECKPOINT_BYTES:
                    syncing = tasks.join(self._checkpoint(stream, kept), name="checkpoint")

    async def _write(self, stream: PartialStream) -> None:
        if self._most_bytes is None and self._kept is None:
            _refuse_beyond(self._partials.free_bytes(), self._written)
        pieces, size_bytes = self._pieces, self._in_memory
        self._pieces, self._in_memory = [], 0
        await stream.write(pieces, watch=self._hashing.update)
        self._written += size_bytes

    @property
    def _unsynced_bytes(self) -> int:
        return self._written - (self._kept.synced_bytes if self._kept is not None else 0)

    async def _checkpoint(self, stream: PartialStream, kept: KeptPartial) -> None:
        written = self._written  # before the sync: of what is written during it nothing is known
        await stream.checkpoint(self._threads)
        self._kept = replace(kept, synced_bytes=written)
        await in_thread(self._partials.note, self.name, self._kept, executor=self._threads)

    async def keep(self) -> KeptPartial | None:
        """Keep the bytes of a body that broke off, if they can be resumed. `drop` is still due."""
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

    async def complete(self) -> Received:
        """The body has ended: what was received, synced if it is in a file."""
        content, stream = self.in_memory(), self._stream
        if content is not None or stream is None:
            return Received(content or b"", self.name, tag=self.tag, with_md5=self._with_md5)
        await self._write(stream)
        await stream.finish()
        self._stream = None
        if self._kept is not None and self._kept.synced_bytes:
            await self._threads(self._partials.forget, self.name)
        return Received(stream.path, self.name, self._hashing.digests(), self.tag)

    async def drop(self) -> None:
        """Discard the bytes, except those that a checkpoint keeps; has no effect after `complete`."""
        self._pieces.clear()
        if self._stream is not None:
            await self._stream.abort(keep=self._kept is not None and self._kept.synced_bytes > 0)
            self._stream = None


class Downloader:
    """Downloads entries of one archive into one mirror."""

    def __init__(
        self,
        archive: Archive,
        partials: Partials,
        committer: Committer,
        threads: Threads,
        *,
        parallel_above_bytes: int = PARALLEL_ABOVE_BYTES,
    ) -> None:
        self._archive = archive
        self._partials = partials
        self._committer = committer
        self._threads = threads
        self._parallel_above_bytes = parallel_above_bytes
        self._sends_ranges = archive.capabilities.ranges
        self._whole: set[str] = set()  # the names of entries of which a range was refused
        self._kept: dict[str, KeptPartial] = {}
        self._loop_cycle = WorkPerLoopCycle()
        self.arrivals: set[Arrival] = set()

    @property
    def is_behind(self) -> bool:
        """Whether so many bodies have arrived that further requests would only let more of them wait."""
        return self._loop_cycle.is_behind

    async def find_kept(self) -> None:
        """Find the partial files that an earlier run kept; once, before the first download."""
        self._kept = await self._threads(self._partials.resumable)

    async def download(self, target: Target) -> InstanceOutcome:
        """Download one entry, with as many attempts as it takes, and return how it ended.

        Raises:
            ArchiveRefused, ArchiveUnreachable, DiskError, Interrupted: the run must stop.
        """
        seen = Seen()
        name = partial_name(target.series_uid, target.entry.key)

        async def once(attempt: int) -> InstanceOutcome:
            with_md5 = self._archive.capabilities.knows_md5s or target.entry.md5 is not None
            incoming = Incoming(self._partials, self._threads, name, target.most_bytes, with_md5=with_md5)
            self.arrivals.add(incoming.arrival)
            try:
                if self._comes_in_ranges(target, name):
                    received = await self._receive_in_ranges(target, incoming)
                else:
                    await self._request(target, incoming)
                    received = await incoming.complete()
                if incoming.was_resumed:
                    await self._compare(received, target)
                if isinstance(received.source, bytes):
                    await self._loop_cycle.passed(len(received.source))
                tag = received.tag if target.entry.md5 is None else None
                notes = await self._compare_tag(received, tag) if tag is not None else ()
                if target.entry.md5 is None and incoming.stated:
                    is_compared = await self._threads(compare_stated, received.source, incoming.stated)
                    notes = () if is_compared else (NOT_COMPARED,)
                outcome = await self._committer.take(received, target, seen, attempts=attempt)
                return outcome._replace(notes=outcome.notes + notes) if notes else outcome
            except (InvalidInstance, InvalidAtSource) as error:
                raise await self._judged(error, target, seen) from error
            except ChecksumMismatch as error:
                if incoming.request:
                    error.args = (f"{error} (request {shortened(one_line(incoming.request), _SHOWN_CHARACTERS)})",)
                raise
            finally:
                self.arrivals.discard(incoming.arrival)
                await incoming.drop()

        try:
            outcome, _ = await self._archive.retrier.attempt(f"instance {target.entry.key}", once)
        except (RequestFailed, InstanceError) as error:
            return failed(target, error)
        return outcome

    def _comes_in_ranges(self, target: Target, name: str) -> bool:
        is_large = (target.entry.size_bytes or 0) > self._parallel_above_bytes
        return is_large and self._sends_ranges and name not in self._whole

    async def _receive_in_ranges(self, target: Target, incoming: Incoming) -> Received:
        """Receive an entry in parallel ranges: all of it, or what is missing of what was kept."""
        name = incoming.name
        source, above, length = self._archive.url, self._parallel_above_bytes, target.entry.size_bytes or 0
        kept = self._kept.pop(name, None)
        if kept is None or (kept.source, kept.length) != (source, length) or not self._partials.size(name):
            await self._threads(self._partials.forget, name)  # its note is not of the file that follows
            kept = fresh(source, length, above)
        download = RangedDownload(self._archive, self._partials, self._threads, target, name, in_parts(kept, above))
        self.arrivals.add(download.arrival)
        try:
            return await download.receive()
        except (RequestRejected, UnexpectedAnswer) as error:
            if not download.kept.validator:
                self._whole.add(name)
            await self._threads(self._partials.forget, name)  # or the object has changed
            raise UnexpectedAnswer(f"asked for a range of an instance: {error}") from error
        except (RequestFailed, Interrupted):
            if download.kept.synced_bytes:
                self._kept[name] = download.kept
            raise
        finally:
            incoming.stated = download.stated
            self.arrivals.discard(download.arrival)
            self._sends_ranges = self._sends_ranges and download.sends_ranges

    async def _compare_tag(self, received: Received, tag: str) -> tuple[str, ...]:
        """A note about an object that was uploaded in parts, unless the parts are of the usual size."""
        if not _TAG_OF_PARTS.fullmatch(tag):
            return ()
        is_same = await self._threads(tag_of_parts, received.source, _USUAL_PART_BYTES) == tag
        return () if is_same else (_NOT_COMPARED,)

    async def _compare(self, received: Received, target: Target) -> None:
        """Compare a file of two responses with the archive's checksum, where there is one."""
        checksum = target.entry.md5 or await self._archive.checksum(target.series_uid, target.entry)
        if checksum is not None and received.digests is not None and received.digests.md5 != checksum:
            raise ChecksumMismatch("the object changed while it was downloaded: its MD5 is not that of the archive")

    async def _request(self, target: Target, incoming: Incoming) -> None:
        """Send one request: for the whole entry, or for the rest of what was kept."""
        name, source, kept = incoming.name, self._archive.url, self._kept.get(incoming.name)
        rest = self._rest_of(name, kept)
        try:
            async with self._archive.open(target.series_uid, target.entry, rest=rest) as body:
                incoming.stated = stated_checksums(body.headers)
                if body.start and kept is not None:
                    del self._kept[name]
                    await incoming.resume(kept)
                else:
                    await self._forget(name)
                    incoming.tag = body.validator
                    incoming.request = body.headers.get(_REQUEST, "")
                    if body.validator is not None and body.length is not None and body.length > MEMORY_BYTES:
                        incoming.is_of(source, body.validator, body.length)
                if target.is_plain:
                    _refuse_page(body, target)
                await self._receive(body, incoming)
                if not target.is_plain and (content := incoming.in_memory()) is not None:
                    _refuse_text(content)
        except (RequestFailed, Interrupted) as error:
            if (kept := await incoming.keep()) is not None:
                self._kept[name] = kept
            elif rest is not None and isinstance(error, (RequestRejected, UnexpectedAnswer)):
                await self._forget(name)  # the archive does not support ranges, or the object has changed
                raise UnexpectedAnswer(f"asked for the rest of an instance: {error}") from error
            raise

    def _rest_of(self, name: str, kept: KeptPartial | None) -> Rest | None:
        if kept is None or kept.source != self._archive.url or kept.part_bytes or kept.synced_bytes >= kept.length:
            return None
        if (self._partials.size(name) or 0) < kept.synced_bytes:
            return None
        return Rest(kept.synced_bytes, kept.length, kept.validator)

    async def _forget(self, name: str) -> None:
        if self._kept.pop(name, None) is not None:
            await self._threads(self._partials.forget, name)

    async def _judged(self, error: InvalidInstance | InvalidAtSource, target: Target, seen: Seen) -> InstanceError:
        """Compare invalid bytes with the archive's own checksum: does it hold them, or were they damaged on the way?"""
        if target.entry.md5 is not None:
            return error  # they were compared before
        checksum = await self._archive.checksum(target.series_uid, target.entry)
        if checksum is None or seen.digests is None:
            return error
        if (mismatch := md5_mismatch(seen.digests.md5, checksum)) is not None:
            seen.digests = None  # damaged on the way, it says nothing about the archive
            return ChecksumMismatch(f"{mismatch}; {error}")
        if isinstance(error, InvalidAtSource) or self._committer.accepts_unsound:
            return error  # accepted when the same bytes arrive again
        at_source = invalid_at_source(error)
        await self._committer.confirm(target, at_source)
        return at_source

    async def _receive(self, body: Body, incoming: Incoming) -> None:
        retrier = self._archive.retrier
        incoming.expect(body.start + (body.length or 0))
        threaded = body.threaded if not retrier.is_paced else None
        if body.length is not None and body.length <= MEMORY_BYTES and not retrier.is_paced:
            incoming.arrival.reads(body)
            await incoming.take(await body.read(MEMORY_BYTES))
        elif threaded is not None:
            await incoming.receive(threaded)
        else:
            async for chunk in body.chunks():
                async for piece in retrier.paced(chunk):
                    await incoming.take(piece)
                    incoming.arrival.add(len(piece))


def _refuse_beyond(most_bytes: int, size_bytes: int) -> None:
    if size_bytes > most_bytes:
        raise UnexpectedAnswer(f"the response is larger than {human_bytes(most_bytes)}, more than is plausible or free")


def _refuse_page(body: Body, target: Target) -> None:
    """Tell a page in the place of a file, of a login or of maintenance, from the file."""
    if body.content_type == _PAGE and not (target.name or "").casefold().endswith(_PAGE_TYPES):
        raise UnexpectedAnswer("the response is a page, expected a file")


def _refuse_text(content: bytes) -> None:
    """Tell an empty answer, or a page or document that is labelled DICOM, from a damaged file."""
    if not content:
        raise UnexpectedAnswer("the response is empty, expected a DICOM file")
    if not is_dicom(content) and content[:256].lstrip()[:1] in {b"<", b"{", b"["}:
        raise UnexpectedAnswer("the response is a text, expected a DICOM file")
