"""`verify` repairs what is damaged and nothing else, from the archive of the last run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bulkdl
from bulkdl.errors import JournalUnreadable, RequestRejected
from bulkdl.journal.journal import Journal
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.verify import ProblemKind, VerifyReport
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import JSON, QUICK, BadArchive, Fault, endpoint_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Seen, answer
from tests.support.journals import NOW, begin, folder, list_instances, record
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=2, per_series=3))
ONE_SERIES = list(instances(series=1, per_series=3))
SIZE = sum(len(one.content) for one in ONE_SERIES)


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


@pytest.mark.parametrize(
    ("is_found", "is_listed", "complaint"),
    [
        (False, False, "a run was interrupted before it knew all series; to continue: bulkdl resume"),
        (True, False, "a run was interrupted before it knew the instances of 1 series; to continue: bulkdl resume"),
        (True, True, None),
    ],
    ids=["resolving", "listing", "complete"],
)
async def test_a_mirror_whose_run_was_interrupted_before_it_knew_everything_is_not_complete(
    tmp_path: Path, complaint: str | None, *, is_found: bool, is_listed: bool
) -> None:
    files = MirrorFiles(tmp_path)
    files.prepare()
    with Journal.create_or_open(files.journal_path) as journal:
        run = begin(journal)
        if is_found:
            journal.record_series(run, [(record(1), folder(1))], now=NOW)
            journal.end_resolving(run)
        if is_listed:
            list_instances(journal, run, 1, [])
    report = await bulkdl.verify_async(tmp_path)
    assert (report.complaint() or "").startswith(complaint or "")
    assert (report.complaint() is None) == (complaint is None)
    assert report.ending is (RunOutcome.PARTIAL if complaint else RunOutcome.COMPLETE)


async def test_a_mirror_without_a_run_has_no_archive_to_compare_with(tmp_path: Path) -> None:
    MirrorFiles(tmp_path).prepare()
    with Journal.create_or_open(tmp_path / JOURNAL):
        pass
    with pytest.raises(JournalUnreadable, match="its archive is not known"):
        await bulkdl.verify_async(tmp_path, remote=True)


# --- verify --remote -------------------------------------------------------------------------------------------------


async def compare(tmp_path: Path, fault: Fault) -> VerifyReport:
    async with BadArchive(ONE_SERIES) as archive:
        await archive.mirror(tmp_path)
        archive.fault = fault
        return await bulkdl.verify_async(tmp_path / "mirror", quick=True, remote=True, settings=QUICK)


def says(count: int, size_bytes: int) -> Fault:
    rows = [{"TotalSizeInBytes": size_bytes, "ObjectCount": count}]

    def fault(seen: Seen) -> Action | None:
        return answer(json.dumps(rows).encode(), headers=JSON) if endpoint_of(seen) == "getSeriesSize" else None

    return fault


async def test_the_same_count_and_size_are_not_a_problem(tmp_path: Path) -> None:
    report = await compare(tmp_path, says(3, SIZE))
    assert (report.series_compared, report.problems) == (1, ())


async def test_another_count_and_size_are_named(tmp_path: Path) -> None:
    (problem,) = (await compare(tmp_path, says(4, SIZE + 1))).problems
    assert (problem.problem, problem.series) == (ProblemKind.DIFFERS, ONE_SERIES[0].series_uid)
    assert problem.message == f"3 instances here, 4 there, {SIZE:,} bytes here, {SIZE + 1:,} there"


async def test_an_archive_that_answers_for_no_series_is_not_said_to_differ(tmp_path: Path) -> None:
    def fail(seen: Seen) -> Action | None:
        return answer(b"", status=404) if endpoint_of(seen) == "getSeriesSize" else None

    with pytest.raises(RequestRejected, match="404"):  # every series: then the archive is the problem
        await compare(tmp_path, fail)
