"""Download the bundle of a Series: its entries become instances while it streams in, known by their content alone."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Final

from bulkdl.archive.base import Archive, Body, BundleForm
from bulkdl.errors import (
    AccessDenied,
    BundleError,
    InstanceError,
    InvalidInstance,
    NotFound,
    RequestFailed,
)
from bulkdl.errors import RequestRejected as Rejected
from bulkdl.fetch.arrivals import Arrival
from bulkdl.fetch.committer import Checked, Committer, Seen, listed_otherwise, md5_mismatch
from bulkdl.fetch.download import Incoming
from bulkdl.fetch.targets import Target
from bulkdl.fetch.threads import Threads
from bulkdl.model.bundles import BundleEvent, EntryData, EntryEnded, EntryStarted
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.model.preamble import is_dicom
from bulkdl.runtime.load import WorkPerLoopCycle
from bulkdl.store.bundles import BundleReader, parse_md5hashes
from bulkdl.store.partials import Partials

if TYPE_CHECKING:
    from bulkdl.archive.dicomweb.multipart import MultipartReader

_MOST_ATTEMPTS: Final = 2
_MOST_TEXT_BYTES: Final = 64 << 20


def _multipart_reader(body: Body) -> MultipartReader:
    from bulkdl.archive.dicomweb.multipart import MultipartReader  # noqa: PLC0415 - late: most archives send zips

    return MultipartReader(body.headers.get("Content-Type", ""))


READERS: Final[Mapping[BundleForm, Callable[[Body], BundleReader | MultipartReader]]] = {
    BundleForm.ZIP: lambda _: BundleReader(),
    BundleForm.MULTIPART: _multipart_reader,
}
"""What makes the reader of a response, for each form of a bundle that can be read."""


class _Unpacking:
    """A bundle while it streams in. `ready`: the valid instances by UID. Names only match the rows of md5hashes.csv."""

    def __init__(
        self,
        incoming: Callable[[str, int], Incoming],
        committer: Committer,
        work: SeriesWork,
        wanted: Mapping[str, Target],
        passed: Callable[[int], Awaitable[None]],
    ) -> None:
        self.ready: dict[str, tuple[Checked, Target]] = {}
        self.passed = passed
        self._incoming = incoming
        self._committer = committer
        self._series_uid = work.series_uid
        self._wanted = wanted
        self._entry: Incoming | None = None
        self._name = ""
        self._by_name: dict[str, str] = {}
        self._checksums: dict[str, str] = {}
        self._writing: list[asyncio.Future[int]] = []
        self.arrival = Arrival()

    async def follow(self, events: Iterable[BundleEvent]) -> None:
        """Take in what the next bytes contain. Raises BundleError if the bundle is damaged."""
        for event in events:
            match event:
                case EntryStarted():
                    self._name = event.name
                    self._entry = self._incoming(self._series_uid, event.position)
                case EntryData() if self._entry is not None:
                    await self._entry.take(event.data)
                    self.arrival.add(len(event.data))
                case EntryEnded() if self._entry is not None:
                    entry, self._entry = self._entry, None
                    await self.passed(0)  # a quarter of a megabyte may have thirty small instances
                    await self._finish(entry)
                    self.arrival.ends_other()
        while self._writing:
            await self._writing.pop()

    async def compare_checksums(self) -> None:
        """Compare the instances with the checksums that the bundle contains; quarantine those that differ."""
        for name, checksum in self._checksums.items():
            sop_uid = self._by_name.get(name)
            if sop_uid is None or sop_uid not in self.ready:
                continue
            checked, _ = self.ready[sop_uid]
            md5 = await self._committer.md5_of(checked)
            if (mismatch := md5_mismatch(md5, bytes.fromhex(checksum))) is not None:
                del self.ready[checked.sop_uid]
                await self._committer.quarantine(checked, mismatch)

    async def _finish(self, entry: Incoming) -> None:
        content = entry.in_memory()
        if content is not None and not is_dicom(content):
            if self._name == "md5hashes.csv" and len(content) <= _MOST_TEXT_BYTES:
                self._checksums = parse_md5hashes(content.decode("utf-8", errors="replace"))
            return
        try:
            await self._take(await self._committer.check(await entry.complete(), None, Seen()))
        except InstanceError:
            pass  # it is in quarantine, and will be downloaded by itself
        finally:
            await entry.drop()

    async def _take(self, checked: Checked) -> None:
        target = self._wanted.get(checked.sop_uid)
        if target is None or checked.series_uid != self._series_uid:
            await self._committer.discard(checked)
        elif checked.sop_uid in self.ready:
            await self._committer.quarantine(checked, InvalidInstance("the bundle contains this instance twice"))
        elif (mismatch := listed_otherwise(target.entry, checked.digests)) is not None:
            await self._committer.quarantine(checked, mismatch)
        else:
            if (writing := self._committer.stage(checked)) is not None:
                self._writing.append(writing)
            self.ready[checked.sop_uid] = (checked.staged(target), target)
            self.arrival.ends_instance()
            self._by_name[self._name] = checked.sop_uid

    async def drop(self) -> None:
        """Discard an entry that is not complete, and wait for those that are being written."""
        await asyncio.gather(*self._writing, return_exceptions=True)
        if self._entry is not None:
            await self._entry.drop()
            self._entry = None


class BundleDownloader:
    """Downloads the bundles of one archive into one mirror."""

    def __init__(self, archive: Archive, partials: Partials, committer: Committer, threads: Threads) -> None:
        self._archive = archive
        self._partials = partials
        self._committer = committer
        self._threads = threads
        self._loop_cycle = WorkPerLoopCycle()
        self._begun = count()
        self.arrivals: set[Arrival] = set()

    def can_download(self, work: SeriesWork) -> bool:
        """Whether the Series may come as a bundle: all UIDs must be known to find its entries in it."""
        has_reader = self._archive.capabilities.bundle in READERS
        return has_reader and all(entry.sop_uid is not None for entry in work.entries)

    async def download(
        self,
        work: SeriesWork,
        targets: Iterable[Target],
        deliver: Callable[[InstanceOutcome], Awaitable[None]],
    ) -> frozenset[str]:
        """Download a Series by its bundle; returns the keys of the entries that it contained, each of them delivered.

        The caller downloads the others one by one. Raises what must stop the run, as `Downloader.download` does.
        """
        wanted = {str(target.sop_uid): target for target in targets}
        has_md5 = any(entry.md5 is not None for entry in work.entries)
        incoming = partial(self._incoming, with_md5=self._archive.capabilities.knows_md5s or has_md5)
        # The bundle that was begun first is unpacked first: one after the other ends, and makes room for another one.
        passed = partial(self._loop_cycle.passed, rank=next(self._begun))
        done: set[str] = set()

        async def once(attempt: int) -> None:
            unpacking = _Unpacking(incoming, self._committer, work, wanted, passed)
            self.arrivals.add(unpacking.arrival)
            try:
                await self._unpack(work, unpacking, is_last=attempt >= _MOST_ATTEMPTS)
                ready = list(unpacking.ready.values())
                for outcome in await self._committer.commit(ready, attempts=attempt) if ready else []:
                    done.add(outcome.key)
                    unpacking.arrival.is_delivered(outcome.size_bytes)
                    await deliver(outcome)
            finally:
                self.arrivals.discard(unpacking.arrival)

        with suppress(RequestFailed, BundleError):  # no attempt is left: its entries are downloaded one by one
            await self._archive.retrier.attempt(f"the bundle of series {work.series_uid}", once)
        return frozenset(done)

    async def _unpack(self, work: SeriesWork, unpacking: _Unpacking, *, is_last: bool) -> None:
        """Receive as much as possible. Raises RequestFailed, BundleError: it is nothing, and worth another attempt."""
        try:
            await self._receive(work, unpacking)
        except (RequestFailed, BundleError) as error:
            is_final = is_last or isinstance(error, (AccessDenied, NotFound, Rejected))
            if not unpacking.ready and not is_final:
                raise
        finally:
            await unpacking.drop()

    async def _receive(self, work: SeriesWork, unpacking: _Unpacking) -> None:
        form = self._archive.capabilities.bundle or BundleForm.ZIP
        async with self._archive.open_bundle(work.series_uid, study_uid=work.study_uid) as body:
            reader = READERS[form](body)
            async for chunk in body.chunks():
                async for piece in self._archive.retrier.paced(chunk):
                    await unpacking.passed(len(piece))
                    await unpacking.follow(reader.feed(piece))
        await unpacking.follow(reader.close())
        await unpacking.compare_checksums()

    def _incoming(self, series_uid: str, position: int, *, with_md5: bool) -> Incoming:
        label = hashlib.sha256(f"{series_uid}/{position}".encode()).hexdigest()[:32]
        return Incoming(self._partials, self._threads, f"{label}.zip-entry", with_md5=with_md5)
