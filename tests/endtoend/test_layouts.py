"""Mirrors in every layout: downloaded, resumed, verified, adopted. Nothing is downloaded or kept twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bulkdl
from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import InstanceKey
from bulkdl.model.selection import Selection
from bulkdl.model.settings import Transport
from bulkdl.runtime.disk import JOURNAL
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.journals import begin
from tests.support.layouts import NUMBERED, assert_holds, numbered_instances
from tests.support.mirrors import checksums_on_disk

MADE_UP = numbered_instances()


async def mirrored(archive: BadArchive, folder: Path, layout: str, **settings: Any) -> Path:
    uids = Selection(series=tuple(dict.fromkeys(one.series_uid for one in MADE_UP)))
    choice, mirror = archive.choice(folder), folder / "mirror"
    chosen = replace(QUICK, **settings)
    report = await bulkdl.mirror_async(uids, to=mirror, archive=choice, settings=chosen, layout=layout)
    assert report.outcome == "complete", report.failures
    return mirror


@pytest.mark.parametrize(
    ("layout", "transport"),
    [
        ("nbia-descriptive", Transport.ZIP),
        ("idc", Transport.SINGLE),
        (NUMBERED, Transport.SINGLE),
        ("%Modality/%StudyDate-%SeriesInstanceUID", Transport.ZIP),
    ],
)
async def test_a_mirror_is_complete_and_goes_on_in_its_layout(
    tmp_path: Path, layout: str, transport: Transport
) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path, layout, transport=transport)
        assert_holds(mirror, MADE_UP)
        files = checksums_on_disk(mirror)
        lost = next(iter(files))
        (mirror / lost).unlink()
        asked = archive.object_requests()
        again = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
        assert again.instances.fetched == 1
        assert archive.object_requests() == asked + 1
    assert checksums_on_disk(mirror) == files
    assert (await bulkdl.verify_async(mirror)).problems == ()


@pytest.mark.parametrize("layout", ["nbia-descriptive", "idc"])
async def test_a_file_that_a_crash_left_unrecorded_is_taken_over(tmp_path: Path, layout: str) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path, layout)
        files, asked = checksums_on_disk(mirror), archive.object_requests()
        with Journal.create_or_open(mirror / JOURNAL) as journal:
            keys = [InstanceKey(SeriesUid(one.series_uid), SopInstanceUid(one.sop_uid)) for one in MADE_UP[::3]]
            journal.owe(begin(journal), keys)
        report = await bulkdl.resume_async(mirror, archive=archive.choice(tmp_path), settings=QUICK)
        assert report.instances.fetched == 0
        assert archive.object_requests() == asked
    assert checksums_on_disk(mirror) == files
    assert_holds(mirror, MADE_UP)


@pytest.mark.parametrize("layout", ["nbia-classic", NUMBERED])
async def test_files_are_adopted_into_a_layout_and_by_their_mirror(tmp_path: Path, layout: str) -> None:
    source, mirror = tmp_path / "source", tmp_path / "mirror"
    for number, one in enumerate(MADE_UP):
        path = source / one.collection / one.patient_id / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content)
    report = await bulkdl.adopt_async(source, to=mirror, layout=layout, archive="nbia")
    assert (report.adopted, report.refused) == (8, 0)
    assert_holds(mirror, MADE_UP)
    assert (await bulkdl.adopt_async(source, to=mirror, archive="nbia")).already == 8
    shutil.rmtree(mirror / ".bulkdl")
    again = await bulkdl.adopt_async(mirror, layout=layout, collection="MADE-UP", archive="nbia")
    assert (again.adopted, again.refused) == (8, 0)
    assert_holds(mirror, MADE_UP)


async def test_a_folder_is_made_of_the_header_where_the_archive_does_not_tell(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path, "nbia-descriptive")
    one = MADE_UP[0]
    folder = f"{one.collection}/{one.patient_id}/01-02-2020-{one.study_uid[-5:]}/1-{one.series_uid[-5:]}"
    assert len(list((mirror / folder).iterdir())) == 4
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        row = journal.find_series(SeriesUid(one.series_uid))
        assert row is not None
        assert (row.folder, str(row.series.study_date)) == (folder, "2020-01-02")
