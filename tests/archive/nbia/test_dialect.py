"""Questions become requests, with the documented names."""

from __future__ import annotations

from bulkdl.archive.nbia.dialect import question
from bulkdl.archive.nbia.endpoints import NBIA_V1


def test_a_question_names_its_parameters_as_the_endpoint_does() -> None:
    asked = question(NBIA_V1["getPatient"], {"patient_id": "P 1", "collection": "A"}, prefix="v1/")
    assert asked.path == "v1/getPatient"
    assert asked.query == (("PatientId", "P 1"), ("Collection", "A"))
