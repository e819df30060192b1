"""`resume` downloads what is owed, from the archive of the last run unless another one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.reports import RunOutcome
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import QUICK, BadArchive, endpoint_of, no_fault
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))


def fail_the_first(seen: Seen) -> Action | None:
    is_it = endpoint_of(seen) == "getSingleImage" and seen.query.get("SOPInstanceUID") == MADE_UP[0].sop_uid
    return answer(b"", status=500) if is_it else None


async def test_downloads_what_failed_from_the_archive_of_the_last_run(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, fail_the_first) as archive:
        assert (await archive.mirror(tmp_path)).outcome is RunOutcome.PARTIAL
        archive.fault = no_fault
        asked = len(archive.asked("getSeries"))
        report = await bulkdl.resume_async(tmp_path / "mirror", settings=QUICK)
        assert len(archive.asked("getSeries")) == asked
    assert (report.outcome, report.instances.fetched) == (RunOutcome.COMPLETE, 1)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_downloads_from_another_archive_that_is_named(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP, fail_the_first) as first, BadArchive(MADE_UP) as second:
        await first.mirror(tmp_path)
        report = await bulkdl.resume_async(tmp_path / "mirror", archive=second.address, settings=QUICK)
        assert second.object_requests() == 1
    assert report.outcome is RunOutcome.COMPLETE


async def test_a_mirror_without_a_run_cannot_be_resumed(tmp_path: Path) -> None:
    MirrorFiles(tmp_path).prepare()
    with Journal.create_or_open(tmp_path / JOURNAL):
        pass
    with pytest.raises(JournalUnreadable, match="no run to resume"):
        await bulkdl.resume_async(tmp_path)


async def test_a_folder_without_a_journal_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreadable, match="is not a mirror"):
        await bulkdl.resume_async(tmp_path / "none")
    assert not (tmp_path / "none").exists()
