"""A run ends with one report, which the journal has as well, however it ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import AccessDenied
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Event, Noted, Progress, RunStarted
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.status import StatusReport
from bulkdl.model.settings import Transport
from bulkdl.runtime.disk import JOURNAL, PROGRESS
from bulkdl.store.run_progress import read_progress
from tests.support.bad_archive import DICOM, QUICK, BadArchive, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.waiting import until

MADE_UP = list(instances(series=2, per_series=3))


def last_outcome(mirror: Path) -> RunOutcome | None:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        last = journal.last_run()
        return last.outcome if last is not None else None


def deny_everything(seen: Seen) -> Action | None:
    return answer(b"", status=401) if endpoint_of(seen) == "getSeries" else None


async def test_a_complete_run_is_announced_and_recorded(tmp_path: Path) -> None:
    events: list[Event] = []
    async with BadArchive(MADE_UP) as archive:
        report = await archive.mirror(tmp_path, sink=events.append)
        started = next(event for event in events if isinstance(event, RunStarted))
        assert started == RunStarted(report.run, str(tmp_path / "mirror"), archive.server.url)
    assert report.series.selected == report.series.complete == 2
    assert last_outcome(tmp_path / "mirror") is report.outcome is RunOutcome.COMPLETE


async def test_an_error_that_stops_a_run_carries_its_report(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, deny_everything) as archive:
        with pytest.raises(AccessDenied) as caught:
            await archive.mirror(tmp_path)
    assert caught.value.report is not None
    assert caught.value.report["outcome"] == "failed"
    assert last_outcome(tmp_path / "mirror") is RunOutcome.FAILED


async def test_a_run_that_is_stopped_before_it_begins_is_interrupted(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.mirror_async(
            series=MADE_UP[0].series_uid, to=tmp_path, archive=archive.address, settings=QUICK, stop=stop
        )
        assert archive.object_requests() == 0
    assert report.outcome is last_outcome(tmp_path) is RunOutcome.INTERRUPTED


@pytest.mark.parametrize("rows", [200, 1700], ids=["in-memory", "in-a-file"])
async def test_progress_counts_the_bytes_of_unfinished_instances(tmp_path: Path, rows: int) -> None:
    """The archive sends half of an instance, and the rest when its bytes were announced."""
    (large,) = instances(series=1, per_series=1, rows=rows)
    announced = asyncio.Event()
    seen: list[Progress] = []

    def watch(event: Event) -> None:
        if isinstance(event, Progress):
            seen.append(event)
            if event.bytes_fetched >= len(large.content) // 4:
                announced.set()

    async def in_halves(exchange: Exchange) -> None:
        await exchange.send_head(200, {**DICOM, "Content-Length": str(len(large.content))})
        half = len(large.content) // 2
        await exchange.send(large.content[:half])
        await announced.wait()
        await exchange.send(large.content[half:])

    async with BadArchive(
        [large], lambda asked: in_halves if endpoint_of(asked) == "getSingleImage" else None
    ) as archive:
        report = await archive.mirror(tmp_path, sink=watch, transport=Transport.SINGLE)
    counts = [event.bytes_fetched for event in seen]
    assert any(event.bytes_fetched > 0 and event.instances_held == 0 for event in seen)
    assert counts == sorted(counts)
    assert counts[-1] == report.bytes_fetched == len(large.content)
    assert (seen[-1].instances_held, seen[-1].series_done, seen[-1].instances_arriving) == (1, 1, 0)
    left = [event.bytes_left for event in seen if event.bytes_left is not None]
    assert left == sorted(left, reverse=True)


async def test_another_process_sees_the_progress_until_the_run_ends(tmp_path: Path) -> None:
    """The archive sends nothing but the lists until the progress was read."""
    shown: list[StatusReport] = []

    async def after_a_look(exchange: Exchange) -> None:
        await until(
            lambda: (
                (saved := read_progress(tmp_path / "mirror")) is not None
                and saved.in_flight
                and saved.instances_selected  # which are counted a little later
            )
        )
        shown.append(await bulkdl.status_async(tmp_path / "mirror"))
        await exchange.send_head(200, {**DICOM, "Content-Length": str(len(made_up.content))})
        await exchange.send(made_up.content)

    (made_up,) = instances(series=1, per_series=1)
    async with BadArchive(
        [made_up], lambda asked: after_a_look if endpoint_of(asked) == "getSingleImage" else None
    ) as archive:
        await archive.mirror(tmp_path, transport=Transport.SINGLE)
    assert shown[0].progress["in_flight"] == 1
    assert "1 of 4 in flight" in str(shown[0])
    assert shown[0].as_json()["progress"]["instances_selected"] == 1
    assert "progress" not in (await bulkdl.status_async(tmp_path / "mirror")).as_json()
    assert not (tmp_path / "mirror" / PROGRESS).exists()


async def test_a_series_under_another_collection_is_announced_and_stays_where_it_is(tmp_path: Path) -> None:
    events: list[Event] = []
    moved = [replace(one, collection="RENAMED") for one in MADE_UP]
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        archive.made_up = moved
        report = await archive.mirror(tmp_path, sink=events.append)
    assert report.outcome is RunOutcome.COMPLETE
    assert report.instances.reused == len(MADE_UP)
    notes = [event.message for event in events if isinstance(event, Noted)]
    assert len(notes) == 1
    assert notes[0].startswith("the archive has 2 series, ")
    assert notes[0].endswith("under another collection or patient now; their files stay where they are")
