"""`verify` repairs what is damaged and nothing else, from the archive of the last run."""

from __future__ import annotations

from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.model.reports import ProblemKind, RunOutcome
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))


async def test_damaged_and_missing_files_are_downloaded_again(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        paths = sorted(mirror.rglob("*.dcm"))
        paths[0].write_bytes(b"damaged")
        paths[1].unlink()
        foreign = paths[2].with_name("foreign.txt")
        foreign.write_text("of another program")
        before = archive.object_requests()
        report = await bulkdl.verify_async(mirror, repair=True, settings=QUICK)
        assert archive.object_requests() - before == 2
    assert report.repair is not None
    assert (report.repair.outcome, report.repair.instances.fetched) == (RunOutcome.COMPLETE, 2)
    assert sorted(problem.problem for problem in report.problems) == sorted(
        [ProblemKind.TRUNCATED, ProblemKind.MISSING, ProblemKind.FOREIGN]
    )
    assert foreign.read_text() == "of another program"
    foreign.unlink()
    assert checksums_on_disk(mirror) == checksums_of(MADE_UP)
    assert len(list((mirror / ".bulkdl" / "quarantine").rglob("*.dcm"))) == 1


async def test_a_mirror_without_damage_asks_no_archive(tmp_path: Path) -> None:
    async with BadArchive(MADE_UP) as archive:
        await archive.mirror(tmp_path)
        requests = len(archive.server.requests)
        report = await bulkdl.verify_async(tmp_path / "mirror", repair=True)
        assert len(archive.server.requests) == requests
    assert (report.repair, report.problems) == (None, ())


async def test_a_mirror_without_a_run_has_no_archive_to_compare_with(tmp_path: Path) -> None:
    MirrorFiles(tmp_path).prepare()
    with Journal.create_or_open(tmp_path / JOURNAL):
        pass
    with pytest.raises(JournalUnreadable, match="its archive is not known"):
        await bulkdl.verify_async(tmp_path, remote=True)
