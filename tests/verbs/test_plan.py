"""`plan` adds up what the archive says, less what the mirror holds, and downloads nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import DiskError, SelectionError
from bulkdl.manifest import read_manifest
from bulkdl.model.selection import Selection
from bulkdl.verbs.plan import save_manifest
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=2, per_series=3))
SERIES = tuple(dict.fromkeys(one.series_uid for one in MADE_UP))
SIZE = sum(len(one.content) for one in MADE_UP)


async def test_says_what_a_new_mirror_needs(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=archive.address, settings=QUICK)
        assert archive.object_requests() == 0
    assert (report.series.selected, report.instances_selected, report.bytes_selected) == (2, 6, SIZE)
    assert (report.instances_held, report.exact, report.series_uids) == (0, True, SERIES)
    assert not (tmp_path / "m").exists()


async def test_counts_what_the_mirror_holds_already(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "mirror", archive=archive.address)
    assert (report.instances_held, report.bytes_held, report.series.complete) == (6, SIZE, 2)


async def test_says_how_long_the_rest_takes_at_the_speed_of_the_runs_before(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive, BadArchive(MADE_UP) as other:
        choice = archive.choice(tmp_path)
        done = await bulkdl.mirror_async(series=SERIES[:1], to=tmp_path / "m", archive=choice, settings=QUICK)
        report = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=choice)
        assert report.seconds_expected == pytest.approx(done.seconds, rel=0.2, abs=0.1)
        assert report.as_json()["seconds_expected"] == report.seconds_expected
        elsewhere = await bulkdl.plan_async(series=SERIES, to=tmp_path / "m", archive=other.address)
        nothing_measured = await bulkdl.plan_async(series=SERIES, to=tmp_path / "none", archive=choice)
        nothing_owed = await bulkdl.plan_async(series=SERIES[:1], to=tmp_path / "m", archive=choice)
    assert (elsewhere.seconds_expected, nothing_measured.seconds_expected) == (None, None)
    assert nothing_owed.seconds_expected == 0


async def test_a_part_of_a_series_is_an_estimate(tmp_path: Path) -> None:
    first = MADE_UP[0]
    selection = Selection(series=(first.series_uid,), instances=((first.series_uid, (first.sop_uid,)),))
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(selection, archive=archive.choice(tmp_path))
    assert (report.instances_selected, report.exact) == (1, False)


async def test_a_series_that_the_archive_does_not_have_is_named() -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=[SERIES[0], "1.2.3"], archive=archive.address)
    assert [failure.series for failure in report.failures] == ["1.2.3"]


async def test_studies_in_a_list_of_series_are_recognised() -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=[MADE_UP[0].study_uid], archive=archive.address)
        neither = await bulkdl.plan_async(series=["1.2.3"], archive=archive.address)
    assert "is a Study Instance UID: select studies with --study" in report.failures[0].message
    assert "--study" not in neither.failures[0].message


async def test_a_selection_and_criteria_cannot_be_combined() -> None:
    with pytest.raises(SelectionError, match="further criteria"):
        await bulkdl.plan_async(Selection(everything=True), patient="P", archive="demo")


async def test_a_saved_plan_is_a_manifest_that_can_be_read(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        report = await bulkdl.plan_async(series=SERIES, archive=archive.address)
    save_manifest(report, tmp_path / "plan.tcia")
    assert read_manifest((tmp_path / "plan.tcia").read_bytes(), source="plan.tcia").series == SERIES
    with pytest.raises(DiskError):
        save_manifest(report, tmp_path / "none" / "plan.tcia")
