"""NBIA v1 on the wire, name by name: parameters are case-sensitive there, and a misspelt one asks for everything."""

from __future__ import annotations

import pytest

from bulkdl.archive.nbia.dialects import NbiaV1, find_endpoint
from bulkdl.archive.nbia.endpoints import NBIA_V1
from bulkdl.archive.request import Request
from bulkdl.model.ids import SeriesUid, SopInstanceUid

SERIES = SeriesUid("1.2")
SOP = SopInstanceUid("1.2.3")
V1 = NbiaV1()


@pytest.mark.parametrize(
    ("request_", "path", "query"),
    [
        (V1.collections(), "v1/getCollectionValues", {}),
        (V1.series({"collection": "A"}), "v1/getSeries", {"Collection": "A"}),
        (V1.series({"patient_id": "P"}), "v1/getSeries", {"PatientID": "P"}),
        (V1.series({"study_uid": "1"}), "v1/getSeries", {"StudyInstanceUID": "1"}),
        (V1.series({"series_uid": "1"}), "v1/getSeries", {"SeriesInstanceUID": "1"}),
        (V1.series({"modality": "CT"}), "v1/getSeries", {"Modality": "CT"}),
        (V1.series({"body_part": "CHEST"}), "v1/getSeries", {"BodyPartExamined": "CHEST"}),
        (V1.series({"manufacturer": "M"}), "v1/getSeries", {"Manufacturer": "M"}),
        (V1.series({"model": "M"}), "v1/getSeries", {"ManufacturerModelName": "M"}),
        (V1.series({"shared_list": "L"}), "v1/getContentsByName", {"name": "L"}),
        (V1.size(SERIES), "v1/getSeriesSize", {"SeriesInstanceUID": "1.2"}),
        (V1.instances(SERIES), "v1/getSOPInstanceUIDs", {"SeriesInstanceUID": "1.2"}),
        (
            V1.instance(SERIES, SOP),
            "v1/getSingleImage",
            {"SeriesInstanceUID": "1.2", "SOPInstanceUID": "1.2.3"},
        ),
        (V1.bundle(SERIES), "v1/getImageWithMD5Hash", {"SeriesInstanceUID": "1.2"}),
        (V1.checksum(SOP), "v1/getM5HashForImage", {"SOPInstanceUid": "1.2.3"}),
        (V1.verbatim(NBIA_V1["getSeries"], [("Odd", "x")]), "v1/getSeries", {"Odd": "x"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_question_goes_out_under_its_documented_name(request_: Request, path: str, query: dict[str, str]) -> None:
    assert request_.path == path
    assert dict(request_.query) == query


def test_a_criterion_that_the_archive_does_not_know_is_never_dropped() -> None:
    """Left out, it would ask for more than the user wants."""
    with pytest.raises(KeyError):
        V1.series({"colour": "red"})


def test_an_endpoint_is_found_in_any_case() -> None:
    assert find_endpoint(NBIA_V1, "GETSERIES") is NBIA_V1["getSeries"]
    assert find_endpoint(NBIA_V1, "getNothing") is None
    study = NBIA_V1["NewStudiesInPatientCollection"]
    assert find_endpoint(NBIA_V1, "NewStudiesInPatientsCollection") is study  # the spelling of TCIA's page
