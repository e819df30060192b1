"""A real worker process, from its start to its end: its share, its work, and the work that it gives back."""

from __future__ import annotations

import asyncio
import pickle
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.archive.profiles import Profile
from bulkdl.errors import DiskFull, MirrorUnwritable
from bulkdl.fetch.shares import Share
from bulkdl.fetch.transport_choice import TransportChooser
from bulkdl.fetch.worker import Learned, Traffic, WorkerSettings
from bulkdl.fetch.worker_process import Batch, Signal, WorkerProcess
from bulkdl.model.access import Access
from bulkdl.model.events import Noted, RunContext
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome, SeriesWork
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings, Transport
from bulkdl.runtime.processes import packed, receive
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import MadeUp, instances
from tests.support.faults import CERTIFICATE, Action, Exchange, Seen, answer
from tests.support.journals import outcome
from tests.support.waiting import until

MADE_UP = list(instances(series=3, per_series=4))


def works(of: Sequence[MadeUp] = MADE_UP) -> list[SeriesWork]:
    by_series: dict[str, list[MadeUp]] = {}
    for one in of:
        by_series.setdefault(one.series_uid, []).append(one)
    return [
        SeriesWork(
            series_uid=SeriesUid(uid),
            study_uid=None,
            folder=uid,
            entries=tuple(Entry(one.sop_uid, SopInstanceUid(one.sop_uid)) for one in made_up),
            names=tuple(f"{one.sop_uid}.dcm" for one in made_up),
        )
        for uid, made_up in by_series.items()
    ]


async def items() -> AsyncIterator[SeriesWork]:
    for work in works():
        yield work


def settings(archive: BadArchive, files: MirrorFiles, fetch: FetchSettings = QUICK) -> WorkerSettings:
    return WorkerSettings(
        profile=Profile("bad", archive.server.url, "nbia-v1"),
        access=Access(),
        root=files.root,
        fetch=fetch,
        share=Share(4),
    )


class Ended:
    """What a worker process delivers and gives back."""

    def __init__(self) -> None:
        self.outcomes: list[InstanceOutcome] = []
        self.given_back: list[tuple[str, int]] = []

    def give_back(self, series_uid: str, instances: int) -> None:
        self.given_back.append((series_uid, instances))

    async def deliver(self, outcomes: Sequence[InstanceOutcome]) -> None:
        self.outcomes += outcomes


async def test_a_process_with_an_assignment_does_all_work(files: MirrorFiles) -> None:
    ended = Ended()
    async with BadArchive(MADE_UP) as archive:
        worker = WorkerProcess(RunContext(), give_back=ended.give_back)
        worker.share(Share(2))
        worker.assign(settings(archive, files))
        await worker.run(items(), ended.deliver)
    assert {outcome.outcome for outcome in ended.outcomes} == {Outcome.FETCHED}
    assert {outcome.key for outcome in ended.outcomes} == {one.sop_uid for one in MADE_UP}
    assert ended.given_back == []
    assert worker.traffic.requests == len(MADE_UP)
    assert worker.traffic.limit == 2  # the share that it was given before `assign`


async def test_a_process_at_work_keeps_to_a_share_that_changes(files: MirrorFiles) -> None:
    ended, gate = Ended(), asyncio.Event()

    def hold(seen: Seen) -> Action:
        async def act(exchange: Exchange) -> None:
            await gate.wait()
            await archive.right(seen)(exchange)

        return act

    async with BadArchive(MADE_UP, hold) as archive:
        worker = WorkerProcess(RunContext(), give_back=ended.give_back)
        worker.assign(settings(archive, files))
        running = asyncio.ensure_future(worker.run(items(), ended.deliver))
        await until(lambda: worker.traffic.limit == 4)
        worker.share(Share(2))
        await until(lambda: worker.traffic.limit == 2)
        gate.set()
        await running
    assert {outcome.key for outcome in ended.outcomes} == {one.sop_uid for one in MADE_UP}


async def test_a_process_gives_back_the_rest_of_a_series_that_is_not_answered(files: MirrorFiles) -> None:
    ended = Ended()
    first, second = works(many := list(instances(series=2, per_series=40)))
    was_asked = False

    def unanswered(seen: Seen) -> Action | None:
        nonlocal was_asked
        was_asked = was_asked or seen.query["SeriesInstanceUID"] == second.series_uid
        return None if was_asked else answer(b"", status=504)

    async def both() -> AsyncIterator[SeriesWork]:
        for work in (first, second):
            yield work

    async with BadArchive(many, unanswered) as archive:
        worker = WorkerProcess(RunContext(), give_back=ended.give_back)
        worker.assign(settings(archive, files, replace(QUICK, max_attempts=8, give_up_after_seconds=60.0)))
        await worker.run(both(), ended.deliver)
    rest = dict(ended.given_back)
    assert len(ended.given_back) == len(rest)  # each once
    for work in (first, second):
        ends = sum(outcome.series_uid == work.series_uid for outcome in ended.outcomes)
        assert ends + rest.get(work.series_uid, 0) == 40
    assert first.series_uid in rest


@pytest.mark.parametrize("how", ["dismissed", "stopped"])
async def test_a_process_without_an_assignment_ends_without_work(how: str) -> None:
    ended = Ended()
    context = RunContext()
    worker = WorkerProcess(context, give_back=ended.give_back)
    if how == "dismissed":
        worker.assign(None)
    else:
        context.stop.set()
    await worker.run(items(), ended.deliver)
    assert (ended.outcomes, ended.given_back) == ([], [])


async def test_an_error_that_must_stop_the_run_is_raised(files: MirrorFiles, tmp_path: Path) -> None:
    ended = Ended()
    (tmp_path / "mirror" / ".bulkdl" / "partial").rmdir()
    async with BadArchive(MADE_UP) as archive:
        worker = WorkerProcess(RunContext(), give_back=ended.give_back)
        worker.assign(settings(archive, files))
        with pytest.raises(MirrorUnwritable, match="partial"):
            await worker.run(items(), ended.deliver)
    assert ended.outcomes == []


WITH_LITTLE_MEMORY = """
from bulkdl.dicom.validation import load_pydicom
from bulkdl.fetch import worker_main
from bulkdl.runtime.processes import limit_memory
load_pydicom()
limit_memory(24 << 20)
worker_main.work()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
async def test_a_process_without_enough_memory_says_so(files: MirrorFiles, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(CERTIFICATE.read_bytes() * 60_000)  # 51 MB
    async with BadArchive(MADE_UP) as archive:
        wanted = replace(settings(archive, files), access=Access(ca_bundle=str(bundle)))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WITH_LITTLE_MEMORY, stdin=PIPE, stdout=PIPE, stderr=PIPE
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(packed(Signal.PREPARE) + packed(wanted))
        batch = await receive(process.stdout)
        while batch is not None and not batch.is_last:
            batch = await receive(process.stdout)
        _, said = await process.communicate()
    assert said == b""
    assert isinstance(batch.error, MirrorUnwritable)
    assert "not enough memory" in str(batch.error)


MESSAGES = [
    Share(3, 1000.0),
    Signal.STOP,
    Signal.NO_MORE_WORK,
    Batch((outcome(1, 2),), (Noted("text"),), ((SeriesUid("1.2"), 3),), Traffic(1, 2, 3, 4), 1, is_last=True),
    SeriesWork(
        series_uid=SeriesUid("1.2"),
        study_uid=None,
        folder="f",
        entries=(Entry("k", None, 7, b"m" * 16),),
        names=(None,),
        taken=frozenset({"1.dcm"}),
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: object) -> None:
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301 - made here


def test_the_settings_of_a_worker_arrive_with_what_others_measured() -> None:
    settings = WorkerSettings(
        profile=Profile("a", "https://a.example/", "nbia-v1"),
        access=Access(),
        root=Path("mirror"),
        fetch=FetchSettings(),
        share=Share(4),
        learned=Learned(7, TransportChooser(Transport.AUTO)),
    )
    sent: WorkerSettings = pickle.loads(pickle.dumps(settings))  # noqa: S301 - made here
    assert (sent.profile, sent.root, sent.share) == (settings.profile, settings.root, Share(4))
    assert sent.learned is not None
    assert sent.learned.limit == 7


def test_the_error_of_the_last_batch_arrives_with_its_kind() -> None:
    batch = Batch((), (), (), Traffic(), 0, is_last=True, error=DiskFull("no room"))
    sent: Batch = pickle.loads(pickle.dumps(batch))  # noqa: S301 - made here
    assert isinstance(sent.error, DiskFull)
    assert str(sent.error) == "no room"
