"""Values and rows are read as the documented answers mean them; what is invalid is left out or refused."""

from __future__ import annotations

import contextlib
import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.nbia.endpoints import NBIA_V1, Attribute, Kind
from bulkdl.archive.nbia.values import Value, from_wire, md5_of_md5s, read_record, read_values
from bulkdl.archive.row_reader import RowReader
from bulkdl.model.ids import SeriesUid, StudyUid, is_uid
from bulkdl.model.records import Patient, Series, SeriesSize, Study

DATA = Path(__file__).parents[2] / "data" / "answers"


def attribute(kind: Kind) -> Attribute:
    return Attribute("Name", "name", kind)


def rows_of(endpoint: str) -> list[dict[str, Any]]:
    reader = RowReader()
    return reader.feed((DATA / f"nbia_v1_{endpoint}.json").read_bytes()) + reader.close()


def test_the_documented_series_is_read_in_full() -> None:
    first, second = (read_record(Series, NBIA_V1["getSeries"].attributes, row) for row in rows_of("getSeries"))
    assert first == Series(
        series_uid=SeriesUid("1.3.6.1.4.1.14519.5.2.1.9999.1001.226690874513370918842267715043"),
        study_uid=StudyUid("1.3.6.1.4.1.14519.5.2.1.9999.1001.310246871190345127782310559842"),
        patient_id="DEMO-LUNG-001",
        collection="DEMO-LUNG",
        modality="CT",
        image_count=3,
        size_bytes=1580542,
        body_part="CHEST",
        manufacturer="EXAMPLE MEDICAL, INC.",
        model="Scan 16",
        software_versions="07MW18.4",
        protocol="6.1 CHEST",
        description='AXIAL 2.5 "STD"',
        series_number=2,
        series_date=date(2008, 3, 11),
        annotations=False,
        submitted=datetime(2021, 6, 2),  # noqa: DTZ001 - archives send no zone
        released=date(2021, 7, 15),
        license_name="Creative Commons Attribution 4.0 International License",
        license_uri="https://creativecommons.org/licenses/by/4.0/",
        collection_uri="https://doi.org/10.7937/K9/TCIA.2099.EXAMPLE1",
        study_description="CT CHEST W/O CONTRAST",
        study_date=date(2008, 3, 11),
        third_party=False,
    )
    assert second.modality == "SEG"
    assert second.protocol is None


def test_the_documented_shared_list_is_read() -> None:
    series = [read_record(Series, NBIA_V1["getContentsByName"].attributes, row) for row in rows_of("getContentsByName")]
    assert series
    assert all(found.released for found in series)


def test_the_documented_size_is_read() -> None:
    (row,) = rows_of("getSeriesSize")
    assert read_record(SeriesSize, NBIA_V1["getSeriesSize"].attributes, row) == SeriesSize(1580542, 3)


def test_the_documented_patients_are_read() -> None:
    first, second = (read_record(Patient, NBIA_V1["getPatient"].attributes, row) for row in rows_of("getPatient"))
    assert (first.patient_id, first.sex, first.phantom, first.ethnic_group) == ("DEMO-LUNG-001", "F", False, None)
    assert (second.patient_id, second.ethnic_group) == ("DEMO-LUNG-002", "Not reported")


def test_the_documented_studies_are_read() -> None:
    attributes = NBIA_V1["getPatientStudy"].attributes
    first, second = (read_record(Study, attributes, row) for row in rows_of("getPatientStudy"))
    assert (first.study_date, first.series_count, first.study_id) == (date(2008, 3, 11), 2, None)
    assert (second.longitudinal_event_type, second.longitudinal_offset_days) == ("DIAGNOSIS", 203.0)


SERIES = NBIA_V1["getSeries"].attributes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ImageCount", "many"),
        ("ImageCount", 10**19),
        ("ImageCount", -(10**19)),
        ("FileSize", 1.5),
        ("SeriesDate", "yesterday"),
        ("TimeStamp", [1]),
        ("Modality", {"a": 1}),
        ("StudyInstanceUID", "no uid"),
        ("StudyInstanceUID", "1" * 65),
        ("Unknown", "x"),
        ("Collection", None),
        ("Collection", ""),
    ],
)
def test_a_value_that_cannot_be_read_is_left_at_its_default(name: str, value: object) -> None:
    row = {"SeriesInstanceUID": "1.2", name: value}
    assert read_record(Series, SERIES, row) == Series(series_uid=SeriesUid("1.2"))


@pytest.mark.parametrize(
    "row", [{}, {"SeriesInstanceUID": None}, {"SeriesInstanceUID": ""}, {"seriesinstanceuid": "1"}]
)
def test_a_row_without_its_uid_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="series_uid"):
        read_record(Series, SERIES, row)


@pytest.mark.parametrize("uid", ["../x", "1.2/3", "1.2\nx", "1" * 65, "\u0661.2", [1], "1. 2"])
def test_a_row_with_an_invalid_uid_is_refused(uid: object) -> None:
    with pytest.raises(ValueError, match=r"UID|text"):
        read_record(Series, SERIES, {"SeriesInstanceUID": uid})


@given(
    st.dictionaries(
        st.sampled_from([attribute.name for attribute in SERIES]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.lists(st.integers())
        | st.just("1.2.3"),
    )
)
def test_every_row_is_a_record_that_a_database_can_hold_or_a_value_error(row: dict[str, Any]) -> None:
    try:
        series = read_record(Series, SERIES, row)
    except ValueError:
        return
    assert is_uid(series.series_uid)
    for number in (series.image_count, series.size_bytes, series.series_number):
        assert number is None or abs(number) < 1 << 63


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.DATE, "2008-03-11", date(2008, 3, 11)),
        (Kind.DATE, "20080311", date(2008, 3, 11)),
        (Kind.DATE, "03-11-2008", date(2008, 3, 11)),
        (Kind.DATE, "03/11/2008", date(2008, 3, 11)),
        (Kind.DATE, "2008-03-11 00:00:00.0", date(2008, 3, 11)),
        (Kind.DATE, "2008-03-11T23:30:00-05:00", date(2008, 3, 11)),
        (Kind.DATE, "Mon Jan 05 00:00:00 EST 2015", date(2015, 1, 5)),
        (Kind.TIMESTAMP, "2008-03-11T23:30:00-05:00", datetime(2008, 3, 12, 4, 30)),  # noqa: DTZ001 - zoneless
        (Kind.TIMESTAMP, "2008-03-11T23:30:00Z", datetime(2008, 3, 11, 23, 30)),  # noqa: DTZ001 - zoneless
        (Kind.TIMESTAMP, "Thu Jul 15 10:00:01 UTC 2021", datetime(2021, 7, 15, 10, 0, 1)),  # noqa: DTZ001 - zoneless
        (Kind.INTEGER, "12", 12),
        (Kind.INTEGER, " 12 ", 12),
        (Kind.INTEGER, "2.000000", 2),
        (Kind.INTEGER, 3.0, 3),
        (Kind.NUMBER, "203.0", 203.0),
        (Kind.NUMBER, 203, 203.0),
        (Kind.FLAG, "false", False),
        (Kind.FLAG, 1, True),
        (Kind.FLAG, "0", False),
        (Kind.YES_NO, "Yes", True),
        (Kind.YES_NO, "NO", False),
        (Kind.TEXT, 337915000, "337915000"),
        (Kind.TEXT, " a value\0 ", "a value"),
        (Kind.TEXT, "null", "null"),
        (Kind.TEXT, "", None),
        (Kind.DATE, "", None),
        (Kind.INTEGER, "null", None),
        (Kind.NUMBER, None, None),
    ],
)
def test_reads_what_the_families_write(kind: Kind, text: object, value: Value) -> None:
    read = from_wire(attribute(kind), text)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.DATE, "2008-02-30"),
        (Kind.DATE, "13-11-2008"),
        (Kind.DATE, "soon"),
        (Kind.DATE, 20080311),
        (Kind.TIMESTAMP, "Thu Foo 15 10:00:01 UTC 2021"),
        (Kind.INTEGER, "2.5"),
        (Kind.INTEGER, True),
        (Kind.INTEGER, "many"),
        (Kind.NUMBER, "NaN"),
        (Kind.NUMBER, "1e999"),
        (Kind.NUMBER, []),
        (Kind.FLAG, "perhaps"),
        (Kind.YES_NO, 2),
        (Kind.TEXT, {}),
        (Kind.UID, ["1.2"]),
    ],
)
def test_refuses_a_value_of_another_kind(kind: Kind, value: object) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        from_wire(attribute(kind), value)


@given(st.sampled_from(Kind), st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.lists(st.text()))
def test_nothing_but_value_error_leaves_the_reader(kind: Kind, value: object) -> None:
    with contextlib.suppress(ValueError):
        from_wire(attribute(kind), value)


def test_a_row_may_be_refused_for_any_invalid_uid() -> None:
    row = {"SeriesInstanceUID": "1.2", "StudyInstanceUID": "not a UID", "ImageCount": "many"}
    assert read_values(SERIES, row, required=())["study_uid"] is None
    with pytest.raises(ValueError, match="StudyInstanceUID is not a UID"):
        read_values(SERIES, row, required={"study_uid"})


def test_a_value_stays_when_a_second_column_of_its_field_is_empty() -> None:
    columns = (Attribute("Old", "name"), Attribute("New", "name"))
    assert read_values(columns, {"Old": "kept", "New": ""}, required=()) == {"name": "kept"}


def test_the_md5_of_a_series_is_that_of_its_sorted_md5s_joined() -> None:
    expected = hashlib.md5(("00" * 16 + "ff" * 16).encode(), usedforsecurity=False).hexdigest()
    assert md5_of_md5s(["ff" * 16, "00" * 16]) == expected
