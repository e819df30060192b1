"""Questions become requests, with the documented names."""

from __future__ import annotations

import pytest

from bulkdl.archive.nbia.dialect import write_parameters
from bulkdl.archive.nbia.endpoints import NBIA_V1


def test_parameters_have_the_names_of_the_endpoint() -> None:
    pairs = write_parameters(NBIA_V1["getPatient"], {"patient_id": "P 1", "collection": "A"})
    assert pairs == [("PatientId", "P 1"), ("Collection", "A")]


def test_an_unknown_criterion_is_an_error() -> None:
    with pytest.raises(KeyError):
        write_parameters(NBIA_V1["getPatient"], {"colour": "red"})
