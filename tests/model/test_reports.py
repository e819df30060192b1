"""The documents of `--json`: scripts rely on their names, so they are written out here."""

from __future__ import annotations

import html
import json
from dataclasses import replace

from bulkdl.model.reports.base import Failure, InstanceCounts, RunOutcome, SeriesCounts
from bulkdl.model.reports.collections import CollectionStatus
from bulkdl.model.reports.plan import PlanReport
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.status import StatusReport
from bulkdl.model.reports.verify import Problem, ProblemKind, VerifyReport

FAILURE = Failure("1.2", "1.2.3", "checksum-mismatch", "not the bytes", 8)
RUN = RunReport(
    mirror="DIR",
    archive="URL",
    run=3,
    outcome=RunOutcome.COMPLETE,
    series=SeriesCounts(3, 3, 0),
    instances=InstanceCounts(412, 400, 12, 0, 0),
    bytes_fetched=210_000_000,
    bytes_mirror=216_000_000,
    requests=407,
    retries=4,
    seconds=3.10004,
    failures=(FAILURE,),
)
RUN_DOCUMENT = {
    "mirror": "DIR",
    "archive": "URL",
    "run": 3,
    "outcome": "complete",
    "series": {"selected": 3, "complete": 3, "failed": 0},
    "instances": {"selected": 412, "fetched": 400, "reused": 12, "failed": 0, "quarantined": 0, "not_decoded": 0},
    "bytes": {"fetched": 210_000_000, "mirror": 216_000_000},
    "requests": 407,
    "retries": 4,
    "seconds": 3.1,
    "failures": [
        {
            "series": "1.2",
            "instance": "1.2.3",
            "error": "checksum-mismatch",
            "message": "not the bytes",
            "attempts": 8,
        }
    ],
}
COLLECTION = CollectionStatus(
    collection="A", series=1, instances=3, held=1, owed=1, failed=1, quarantined=0, size_bytes=5
)
COLLECTION_DOCUMENT = {
    "collection": "A",
    "series": 1,
    "instances": 3,
    "held": 1,
    "owed": 1,
    "failed": 1,
    "quarantined": 0,
    "size_bytes": 5,
}


def block(**counts: int) -> dict[str, int]:
    """The `instances` block that every document has."""
    return dict.fromkeys(("selected", "fetched", "reused", "failed", "quarantined", "not_decoded"), 0) | counts


def test_a_run_has_the_document_of_the_contract() -> None:
    assert RUN.as_json() == RUN_DOCUMENT


def test_failures_that_were_left_out_are_counted() -> None:
    assert replace(RUN, failures_left_out=7).as_json() == {**RUN_DOCUMENT, "failures_left_out": 7}


def test_a_failure_of_a_whole_series_names_no_instance() -> None:
    document = replace(RUN, failures=(replace(FAILURE, instance=None),)).as_json()
    assert document["failures"][0]["instance"] is None


def test_a_status_has_the_document_of_the_contract() -> None:
    report = StatusReport(
        mirror="DIR",
        archive="URL",
        run=2,
        running=None,
        series=SeriesCounts(2, 1, 0),
        selected=10,
        held=7,
        owed=1,
        failed=1,
        quarantined=1,
        unlisted_series=1,
        bytes_mirror=99,
        last_outcome="partial",
        collections=(COLLECTION,),
        failures_by_error={"not-found": 1},
    )
    assert report.as_json() == {
        "mirror": "DIR",
        "archive": "URL",
        "run": 2,
        "running": None,
        "outcome": "partial",
        "series": {"selected": 2, "complete": 1, "failed": 0, "unlisted": 1},
        "instances": {**block(selected=10, reused=7, failed=1, quarantined=1), "held": 7, "owed": 1},
        "bytes": {"mirror": 99},
        "collections": [COLLECTION_DOCUMENT],
        "errors": {"not-found": 1},
        "failures": [],
        "unanswered": [],
        "unfinished": [],
    }


VERIFIED = VerifyReport(
    mirror="DIR",
    series=SeriesCounts(1, 1, 0),
    checked=10,
    sound=9,
    owed=0,
    bytes_checked=1000,
    seconds=1.0,
    instances=InstanceCounts(selected=12, reused=10, quarantined=2),
    problems=(Problem("A/x.dcm", ProblemKind.FOREIGN),),
)


def test_a_verification_has_the_document_of_the_contract() -> None:
    assert VERIFIED.as_json() == {
        "mirror": "DIR",
        "series": {"selected": 1, "complete": 1, "failed": 0},
        "instances": {**block(selected=12, reused=10, quarantined=2), "checked": 10, "sound": 9, "held": 10, "owed": 0},
        "bytes": {"checked": 1000},
        "seconds": 1.0,
        "problems": [{"path": "A/x.dcm", "problem": "foreign", "instance": None}],
    }


def test_an_audit_tells_of_its_repairs() -> None:
    assert replace(VERIFIED, repair=RUN).as_json()["repair"] == RUN_DOCUMENT


def test_a_plan_has_the_document_of_the_contract() -> None:
    report = PlanReport(
        archive="URL",
        mirror=None,
        series=SeriesCounts(2, 0, 0),
        instances_selected=10,
        instances_held=4,
        bytes_selected=1000,
        bytes_held=400,
        bytes_free=None,
        exact=False,
        requests=8,
        series_uids=("1.2", "1.3"),
    )
    assert report.as_json() == {
        "archive": "URL",
        "release": None,
        "mirror": None,
        "series": {"selected": 2, "complete": 0, "failed": 0},
        "withdrawn": 0,
        "instances": {**block(selected=10, reused=4), "held": 4, "owed": 6},
        "bytes": {"selected": 1000, "held": 400, "free": None, "exact": False},
        "files": {"free": None},
        "licenses": [],
        "requests": 8,
        "seconds_expected": None,
        "collections": [],
        "failures": [],
    }


def test_every_document_is_plain_json() -> None:
    for report in (RUN, VERIFIED):
        assert json.loads(json.dumps(report.as_json())) == report.as_json()


def test_a_notebook_shows_the_text_of_a_report() -> None:
    report = replace(RUN, mirror="/data/<b>")
    assert report._repr_html_() == f"<pre>{html.escape(str(report))}</pre>"
