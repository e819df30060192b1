"""`status` reads the journal alone; without a mirror it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.mirrors.folders import archive_of
from bulkdl.verbs.status import read_status
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances
from tests.support.held_mirrors import make_mirror
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=6, per_series=2))


def test_counts_what_a_mirror_holds(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=2, per_series=3)
    report = read_status(tmp_path)
    assert (report.held, report.owed, report.series.complete) == (6, 0, 2)
    assert [entry.held for entry in report.collections] == [6]
    assert bulkdl.status(tmp_path) == report


async def test_the_async_form_returns_the_same(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=1, per_series=2)
    assert await bulkdl.status_async(tmp_path) == read_status(tmp_path)


def test_names_the_archive_of_the_last_run(tmp_path: Path) -> None:
    make_mirror(tmp_path, series=1, per_series=1)
    name, url = archive_of(tmp_path)
    assert name
    assert url == read_status(tmp_path).archive


def test_a_mirror_without_a_run_has_none_that_did_not_finish(tmp_path: Path) -> None:
    files = MirrorFiles(tmp_path)
    files.prepare()
    Journal.create_or_open(files.journal_path).close()
    first, second, *_ = str(read_status(tmp_path)).splitlines()
    assert (first, second) == (str(tmp_path), "no run yet")


def test_a_folder_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is not a mirror"):
        read_status(tmp_path)


async def test_lists_every_run_with_what_it_changed(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        mirror = await mirrored(archive, tmp_path)
        await synced(archive, mirror, MADE_UP[2:])
    report = await bulkdl.log_async(mirror)
    first, second = report.runs
    assert (first.verb, first.outcome, first.instances["fetched"]) == ("mirror", "complete", len(MADE_UP))
    assert (second.verb, second.changes["withdrawn_series"], second.changes["withdrawn_instances"]) == ("sync", 1, 2)
    assert "1 withdrawn; 2 instances withdrawn" in str(report)
    assert report.as_json()["runs"][1]["changes"] == second.changes


async def test_a_folder_without_a_journal_has_no_log(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        await bulkdl.log_async(tmp_path)
