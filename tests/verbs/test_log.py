"""`log` lists the runs on a mirror, and what each changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable
from tests.support.bad_archive import BadArchive
from tests.support.dicom_files import instances
from tests.support.syncing import mirrored, synced

MADE_UP = list(instances(series=6, per_series=2))


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


async def test_a_folder_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable):
        await bulkdl.log_async(tmp_path)
