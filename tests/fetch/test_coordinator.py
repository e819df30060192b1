"""The coordinator records and counts every outcome, and gives out again what a worker gives back."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from bulkdl.archive.base import Rest
from bulkdl.archive.profiles import Profile
from bulkdl.errors import AccessDenied, ArchiveRefused, ConfigurationError, DiskFull, Interrupted
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import WorkerSettings
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.access import Access
from bulkdl.model.events import Event, InstanceFailed, Noted, Progress, RunContext, Sink
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.disk import PROGRESS
from bulkdl.runtime.tasks import Stage, running_alongside
from bulkdl.store.files import MirrorFiles
from tests.support.journals import NOW, begin, folder, outcome, record, record_listed, sop_uid
from tests.support.journals import series_uid as uid_of_series
from tests.support.memory_archive import MemoryArchive, MemoryBody
from tests.support.waiting import until


class SlowRecording:
    """A journal that records outcomes when it is allowed to, and fails `failures` times first."""

    def __init__(self, journal_thread: JournalThread, run: Run, *, failures: int = 0) -> None:
        self.run = run
        self.began, self.may_end, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.recordings = 0
        self._journal_thread = journal_thread
        self._failures = failures

    async def __call__(self, method: Any, *arguments: Any, **named: Any) -> Any:
        if method is Journal.record_outcomes:
            self.recordings += 1
            self.began.set()
            await self.may_end.wait()
            if self._failures:
                self._failures -= 1
                raise DiskFull("no space for the journal")
        result = await self._journal_thread(method, *arguments, **named)
        if method is Journal.record_outcomes:
            self.ended.set()
        return result


def refusing(owed: Sequence[int]) -> MemoryArchive:
    """An archive that refuses every instance."""

    def refuse(key: str, _: MemoryBody) -> None:
        raise AccessDenied(f"403 Forbidden: {key}", status=403)

    uids = [sop_uid(series, number) for series, instances in enumerate(owed, start=1) for number in range(instances)]
    archive = MemoryArchive({uid: [b""] for uid in uids})
    archive.change = refuse
    return archive


@asynccontextmanager
async def coordinator(
    files: MirrorFiles,
    *,
    failures: int = 0,
    workers: int | None = 1,
    archive: MemoryArchive | None = None,
    owed: Sequence[int] = (1,),
    held: int = 0,
    begun: int = 0,
    promised: int = 0,
    requests: int = 4,
    sink: Sink = lambda _: None,
    stop: asyncio.Event | None = None,
    cpu: Callable[[], float] = time.process_time,
    **settings: Any,
) -> AsyncIterator[tuple[Coordinator, SlowRecording]]:
    """A coordinator of a run that owes so many instances of each Series, by default one that its archive does not have.

    Of another Series, so many are `held`; of the first one, `begun`; and of one that is not listed, `promised`.
    """
    archive = archive or MemoryArchive({})
    worker_settings = WorkerSettings(
        profile=Profile("memory", archive.url, "nbia-v1"),
        access=Access(),
        root=files.root,
        fetch=FetchSettings(workers=workers, **settings),
        share=Share(requests),
    )
    with Journal.create_or_open(files.journal_path) as journal:
        run = begin(journal)
        for number, instances in enumerate(owed, start=1):
            record_listed(journal, run, number, range(instances))
        record_listed(journal, run, 0, range(held))
        if promised:
            journal.record_series(run, [(record(900, image_count=promised), folder(900))], now=NOW)
        there = [*(outcome(0, number) for number in range(held)), *(outcome(1, number) for number in range(begun))]
        journal.record_outcomes(run, there)
    async with open_journal_thread(files.journal_path) as journal_thread:
        recording: Any = SlowRecording(journal_thread, run, failures=failures)
        context = RunContext(sink=sink, stop=stop or asyncio.Event())
        yield Coordinator(recording, run, worker_settings, archive, context, cpu=cpu), recording


async def some_steps() -> None:
    """Let the other tasks and threads do all that waits for no timer."""
    for _ in range(200):
        await asyncio.to_thread(bool)


def ended() -> Stage:
    """The end of resolving."""
    upstream = Stage()
    upstream.end()
    return upstream


async def test_work_that_is_given_back_while_the_journal_is_read_is_given_out_again(files: MirrorFiles) -> None:
    """A worker died while its work was skipped: the run must not end while an instance is owed."""
    async with (
        coordinator(files) as (made, _),
        aclosing(made.owed(ended())) as owed,
        aclosing(made.owed(ended())) as owed_again,
    ):
        work = await anext(owed)
        again = asyncio.ensure_future(anext(owed_again))
        await asyncio.sleep(0)  # the journal is being read
        made.in_hand.give_back(work.series_uid, len(work.entries))
        assert await again == work


async def test_outcomes_are_counted_if_the_run_is_cancelled_while_they_are_recorded(files: MirrorFiles) -> None:
    async with coordinator(files) as (made, recording):
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await recording.began.wait()
        fetching.cancel()
        recording.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert (made.recorder.outcomes.total(), recording.recordings) == (1, 1)


async def test_a_run_ends_with_its_last_outcome(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait until outcomes are recorded anyway, a part of a second later."""
    async with coordinator(files, owed=(3,)) as (made, recording):
        recording.may_end.set()
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ever ends
            await made.fetch(ended())
        assert (made.recorder.outcomes.total(), recording.recordings) == (3, 1)


async def test_a_run_that_may_find_more_records_its_outcomes_in_groups(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    archive = HeldArchive(lambda _: gate.wait())
    async with coordinator(files, archive=archive, owed=(3,)) as (made, recording):
        recording.may_end.set()
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ever ends
            fetching = asyncio.ensure_future(made.fetch(Stage()))
            await some_steps()  # the journal is read to its end
            gate.set()
            await some_steps()
            assert (archive.requests, recording.recordings) == (3, 0)
            fetching.cancel()
            with suppress(asyncio.CancelledError):
                await fetching
        assert (made.recorder.outcomes.total(), recording.recordings) == (3, 1)


async def test_an_outcome_that_could_not_be_recorded_is_recorded_later(files: MirrorFiles) -> None:
    async with coordinator(files, failures=1) as (made, recording):
        recording.may_end.set()
        with pytest.raises(DiskFull):
            await made.fetch(ended())
        await made.fetch(ended(), only=())
        assert made.recorder.outcomes.total() == 1


class HeldArchive(MemoryArchive):
    """Has no instance, and says so when `held` returns for the Series of one."""

    def __init__(self, held: Callable[[SeriesUid], Awaitable[object]]) -> None:
        super().__init__({})
        self._held = held

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[MemoryBody]:
        await self._held(series_uid)
        async with super().open(series_uid, entry, rest=rest) as body:
            yield body


class StallingArchive(HeldArchive):
    """Has no instance of the first Series, and never answers requests for others. `stalls` when one waits."""

    def __init__(self) -> None:
        super().__init__(self._stall)
        self.stalls = asyncio.Event()

    async def _stall(self, series_uid: SeriesUid) -> None:
        if series_uid != uid_of_series(1):
            self.stalls.set()
            await asyncio.Event().wait()


async def test_what_was_delivered_is_recorded_if_the_run_ends_early(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = StallingArchive()
    async with coordinator(files, archive=archive, owed=(3, 1)) as (made, recording):
        recording.may_end.set()
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ever ends, so nothing is recorded before
            fetching = asyncio.ensure_future(made.fetch(ended()))
            await archive.stalls.wait()
            for _ in range(200):
                await asyncio.sleep(0)
            assert (archive.requests, made.recorder.outcomes.total()) == (3, 0)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching
        assert made.recorder.outcomes.total() == 3


async def test_a_stopped_run_awaits_requests_in_flight_for_a_moment(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, stop = StallingArchive(), asyncio.Event()
    async with coordinator(files, archive=archive, owed=(3, 1), stop=stop) as (made, recording):
        recording.may_end.set()
        loop, passed = asyncio.get_running_loop(), 0.0
        began = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: began + passed)
            fetching = asyncio.ensure_future(made.fetch(ended()))
            await archive.stalls.wait()
            stop.set()
            for _ in range(100):
                await asyncio.to_thread(bool)
            assert not fetching.done()
            passed = 2.0
            with pytest.raises(Interrupted, match="stopped while requests were in flight"):
                await fetching
        assert made.recorder.outcomes.total() == 3


@pytest.mark.parametrize(("failing", "is_awaited"), [(1, True), (500, False)], ids=["awaited", "many"])
async def test_some_outcomes_are_recorded_without_a_wait(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch, failing: int, *, is_awaited: bool
) -> None:
    archive, recorded = StallingArchive(), list[InstanceOutcome]()

    async def note(outcomes: Sequence[InstanceOutcome]) -> None:
        recorded.extend(outcomes)

    async with coordinator(files, archive=archive, owed=(failing, 1)) as (made, recording):
        recording.may_end.set()
        made.recorder.recorded = note if is_awaited else None
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ever ends
            fetching = asyncio.ensure_future(made.fetch(ended()))
            await recording.ended.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            assert (made.recorder.outcomes.total(), len(recorded)) == (failing, failing if is_awaited else 0)
            fetching.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fetching


@pytest.mark.parametrize("private", [True, False])
async def test_the_progress_of_a_private_run_is_for_its_owner_alone_and_gone_at_its_end(
    files: MirrorFiles, *, private: bool
) -> None:
    archive, saved = StallingArchive(), files.root / PROGRESS
    async with coordinator(files, archive=archive, owed=(3, 1), private=private) as (made, recording):
        recording.may_end.set()
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await until(saved.exists)
        assert (saved.stat().st_mode & 0o077 == 0) == private
        fetching.cancel()
        with suppress(asyncio.CancelledError):
            await fetching
    assert not saved.exists()


async def test_a_run_ends_before_its_disk_is_full(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is for the journal, which gets what was delivered."""
    archive = StallingArchive()
    async with coordinator(files, archive=archive, owed=(3, 1)) as (made, recording):
        recording.may_end.set()
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await archive.stalls.wait()
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((4096, 4096, 9, 9, 9, 9, 9, 9, 0, 255)))
        with pytest.raises(DiskFull, match="the disk is full"):
            await fetching
        assert made.recorder.outcomes.total() == 3


@pytest.mark.parametrize(("transport", "sizes"), [(Transport.SINGLE, [500, 500, 200]), (Transport.AUTO, [1200])])
async def test_a_series_is_given_out_in_parts_unless_it_may_come_as_a_bundle(
    files: MirrorFiles, transport: Transport, sizes: list[int]
) -> None:
    async with (
        coordinator(files, owed=(1200,), transport=transport) as (made, _),
        aclosing(made.owed(ended())) as owed,
    ):
        works = [await anext(owed) for _ in sizes]
        assert [len(work.entries) for work in works] == sizes
        assert [work.whole for work in works] == [len(sizes) == 1] * len(sizes)


@pytest.mark.parametrize(
    ("series", "is_ended", "order"),
    [(3, True, [3, 2, 1]), (3, False, [3, 2, 1]), (34, True, [*range(1, 33), 34, 33])],
    ids=["last page", "more may come", "two pages"],
)
async def test_the_largest_series_of_the_last_page_comes_first(
    files: MirrorFiles, series: int, order: list[int], *, is_ended: bool
) -> None:
    async with (
        coordinator(files, owed=range(1, series + 1)) as (made, _),
        aclosing(made.owed(ended() if is_ended else Stage())) as owed,
    ):
        assert [len((await anext(owed)).entries) for _ in order] == order


async def test_what_was_listed_is_divided_among_two_workers_once_resolving_has_ended(files: MirrorFiles) -> None:
    """What is in hand already does not count."""
    upstream = Stage()
    scene = coordinator(files, owed=(60,), workers=2, archive=BusyArchive(is_near=True))
    async with scene as (made, recording), running_alongside(made.fetch(upstream)):
        await until(lambda: made.traffic().in_flight > 0)
        with Journal.create_or_open(files.journal_path) as journal:
            for number in (2, 3):
                record_listed(journal, recording.run, number, range(90))
        async with aclosing(made.owed(upstream)) as owed:
            assert len((await anext(owed)).entries) == 90
            upstream.end()
            assert len((await anext(owed)).entries) == 90 // 6


async def test_no_series_follows_in_a_limit_once_the_run_is_stopped(files: MirrorFiles) -> None:
    stop = asyncio.Event()
    async with coordinator(files, owed=(1, 1), stop=stop) as (made, _), aclosing(made.owed(ended())) as owed:
        made.limit_bytes = 1 << 30
        assert (await anext(owed)).series_uid == uid_of_series(1)
        following = asyncio.ensure_future(anext(owed, None))
        await asyncio.sleep(0)
        stop.set()
        assert await following is None


async def test_a_stopped_repair_requests_nothing_more(files: MirrorFiles) -> None:
    archive, stop = MemoryArchive({}), asyncio.Event()
    async with coordinator(files, archive=archive, stop=stop) as (made, recording):
        recording.may_end.set()
        async with aclosing(made.owed(ended())) as owed:
            work = await anext(owed)
        made.in_hand.give_back(work.series_uid, 1)
        stop.set()
        await made.fetch(ended(), only=[work])
    assert archive.requests == 0


async def test_a_failure_is_named_by_the_uid_where_that_is_known(files: MirrorFiles) -> None:
    failures = list[InstanceFailed]()

    def note(event: Event) -> None:
        if isinstance(event, InstanceFailed):
            failures.append(event)

    async with coordinator(files, sink=note) as (made, recording):
        recording.may_end.set()
        await made.fetch(ended())
    assert [(one.sop_uid, one.key) for one in failures] == [(sop_uid(1, 0), None)]


@pytest.mark.parametrize(
    ("others", "settings"),
    [(2, {}), (600, {"transport": Transport.SINGLE}), (60, {"workers": 2})],
    ids=["whole", "in parts", "in parts for two workers"],
)
async def test_a_limit_leaves_out_whole_series_and_completes_others(
    files: MirrorFiles, others: int, settings: dict[str, Any]
) -> None:
    archive = MemoryArchive({})
    async with coordinator(files, archive=archive, owed=(2, others), begun=1, **settings) as (made, recording):
        recording.may_end.set()
        made.limit_bytes = 1000  # which the first instance has
        await made.fetch(ended())
        assert made.left_out == [uid_of_series(2)]
        assert made.recorder.outcomes == {Outcome.FAILED: 1}
        assert archive.asked.keys() <= {sop_uid(1, 1)}  # by another process, if there are two


async def test_the_progress_names_the_collections_in_hand(files: MirrorFiles) -> None:
    events: list[Event] = []
    archive = BusyArchive(is_near=True)
    async with coordinator(files, owed=(3, 3), archive=archive, sink=events.append) as (made, recording):
        recording.may_end.set()
        async with running_alongside(made.fetch(ended())):
            await until(lambda: any(isinstance(event, Progress) and event.at_work for event in events))
    named = {event.at_work for event in events if isinstance(event, Progress)}
    assert ("PHANTOM",) in named
    assert named <= {(), ("PHANTOM",)}  # two Series of one Collection


async def test_the_last_progress_counts_everything(files: MirrorFiles) -> None:
    """Also outcomes behind the last query of the journal."""
    events: list[Event] = []
    archive = HeldArchive(lambda _: until(lambda: any(isinstance(event, Progress) for event in events)))
    async with coordinator(files, archive=archive, sink=events.append) as (made, recording):
        recording.may_end.set()
        await made.fetch(ended())
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.instances_failed for event in (progress[0], progress[-1])] == [0, 1]


@pytest.mark.parametrize(
    ("owed", "held", "is_refused"),
    [((6,) * 6, 0, True), ((6,) * 6, 1, False), ((20,) * 5, 0, False), ((2,) * 7, 0, False)],
    ids=["all", "something is held", "few Series", "few instances"],
)
async def test_an_archive_that_refuses_every_instance_ends_the_run(
    files: MirrorFiles, owed: tuple[int, ...], held: int, *, is_refused: bool
) -> None:
    async with coordinator(files, archive=refusing(owed), owed=owed, held=held) as (made, recording):
        recording.may_end.set()
        completed: list[SeriesUid] = []
        made.recorder.completed = completed.append
        if is_refused:
            with pytest.raises(ArchiveRefused, match="every instance is refused"):
                await made.fetch(ended())
        else:
            await made.fetch(ended())
            assert made.recorder.outcomes == {Outcome.FAILED: sum(owed)}
        assert completed == []


class BusyArchive(MemoryArchive):
    """It answers lists, which keep the core busy, and sends no instance."""

    def __init__(self, *, is_near: bool) -> None:
        super().__init__({})
        self.retrier.is_near = is_near
        self.is_busy = True

    @asynccontextmanager
    async def open(self, *_: object, **__: object) -> AsyncIterator[MemoryBody]:
        while self.is_busy:
            self.asked["list"] += 1
            await asyncio.sleep(0)
        yield MemoryBody(b"")


@dataclass(frozen=True)
class Case:
    """A run that may need a second process; by default one that does."""

    is_near: bool = True
    is_busy: bool = True
    owed: int = 1000
    promised: int = 0
    cores: int = 2


@pytest.mark.parametrize(
    ("case", "is_joined"),
    [
        (Case(), True),
        (Case(owed=1, promised=999), True),
        (Case(is_near=False), False),
        (Case(is_busy=False), False),
        (Case(owed=999), False),
        (Case(cores=1), False),
    ],
    ids=["busy", "much is not listed yet", "a far archive", "idle", "little is owed", "one core"],
)
async def test_lists_of_a_near_archive_that_keep_the_core_busy_are_work_for_two(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch, case: Case, *, is_joined: bool
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(case.cores)))
    archive, events = BusyArchive(is_near=case.is_near), list[Event]()
    whole = archive.retrier.limiter.ceiling
    scene = coordinator(
        files,
        workers=None,
        owed=(case.owed,),
        promised=case.promised,
        archive=archive,
        sink=events.append,
        cpu=time.monotonic if case.is_busy else lambda: 0.0,
    )
    async with scene as (made, _):
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await until(lambda: archive.retrier.limiter.ceiling < whole if is_joined else len(events) >= 3)
        fetching.cancel()
        with suppress(asyncio.CancelledError):
            await fetching
    assert archive.retrier.limiter.ceiling == (whole // 2 if is_joined else whole)


async def test_the_process_that_was_prepared_is_the_one_that_joins(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would leave it without an end."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    archive, events, is_busy = BusyArchive(is_near=True), list[Event](), False
    whole = archive.retrier.limiter.ceiling
    scene = coordinator(
        files,
        workers=None,
        owed=(1000,),
        archive=archive,
        sink=events.append,
        cpu=lambda: time.monotonic() if is_busy else 0.0,
    )
    async with scene as (made, recording):
        recording.may_end.set()
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await until(lambda: len(events) >= 3)  # one was started with the first
        is_busy = True
        await until(lambda: archive.retrier.limiter.ceiling < whole)
        archive.is_busy = False
        async with asyncio.timeout(60):
            await fetching
        assert made.recorder.outcomes == {Outcome.FAILED: 1000}


async def test_a_process_that_cannot_start_gives_its_share_back(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "executable", "")
    archive = BusyArchive(is_near=True)
    whole, shares = archive.retrier.limiter.ceiling, list[int]()

    def note(event: Event) -> None:
        if isinstance(event, Noted):
            shares.append(archive.retrier.limiter.ceiling)

    scene = coordinator(files, workers=None, owed=(1000,), archive=archive, sink=note, cpu=time.monotonic)
    async with scene as (made, _):
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await until(lambda: bool(shares))
        assert (shares, archive.retrier.limiter.ceiling) == ([whole // 2], whole)
        fetching.cancel()
        with suppress(asyncio.CancelledError):
            await fetching


async def test_a_process_that_gets_no_work_ends_with_the_run(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    events = list[Event]()
    archive = HeldArchive(lambda _: until(lambda: len(events) >= 3))  # a process starts with the first
    async with coordinator(files, workers=None, owed=(1000,), archive=archive, sink=events.append) as (made, recording):
        recording.may_end.set()
        async with asyncio.timeout(30):
            await made.fetch(ended())
        assert made.recorder.outcomes == {Outcome.FAILED: 1000}


async def test_a_process_that_cannot_start_is_missed_where_it_was_asked_for(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    async with coordinator(files, workers=2) as (made, recording):
        recording.may_end.set()
        with pytest.raises(ConfigurationError, match="--workers 1"):
            await made.fetch(ended())


async def test_no_process_is_started_that_would_get_no_request(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "")  # none could start
    async with coordinator(files, workers=8, requests=1) as (made, recording):
        recording.may_end.set()
        await made.fetch(ended())
        assert made.recorder.outcomes == {Outcome.FAILED: 1}


async def test_one_process_does_the_work_of_one_that_cannot_start(
    files: MirrorFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(sys, "executable", "")
    notes = list[str]()

    def note(event: Event) -> None:
        if isinstance(event, Noted):
            notes.append(event.message)

    archive = HeldArchive(lambda _: until(lambda: bool(notes)))
    async with coordinator(files, workers=None, owed=(1000,), archive=archive, sink=note) as (made, recording):
        recording.may_end.set()
        await made.fetch(ended())
        assert made.recorder.outcomes == {Outcome.FAILED: 1000}
    assert len(notes) == 1
    assert "one process does all the work" in notes[0]
