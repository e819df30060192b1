"""Reports say what was done, what is wrong, and what to type next."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkdl.model.reports.base import Failure, InstanceCounts, RunOutcome, SeriesCounts
from bulkdl.model.reports.collections import CollectionStatus
from bulkdl.model.reports.plan import PlannedCollection, PlannedLicense, PlanReport
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.status import StatusReport
from bulkdl.model.reports.verify import Problem, ProblemKind, VerifyReport

RUN = RunReport(
    mirror="/data/my mirror",
    archive="https://archive.test/",
    run=3,
    outcome=RunOutcome.COMPLETE,
    series=SeriesCounts(selected=3, complete=3),
    instances=InstanceCounts(selected=1412, fetched=1400, reused=12),
    bytes_fetched=210_000_000,
    bytes_mirror=216_000_000,
    requests=1407,
    retries=1,
    seconds=3.0,
)
FAILURES = tuple(Failure("1.2", f"1.2.{number}", "checksum-mismatch", "other bytes", 8) for number in range(14))
PARTIAL = replace(
    RUN,
    outcome=RunOutcome.PARTIAL,
    series=SeriesCounts(3, 2, 1),
    instances=InstanceCounts(1412, 1384, 12, 14, 2),
    failures=FAILURES,
    failures_left_out=100,
)


def test_a_complete_run_says_what_was_done_and_what_comes_next() -> None:
    assert str(RUN).splitlines() == [
        "Complete: 3 of 3 series complete; 1,412 instances: 1,400 downloaded, 12 already in the mirror",
        "210.0 MB in 3.0 s (70.0 MB/s), 1,407 requests, 1 retry",
        "/data/my mirror holds 216.0 MB from https://archive.test/",
        "To verify every file: bulkdl verify '/data/my mirror'",
    ]
    assert RUN.complaint() is None


def test_a_run_shows_its_collections_the_peak_and_what_the_disk_has_left() -> None:
    """One Collection is what the first line says already."""
    one = CollectionStatus("TCGA-GBM", 3, 400, 400, 0, 0, 0, 210_000_000)
    two = CollectionStatus("TCGA-LGG", 1, 12, 12, 0, 0, 0, 6_000_000)
    run = replace(RUN, peak_bytes_per_second=90_000_000, bytes_free=5_000_000_000, collections=(one, two))
    text = str(run)
    assert "/s, peak 90.0 MB/s)" in text
    assert "; 5.0 GB free on disk" in text
    assert [line.split()[0] for line in text.splitlines() if line][3:6] == ["collection", "TCGA-GBM", "TCGA-LGG"]
    assert "collection" not in str(replace(run, collections=(one,)))
    many = tuple(replace(one, collection=f"C-{number}") for number in range(15))
    assert "… and 5 more: bulkdl status" in str(replace(run, collections=many))
    document = run.as_json()
    assert [each["collection"] for each in document["collections"]] == ["TCGA-GBM", "TCGA-LGG"]
    assert (document["peak_bytes_per_second"], document["bytes_free"]) == (90_000_000, 5_000_000_000)


def test_a_run_of_no_time_has_a_text() -> None:
    assert "(0 B/s)" in str(replace(RUN, seconds=0.0))


def test_ten_failures_are_named_and_the_others_counted() -> None:
    text = str(PARTIAL)
    assert "1.2.9: other bytes" in text
    assert "1.2.10: other bytes" not in text
    assert "… and 104 more: bulkdl status '/data/my mirror'" in text


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param(PARTIAL, "16 of 1,412 instances failed; all others were saved", id="instances"),
        pytest.param(
            replace(PARTIAL, instances=InstanceCounts(9, 9)),
            "1 of 3 series failed; all others were saved",
            id="whole series",
        ),
        pytest.param(
            replace(PARTIAL, instances=InstanceCounts(9, 9), series=SeriesCounts(3, 3)),
            "some criteria matched nothing in the archive",
            id="criteria that found nothing",
        ),
        pytest.param(
            replace(
                PARTIAL,
                instances=InstanceCounts(9, 9),
                series=SeriesCounts(3, 3),
                failures=(
                    Failure("", None, "selection", "no series for collection B", 1),
                    Failure("", None, "unexpected-answer", "collection A: 1 row cannot be read", 1),
                ),
            ),
            "the archive did not answer every question; everything else was mirrored; to continue: bulkdl resume",
            id="questions without an answer",
        ),
        pytest.param(
            replace(RUN, outcome=RunOutcome.INTERRUPTED),
            "to continue: bulkdl resume '/data/my mirror'",
            id="interrupted",
        ),
        pytest.param(
            replace(RUN, outcome=RunOutcome.FAILED), "to continue: bulkdl resume '/data/my mirror'", id="failed"
        ),
    ],
)
def test_what_is_wrong_is_one_line(report: RunReport, words: str) -> None:
    complaint = report.complaint()
    assert complaint is not None
    assert words in complaint
    assert "\n" not in complaint


def test_a_whole_series_and_a_criterion_are_named_as_what_they_are() -> None:
    failures = (
        Failure("1.2", None, "not-found", "not there", 1),
        Failure("", None, "not-found", "no series for patient x", 1),
    )
    text = str(replace(PARTIAL, failures=failures, failures_left_out=0))
    assert "  series 1.2: not there\n  no series for patient x" in text


def test_names_of_an_archive_cannot_fake_a_line() -> None:
    failures = (Failure("1.2", "1.2.1", "unsound", "cut\nComplete: \x1b[2J all is well", 1),)
    text = str(replace(PARTIAL, failures=failures, failures_left_out=0))
    assert "\x1b" not in text
    assert "\nComplete" not in text


STATUS = StatusReport(
    mirror="/data/m",
    archive="https://archive.test/",
    run=2,
    running=None,
    series=SeriesCounts(selected=5, complete=3, failed=1),
    selected=1000,
    held=900,
    owed=90,
    failed=8,
    quarantined=2,
    unlisted_series=1,
    bytes_mirror=1_500_000,
    last_outcome="partial",
    collections=(
        CollectionStatus(
            collection="TCGA-GBM",
            series=5,
            instances=1000,
            held=900,
            owed=90,
            failed=8,
            quarantined=2,
            size_bytes=1_500_000,
        ),
    ),
    failures_by_error={"timed-out": 3, "unsound": 7},
)


def test_status_shows_what_is_held_and_owed_by_collection_and_by_error() -> None:
    assert str(STATUS).splitlines() == [
        "/data/m, mirrored from https://archive.test/",
        "run 2, last run: partial",
        "3 of 5 series complete, 1 failed; 900 of 1,000 instances held, 1.5 MB",
        "90 owed, 8 failed, 2 quarantined, 1 series not listed yet",
        "",
        "collection  series  instances  held  owed  failed  quarantined    size",
        "TCGA-GBM         5      1,000   900    90       8            2  1.5 MB",
        "",
        "error      count",
        "unsound        7",
        "timed-out      3",
        "To continue: bulkdl resume /data/m",
    ]


def test_status_does_not_suggest_a_second_run_beside_the_first() -> None:
    text = str(replace(STATUS, running="process 17"))
    assert "running: process 17" in text
    assert "resume" not in text


VERIFY = VerifyReport(
    mirror="/data/m",
    series=SeriesCounts(3, 3),
    checked=100,
    sound=100,
    owed=0,
    bytes_checked=5_000_000,
    seconds=2.0,
)
PROBLEMS = tuple(Problem(f"a/{number}.dcm", ProblemKind.TRUNCATED, "1.2") for number in range(12))
FOREIGN = Problem("b", ProblemKind.FOREIGN)


def test_a_verification_without_findings_says_so() -> None:
    assert str(VERIFY) == "/data/m: 100 of 100 files valid, 5.0 MB read in 2.0 s"
    assert VERIFY.complaint() is None


def test_a_verification_names_its_findings_and_how_to_repair_them() -> None:
    report = replace(VERIFY, sound=88, problems=PROBLEMS)
    text = str(report)
    assert "truncated  a/9.dcm" in text
    assert "a/10.dcm" not in text
    assert "… and 2 more: bulkdl verify /data/m --json" in text
    assert report.complaint() == "12 problems found; nothing was changed; to repair: bulkdl verify --repair /data/m"


def test_owed_instances_are_a_complaint() -> None:
    assert replace(VERIFY, owed=1).complaint() == ("1 instance still owed; to continue: bulkdl resume /data/m")


def test_what_failed_is_a_complaint_of_a_verification_and_is_not_owed() -> None:
    counts = InstanceCounts(selected=101, reused=100, failed=1)
    report = replace(VERIFY, instances=counts, series=SeriesCounts(3, 2, 1))
    assert "1 instance failed, so not verified" in str(report)
    status = "to list them: bulkdl status /data/m; to continue: bulkdl resume /data/m"
    assert (report.complaint(), report.ending) == (f"1 instance failed; {status}", RunOutcome.PARTIAL)
    missing = replace(VERIFY, series=SeriesCounts(3, 1, 2))
    assert (missing.complaint(), missing.ending) == (f"2 series failed; {status}", RunOutcome.PARTIAL)


def test_quarantined_instances_are_not_owed_and_the_way_out_is_named() -> None:
    """`resume` downloads the same invalid bytes again."""
    accept = "bulkdl resume --accept-unsound /data/m"
    counts = InstanceCounts(selected=102, reused=100, quarantined=2)
    told = replace(VERIFY, instances=counts).complaint()
    assert told is not None
    assert told.startswith("2 instances quarantined as invalid; to list them: bulkdl status /data/m; ")
    assert told.endswith(accept)
    assert str(replace(STATUS, owed=0, failed=0, unlisted_series=0, series=SeriesCounts(5, 5))).endswith(accept)
    run = replace(PARTIAL, mirror="/data/m", series=SeriesCounts(3, 3), instances=counts)
    assert (run.complaint() or "").endswith(accept)


def test_a_quick_verification_does_not_claim_to_have_read() -> None:
    assert str(replace(VERIFY, is_quick=True)).endswith("100 of 100 files valid, 5.0 MB compared by size in 2.0 s")


@pytest.mark.parametrize(
    ("problems", "repair", "complaint"),
    [
        pytest.param(PROBLEMS, RUN, None, id="all mended"),
        pytest.param((*PROBLEMS, FOREIGN), RUN, "1 problem left: files that the journal does not know", id="foreign"),
        pytest.param(PROBLEMS, PARTIAL, "failed; all others were saved", id="not all repaired"),
        pytest.param((FOREIGN,), None, "1 problem left: files that the journal does not know", id="only foreign"),
    ],
)
def test_what_repairs_leave_is_a_complaint(
    problems: tuple[Problem, ...], repair: RunReport | None, complaint: str | None
) -> None:
    told = replace(VERIFY, problems=problems, repair=repair).complaint()
    assert (told is None) if complaint is None else (told is not None and complaint in told)


PLAN = PlanReport(
    archive="https://archive.test/",
    mirror="/data/m",
    series=SeriesCounts(selected=5),
    instances_selected=1000,
    instances_held=400,
    bytes_selected=2_000_000,
    bytes_held=800_000,
    bytes_free=7_000_000_000,
    exact=True,
    requests=605,
    series_uids=("1.3", "1.2"),
)


def test_a_plan_shows_what_a_mirror_needs() -> None:
    assert str(PLAN).splitlines() == [
        "From https://archive.test/ into /data/m",
        "5 series, 1,000 instances: 400 held, 600 to download",
        "2.0 MB selected, 800.0 kB held, 7.0 GB free on disk",
        "about 605 requests",
    ]


def test_a_plan_says_how_long_it_takes_where_that_is_known() -> None:
    assert "about 605 requests, about 2 min 5 s" in str(replace(PLAN, seconds_expected=125.4))


def test_a_plan_does_not_pretend_to_be_exact() -> None:
    assert "about 2.0 MB selected" in str(replace(PLAN, exact=False))


def test_a_plan_names_no_size_where_the_archive_gives_none() -> None:
    """A DICOMweb archive counts instances, but not their bytes."""
    rows = (PlannedCollection("A", None, 5, 1000, 400, 600, 0, exact=False),)
    plan = replace(PLAN, bytes_selected=0, exact=False, collections=rows, licenses=(PlannedLicense("CC0", 5, 0),))
    lines = str(plan).splitlines()
    assert lines[2] == "size unknown, 800.0 kB held, 7.0 GB free on disk"
    assert lines[4] == "5 series under CC0"
    assert lines[-1].endswith(" 600     -")


def test_a_plan_says_that_instances_of_withdrawn_series_are_not_counted() -> None:
    assert str(replace(PLAN, withdrawn=2)).splitlines()[1:3] == [
        "5 series (2 withdrawn), 1,000 instances: 400 held, 600 to download",
        "The archive does not say how many instances a withdrawn series has: they are not in these numbers",
    ]


def test_a_plan_shows_sources_licences_and_what_the_disk_lacks() -> None:
    rows = (
        PlannedCollection("A", "idc", 4, 900, 400, 500, 1_900_000, exact=True, licenses=("CC BY 4.0",)),
        PlannedCollection("A", "nbia", 1, 100, 0, 100, 100_000, exact=False),
    )
    licenses = (PlannedLicense("CC BY 4.0", 4, 1_900_000), PlannedLicense(None, 1, 100_000))
    plan = replace(PLAN, collections=rows, licenses=licenses, bytes_free=1_000_000, files_free=550)
    assert str(plan).splitlines() == [
        "From https://archive.test/ into /data/m",
        "5 series, 1,000 instances: 400 held, 600 to download",
        "2.0 MB selected, 800.0 kB held, 1.0 MB free on disk for 550 files",
        "It does not fit on the disk: 200.0 kB and room for 50 files are missing",
        "about 605 requests",
        "4 series under CC BY 4.0, 1.9 MB",
        "1 series under a licence that the archive does not give, 100.0 kB",
        "",
        "collection  source  series  instances  held  owed            size",
        "A           IDC          4        900   400   500          1.9 MB",
        "A           NBIA         1        100     0   100  about 100.0 kB",
    ]


def test_a_plan_complains_of_what_is_not_there() -> None:
    assert PLAN.complaint() is None
    missing = replace(PLAN, failures=(Failure("1.9", None, "not-found", "not there", 1),))
    assert missing.complaint() == "1 item requested by name was not found in the archive"


def test_a_plan_does_not_take_an_error_for_an_absence() -> None:
    failed = Failure("", None, "server-error", "the archive answered 500", 1)
    missing = Failure("1.9", None, "not-found", "not there", 1)
    assert replace(PLAN, failures=(failed,)).complaint() == "the archive did not answer every question"
    assert replace(PLAN, failures=(failed, missing)).complaint() == (
        "the archive did not answer every question; 1 item requested by name was not found in the archive"
    )
