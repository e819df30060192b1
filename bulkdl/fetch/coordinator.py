"""Journal → workers → journal: decide which worker downloads what, and record the outcomes.

The journal is the queue: what is owed is read page by page, by Collection, Patient, Study and Series, and recorded in
groups. Memory does not grow with the mirror.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import ConfigurationError, Interrupted, MirrorUnwritable
from bulkdl.fetch.last_items import in_last_items
from bulkdl.fetch.progress_meter import ProgressMeter
from bulkdl.fetch.recorder import Recorder
from bulkdl.fetch.refused_instances import RefusedInstances
from bulkdl.fetch.shares import Shares
from bulkdl.fetch.threads import Threads
from bulkdl.fetch.work_in_hand import WorkInHand
from bulkdl.fetch.worker import Traffic, Worker, WorkerSettings, traffic_of
from bulkdl.fetch.worker_process import WorkerProcess
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, WorkCursor
from bulkdl.journal.thread import JournalThread
from bulkdl.model.events import InstanceFailed, Noted, Progress, RunContext
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import BESIDE, NOT_CHECKED, InstanceOutcome, SeriesWork
from bulkdl.model.settings import Transport
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.recent_answer import RecentAnswer
from bulkdl.runtime.tasks import Stage, Tasks, first_set, read_ahead, running_alongside
from bulkdl.store.run_progress import forget_progress, save_progress
from bulkdl.store.space import check_room, measure

_PAGE: Final = 32  # Series read from the journal at once, while those of the page before are given out
_INSTANCES: Final = 500  # of one Series given to a worker at once
_INSTANCES_FOR_A_ZIP: Final = 5_000  # the same where it may come as a bundle
_TICK_SECONDS: Final = 0.25  # the longest that an outcome waits for its transaction
_TICKS_BETWEEN_SAVES: Final = 4  # of the progress for other processes
_FIRST_TICKS: Final = 20  # are shorter, so that a second process starts early
_FIRST_TICK_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 1.5  # for requests in flight when the run is stopped
_BUSY_SHARE: Final = 0.85  # of a core, above which this process is the bottleneck
_WORTH_A_PROCESS: Final = 1_000  # instances still owed


class Coordinator:
    """Downloads what one run owes. Resolving and the first worker share `archive`.

    `in_hand` is what workers have of it, `recorder` has the results.

    `cpu` are the seconds that this process has used of its cores.
    """

    def __init__(
        self,
        journal_thread: JournalThread,
        run: Run,
        settings: WorkerSettings,
        archive: Archive,
        context: RunContext,
        *,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._journal_thread = journal_thread
        self._run = run
        self._settings = settings
        self._archive = archive
        self._context = context
        self._cpu = cpu
        self._sink = context.sink
        self._stop = context.stop
        self.in_hand = WorkInHand(context.stop)
        self.recorder = Recorder(journal_thread, run, self.in_hand)
        self.meter = ProgressMeter()
        self._progress: Progress | None = None  # as last announced
        self._counts = RecentAnswer(self.recorder.counts)  # to count a million Series takes a second
        self._remote: list[WorkerProcess] = []
        self._spare: WorkerProcess | None = None  # started, and without work yet
        self._can_grow = settings.fetch.workers is None
        self._all_is_given_out = False
        self._expects_work = True  # False: probably nothing is owed
        self._said: set[str] = set()  # notes that are announced once
        self.may_fetch: Callable[[SeriesUid], Awaitable[bool]] | None = None  # what is owed of a Series
        self.limit_bytes: int | None = None  # of the run's selection, whose sizes are estimates
        self.left_out: list[SeriesUid] = []  # because of the limit
        self._refused = RefusedInstances()

    def traffic(self) -> Traffic:
        """The traffic of all workers, and of the resolver."""
        return self._sum_of(traffic_of(self._archive))

    def _sum_of(self, here: Traffic) -> Traffic:
        return Traffic(*map(sum, zip(here, *(remote.traffic for remote in self._remote), strict=True)))

    async def fetch(self, upstream: Stage, only: Iterable[SeriesWork] | None = None) -> None:
        """Download what `upstream` finds, or `only` these, until nothing is owed or the run is stopped, and journal it.

        It may be called again, for what was found meanwhile.

        Raises:
            BulkdlError, Interrupted: an error that must stop the run; a request did not finish within seconds.
        """
        counts = await self._journal_thread(Journal.counts, self._run)
        if counts.held:
            self._refused.accepts()  # what is held
        self._expects_work = self._run.selection_id is not None or counts.owed + counts.series_unlisted > 0
        try:
            async with running_alongside(self._tick(upstream)), running_alongside(self._cut_off()):
                await self._work(self.owed(upstream) if only is None else self._given(only))
            await self.recorder.record()
            self._counts.forget()  # the last event counts everything
            await self._announce(upstream)
        finally:
            await self.recorder.record()
            forget_progress(self._settings.root)

    async def _work(self, source: AsyncGenerator[SeriesWork, None]) -> None:
        queue: asyncio.Queue[SeriesWork | None] = asyncio.Queue(maxsize=1)
        self._all_is_given_out, self._spare = False, None  # a run may fetch in several rounds

        async def items() -> AsyncIterator[SeriesWork]:
            while (work := await queue.get()) is not None:
                yield work
            queue.put_nowait(None)  # the end is for every worker

        async def feed() -> None:
            async with aclosing(source):
                async for work in source:
                    await queue.put(work)
            await queue.put(None)

        with Threads() as threads:
            async with Tasks() as tasks:
                local = Worker(self._settings, self._archive, threads)

                def start_process() -> WorkerProcess:
                    worker = WorkerProcess(self._context, give_back=self.in_hand.give_back)

                    tasks.join(self._work_there(worker, items()), name=f"worker-{len(self._remote) + 1}")
                    return worker

                async def work_here() -> None:
                    await local.run(
                        items(), self._deliver_one, give_back=self.in_hand.give_back, expects_work=self._expects_work
                    )
                    self._all_is_given_out = True
                    if self._spare is not None:
                        self._spare.assign(None)

                self._start_process, self._local = start_process, local
                self._shares = Shares(self._settings.share, local.share)
                tasks.join(feed(), name="feed")
                tasks.join(work_here(), name="worker-0")
                for _ in range((self._settings.fetch.workers or 1) - 1):
                    self._add_worker()

    def _add_worker(self) -> None:
        """Start one more worker, and divide the requests in flight and the rate anew, unless it would get nothing."""
        if not self._shares.has_room:
            return
        worker, self._spare = self._spare or self._start_process(), None
        self._shares.join(worker.share)
        self._remote.append(worker)
        worker.assign(replace(self._settings, learned=self._local.learned()))

    async def _work_there(self, worker: WorkerProcess, items: AsyncIterator[SeriesWork]) -> None:
        """Let another process work. If it cannot start, this one does its work, unless processes were asked for."""
        try:
            await worker.start()
        except (ConfigurationError, MirrorUnwritable) as error:
            if self._settings.fetch.workers is not None:
                raise
            self._can_grow = False
            self._sink(Noted(f"one process does all the work: {error}"))
        else:
            await worker.run(items, self._deliver)
        self._shares.leave(worker.share)

    async def owed(self, upstream: Stage) -> AsyncGenerator[SeriesWork, None]:
        """What is owed, page by page, again from the start after each change, until nothing is."""
        zips = self._settings.fetch.transport is not Transport.SINGLE
        per_item = _INSTANCES_FOR_A_ZIP if zips else _INSTANCES
        while not self._stop.is_set():
            self.in_hand.some_ended.clear()
            upstream.changed.clear()
            had_ended, skip, gave_out = upstream.has_ended, self.in_hand.series(), False
            self.recorder.is_last = False
            async with aclosing(read_ahead(self._pages(per_item))) as pages:
                async for page, is_final in pages:
                    works: Iterable[SeriesWork] = [work for work in page if work.series_uid not in skip]
                    if is_final:
                        works = in_last_items(works, partial(self._sharers_of_last, upstream), self._may_be_split)
                    for work in works:
                        if await self._may_begin(work):
                            gave_out = True
                            self.in_hand.give_out(work)
                            yield work
            if gave_out:
                continue
            if had_ended and not skip and not self.in_hand:
                return
            self.recorder.is_last = had_ended
            await self.recorder.record_last()
            # A worker that dies gives its work back, and more Series may be listed meanwhile.
            await first_set(self.in_hand.some_ended, upstream.changed, self._stop)

    async def _pages(self, instances_per_item: int) -> AsyncGenerator[tuple[list[SeriesWork], bool], None]:
        """What is owed, page by page, and whether a page is the final one."""
        cursor: WorkCursor | None = None
        is_final = False
        while not is_final and not self._stop.is_set():
            page, cursor = await self._journal_thread(
                Journal.owed_work, self._run, after=cursor, limit=_PAGE, instances_per_item=instances_per_item
            )
            is_final = cursor is None
            yield page, is_final

    def _workers(self) -> int:
        return 1 + len(self._remote)

    def _sharers_of_last(self, upstream: Stage) -> int:
        """For how many workers the last work is; while `upstream` may find more, one takes a Series whole."""
        return self._workers() if upstream.has_ended else 1

    def _may_be_split(self, work: SeriesWork) -> bool:
        return self._local.prefers_singles(work)

    async def _may_begin(self, work: SeriesWork) -> bool:
        """Whether its Series and a limit allow the work.

        With a limit, Series come one after the other: only their files have sizes.
        """
        if self.may_fetch is not None and not await self.may_fetch(work.series_uid):
            return False
        if self.limit_bytes is None or work.series_uid in self.in_hand:
            return True
        await self.in_hand.until_all_ended()
        counts = await self._journal_thread(Journal.counts, self._run)
        if counts.held_bytes < self.limit_bytes or await self._has_files(work.series_uid):
            return not self._stop.is_set()
        if work.series_uid not in self.left_out:
            self.left_out.append(work.series_uid)
        return False

    async def _has_files(self, series_uid: SeriesUid) -> bool:
        series = await self._journal_thread(Journal.find_series, series_uid)
        return series is not None and series.held > 0

    async def _given(self, only: Iterable[SeriesWork]) -> AsyncGenerator[SeriesWork, None]:
        """These, and again what a worker that died has given back of them."""
        works = list(only)
        while works:
            self.recorder.is_last = False
            for work in works:
                if self._stop.is_set():
                    return
                self.in_hand.follow(work)
                self.in_hand.give_out(work)
                yield work
            self.recorder.is_last = True
            await self.recorder.record_last()
            await self.in_hand.until_all_ended()
            works = [rest for work in works if (rest := self.in_hand.rest_of(work)).entries]

    async def _deliver_one(self, outcome: InstanceOutcome) -> None:
        await self._deliver((outcome,))

    async def _deliver(self, outcomes: Sequence[InstanceOutcome]) -> None:
        for outcome in outcomes:
            if outcome.error is not None or outcome.notes:
                self._say(outcome)
        await self.recorder.add(outcomes)
        self._refused.ended(outcomes)

    def _say(self, outcome: InstanceOutcome) -> None:
        """Announce the failure of an instance, and the notes that concern users."""
        if outcome.error is not None:
            message = outcome.message or ""
            key = None if outcome.sop_uid else outcome.key
            self._sink(InstanceFailed(outcome.series_uid, outcome.sop_uid, outcome.error, message, key))
        for note in outcome.notes:
            if note.startswith(BESIDE):
                self._sink(Noted(f"{outcome.key} is {note}"))
            if note.startswith(NOT_CHECKED) and note not in self._said:
                self._said.add(note)
                self._sink(Noted(f"{outcome.key}, and perhaps others: {note}"))

    async def _tick(self, upstream: Stage) -> None:
        """Record outcomes, watch the disk, announce progress, and add workers while this process is the bottleneck."""
        cpu_before, before, done_before = self._cpu(), time.monotonic(), 0
        for number in count():
            await asyncio.sleep(_FIRST_TICK_SECONDS if number < _FIRST_TICKS else _TICK_SECONDS)
            await self.recorder.record()
            check_room(await asyncio.to_thread(measure, self._settings.root))
            owed = await self._announce(upstream)
            if number % _TICKS_BETWEEN_SAVES == 0 and (progress := self._progress) is not None:
                is_private = self._settings.fetch.private
                await asyncio.to_thread(save_progress, self._settings.root, progress, private=is_private)
            cpu, now = self._cpu(), time.monotonic()
            done = self._done()
            is_busy = done > done_before and (cpu - cpu_before) / (now - before) >= _BUSY_SHARE
            cpu_before, before, done_before = cpu, now, done
            is_worth = self._can_grow and owed >= _WORTH_A_PROCESS and not self._all_is_given_out
            if is_worth and self._workers() < usable_cores():
                if is_busy:
                    self._add_worker()
                elif self._spare is None:
                    self._spare = self._start_process()  # so that it is ready when it is needed

    def _done(self) -> int:
        """What was done for the archive: before the first of it the core is busy with imports."""
        lists = self._archive.requests if self._archive.retrier.is_near else 0  # others are answered late
        return self._local.committer.validated + lists

    async def _announce(self, upstream: Stage) -> int:
        counts, counted = await self._counts.get()
        traffic = self._sum_of(self._local.traffic())
        progress = self.meter.progress(
            counts, counted, self.recorder.total(), traffic, resolving=not upstream.has_ended
        )
        self._progress = replace(progress, at_work=self.in_hand.folders())
        self._sink(self._progress)
        return max(counts.owed, counts.promised_instances - counts.held)

    async def _cut_off(self) -> None:
        """Once the run is stopped, allow requests in flight some seconds to finish."""
        await self._stop.wait()
        await asyncio.sleep(_GRACE_SECONDS)
        raise Interrupted("stopped while requests were in flight; finished instances are saved")
