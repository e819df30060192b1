"""One vocabulary: the same Series, Study or Patient out of the documented answers of every family, however hostile."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.nbia.dialects import Dialect, NbiaV1, NbiaV2, NbiaV4, TciaV3
from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V4, TCIA_V3, Answer, Endpoint
from bulkdl.archive.nbia.values import read_record
from bulkdl.archive.request import Identity, Request
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import Patient, Series, SeriesSize, Study

DATA = Path(__file__).parents[2] / "data" / "answers"
SERIES = SeriesUid("1.2")
SOP = SopInstanceUid("1.2.3")
V1, V2, V4, V3 = NbiaV1(), NbiaV2(), NbiaV4(), TciaV3()
DIALECTS: list[Dialect] = [V1, V2, V4, V3]

by_name = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: type(dialect).__name__)


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((DATA / f"{name}.json").read_text())
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("nbia_v1_getSeries", NBIA_V1["getSeries"]),
        ("nbia_v1_getContentsByName", NBIA_V1["getContentsByName"]),
        ("nbia_v1_getUpdatedSeries", NBIA_V1["getUpdatedSeries"]),
        ("nbia_v1_getSeriesMetaData", NBIA_V1["getSeriesMetaData"]),
        ("nbia_v4_getSeries", NBIA_V4["getSeries"]),
        ("v3_getSeries", TCIA_V3["getSeries"]),
        ("v3_ContentsByName", TCIA_V3["ContentsByName"]),
    ],
)
def test_a_series_is_the_same_in_every_family(name: str, endpoint: Endpoint) -> None:
    series = read_record(Series, endpoint.attributes, rows(name)[0])
    assert series.series_uid == "1.3.6.1.4.1.14519.5.2.1.9999.1001.226690874513370918842267715043"
    assert series.study_uid == "1.3.6.1.4.1.14519.5.2.1.9999.1001.310246871190345127782310559842"
    assert (series.collection, series.patient_id, series.modality) == ("DEMO-LUNG", "DEMO-LUNG-001", "CT")
    assert (series.image_count, series.series_number) == (3, 2)
    assert series.series_date == date(2008, 3, 11)
    assert series.annotations is False


@pytest.mark.parametrize("name", ["nbia_v1_getSeries", "nbia_v4_getSeries", "nbia_v1_getSeriesMetaData"])
def test_sizes_licences_and_releases_are_the_same_where_they_are_sent(name: str) -> None:
    endpoint = (NBIA_V4 if "v4" in name else NBIA_V1)[name.rpartition("_")[2]]
    series = read_record(Series, endpoint.attributes, rows(name)[0])
    assert series.size_bytes == 1_580_542
    assert series.license_uri == "https://creativecommons.org/licenses/by/4.0/"
    assert series.collection_uri == "https://doi.org/10.7937/K9/TCIA.2099.EXAMPLE1"
    assert series.released == date(2021, 7, 15)
    assert series.submitted is not None
    assert series.submitted.date() == date(2021, 6, 2)
    assert series.third_party is False


def test_the_table_of_many_series_is_read_like_the_list_of_them() -> None:
    row = {
        "SeriesInstanceUID": "1.2",
        "StudyDesc": "CHEST",
        "MaxSubmissionTimestamp": "06-02-2021",
        "FileSize": "1580542",
        "AnnotationsFlag": "0",
        "Authorized": "1",
    }
    series = read_record(Series, NBIA_V4["getSeriesMetadata"].attributes, row)
    assert (series.size_bytes, series.annotations, series.study_description) == (1_580_542, False, "CHEST")


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("nbia_v1_getPatient", NBIA_V1["getPatient"]),
        ("nbia_v4_getPatient", NBIA_V4["getPatient"]),
        ("v3_getPatient", TCIA_V3["getPatient"]),
    ],
)
def test_a_patient_is_the_same_in_every_family(name: str, endpoint: Endpoint) -> None:
    patient = read_record(Patient, endpoint.attributes, rows(name)[0])
    assert (patient.patient_id, patient.collection, patient.sex) == ("DEMO-LUNG-001", "DEMO-LUNG", "F")
    assert patient.name == "DEMO-LUNG-001"


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("nbia_v1_getPatientStudy", NBIA_V1["getPatientStudy"]), ("v3_getPatientStudy", TCIA_V3["getPatientStudy"])],
)
def test_a_study_is_the_same_in_every_family(name: str, endpoint: Endpoint) -> None:
    study = read_record(Study, endpoint.attributes, rows(name)[0])
    assert study.study_uid == "1.3.6.1.4.1.14519.5.2.1.9999.1001.310246871190345127782310559842"
    assert (study.study_date, study.series_count, study.patient_age) == (date(2008, 3, 11), 2, "061Y")


def test_a_size_that_is_a_text_is_a_number() -> None:
    size = read_record(SeriesSize, TCIA_V3["getSeriesSize"].attributes, rows("v3_getSeriesSize")[0])
    assert size == SeriesSize(1_580_542, 3)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=2)


@given(st.data())
@pytest.mark.parametrize("family", [NBIA_V1, NBIA_V4, NBIA_ADVANCED, TCIA_V3], ids=["v1", "v4", "advanced", "v3"])
def test_whatever_a_row_holds_it_is_a_record_or_refused(family: dict[str, Endpoint], data: st.DataObject) -> None:
    lists = [entry for entry in family.values() if entry.answer is Answer.ROWS]
    endpoint = data.draw(st.sampled_from(lists))
    row = data.draw(
        st.dictionaries(st.sampled_from([each.name for each in endpoint.attributes]) | st.text(max_size=5), VALUES)
    )
    for record in (Series, Study, Patient):
        try:
            found = read_record(record, endpoint.attributes, row)
        except ValueError:
            continue
        uid = getattr(found, "series_uid", None) or getattr(found, "study_uid", None)
        assert uid is None or is_uid(uid)


# --- questions --------------------------------------------------------------------------------------------------------


@by_name
def test_every_question_goes_to_an_endpoint_of_the_family(dialect: Dialect) -> None:
    asked: list[Request | None] = [
        dialect.collections(),
        dialect.series({"collection": "A"}),
        dialect.series({"shared_list": "L"}),
        dialect.series_by_uids([SERIES]),
        dialect.size(SERIES),
        dialect.instances(SERIES),
        dialect.instance(SERIES, SOP),
        dialect.bundle(SERIES),
        dialect.checksum(SOP),
        dialect.series_checksum(SERIES),
    ]
    for request in asked:
        if request is not None:
            endpoint = dialect.endpoints[request.name]
            sent = {name for name, _ in (*request.query, *(request.form or ()))}
            assert request.path.endswith(endpoint.path)
            assert sent <= {parameter.name for parameter in endpoint.parameters} | {"format"}
            assert set(endpoint.required) <= sent


@by_name
def test_any_endpoint_can_be_asked_as_it_is_written(dialect: Dialect) -> None:
    for endpoint in dialect.endpoints.values():
        request = dialect.verbatim(endpoint, [("x", "1"), ("x", "2")])
        assert request.path.endswith(endpoint.path)
        assert (request.form if endpoint.method == "POST" else request.query) == (("x", "1"), ("x", "2"))


@pytest.mark.parametrize(
    ("request_", "path", "identity"),
    [
        (V2.instances(SERIES), "v2/getSOPInstanceUIDs", Identity.TOKEN),
        (V2.series_checksum(SERIES), "getMD5Hierarchy", Identity.TOKEN),
        (V4.instances(SERIES), "v4/getSOPInstanceUIDs", Identity.TOKEN_IF_ANY),
        (V4.checksum(SOP), "v4/getMD5HashForImage", Identity.TOKEN_IF_ANY),
        (V4.series({"shared_list": "L"}), "v1/getContentsByName", Identity.NONE),
        (V4.verbatim(NBIA_ADVANCED["getLicenses"], ()), "getLicenses", Identity.TOKEN),
        (V3.series({"shared_list": "L"}), "SharedList/query/ContentsByName", Identity.KEY),
        (V3.instances(SERIES), "TCIA/query/getSOPInstanceUIDs", Identity.KEY),
        (V3.bundle(SERIES), "TCIA/query/getImage", Identity.KEY),
        (V1.bundle(SERIES), "v1/getImageWithMD5Hash", Identity.NONE),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_family_asks_in_its_place_and_says_who_it_is(request_: Request, path: str, identity: Identity) -> None:
    assert (request_.path, request_.identity) == (path, identity)


def test_v3_names_the_format_because_its_default_is_unknown() -> None:
    assert ("format", "json") in V3.series({"collection": "A"}).query
    assert V1.series({"collection": "A"}).query == (("Collection", "A"),)
    assert "format" not in dict(V3.instance(SERIES, SOP).query)


def test_what_v3_cannot_tell_is_not_asked() -> None:
    checksum: Any = V3.checksum
    assert checksum(SOP) is None
    assert V3.series_checksum(SERIES) is None
    assert V1.series_checksum(SERIES) is None


def test_thousands_of_series_are_one_question_where_the_family_has_one() -> None:
    assert V4.series_at_once > 1000
    request = V4.series_by_uids([SeriesUid("1"), SeriesUid("2")])
    assert (request.path, request.form) == ("v4/getSeriesMetadata", (("list", "1,2"), ("format", "json")))
    assert V1.series_at_once == V2.series_at_once == V3.series_at_once == 1
    assert V2.series_by_uids([SERIES]).query == (("SeriesInstanceUID", "1.2"),)
