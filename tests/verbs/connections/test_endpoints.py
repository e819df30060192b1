"""What is asked of an endpoint, and how its answer is taken apart. No archive is asked."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, NBIA_V1, NBIA_V4, TCIA_V3, Endpoint
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import ArchiveChoice
from bulkdl.verbs.connections.endpoints import check, endpoints, find, rows_of, wire_parameters


def choice(name: str) -> ArchiveChoice:
    return ArchiveChoice(name=name, cache=Path("not-used"))


@pytest.mark.parametrize(
    ("endpoint", "criteria", "expected"),
    [
        (NBIA_V1["getSeries"], {"collection": "A", "modality": None}, (("Collection", "A"),)),
        (NBIA_V1["getSeries"], {"Collection": "A", "format": "csv"}, (("Collection", "A"), ("format", "csv"))),
        (
            NBIA_V1["NewPatientsInCollection"],
            {"collection": "A", "since": date(2024, 1, 31)},
            (("Collection", "A"), ("Date", "2024/01/31")),
        ),
        (TCIA_V3["NewPatientsInCollection"], {"collection": "A", "Date": "2024-01-31"}, None),
        (NBIA_V4["getUpdatedSeries"], {"since": date(2024, 1, 31)}, (("fromDate", "01-31-2024"),)),
        (NBIA_V4["getSeriesMetadata"], {"series_uids": ["1.2.3", "1.2.4"]}, (("list", "1.2.3,1.2.4"),)),
        (
            NBIA_V4["getSimpleSearch"],
            {"criteriaType0": "PatientCriteria", "value0": "P", "start": 0, "size": 10},
            (("criteriaType0", "PatientCriteria"), ("value0", "P"), ("start", "0"), ("size", "10")),
        ),
    ],
    ids=["none is left out", "wire names", "v1 date", "v3 date", "v4 date", "one list", "numbered"],
)
def test_criteria_become_parameters(
    endpoint: Endpoint, criteria: dict[str, object], expected: tuple[tuple[str, str], ...] | None
) -> None:
    assert wire_parameters(endpoint, criteria) == (expected or (("Collection", "A"), ("Date", "2024-01-31")))


@pytest.mark.parametrize(
    ("endpoint", "names", "message"),
    [
        (NBIA_V1["getSeries"], ["Colection"], r"did you mean Collection\?"),
        (NBIA_V1["getSeries"], ["zzz"], "it has BodyPartExamined, Collection"),
        (NBIA_V1["getSeriesSize"], ["format"], "requires SeriesInstanceUID=…"),
        (NBIA_V1["getSeries"], ["Collection", "Collection"], "accepts Collection only once"),
        (NBIA_V1["getSingleImage"], ["SeriesInstanceUID", "SOPInstanceUID", "format"], "no parameter 'format'"),
    ],
    ids=["misspelt", "unknown", "missing", "twice", "no format"],
)
def test_parameters_that_would_be_ignored_are_refused(endpoint: Endpoint, names: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check(endpoint, names)


def test_parameters_may_be_given_in_any_case() -> None:
    assert check(NBIA_V1["getSeries"], ["collection", "FORMAT", "Modality"]) == ["Collection", "format", "Modality"]
    with pytest.raises(ConfigurationError, match="accepts Collection only once"):
        check(NBIA_V1["getSeries"], ["collection", "Collection"])


def test_an_endpoint_is_found_in_any_case_and_guessed_at() -> None:
    assert find("GETSERIES", choice("nbia-v1")).name == "getSeries"
    with pytest.raises(ConfigurationError, match="nbia-v1 has no endpoint 'getSerie'; did you mean getSeries"):
        find("getSerie", choice("nbia-v1"))


@pytest.mark.parametrize("name", ["tcia", "nbia-v1", "nbia-v2", "tcia-v3", "nlst", "demo"])
def test_every_archive_has_endpoints_for_the_five_questions(name: str) -> None:
    names = {endpoint.name for endpoint in endpoints(choice(name))}
    assert {"getCollectionValues", "getPatient", "getPatientStudy", "getSeries", "getSOPInstanceUIDs"} <= names


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"", []),
        (b"[]", []),
        (b'[{"a":"1"},{"a":"2"}]', [{"a": "1"}, {"a": "2"}]),
        (b'{"a":"1"}', [{"a": "1"}]),
        (b'"a","b"\n"1","x, ""y"""\n', [{"a": "1", "b": 'x, "y"'}]),
        (b"\xef\xbb\xbfa,b\n1,", [{"a": "1", "b": ""}]),
        (b"a\n1\n2\n", [{"a": "1"}, {"a": "2"}]),
    ],
    ids=["nothing", "empty list", "JSON", "one object", "CSV", "CSV with a mark", "one column"],
)
def test_rows_are_read_in_json_and_csv(body: bytes, rows: list[dict[str, str]]) -> None:
    assert rows_of(body) == rows


@pytest.mark.parametrize(
    "body", [b"<html></html>", b'[{"a":1}', b"a,b\n1,2,3\n", b"\xff\xfe"], ids=["page", "cut", "ragged", "no text"]
)
def test_what_is_not_a_list_of_rows_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        rows_of(body)


@given(st.binary(max_size=200))
def test_no_answer_breaks_the_reader(body: bytes) -> None:
    try:
        found = rows_of(body)
    except ValueError:
        return
    assert all(isinstance(row, dict) for row in found)


def test_lists_are_read_as_one_criterion_several_times_where_they_may_be() -> None:
    pairs = wire_parameters(NBIA_ADVANCED["getSeriesMetadata2"], {"series_uids": ["1.2.3", "1.2.4"]})
    assert "1.2.3" in ",".join(value for _, value in pairs)
    assert "1.2.4" in ",".join(value for _, value in pairs)
