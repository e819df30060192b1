"""`sync` and its dry run with `deny_license`: nothing of such a Series is requested, and what is there stays."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import bulkdl
from bulkdl.archive.base import FoundSeries
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import Changes, RunReport
from bulkdl.model.selection import Selection
from bulkdl.resolve.denied_series import DeniedSeries
from bulkdl.runtime.disk import JOURNAL
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of, no_fault
from tests.support.dicom_files import MadeUp, instances, padded
from tests.support.faults import drop
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.syncing import mirrored, synced

NC, BY = "CC BY-NC 3.0", "CC BY 4.0"
DENIED = ("*nc*",)
MADE_UP = list(instances(series=3, per_series=2))
NEW = list(instances(series=3, per_series=2, seed="new"))
FIRST, SECOND, THIRD = (one.series_uid for one in MADE_UP[::2])
INCOMPLETE = f"series {FIRST} stays as it is, because its licence {NC} is denied: instances of it are missing"


def licenses(made_up: Iterable[MadeUp], name: str) -> dict[str, str]:
    return {one.series_uid: name for one in made_up}


@asynccontextmanager
async def archive_of(licensed: dict[str, str]) -> AsyncIterator[BadArchive]:
    async with BadArchive(MADE_UP) as archive:
        archive.licenses = licensed
        yield archive


def requested(archive: BadArchive, series: Iterable[MadeUp]) -> set[str]:
    """The endpoints that were asked for something of these Series."""
    names = {uid for one in series for uid in (one.series_uid, one.sop_uid)}
    return {endpoint_of(seen) for seen in archive.server.requests if not names.isdisjoint(seen.query.values())}


def changes_of(report: RunReport) -> Changes:
    assert report.changes is not None
    return report.changes


async def test_new_series_under_a_denied_licence_are_left_out_and_said_each_time(tmp_path: Path) -> None:
    now = [*MADE_UP, *NEW]
    async with archive_of(licenses(NEW[:4], NC) | licenses(NEW[4:], BY)) as archive:
        mirror = await mirrored(archive, tmp_path)
        reports = [await synced(archive, mirror, now, deny_license=DENIED) for _ in range(2)]
        assert requested(archive, NEW[:4]) == set()
    for report, new in zip(reports, (1, 0), strict=True):
        assert (report.outcome, changes_of(report)) == (RunOutcome.COMPLETE, Changes(new_series=new))
        assert report.notes == (f"2 series left out, because the licence is denied: 2 under {NC}",)
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of([*MADE_UP, *NEW[4:]])
    assert bulkdl.status(mirror).series.selected == 4


async def test_a_dry_run_says_the_same_and_changes_nothing(tmp_path: Path) -> None:
    async with archive_of(licenses(NEW[:4], NC) | licenses(MADE_UP[:2], NC)) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.made_up = [padded(MADE_UP[0]), *MADE_UP[1:], *NEW]
        choice = archive.choice(tmp_path)
        plan = await bulkdl.sync_plan_async(mirror, archive=choice, settings=QUICK, deny_license=DENIED)
        report = await bulkdl.sync_async(mirror, archive=choice, settings=QUICK, deny_license=DENIED)
    assert plan.changes == changes_of(report) == Changes(new_series=1)
    assert plan.notes == report.notes
    assert plan.as_json()["notes"] == list(plan.notes)
    assert len(plan.notes) == 2


async def test_what_the_mirror_has_is_not_withdrawn_and_what_changed_of_it_is_named(tmp_path: Path) -> None:
    now = [padded(MADE_UP[0]), MADE_UP[1], padded(MADE_UP[2]), *MADE_UP[3:]]
    async with archive_of({}) as archive:
        mirror = await mirrored(archive, tmp_path)
        archive.licenses = {FIRST: NC, SECOND: BY, THIRD: NC}
        archive.server.requests.clear()
        reports = [await synced(archive, mirror, now, deny_license=DENIED) for _ in range(2)]
        assert requested(archive, MADE_UP[:2]) == set()
        assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of([*MADE_UP[:2], *now[2:]])
        allowed = await synced(archive, mirror, now)
    for report, changed in zip(reports, (1, 0), strict=True):
        found = Changes(changed_series=changed, replaced_instances=changed)
        assert (report.outcome, changes_of(report)) == (RunOutcome.COMPLETE, found)
        text = f"series {FIRST} stays as it is, because its licence {NC} is denied: the archive has changed it"
        assert report.notes == (text,)
    assert changes_of(allowed) == Changes(changed_series=1, replaced_instances=1)
    assert checksums_on_disk(mirror) == checksums_of(now)


def place_of(mirror: Path, one: MadeUp) -> Path:
    """The file of an instance, whatever its name is."""
    return next(path for path in mirror.rglob("*.dcm") if path.read_bytes() == one.content)


async def test_a_lost_file_of_a_denied_series_is_not_requested(tmp_path: Path) -> None:
    async with archive_of({FIRST: NC, SECOND: BY}) as archive:
        mirror = await mirrored(archive, tmp_path)
        for one in (MADE_UP[0], MADE_UP[2]):
            place_of(mirror, one).unlink()
        archive.server.requests.clear()
        reports = [await synced(archive, mirror, MADE_UP, deny_license=DENIED) for _ in range(2)]
        assert requested(archive, MADE_UP[:2]) == set()
        assert checksums_on_disk(mirror) == checksums_of(MADE_UP[1:])
        await synced(archive, mirror, MADE_UP)
    assert [report.notes for report in reports] == [(INCOMPLETE,), (INCOMPLETE,)]
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_what_is_owed_waits_until_the_archive_has_said_the_licence(tmp_path: Path) -> None:
    async with archive_of({}) as archive:
        archive.fault = lambda seen: drop() if MADE_UP[0].sop_uid in seen.query.values() else None
        mirror = tmp_path / "mirror"
        await bulkdl.mirror_async("MADE-UP", to=mirror, archive=archive.choice(tmp_path), settings=QUICK)
        archive.fault, archive.licenses = no_fault, {FIRST: NC}
        archive.server.requests.clear()
        reports = [await synced(archive, mirror, MADE_UP, deny_license=DENIED) for _ in range(2)]
        assert requested(archive, MADE_UP[:2]) == set()
    assert [report.notes for report in reports] == [(INCOMPLETE,), (INCOMPLETE,)]


async def test_a_series_that_was_recorded_and_not_listed_is_not_listed(tmp_path: Path) -> None:
    async with archive_of({FIRST: NC}) as archive:
        mirror = await mirrored(archive, tmp_path)
        with closing(sqlite3.connect(mirror / JOURNAL)) as database:
            database.execute("UPDATE series SET listing = 0 WHERE series_uid = ?", (FIRST,))
            database.commit()
        archive.server.requests.clear()
        report = await synced(archive, mirror, MADE_UP, deny_license=DENIED)
        assert requested(archive, MADE_UP[:2]) == set()
    assert [FIRST in note for note in report.notes] == [True]


async def test_a_withdrawn_series_that_is_back_under_a_denied_licence_keeps_its_mark(tmp_path: Path) -> None:
    async with archive_of({FIRST: NC}) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
        archive.server.requests.clear()
        report = await synced(archive, mirror, MADE_UP, deny_license=DENIED)
        assert requested(archive, MADE_UP[:2]) == set()
        assert journalled_checksums(mirror) == checksums_of(MADE_UP[2:])
        await synced(archive, mirror, MADE_UP)
    assert report.notes == (f"1 series left out, because the licence is denied: 1 under {NC}",)
    assert journalled_checksums(mirror) == checksums_on_disk(mirror) == checksums_of(MADE_UP)


async def test_a_locked_series_under_a_denied_licence_is_not_listed(tmp_path: Path) -> None:
    lock = tmp_path / "cohort.lock"
    async with archive_of({FIRST: NC}) as archive:
        first = await mirrored(archive, tmp_path / "first")
        with lock.open("w", newline="") as file:
            bulkdl.manifest_lock(first, file)
        mirror, choice = tmp_path / "mirror", archive.choice(tmp_path)
        await bulkdl.mirror_async(str(lock), to=mirror, archive=choice, settings=QUICK)
        place_of(mirror, MADE_UP[0]).unlink()
        archive.server.requests.clear()
        report = await synced(archive, mirror, [padded(MADE_UP[0]), *MADE_UP[1:]], deny_license=DENIED)
        assert requested(archive, MADE_UP[:2]) <= {"getSeries"}
    assert any(FIRST in note and NC in note for note in report.notes)


async def test_a_sample_is_filled_with_what_is_not_denied(tmp_path: Path) -> None:
    wanted = Selection(collections=("MADE-UP",), sample=bulkdl.Selection.from_keywords({"sample": "4"}).sample)
    async with archive_of(licenses(NEW[:4], NC)) as archive:
        mirror = tmp_path / "mirror"
        await bulkdl.mirror_async(wanted, to=mirror, archive=archive.choice(tmp_path), settings=QUICK)
        report = await synced(archive, mirror, [*MADE_UP, *NEW], deny_license=DENIED)
    assert changes_of(report).new_series == 1
    assert checksums_on_disk(mirror) == checksums_of([*MADE_UP, *NEW[4:]])


async def no_row(_: SeriesUid) -> None:
    return None


async def test_many_licences_are_summed_up() -> None:
    denied = DeniedSeries(Selection(denied_licenses=("*",)), no_row)
    found = [Series(series_uid=SeriesUid(f"1.{n}"), license_name=f"L{n:02}\n") for n in range(25)]
    found.append(replace(found[3], series_uid=SeriesUid("2.1")))
    assert (await denied.admit(FoundSeries(tuple(found)))).series == ()
    (note,) = denied.notes()
    assert note.startswith("26 series left out, because the licence is denied: 2 under L03")
    assert note.endswith(", 5 under others")
    assert "\n" not in note
