"""`--instance`: single instances by their UIDs, whose Series the lists and heads of an archive tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import SelectionError
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.reports.base import RunOutcome
from tests.support.bad_archive import BadArchive
from tests.support.bucket_server import bucket_server, write_index_of
from tests.support.dicom_files import instances
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=3, per_series=4))
ONE, OTHER = MADE_UP[1], MADE_UP[9]
UIDS = (ONE.sop_uid, OTHER.sop_uid)

Opened = Callable[[Path], AbstractAsyncContextManager[ArchiveChoice]]


@asynccontextmanager
async def nbia(folder: Path) -> AsyncIterator[ArchiveChoice]:
    async with BadArchive(MADE_UP) as archive:
        yield archive.choice(folder)


@asynccontextmanager
async def idc(folder: Path) -> AsyncIterator[ArchiveChoice]:
    index = write_index_of(folder / "index", MADE_UP)
    async with bucket_server(MADE_UP) as server:
        yield bulkdl.reach(f"idc+{server.url}", idc_index=index, cache=folder / "cache")


@asynccontextmanager
async def routed(folder: Path) -> AsyncIterator[ArchiveChoice]:
    """The first two Series are in a bucket, the third one is at NBIA."""
    index = write_index_of(folder / "index", MADE_UP[:8])
    async with bucket_server(MADE_UP[:8]) as server, BadArchive(MADE_UP) as other:
        profiles = {"idc": f"idc+{server.url}", "nbia": other.address}
        yield bulkdl.reach("tcia", profiles=profiles, idc_index=index, cache=folder / "cache")


@pytest.mark.parametrize("archive", [nbia, idc, routed])
async def test_only_the_named_instances_are_downloaded_and_later_the_rest(tmp_path: Path, archive: Opened) -> None:
    mirror = tmp_path / "m"
    async with archive(tmp_path) as choice:
        plan = await bulkdl.plan_async(collection=ONE.collection, instance=UIDS, archive=choice)
        assert (plan.series.selected, plan.instances_selected) == (2, 2)
        first = await bulkdl.mirror_async(collection=ONE.collection, instance=UIDS, to=mirror, archive=choice)
        assert (first.outcome, first.failures) == (RunOutcome.COMPLETE, ())
        assert (first.series.selected, first.series.complete, first.instances.selected) == (2, 2, 2)
        assert checksums_on_disk(mirror) == checksums_of([ONE, OTHER])
        assert (bulkdl.status(mirror).owed, bulkdl.verify(mirror).problems) == (0, ())
        assert (await bulkdl.sync_async(mirror, archive=choice)).instances.fetched == 0
        whole = await bulkdl.mirror_async(series=[ONE.series_uid], to=mirror, archive=choice)
        assert (whole.outcome, whole.instances.fetched, whole.instances.reused) == (RunOutcome.COMPLETE, 3, 1)
        assert checksums_on_disk(mirror) == checksums_of([*MADE_UP[:4], OTHER])


@pytest.mark.parametrize("archive", [nbia, idc])
@pytest.mark.parametrize("series", [[ONE.series_uid], [ONE.series_uid, OTHER.series_uid]], ids=["one", "several"])
async def test_an_instance_that_no_series_has_is_a_failure(tmp_path: Path, archive: Opened, series: list[str]) -> None:
    async with archive(tmp_path) as choice:
        report = await bulkdl.mirror_async(
            series=series, instance=[ONE.sop_uid, "1.2.3"], to=tmp_path / "m", archive=choice
        )
        alone = await bulkdl.mirror_async(series=series, instance="1.2.3", to=tmp_path / "other", archive=choice)
    for each, fetched in (report, 1), (alone, 0):
        assert (each.outcome, each.instances.fetched) == (RunOutcome.PARTIAL, fetched)
        assert [(failure.instance, failure.error) for failure in each.failures] == [("1.2.3", "not-found")]


async def test_an_instance_alone_selects_nothing() -> None:
    with pytest.raises(SelectionError, match="name its --series"):
        bulkdl.select(instance="1.2.3")


async def test_a_series_that_does_not_exist_is_named_rather_than_its_instance(tmp_path: Path) -> None:
    async with nbia(tmp_path) as choice:
        report = await bulkdl.mirror_async(series="1.9.9", instance="1.2.3", to=tmp_path / "m", archive=choice)
    assert [failure.series for failure in report.failures] == ["1.9.9"]


async def test_what_failed_is_counted_alike_by_all_reports(tmp_path: Path) -> None:
    mirror = tmp_path / "m"
    async with nbia(tmp_path) as choice:
        wanted = bulkdl.select(series=[ONE.series_uid], instance=[ONE.sop_uid, "1.2.3"])
        run = await bulkdl.mirror_async(wanted, to=mirror, archive=choice)
    status, verified = await bulkdl.status_async(mirror), await bulkdl.verify_async(mirror)
    assert (run.instances.failed, status.failed, verified.instances.failed) == (1, 1, 1)
    assert (status.owed, verified.owed) == (0, 0)
    assert verified.ending is RunOutcome.PARTIAL
