"""Which searches a selection becomes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from bulkdl.archive.dicomweb.paths import address, studies_path
from bulkdl.archive.dicomweb.questions import plan_questions, query_of
from bulkdl.errors import RequestRejected, SelectionError
from bulkdl.model.ids import SeriesUid
from bulkdl.model.selection import Selection

HOST = "pacs.example.org"


@pytest.mark.parametrize(
    ("criteria", "queries"),
    [
        ({"everything": True}, [()]),
        ({"patients": ("A", "B"), "modalities": ("CT",)}, [(("PatientID", "A"),), (("PatientID", "B"),)]),
        ({"studies": ("1.2",), "series": ("1.3",)}, [(("StudyInstanceUID", "1.2"),)]),
        ({"collections": ("X",)}, [(("ClinicalTrialProtocolID", "X"),)]),
        ({"collections": ("PACS.example.org",)}, [()]),
        ({"modalities": ("CT",)}, [(("ModalitiesInStudy", "CT"),)]),
        ({"body_parts": ("HEAD", "CHEST")}, [()]),
    ],
)
def test_the_narrowest_criterion_is_asked_for(criteria: dict[str, Any], queries: list[Any]) -> None:
    assert [query_of(batch[0], HOST) for batch in plan_questions(Selection(**criteria))] == queries


def test_many_series_are_asked_for_together() -> None:
    batches = plan_questions(Selection(series=tuple(SeriesUid(f"1.{number}") for number in range(120))))
    assert [len(batch) for batch in batches] == [50, 50, 20]


@pytest.mark.parametrize(
    "criteria",
    [{"since": date(2020, 1, 1)}, {"shared_lists": ("X",)}, {"locations": ("bucket/folder",)}],
    ids=["since", "shared list", "locations"],
)
def test_what_cannot_be_answered_is_refused(criteria: dict[str, Any]) -> None:
    with pytest.raises(SelectionError):
        plan_questions(Selection(patients=("A",), **criteria))


def test_wildcards_are_sent_as_they_are_unless_the_server_refuses_them() -> None:
    query = (("PatientID", "A*?^,B &=#+ü"),)
    assert address("http://h/", "studies", query) == "http://h/studies?PatientID=A*?^,B%20%26%3D%23%2B%C3%BC"
    assert "PatientID=A%2A%3F%5E%2CB" in address("http://h/", "studies", query, is_raw=False)


@pytest.mark.parametrize("uid", ["..", ".", "..."])
def test_no_uid_leads_to_another_path(uid: str) -> None:
    for uids in ((uid,), ("1.2", uid), ("1.2", "1.3", uid)):
        with pytest.raises(RequestRejected):
            studies_path(*uids)
