"""`mirroring`: the Series that a run completes, one after the other."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import ArchiveUnreachable
from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.mirroring import MirroringRun
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=3, per_series=2))
SERIES = {one.series_uid for one in MADE_UP}


async def test_hands_out_each_series_when_it_is_in_the_mirror(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
        async with bulkdl.mirroring("MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK) as run:
            seen = []
            async for completed in run:
                seen.append(completed.series.series_uid)
                assert len(list(completed.folder.glob("*.dcm"))) == completed.instances == 2
        assert sorted(seen) == sorted(SERIES)
        assert run.report.outcome is RunOutcome.COMPLETE
        async with bulkdl.mirroring("MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK) as run:
            assert [completed async for completed in run] == []
            assert [completed async for completed in run] == []


async def fail(opened: AbstractAsyncContextManager[MirroringRun]) -> None:
    async with opened as run:
        async for _ in run:
            raise ZeroDivisionError


async def test_leaving_the_block_stops_the_run(tmp_path: Path) -> None:
    made_up = list(instances(series=40, per_series=4))
    async with BadArchive(made_up) as archive:
        choice = archive.choice(tmp_path)
        async with bulkdl.mirroring("MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK) as run:
            async for completed in run:
                assert completed.instances == 4
                break
        assert run.report.outcome is RunOutcome.INTERRUPTED
        with pytest.raises(ZeroDivisionError):
            await fail(bulkdl.mirroring("MADE-UP", to=tmp_path / "m", archive=choice, settings=QUICK))
        report = await bulkdl.resume_async(tmp_path / "m", archive=choice, settings=QUICK)
    assert (report.outcome, report.series.complete) == (RunOutcome.COMPLETE, 40)


async def test_an_error_of_the_run_is_raised_at_the_end_of_the_block(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        choice = archive.choice(tmp_path)
    settings = bulkdl.FetchSettings(give_up_after_seconds=0.1, wait_scale=0.01)
    with pytest.raises(ArchiveUnreachable):
        async with bulkdl.mirroring("MADE-UP", to=tmp_path / "m", archive=choice, settings=settings) as run:
            assert [completed async for completed in run] == []
