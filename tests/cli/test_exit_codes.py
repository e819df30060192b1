"""Every ending has the exit code of the contract."""

from __future__ import annotations

from typing import Any

import pytest

from bulkdl import errors
from bulkdl.cli import exit_codes
from bulkdl.model.reports.adopt import AdoptReport
from bulkdl.model.reports.base import Failure, InstanceCounts, RunOutcome, SeriesCounts
from bulkdl.model.reports.plan import PlanReport
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.verify import Problem, ProblemKind, VerifyReport


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SelectionError("x"), 2),
        (errors.ManifestError("x", source="m"), 2),
        (errors.ConfigurationError("x"), 2),
        (errors.InvalidUid("x"), 2),
        (errors.LayoutError("x"), 2),
        (errors.JournalUnreadable("x"), 2),
        (errors.JournalTooNew("x"), 2),
        (errors.ArchiveRefused("x"), 3),
        (errors.AccessDenied("x"), 3),
        (errors.ArchiveUnreachable("x"), 4),
        (errors.ConnectFailed("x"), 4),
        (errors.ServerFailed("x"), 4),
        (errors.UnexpectedAnswer("x"), 4),
        (errors.DiskFull("x"), 5),
        (errors.MirrorUnwritable("x"), 5),
        (errors.MirrorLocked("x"), 6),
        (errors.Interrupted("x"), 130),
        (errors.InvalidInstance("x"), 1),
    ],
    ids=lambda value: getattr(value, "code", str(value)),
)
def test_an_error_has_its_code(error: errors.BulkdlError, code: int) -> None:
    assert exit_codes.for_error(error) == code


def run(outcome: RunOutcome) -> RunReport:
    return RunReport(
        mirror="m",
        archive="a",
        run=1,
        outcome=outcome,
        series=SeriesCounts(),
        instances=InstanceCounts(),
        bytes_fetched=0,
        bytes_mirror=0,
        requests=0,
        retries=0,
        seconds=0,
    )


@pytest.mark.parametrize(
    ("outcome", "code"),
    [(RunOutcome.COMPLETE, 0), (RunOutcome.PARTIAL, 1), (RunOutcome.FAILED, 4), (RunOutcome.INTERRUPTED, 130)],
)
def test_a_run_has_the_code_of_its_outcome(outcome: RunOutcome, code: int) -> None:
    assert exit_codes.for_report(run(outcome)) == code


DAMAGED = Problem("a.dcm", ProblemKind.ALTERED, "1.2")
FOREIGN = Problem("b.dcm", ProblemKind.FOREIGN)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        pytest.param({}, 0, id="all valid"),
        pytest.param({"problems": (DAMAGED,)}, 1, id="damaged"),
        pytest.param({"owed": 3}, 1, id="valid but incomplete"),
        pytest.param({"problems": (DAMAGED,), "repair": run(RunOutcome.COMPLETE)}, 0, id="mended"),
        pytest.param({"problems": (DAMAGED,), "repair": run(RunOutcome.PARTIAL)}, 1, id="not all mended"),
        pytest.param({"problems": (DAMAGED,), "repair": run(RunOutcome.INTERRUPTED)}, 130, id="repair interrupted"),
        pytest.param({"problems": (DAMAGED, FOREIGN), "repair": run(RunOutcome.COMPLETE)}, 1, id="a foreign file left"),
        pytest.param({"owed": 1, "problems": (DAMAGED,), "repair": run(RunOutcome.COMPLETE)}, 1, id="mended, but owed"),
    ],
)
def test_an_audit_is_0_only_where_nothing_is_left_to_do(found: dict[str, Any], code: int) -> None:
    base: dict[str, Any] = {"owed": 0, **found}
    report = VerifyReport(mirror="m", series=SeriesCounts(), checked=9, sound=9, bytes_checked=0, seconds=0, **base)
    assert exit_codes.for_report(report) == code


@pytest.mark.parametrize(
    ("found", "outcome", "code"), [(3, "complete", 0), (0, "complete", 1), (0, "interrupted", 130)]
)
def test_an_adoption_of_nothing_is_not_a_success(found: int, outcome: str, code: int) -> None:
    report = AdoptReport(
        mirror="m",
        source="s",
        run=1,
        outcome=RunOutcome(outcome),
        series=1,
        found=found,
        adopted=found,
        already=0,
        refused=0,
        others=0,
        bytes_adopted=0,
        bytes_mirror=0,
        seconds=0,
    )
    assert exit_codes.for_report(report) == code
    assert (report.complaint() == "no DICOM file was found below s") == (code == 1)


@pytest.mark.parametrize(("failures", "code"), [((), 0), ((Failure("1.2", None, "not-found", "x", 1),), 1)])
def test_a_plan_tells_by_its_code_what_is_not_there(failures: tuple[Failure, ...], code: int) -> None:
    report = PlanReport(
        archive="a",
        mirror=None,
        series=SeriesCounts(),
        instances_selected=0,
        instances_held=0,
        bytes_selected=0,
        bytes_held=0,
        bytes_free=None,
        exact=True,
        requests=0,
        failures=failures,
    )
    assert exit_codes.for_report(report) == code


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(errors.ArchiveUnreachable("away"), "failed"), (errors.Interrupted("stopped"), "interrupted")],
)
def test_an_error_is_one_json_document_too(error: errors.ArchiveUnreachable | errors.Interrupted, outcome: str) -> None:
    document = exit_codes.error_values(error)
    assert document == {"outcome": outcome, "error": error.code, "message": str(error)}
