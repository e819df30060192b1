"""A whole worker on an archive in memory: every entry of its work ends in one outcome."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count

import pytest

from bulkdl.archive.base import Rest
from bulkdl.archive.profiles import Profile
from bulkdl.fetch.shares import Share
from bulkdl.fetch.threads import Threads
from bulkdl.fetch.transport_choice import TransportChooser
from bulkdl.fetch.worker import Learned, Worker, WorkerSettings, make_retrier
from bulkdl.model.access import Access
from bulkdl.model.events import RunContext
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import BESIDE, InstanceOutcome, Outcome, SeriesWork
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.concurrency import FIRST_LIMIT, Limiter
from bulkdl.runtime.disk import SUPERSEDED
from bulkdl.runtime.load import CpuLoad
from bulkdl.runtime.tasks import as_iterator, in_thread
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import zip_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.memory_archive import MemoryArchive, MemoryBody
from tests.support.waiting import until

MADE_UP = list(instances(series=1, per_series=6))
KEYS = [f"series/{number:04d}.dcm" for number in range(len(MADE_UP))]


def md5_of(one: MadeUp) -> bytes:
    return hashlib.md5(one.content, usedforsecurity=False).digest()


def work(entries: list[Entry], *, taken: frozenset[str] = frozenset()) -> SeriesWork:
    return SeriesWork(
        series_uid=SeriesUid(MADE_UP[0].series_uid),
        study_uid=None,
        folder="folder",
        entries=tuple(entries),
        names=tuple(f"{entry.sop_uid}.dcm" if entry.sop_uid else None for entry in entries),
        image_count=len(entries),
        whole=True,
        taken=taken,
    )


def by_uid() -> list[Entry]:
    return [Entry(one.sop_uid, SopInstanceUid(one.sop_uid)) for one in MADE_UP]


def archive(*, bundle: bytes | None = None) -> MemoryArchive:
    """Knows each instance by its UID and by its key."""
    bodies: dict[str, list[bytes]] = {one.sop_uid: [one.content] for one in MADE_UP}
    bodies.update({key: [one.content] for key, one in zip(KEYS, MADE_UP, strict=True)})
    return MemoryArchive(bodies, bundle=bundle)


def settings_of(
    files: MirrorFiles,
    source: MemoryArchive,
    transport: Transport = Transport.AUTO,
    *,
    share: Share | None = None,
    parallel_above_bytes: int = 1 << 26,
) -> WorkerSettings:
    return WorkerSettings(
        profile=Profile("memory", source.url, "nbia-v1"),
        access=Access(),
        root=files.root,
        fetch=FetchSettings(transport=transport, parallel_above_bytes=parallel_above_bytes),
        share=share or Share(source.retrier.limiter.ceiling),
    )


async def run(
    files: MirrorFiles,
    threads: Threads,
    source: MemoryArchive,
    *works: SeriesWork,
    transport: Transport = Transport.AUTO,
) -> list[InstanceOutcome]:
    """The outcomes that a worker delivers."""
    return await run_on(as_iterator(works), files, threads, source, transport)


async def run_on(
    items: AsyncIterator[SeriesWork],
    files: MirrorFiles,
    threads: Threads,
    source: MemoryArchive,
    transport: Transport = Transport.AUTO,
) -> list[InstanceOutcome]:
    """The same for work that comes one by one."""
    outcomes: list[InstanceOutcome] = []

    async def deliver(outcome: InstanceOutcome) -> None:
        outcomes.append(outcome)

    await Worker(settings_of(files, source, transport), source, threads).run(items, deliver, give_back=no_way_back)
    return sorted(outcomes, key=lambda outcome: outcome.key)


def no_way_back(series_uid: str, instances: int) -> None:
    """Take back no work."""
    raise AssertionError(f"{instances} of {series_uid} came back")


async def ignore(_: InstanceOutcome) -> None:
    """Take an outcome."""


def committed(files: MirrorFiles) -> dict[str, bytes]:
    folder = files.root / "folder"
    return {path.stem: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def place(files: MirrorFiles, *made_up: MadeUp) -> None:
    (files.root / "folder").mkdir(exist_ok=True)
    for one in made_up:
        (files.root / "folder" / f"{one.sop_uid}.dcm").write_bytes(one.content)


ALL = {str(one.sop_uid): one.content for one in MADE_UP}


@pytest.mark.parametrize("entries", [by_uid(), [Entry(key) for key in KEYS]], ids=["uids", "keys"])
async def test_every_entry_is_downloaded(files: MirrorFiles, threads: Threads, entries: list[Entry]) -> None:
    outcomes = await run(files, threads, archive(), work(entries))
    assert [outcome.key for outcome in outcomes] == sorted(entry.key for entry in entries)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    assert {outcome.sop_uid for outcome in outcomes} == ALL.keys()
    assert committed(files) == ALL


@pytest.mark.parametrize(
    ("concurrency", "learned", "first"), [(None, None, FIRST_LIMIT), (None, 50, 25), (40, None, 40)]
)
def test_a_worker_begins_with_the_requests_that_are_asked_for_or_known_to_pay(
    files: MirrorFiles, concurrency: int | None, learned: int | None, first: int
) -> None:
    settings = replace(
        settings_of(files, archive(), share=Share(40)),
        fetch=FetchSettings(concurrency=concurrency),
        learned=Learned(learned, TransportChooser(Transport.AUTO)) if learned else None,
    )
    assert make_retrier(settings, RunContext()).permits.limit == first


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_a_worker_keeps_to_its_rate(files: MirrorFiles, rate: float | None) -> None:
    made = make_retrier(settings_of(files, archive(), share=Share(4, rate)), RunContext())
    assert made.is_paced == (rate is not None)


class _QuickArchive(MemoryArchive):
    """Each body comes a few cycles of the event loop after its request. `in_flight` has the requests at each time."""

    def __init__(self, made_up: list[MadeUp], *, permits: int) -> None:
        super().__init__({one.sop_uid: [one.content] for one in made_up}, permits=permits)
        self.in_flight: list[int] = []

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[MemoryBody]:
        async with super().open(series_uid, entry, rest=rest) as body:
            for _ in range(2):
                await asyncio.sleep(0)
            self.in_flight.append(self.retrier.permits.in_use)
            yield body


async def test_requests_are_made_ahead_of_answers_that_come_at_once(files: MirrorFiles, threads: Threads) -> None:
    source = _QuickArchive(MADE_UP, permits=4)
    await run(files, threads, source, work(by_uid()))
    assert max(source.in_flight) == 4
    assert committed(files) == ALL


async def test_no_further_requests_are_made_while_many_bodies_wait_for_their_turn(
    files: MirrorFiles, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a quick disk: only the processor limits
    made_up = list(instances(series=1, per_series=200))
    source = _QuickArchive(made_up, permits=60)
    entries = [Entry(one.sop_uid, SopInstanceUid(one.sop_uid)) for one in made_up]
    await run(files, threads, source, replace(work(entries), series_uid=SeriesUid(made_up[0].series_uid)))
    assert len(committed(files)) == 200
    assert max(source.in_flight) < 40


async def test_a_bundle_is_completed_one_by_one(files: MirrorFiles, threads: Threads) -> None:
    source = archive(bundle=zip_of([(one.sop_uid, one.content) for one in MADE_UP[:4]]))
    outcomes = await run(files, threads, source, work(by_uid()), transport=Transport.ZIP)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    assert source.asked == {"bundle": 1, MADE_UP[4].sop_uid: 1, MADE_UP[5].sop_uid: 1}
    assert committed(files) == ALL


@pytest.mark.parametrize("transport", list(Transport))
async def test_entries_without_a_uid_come_one_by_one(
    files: MirrorFiles, threads: Threads, transport: Transport
) -> None:
    source = archive(bundle=zip_of([(one.sop_uid, one.content) for one in MADE_UP]))
    await run(files, threads, source, work([Entry(key) for key in KEYS]), transport=transport)
    assert source.asked["bundle"] == 0
    assert committed(files) == ALL


async def test_a_worker_uses_what_another_one_has_measured(files: MirrorFiles, threads: Threads) -> None:
    chooser = TransportChooser(Transport.AUTO)
    for transport, seconds in ((Transport.ZIP, 0.01), (Transport.SINGLE, 1.0)):
        chooser.measured(transport, instances=6, size_bytes=6000, seconds=seconds, in_flight=(1, 1))
    source = archive(bundle=zip_of([(one.sop_uid, one.content) for one in MADE_UP]))
    settings = replace(settings_of(files, source), learned=Learned(8, chooser))
    await Worker(settings, source, threads).run(as_iterator([work(by_uid())]), ignore, give_back=no_way_back)
    assert source.asked == {"bundle": 1}


@pytest.mark.parametrize("once", [True, False])
async def test_an_instance_that_is_held_comes_again_in_a_bundle_unless_each_is_to_come_once(
    files: MirrorFiles, threads: Threads, *, once: bool
) -> None:
    source = archive(bundle=zip_of([(one.sop_uid, one.content) for one in MADE_UP]))
    settings = settings_of(files, source)
    fetch = replace(settings.fetch, transport=Transport.ZIP, once=once)
    most = replace(work(by_uid()[:5]), image_count=6, whole=False)
    await Worker(replace(settings, fetch=fetch), source, threads).run(
        as_iterator([most]), ignore, give_back=no_way_back
    )
    assert source.asked["bundle"] == (0 if once else 1)
    assert committed(files).keys() == {one.sop_uid for one in MADE_UP[:5]}


async def test_a_series_of_which_files_are_in_place_does_not_come_as_a_bundle(
    files: MirrorFiles, threads: Threads
) -> None:
    place(files, MADE_UP[0])
    source = archive(bundle=zip_of([(one.sop_uid, one.content) for one in MADE_UP]))
    await run(files, threads, source, work(by_uid()), transport=Transport.ZIP)
    assert source.asked == {one.sop_uid: 1 for one in MADE_UP[1:]}
    assert committed(files) == ALL


@pytest.mark.parametrize("transport", list(Transport))
async def test_entries_that_no_bundle_could_name_are_known_to_come_one_by_one(
    files: MirrorFiles, threads: Threads, transport: Transport
) -> None:
    source = archive(bundle=b"a zip")
    worker = Worker(settings_of(files, source, transport), source, threads)
    assert worker.prefers_singles(work([Entry(key) for key in KEYS]))
    assert worker.prefers_singles(work(by_uid())) == (transport is Transport.SINGLE)


class HeldArchive(MemoryArchive):
    """Counts the requests in flight, and answers them when that is `released`. It allows one at first."""

    def __init__(self, bodies: Mapping[str, list[bytes]], most: int, *, bundle: bytes | None = None) -> None:
        super().__init__(bodies, bundle=bundle)
        self.in_flight = 0
        self.asked_once, self.released = asyncio.Event(), asyncio.Event()
        self._most = most
        limiter = Limiter(ceiling=most, first=1)
        self.retrier = Retrier(limiter=limiter, policy=self.retrier.policy, stop=asyncio.Event())

    def allow_more(self, seconds: float = 0.01) -> None:
        """Raise the limit, as an answer does that shows that there is room, and comes after so many seconds."""
        self.retrier.limiter = Limiter(ceiling=self._most, first=self._most)
        self.retrier.began(seconds, 1000)

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[MemoryBody]:
        self.in_flight += 1
        self.asked_once.set()
        await self.released.wait()
        async with super().open(series_uid, entry, rest=rest) as body:
            yield body

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AsyncIterator[MemoryBody]:
        self.in_flight += 1
        await self.released.wait()
        async with super().open_bundle(series_uid, study_uid=study_uid) as body:
            yield body


async def test_a_limit_that_grows_is_used_at_once(
    files: MirrorFiles, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up = list(instances(series=1, per_series=20))
    source = HeldArchive({one.sop_uid: [one.content] for one in made_up}, most=16)
    entries = [Entry(one.sop_uid, SopInstanceUid(one.sop_uid)) for one in made_up]
    loop = asyncio.get_running_loop()
    now = loop.time()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: now)  # no timer ends
        running = asyncio.create_task(run(files, threads, source, work(entries)))
        await source.asked_once.wait()
        for in_flight in (1, 16):
            for _ in range(200):
                await asyncio.sleep(0)
            assert source.in_flight == in_flight
            source.allow_more()
        source.released.set()
        assert {outcome.outcome for outcome in await running} == {Outcome.FETCHED}


async def test_no_more_work_is_taken_than_there_are_permits_for(files: MirrorFiles, threads: Threads) -> None:
    """What is taken early is not available to an idle worker."""
    source = HeldArchive({str(key): [MADE_UP[0].content] for key in range(40)}, most=4)
    source.allow_more()
    taken = 0

    async def items() -> AsyncIterator[SeriesWork]:
        nonlocal taken
        for key in source.bodies:
            taken += 1
            yield work([Entry(key)])

    running = asyncio.create_task(run_on(items(), files, threads, source))
    await until(lambda: source.in_flight == 4)
    await in_thread(lambda: None, executor=threads)
    assert taken <= 4 + 4
    source.released.set()
    assert len(await running) == taken == 40


@pytest.mark.parametrize(
    ("workers", "others_join", "is_busy", "most"),
    [(2, False, True, 2), (1, True, True, 2), (1, False, True, 20), (2, False, False, 20)],
)
async def test_a_busy_worker_leaves_large_instances_to_others(
    files: MirrorFiles, threads: Threads, *, workers: int, others_join: bool, is_busy: bool, most: int
) -> None:
    made_up = list(instances(series=1, per_series=20))
    source = HeldArchive({one.sop_uid: [one.content] for one in made_up}, most=40)
    source.allow_more()
    taken = 0

    async def items() -> AsyncIterator[SeriesWork]:
        nonlocal taken
        for one in made_up:
            taken += 1
            yield work([Entry(one.sop_uid, SopInstanceUid(one.sop_uid), size_bytes=len(one.content))])

    now = count()
    load = CpuLoad(cpu=lambda: next(now) if is_busy else 0.0, clock=lambda: next(now))
    settings = settings_of(files, source, share=Share(40, workers=workers), parallel_above_bytes=100)
    worker = Worker(settings, source, threads, load)
    if others_join:
        worker.share(Share(40, workers=2))
    running = asyncio.create_task(worker.run(items(), ignore, give_back=no_way_back))
    await until(lambda: source.in_flight >= most)
    for _ in range(200):
        await asyncio.sleep(0)
    await in_thread(lambda: None, executor=threads)
    assert taken == most
    source.released.set()
    await running
    assert taken == 20


@pytest.mark.parametrize("is_packed", [False, True], ids=["zips", "objects of several instances"])
@pytest.mark.parametrize(("seconds", "most"), [(0.01, 2), (0.05, 16)], ids=["near", "far"])
async def test_a_busy_worker_leaves_the_zips_of_a_near_archive_to_others(
    files: MirrorFiles, threads: Threads, seconds: float, most: int, *, is_packed: bool
) -> None:
    zip_bytes = zip_of([(one.sop_uid, one.content) for one in MADE_UP])
    objects = {f"object{number}": [zip_bytes] for number in range(20)}
    source = HeldArchive(objects, most=40, bundle=zip_bytes)
    source.allow_more(seconds)
    taken = 0

    async def items() -> AsyncIterator[SeriesWork]:
        nonlocal taken
        for key in objects:
            taken += 1
            yield work([Entry(f"{key}#1"), Entry(f"{key}#2")] if is_packed else by_uid())

    now = count()
    load = CpuLoad(cpu=lambda: next(now), clock=lambda: next(now))
    running = asyncio.create_task(
        Worker(settings_of(files, source, Transport.ZIP), source, threads, load).run(
            items(), ignore, give_back=no_way_back
        )
    )
    await until(lambda: source.in_flight >= most)
    for _ in range(200):
        await asyncio.sleep(0)
    assert taken == most
    running.cancel()
    await asyncio.wait([running])


# --- files that are in place ------------------------------------------------------------------------------------------


async def test_files_in_place_are_adopted_without_a_request(files: MirrorFiles, threads: Threads) -> None:
    place(files, *MADE_UP[:3])
    source = archive()
    outcomes = await run(files, threads, source, work(by_uid()))
    assert [outcome.outcome for outcome in outcomes].count(Outcome.REUSED) == 3
    assert source.requests == 3


async def test_files_in_place_are_found_by_the_md5_of_an_entry(files: MirrorFiles, threads: Threads) -> None:
    place(files, *MADE_UP[:3])
    source = archive()
    entries = [Entry(key, md5=md5_of(one)) for key, one in zip(KEYS, MADE_UP, strict=True)]
    outcomes = await run(files, threads, source, work(entries))
    assert [outcome.outcome for outcome in outcomes] == [Outcome.REUSED] * 3 + [Outcome.FETCHED] * 3
    assert [outcome.sop_uid for outcome in outcomes] == [one.sop_uid for one in MADE_UP]
    assert source.requests == 3


async def test_a_file_under_a_wrong_name_is_not_adopted(files: MirrorFiles, threads: Threads) -> None:
    """It has the bytes of one instance and the name of another: both are downloaded, each under its own name."""
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{MADE_UP[1].sop_uid}.dcm").write_bytes(MADE_UP[0].content)
    entries = [Entry(key, md5=md5_of(one)) for key, one in zip(KEYS, MADE_UP, strict=True)]
    outcomes = await run(files, threads, archive(), work(entries))
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    assert committed(files) == ALL


async def test_files_in_place_are_replaced_where_nothing_identifies_them(files: MirrorFiles, threads: Threads) -> None:
    place(files, *MADE_UP[:2])
    outcomes = await run(files, threads, archive(), work([Entry(key) for key in KEYS]))
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    assert committed(files) == ALL


async def test_a_file_that_lies_under_the_name_of_an_instance_is_superseded(
    files: MirrorFiles, threads: Threads
) -> None:
    """Nothing says what it is, and it may be an earlier version that the archive has no longer."""
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{MADE_UP[0].sop_uid}.dcm").write_bytes(b"another version")
    await run(files, threads, archive(), work([Entry(KEYS[0])]))
    assert committed(files) == {str(MADE_UP[0].sop_uid): MADE_UP[0].content}
    kept = [path.read_bytes() for path in (files.root / SUPERSEDED).rglob("*.dcm")]
    assert kept == [b"another version"]


@pytest.mark.parametrize("knows_uid", [True, False], ids=["uid", "md5"])
async def test_a_damaged_file_in_place_leaves_its_name_to_the_right_one(
    files: MirrorFiles, threads: Threads, *, knows_uid: bool
) -> None:
    one = MADE_UP[0]
    (files.root / "folder").mkdir()
    (files.root / "folder" / f"{one.sop_uid}.dcm").write_bytes(one.content[:-1])
    entry = by_uid()[0] if knows_uid else Entry(KEYS[0], md5=md5_of(one))
    (outcome,) = await run(files, threads, archive(), replace(work([entry]), names=(None,)))
    assert (outcome.outcome, outcome.sop_uid, outcome.name) == (Outcome.FETCHED, one.sop_uid, None)
    assert committed(files) == {str(one.sop_uid): one.content}
    assert (files.root / SUPERSEDED).exists() != knows_uid  # else it is in quarantine


async def test_a_copy_under_a_foreign_name_is_not_adopted(files: MirrorFiles, threads: Threads) -> None:
    (files.root / "folder").mkdir()
    (files.root / "folder" / "copy.dcm").write_bytes(MADE_UP[0].content)
    entry = Entry(KEYS[0], md5=md5_of(MADE_UP[0]))
    (outcome,) = await run(files, threads, archive(), work([entry]))
    assert (outcome.outcome, outcome.sop_uid) == (Outcome.FETCHED, MADE_UP[0].sop_uid)
    assert committed(files) == dict.fromkeys(["copy", str(MADE_UP[0].sop_uid)], MADE_UP[0].content)


# --- several entries with one UID -------------------------------------------------------------------------------------


async def test_two_entries_of_one_instance_end_in_one_outcome_each(files: MirrorFiles, threads: Threads) -> None:
    source = archive()
    source.bodies = {**source.bodies, "copy": [MADE_UP[0].content]}
    outcomes = await run(files, threads, source, work([Entry(KEYS[0]), Entry("copy"), Entry(KEYS[1])]))
    assert len(outcomes) == 3
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    (beside,) = [outcome for outcome in outcomes if outcome.name is not None]
    assert (beside.sop_uid, beside.key in {KEYS[0], "copy"}) == (MADE_UP[0].sop_uid, True)
    assert beside.notes[-1].startswith(BESIDE)
    names = {MADE_UP[0].sop_uid, MADE_UP[1].sop_uid, str(beside.name).removesuffix(".dcm")}
    assert committed(files).keys() == names


async def test_an_entry_of_an_instance_that_another_entry_has_is_kept_beside(
    files: MirrorFiles, threads: Threads
) -> None:
    place(files, MADE_UP[0])
    owned = frozenset({f"{MADE_UP[0].sop_uid}.dcm"})
    (outcome,) = await run(files, threads, archive(), work([Entry(KEYS[0])], taken=owned))
    assert (outcome.outcome, outcome.sop_uid) == (Outcome.FETCHED, MADE_UP[0].sop_uid)
    beside = str(outcome.name).removesuffix(".dcm")
    assert committed(files) == dict.fromkeys([MADE_UP[0].sop_uid, beside], MADE_UP[0].content)


async def test_a_file_beside_another_is_found_by_its_md5(files: MirrorFiles, threads: Threads) -> None:
    source = archive()
    source.bodies = {**source.bodies, "copy": [MADE_UP[0].content]}
    entries = [Entry(KEYS[0], md5=md5_of(MADE_UP[0])), Entry("copy", md5=md5_of(MADE_UP[0]))]
    before = await run(files, threads, source, work(entries))
    after = await run(files, threads, source, work(entries))
    assert {outcome.outcome for outcome in after} == {Outcome.REUSED}
    assert {outcome.name for outcome in after} == {outcome.name for outcome in before}
    assert sum(source.asked.values()) == 2


async def test_an_entry_is_compared_with_its_listed_size(files: MirrorFiles, threads: Threads) -> None:
    listed = replace(by_uid()[0], size_bytes=1)
    (outcome,) = await run(files, threads, archive(), work([listed]))
    assert (outcome.outcome, outcome.error) == (Outcome.QUARANTINED, "checksum-mismatch")
