"""A complete worker: takes Series that owe instances, and delivers outcomes. One event loop, one archive, one mirror.

It requests, streams, hashes, validates, writes, syncs and renames; a body never leaves it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Self

from bulkdl.archive.base import Archive
from bulkdl.archive.profiles import Profile
from bulkdl.archive.routed import part_of, parts_of
from bulkdl.dicom.validation import load_pydicom
from bulkdl.errors import Interrupted
from bulkdl.fetch.arrivals import Arrival, total
from bulkdl.fetch.bundle import BundleDownloader
from bulkdl.fetch.committer import Committer
from bulkdl.fetch.digests import digests_of_file
from bulkdl.fetch.download import Downloader
from bulkdl.fetch.long_work import LongWork
from bulkdl.fetch.packed_series import PackedDownloader
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.plain_files import PlainFileValidator
from bulkdl.fetch.shares import Share
from bulkdl.fetch.targets import Target, targets_of, uid_of_file, uid_of_header
from bulkdl.fetch.threads import Threads
from bulkdl.fetch.transport_choice import TransportChooser
from bulkdl.model.access import Access
from bulkdl.model.events import ArchiveDown, ArchiveUp, Retrying, RunContext
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.attempts import Retrier, RetryListener, RetryPolicy
from bulkdl.runtime.concurrency import FIRST_LIMIT, Limiter
from bulkdl.runtime.load import CpuLoad, WorkPerLoopCycle
from bulkdl.runtime.rates import ByteRate
from bulkdl.runtime.tally import Tally
from bulkdl.runtime.tasks import run_pool, running_alongside
from bulkdl.store.files import MirrorFiles

Deliver = Callable[[InstanceOutcome], Awaitable[None]]
GiveBack = Callable[[SeriesUid, int], None]
"""What takes back work: so many instances of a Series are still owed."""

DEFAULT_CEILING: Final = 256
_SPARE_JOBS: Final = 4  # so that permits are used while some jobs wait between attempts
_SINGLES_AFTER_A_BUNDLE: Final = 8
_LOOK_SECONDS: Final = 0.1
_SERIES_UNANSWERED: Final = 8  # of so many Series requests are sent to an archive that answers none


@dataclass(frozen=True, slots=True)
class Learned:
    """What a worker has measured of an archive, for one that joins: its limit, and the costs of transports."""

    limit: int
    chooser: TransportChooser


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """All that a worker needs. It can be sent to another process."""

    profile: Profile
    access: Access
    root: Path
    fetch: FetchSettings
    share: Share
    run_id: int = 0
    learned: Learned | None = None


class Traffic(NamedTuple):
    """The requests and retries so far, the requests in flight now, how many may be, and what has arrived unfinished.

    What is unfinished is that of `fetch.arrivals.Unfinished`.
    """

    requests: int = 0
    retries: int = 0
    in_flight: int = 0
    limit: int = 0
    unfinished_bytes: int = 0
    unfinished_instances: float = 0.0
    awaited_bytes: int = 0
    awaited_instances: int = 0


def traffic_of(archive: Archive) -> Traffic:
    """What is requested of an archive now, of all its parts."""
    retriers = [part.retrier for part in parts_of(archive)]
    return Traffic(
        archive.requests,
        sum(retrier.retries for retrier in retriers),
        sum(retrier.permits.in_use for retrier in retriers),
        sum(retrier.permits.limit for retrier in retriers),
    )


def make_retrier(settings: WorkerSettings, context: RunContext) -> Retrier:
    """The limits and the retry policy of `settings`. The sink of the run gets its retries and outages."""
    now, share = time.monotonic(), settings.share

    fixed = settings.fetch.concurrency is not None
    first = max(FIRST_LIMIT, settings.learned.limit // 2 if settings.learned is not None else 0)
    return Retrier(
        limiter=Limiter(ceiling=share.ceiling, first=share.ceiling if fixed else first, now=now),
        policy=RetryPolicy(
            max_attempts=settings.fetch.max_attempts,
            give_up_after_seconds=settings.fetch.give_up_after_seconds,
            wait_scale=settings.fetch.wait_scale,
        ),
        stop=context.stop,
        rate=ByteRate(share.rate_bytes, now=now) if share.rate_bytes else None,
        listener=RetryListener(
            retry=lambda what, error, *further: context.sink(Retrying(what, error.code, str(error), *further)),
            outage=lambda error, after: context.sink(ArchiveDown(str(error), after) if error else ArchiveUp(after)),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """One archive that instances come from, and what downloads them."""

    archive: Archive
    downloader: Downloader
    bundles: BundleDownloader
    packages: PackedDownloader

    @property
    def arrivals(self) -> set[Arrival]:
        """What arrives of it now."""
        return self.downloader.arrivals | self.bundles.arrivals | self.packages.arrivals


class _Began(NamedTuple):
    """When a download began, and how many permits were in use then."""

    at: float
    in_flight: int

    @classmethod
    def now(cls, archive: Archive) -> Self:
        return cls(time.monotonic(), archive.retrier.permits.in_use)


class _Job(NamedTuple):
    """A download of so many instances of a Series."""

    run: Callable[[], Awaitable[None]]
    series_uid: SeriesUid
    instances: int


class Worker:
    """One worker. Others may share `archive` and its retrier. `load` is that of its process."""

    def __init__(
        self, settings: WorkerSettings, archive: Archive, threads: Threads, load: CpuLoad | None = None
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._threads = threads
        self._decoders = Decoders()
        self._files = MirrorFiles(settings.root, private=settings.fetch.private)
        self._plain = PlainFileValidator(settings.fetch.validation)
        committing = self._files, threads, self._decoders, settings.fetch, settings.run_id
        self.committer = Committer(*committing, plain=self._plain)
        self._sources = {part.url: self._make_source(part) for part in parts_of(archive)}
        learned = settings.learned
        fixed, once = settings.fetch.transport, settings.fetch.once
        self._chooser = learned.chooser if learned is not None else TransportChooser(fixed, once=once)
        self._workers = settings.share.workers
        self._load = load or CpuLoad()
        self._loop_cycle = WorkPerLoopCycle()  # begins no more in a cycle than one can process
        self._under_way = Tally[SeriesUid]()  # jobs by Series
        self._long_work = LongWork()
        self._room_changed = asyncio.Event()
        for source in self._sources.values():
            source.archive.retrier.on_limit = self._room_changed.set

    def _make_source(self, archive: Archive) -> _Source:
        partials, committer, above = self._files.partials, self.committer, self._settings.fetch.parallel_above_bytes
        return _Source(
            archive,
            Downloader(archive, partials, committer, self._threads, parallel_above_bytes=above),
            BundleDownloader(archive, partials, committer, self._threads),
            PackedDownloader(archive, partials, committer, self._threads),
        )

    def _source(self, key: str) -> _Source:
        """Where the entry of that key comes from."""
        return self._sources[part_of(self._archive, key).url]

    def learned(self) -> Learned:
        """What it has measured so far."""
        return Learned(self._archive.retrier.permits.limit, self._chooser.twin())

    def prefers_singles(self, work: SeriesWork) -> bool:
        """Whether the instances of this Series come one by one, as far as that is known."""
        may_be_bundle = self._source(work.entries[0].key).bundles.can_download(work)
        return not may_be_bundle or self._chooser.prefers_singles(work)

    def traffic(self) -> Traffic:
        """What it does now."""
        unfinished = total(arrival for source in self._sources.values() for arrival in source.arrivals)
        return traffic_of(self._archive)._replace(
            unfinished_bytes=unfinished.size_bytes,
            unfinished_instances=unfinished.instances,
            awaited_bytes=unfinished.awaited_bytes,
            awaited_instances=unfinished.awaited,
        )

    def share(self, share: Share) -> None:
        """Use no more than `share` from now on."""
        self._workers = share.workers
        for source in self._sources.values():
            source.archive.retrier.share(share.ceiling, rate_bytes=share.rate_bytes)

    async def run(
        self, items: AsyncIterator[SeriesWork], deliver: Deliver, *, give_back: GiveBack, expects_work: bool = True
    ) -> None:
        """Download everything that `items` owe and pass each outcome to `deliver`, until they end.

        A worker that `expects_work` prepares for it at once, another one with the first item. Where an archive answers
        nothing, the rest of a Series goes to `give_back`, so that requests for others show whether it is away.

        Raises:
            BulkdlError: an error that must stop the run; delivered outcomes stay valid.
        """
        is_begun = asyncio.Event()
        if expects_work:
            is_begun.set()

        async def prepare() -> None:
            await is_begun.wait()
            await self._threads(load_pydicom)  # while the first requests are in flight

        async def jobs() -> AsyncIterator[_Job]:
            await self._wait_for_room()
            async for work in items:
                is_begun.set()
                targets = await self._adopt(targets_of(work), deliver)
                size_bytes, rest = int(work.mean_bytes), len(targets)
                for job in self._jobs_of(work, targets, deliver):
                    self._under_way[job.series_uid] += 1
                    rest -= job.instances
                    yield job
                    await self._loop_cycle.passed(size_bytes)
                    if not await self._wait_for_room():
                        give_back(work.series_uid, rest)
                        break

        for source in self._sources.values():
            await source.downloader.find_kept()

        async def do(job: _Job) -> None:
            try:
                with suppress(Interrupted):  # waiting entries stay owed, requests in flight finish
                    await job.run()
            finally:
                self._under_way.take(job.series_uid)
                self._room_changed.set()

        async with (
            self._decoders,
            self._plain,
            running_alongside(prepare()),
            running_alongside(self._look_for_room()),
        ):
            workers = self._settings.share.ceiling + _SPARE_JOBS + _SERIES_UNANSWERED
            await run_pool(jobs(), do, workers=workers, ahead=workers, name="fetch")

    def _jobs_of(self, work: SeriesWork, targets: list[Target], deliver: Deliver) -> Iterator[_Job]:
        is_whole = bool(targets) and len(targets) == len(work.entries)
        may_be_bundle = is_whole and self._source(targets[0].entry.key).bundles.can_download(work)
        if may_be_bundle and self._chooser.choose(work) is Transport.ZIP:
            bundle = partial(self._by_bundle, work, targets, deliver)
            yield _Job(_during(self._long_work.bundle(len(targets)), bundle), work.series_uid, len(targets))
            return
        singles, packages = _unpacked(targets)
        for package in packages:
            by_package = partial(self._by_package, package, deliver)
            yield _Job(_during(self._long_work.bundle(len(package)), by_package), work.series_uid, len(package))
        for target in singles:
            job = partial(self._singly, target, deliver)
            is_large = (target.entry.size_bytes or 0) > self._settings.fetch.parallel_above_bytes
            yield _Job(_during(self._long_work.large(), job) if is_large else job, work.series_uid, 1)

    async def _wait_for_room(self) -> bool:
        """Wait until one more job would get a permit soon: one that is taken early is not available to idle workers.

        False: there is room only for one of another Series, because the archive answers nothing.
        """
        while not self._has_room():
            if self._is_unanswered() and 0 < len(self._under_way) < _SERIES_UNANSWERED:
                return False
            self._room_changed.clear()
            await self._room_changed.wait()
        return True

    def _is_unanswered(self) -> bool:
        return any(source.archive.retrier.is_unanswered for source in self._sources.values())

    async def _look_for_room(self) -> None:
        """Let `_wait_for_room` look now and then: a process ceases to be busy without an event."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._room_changed.set()

    def _has_room(self) -> bool:
        is_far = all(source.archive.retrier.is_far for source in self._sources.values())
        return (
            self._long_work.has_room(is_busy=self._load.is_busy, is_far=is_far, is_alone=self._workers == 1)
            and self._under_way.total() < self._most_requests() + _SPARE_JOBS
            and not any(source.downloader.is_behind for source in self._sources.values())
        )

    def _most_requests(self) -> int:
        return sum(source.archive.retrier.permits.limit for source in self._sources.values())

    async def _adopt(self, targets: list[Target], deliver: Deliver) -> list[Target]:
        """Deliver the files that are in place already, unknown to the journal; return the other targets."""
        lying = await self._threads(self._files.existing, targets[0].folder) if targets else {}
        bound = await self._bound_in_place(targets, lying)
        if targets:
            adopted = {candidate.name for candidate in bound.values()}
            targets[0].names.lying = frozenset(name for name in lying if name not in adopted)
        rest: list[Target] = []
        for target in targets:
            candidate = bound.get(target.entry.key, target)
            outcome = await self.committer.adopt(candidate) if candidate.name in lying else None
            if outcome is None and self.committer.accepts_unsound:
                outcome = await self.committer.adopt_quarantined(candidate)
            if outcome is not None:
                await deliver(outcome)
                continue
            rest.append(target)
            if candidate is not target and candidate.name is not None:
                candidate.names.release(candidate.name)
        return rest

    async def _bound_in_place(self, targets: list[Target], lying: Iterable[str]) -> dict[str, Target]:
        """Targets without a name, by key, bound to files in place that have their UIDs, or the MD5 of their entries."""
        nameless = [target for target in targets if target.name is None]
        by_uid = {target.sop_uid: target for target in nameless if target.sop_uid is not None}
        by_md5: dict[bytes, list[Target]] = {}
        for target in nameless:
            if target.sop_uid is None and target.entry.md5:
                by_md5.setdefault(target.entry.md5, []).append(target)
        bound: dict[str, Target] = {}
        for name in lying if by_uid or by_md5 else ():
            if not targets[0].names.claim(name):
                continue
            path = self._files.absolute(f"{targets[0].folder}/{name}")
            sop_uid = uid_of_file(name) if targets[0].naming is None else await self._threads(uid_of_header, path)
            owner = by_uid.pop(sop_uid, None) if sop_uid is not None else None
            if owner is None and sop_uid is not None and by_md5:
                waiting = by_md5.get((await self._threads(digests_of_file, path)).md5 or b"")
                owner = waiting.pop() if waiting else None
            if owner is not None:
                bound[owner.entry.key] = owner._replace(sop_uid=sop_uid, name=name)
            else:
                targets[0].names.release(name)
        return bound

    async def _singly(self, target: Target, deliver: Deliver) -> None:
        source = self._source(target.entry.key)
        began = _Began.now(source.archive)
        outcome = await source.downloader.download(target)
        if outcome.attempts == 1 and outcome.error is None and source.archive.capabilities.bundle is not None:
            self._measured(Transport.SINGLE, 1, outcome.size_bytes, began, source.archive)
        await deliver(outcome)

    async def _by_package(self, targets: list[Target], deliver: Deliver) -> None:
        await self._source(targets[0].entry.key).packages.download(targets, deliver)

    async def _by_bundle(self, work: SeriesWork, targets: list[Target], deliver: Deliver) -> None:
        size_bytes = 0

        async def count_and_deliver(outcome: InstanceOutcome) -> None:
            nonlocal size_bytes
            size_bytes += outcome.size_bytes
            await deliver(outcome)

        source = self._source(work.entries[0].key)
        began = _Began.now(source.archive)
        contained = await source.bundles.download(work, targets, count_and_deliver)
        if contained:
            self._measured(Transport.ZIP, len(contained), size_bytes, began, source.archive)

        async def missing() -> AsyncIterator[Target]:
            for target in targets:
                if target.entry.key not in contained:
                    yield target

        async def fetch(target: Target) -> None:
            await self._singly(target, deliver)

        if len(contained) < len(work.entries):
            await run_pool(missing(), fetch, workers=_SINGLES_AFTER_A_BUNDLE, name="after-bundle")

    def _measured(self, transport: Transport, instances: int, size_bytes: int, began: _Began, archive: Archive) -> None:
        self._chooser.measured(
            transport,
            instances=instances,
            size_bytes=size_bytes,
            seconds=time.monotonic() - began.at,
            in_flight=(began.in_flight, archive.retrier.permits.in_use),
        )


def _during(
    long_work: AbstractContextManager[None], job: Callable[[], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    """`job`, at whose end `long_work` ends, which begins now."""
    stack = ExitStack()
    stack.enter_context(long_work)

    async def counted() -> None:
        with stack:
            await job()

    return counted


def _unpacked(targets: list[Target]) -> tuple[list[Target], list[list[Target]]]:
    """The targets that are objects of the archive, and the others by the object that they are packed in."""
    packages: dict[str, list[Target]] = {}
    for target in targets:
        if (package := target.entry.package) is not None:
            packages.setdefault(package, []).append(target)
    if not packages:
        return targets, []
    return [target for target in targets if target.entry.package is None], list(packages.values())
