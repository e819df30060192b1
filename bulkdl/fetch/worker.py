"""A whole worker: takes Series that owe instances, and gives outcomes. One event loop, one archive, one mirror.

It requests, streams, hashes, checks with pydicom, writes, syncs and renames; a body never leaves it. The coordinator
alone decides who gets which Series, and journals.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile
from bulkdl.dicom.validation import load_pydicom
from bulkdl.errors import BulkdlError, Interrupted
from bulkdl.fetch.commit import Committer, Target
from bulkdl.fetch.download import Downloader, targets_of
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.shares import Share
from bulkdl.fetch.transport import TransportChooser
from bulkdl.model.access import Access
from bulkdl.model.events import ArchiveDown, ArchiveUp, Noted, Retrying, Sink
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.attempts import Retrier, RetryListener, RetryPolicy
from bulkdl.runtime.concurrency import FIRST_LIMIT, Limiter
from bulkdl.runtime.cpu_load import CpuLoad
from bulkdl.runtime.rates import ByteRate
from bulkdl.runtime.tasks import run_pool, together
from bulkdl.store.files import MirrorFiles

Deliver = Callable[[InstanceOutcome], Awaitable[None]]

DEFAULT_CEILING: Final = 256
# Threads sync files and folders, and hash what is large. A disk answers many syncs at once hardly slower than one.
_THREADS: Final = 8
_SPARE_JOBS: Final = 4  # so that a permit finds a taker while others wait out a failure
_SINGLES_AFTER_A_BUNDLE: Final = 8
_MOST_BUNDLES: Final = 16  # of a worker under way: each holds memory, and none spares more than the others
_BUNDLES_OF_BUSY: Final = 2  # one at work and one on its way: a busy worker leaves the others to workers that are not
_LOOK_AGAIN_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """All that a worker needs; it may be sent to another process, where `access` holds no more than it must.

    `ceiling` is this worker's share of the requests in flight, `rate_limit_bytes` of the bytes a second.
    """

    profile: Profile
    access: Access
    root: Path
    fetch: FetchSettings
    ceiling: int
    rate_limit_bytes: float | None = None
    learned: Learned | None = None


@dataclass(frozen=True, slots=True)
class Learned:
    """What a worker has found out of an archive, for one that joins: its limit, and the costs of transports."""

    limit: int
    chooser: TransportChooser


@dataclass(frozen=True, slots=True)
class Traffic:
    """What went over the wire so far."""

    requests: int
    retries: int
    in_flight: int
    limit: int


def make_retrier(settings: WorkerSettings, sink: Sink, stop: asyncio.Event) -> Retrier:
    """The limits and the endurance that `settings` ask for; `sink` is told of failures that are waited out."""
    now = time.monotonic()

    def announce_retry(what: str, error: BulkdlError, attempt: int, wait: float) -> None:
        sink(Retrying(what, error.code, str(error), attempt, wait))

    def announce_outage(error: BulkdlError | None, seconds: float) -> None:
        sink(ArchiveUp(seconds) if error is None else ArchiveDown(str(error), seconds))

    fixed = settings.fetch.concurrency is not None
    first = max(FIRST_LIMIT, settings.learned.limit // 2 if settings.learned is not None else 0)
    return Retrier(
        limiter=Limiter(ceiling=settings.ceiling, first=settings.ceiling if fixed else first, now=now),
        policy=RetryPolicy(
            max_attempts=settings.fetch.max_attempts,
            give_up_after_seconds=settings.fetch.give_up_after_seconds,
            wait_scale=settings.fetch.wait_scale,
        ),
        stop=stop,
        rate=ByteRate(settings.rate_limit_bytes, now=now) if settings.rate_limit_bytes else None,
        listener=RetryListener(retry=announce_retry, outage=announce_outage),
    )


class Worker:
    """One worker at work. `client` and its retrier are shared with whoever else asks this archive."""

    def __init__(self, settings: WorkerSettings, client: Archive, threads: ThreadPoolExecutor) -> None:
        self._settings = settings
        self._client = client
        self._decoders = Decoders()
        self._files = MirrorFiles(settings.root, private=settings.fetch.private)
        self._committer = Committer(
            self._files,
            threads,
            level=settings.fetch.validation,
            accept_unsound=settings.fetch.accept_unsound,
            decoders=self._decoders,
        )
        self._downloader = Downloader(client, self._files, self._committer, client.retrier)
        learned = settings.learned
        self._chooser = learned.chooser if learned is not None else TransportChooser(settings.fetch.transport)
        self._load = CpuLoad()
        self._under_way = 0
        self._bundles = 0
        self._one_ended = asyncio.Event()

    @property
    def looked_at(self) -> int:
        """How many bodies it has looked at so far."""
        return self._committer.looked_at

    def learned(self) -> Learned:
        """What it has found out so far."""
        return Learned(self._client.retrier.limit, self._chooser.twin())

    def traffic(self) -> Traffic:
        """What went over the wire so far."""
        retrier = self._client.retrier
        return Traffic(self._client.requests, retrier.retries, retrier.in_flight, retrier.limit)

    def share(self, share: Share) -> None:
        """Use no more than `share` from now on."""
        self._client.retrier.share(share.ceiling, rate_bytes=share.rate_bytes)

    async def run(self, items: AsyncIterator[SeriesWork], deliver: Deliver) -> None:
        """Fetch everything that `items` owe and hand each outcome to `deliver`, until they end.

        Raises:
            BulkdlError: what must stop the run; what was delivered stands.
        """

        async def jobs() -> AsyncIterator[Callable[[], Awaitable[None]]]:
            await self._room()
            async for work in items:
                targets = await self._adopt(targets_of(work), deliver)
                if len(targets) == len(work.entries) and self._chooser.choose(work) is Transport.ZIP:
                    self._bundles += 1
                    yield partial(self._by_bundle, work, deliver)
                    await self._room()
                else:
                    for target in targets:
                        yield partial(self._singly, target, deliver)
                        await self._room()

        await self._downloader.find_kept()

        async def do(job: Callable[[], Awaitable[None]]) -> None:
            self._under_way += 1
            try:
                with suppress(Interrupted):  # told to stop: what waits stays owed, what is in flight ends
                    await job()
            finally:
                self._under_way -= 1
                self._one_ended.set()

        async with self._decoders:
            await together(
                self._committer.in_thread(load_pydicom),  # while the archive is thinking about the first answers
                run_pool(jobs(), do, workers=self._settings.ceiling + _SPARE_JOBS, name="fetch"),
            )

    async def _room(self) -> None:
        """Wait until one more job would find a permit soon; then the next Series is chosen for by what is known then.

        A Series that is taken early is kept from workers that are idle, so a busy worker takes few.
        """
        while not self._has_room():
            self._one_ended.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_SECONDS):
                    await self._one_ended.wait()

    def _has_room(self) -> bool:
        most_bundles = _BUNDLES_OF_BUSY if self._load.is_busy else _MOST_BUNDLES
        return self._bundles < most_bundles and self._under_way < self._client.retrier.limit + _SPARE_JOBS

    async def _adopt(self, targets: list[Target], deliver: Deliver) -> list[Target]:
        """Deliver what lies at its place already, unknown to the journal; return the rest."""
        lying = await self._committer.in_thread(self._files.existing, targets[0].folder) if targets else {}
        rest: list[Target] = []
        for target in targets:
            outcome = await self._committer.adopt(target) if target.name in lying else None
            if outcome is None:
                rest.append(target)
            else:
                await deliver(outcome)
        return rest

    async def _singly(self, target: Target, deliver: Deliver) -> None:
        started = time.monotonic()
        outcome = await self._downloader.instance(target)
        if outcome.attempts == 1 and outcome.error is None:
            self._measured(Transport.SINGLE, 1, outcome.size_bytes, started)
        await deliver(outcome)

    async def _by_bundle(self, work: SeriesWork, deliver: Deliver) -> None:
        size_bytes = 0

        async def weigh_and_deliver(outcome: InstanceOutcome) -> None:
            nonlocal size_bytes
            size_bytes += outcome.size_bytes
            await deliver(outcome)

        started = time.monotonic()
        try:
            brought = await self._downloader.bundle(work, weigh_and_deliver)
        finally:
            self._bundles -= 1
        if brought:
            self._measured(Transport.ZIP, len(brought), size_bytes, started)

        async def missing() -> AsyncIterator[Target]:
            for target in targets_of(work):
                if target.key.sop_uid not in brought:
                    yield target

        async def fetch(target: Target) -> None:
            await self._singly(target, deliver)

        if len(brought) < len(work.entries):
            await run_pool(missing(), fetch, workers=_SINGLES_AFTER_A_BUNDLE, name="after-bundle")

    def _measured(self, transport: Transport, instances: int, size_bytes: int, started: float) -> None:
        self._chooser.measured(
            transport,
            instances=instances,
            size_bytes=size_bytes,
            seconds=time.monotonic() - started,
            in_flight=self._client.retrier.in_flight,
        )


async def work_alone(
    settings: WorkerSettings,
    items: AsyncIterator[SeriesWork],
    deliver: Deliver,
    *,
    sink: Sink,
    stop: asyncio.Event,
    started: Callable[[Worker], None],
) -> None:
    """Run one worker with connections and threads of its own, as a process does. `started` is given the worker.

    Raises:
        BulkdlError: what must stop the run.
    """
    retrier = make_retrier(settings, sink, stop)
    with ExitStack() as stack:
        threads = stack.enter_context(make_threads())
        async with connect(
            settings.profile, retrier, access=settings.access, note=lambda text: sink(Noted(text))
        ) as client:
            worker = Worker(settings, client, threads)
            started(worker)
            await worker.run(items, deliver)


def make_threads() -> ThreadPoolExecutor:
    """Threads for what blocks: syncs, renames, large hashes."""
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="bulkdl-disk")
