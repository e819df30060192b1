"""The tables against the documented answers, and against themselves."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from bulkdl.archive.nbia.endpoints import (
    FORMATS,
    NBIA_ADVANCED,
    NBIA_V1,
    NBIA_V2,
    NBIA_V4,
    TCIA_V3,
    Answer,
    DateForm,
    Endpoint,
    Kind,
)

DATA = Path(__file__).parents[2] / "data" / "answers"
FAMILIES: Mapping[str, Mapping[str, Endpoint]] = {
    "nbia_v1": NBIA_V1,
    "nbia_v2": NBIA_V2,
    "nbia_v4": NBIA_V4,
    "advanced": NBIA_ADVANCED,
    "v3": TCIA_V3,
}
EVERY = [
    pytest.param(endpoint, id=f"{family}-{name}")
    for family, endpoints in FAMILIES.items()
    for name, endpoint in endpoints.items()
]


def documented(suffix: str) -> list[tuple[Path, Endpoint]]:
    """The samples of search answers in a format, each with its endpoint."""
    found = []
    for path in sorted(DATA.glob(f"*.{suffix}")):
        for family, endpoints in FAMILIES.items():
            name = path.stem.removeprefix(f"{family}_")
            if name != path.stem and name in endpoints:
                found.append((path, endpoints[name]))
    return found


def test_there_are_samples_of_every_family() -> None:
    prefixes = {path.name.partition("_get")[0] for path, _ in documented("json")}
    assert prefixes >= {"nbia_v1", "nbia_v4", "advanced", "v3"}


@pytest.mark.parametrize(("path", "endpoint"), documented("json"), ids=lambda value: getattr(value, "stem", ""))
def test_every_key_of_a_documented_answer_is_known(path: Path, endpoint: Endpoint) -> None:
    answer = json.loads(path.read_text())
    keys = {key for row in (answer if isinstance(answer, list) else [answer]) for key in row}
    assert keys <= {attribute.name for attribute in endpoint.attributes}


@pytest.mark.parametrize(("path", "endpoint"), documented("csv"), ids=lambda value: getattr(value, "stem", ""))
def test_the_columns_of_a_documented_table_are_known_in_order(path: Path, endpoint: Endpoint) -> None:
    with path.open(newline="") as file:
        assert next(csv.reader(file)) == [attribute.name for attribute in endpoint.attributes]


def test_the_counts_of_columns_are_those_of_the_server_program() -> None:
    columns = {
        name: len(endpoint.attributes)
        for endpoints in (NBIA_V1, NBIA_ADVANCED, NBIA_V4)
        for name, endpoint in endpoints.items()
    }
    assert columns["getSeriesMetaData"] == 27
    assert columns["getSeriesMetadata"] == 40
    assert columns["getSeriesQCInfo"] == 41
    assert columns["getSeriesMetadata2"] == 24
    assert columns["getSeriesMetadata3"] == 37
    assert columns["getSeriesMetadataCombined"] == 35


def test_v3_has_the_fifteen_endpoints_of_its_guide() -> None:
    assert set(TCIA_V3) == {
        "getCollectionValues",
        "getModalityValues",
        "getBodyPartValues",
        "getManufacturerValues",
        "getPatient",
        "PatientsByModality",
        "getPatientStudy",
        "getSeries",
        "getSeriesSize",
        "getImage",
        "NewPatientsInCollection",
        "NewStudiesInPatientCollection",
        "getSOPInstanceUIDs",
        "getSingleImage",
        "ContentsByName",
    }


@pytest.mark.parametrize(
    ("endpoint", "form"),
    [
        (NBIA_V1["NewPatientsInCollection"], DateForm.SLASHED),
        (NBIA_V1["getUpdatedSeries"], DateForm.DAY_FIRST),
        (NBIA_V4["NewPatientsInCollection"], DateForm.MONTH_FIRST),
        (NBIA_V4["getUpdatedSeries"], DateForm.MONTH_FIRST),
        (TCIA_V3["NewStudiesInPatientCollection"], DateForm.ISO),
        (NBIA_ADVANCED["getSimpleSearchWithModalityAndBodyPartPaged"], DateForm.DAY_FIRST),
        (NBIA_V4["getSimpleSearch"], DateForm.MONTH_FIRST),
    ],
)
def test_each_endpoint_has_its_own_way_with_dates(endpoint: Endpoint, form: DateForm) -> None:
    """The server takes a date of another form for another date, or for none, and says nothing."""
    forms = {parameter.date_form for parameter in endpoint.parameters if parameter.kind is Kind.DATE}
    assert forms == {form}


@pytest.mark.parametrize("endpoint", EVERY)
def test_an_endpoint_is_described_in_full(endpoint: Endpoint) -> None:
    assert endpoint.description
    assert all(parameter.description for parameter in endpoint.parameters)
    assert all(attribute.description for attribute in endpoint.attributes)
    assert bool(endpoint.attributes) == (endpoint.answer in {Answer.ROWS, Answer.OBJECT})
    assert bool(endpoint.formats) == bool(endpoint.attributes)


@pytest.mark.parametrize("endpoint", EVERY)
def test_a_word_of_ours_means_one_thing_in_an_endpoint(endpoint: Endpoint) -> None:
    for entries in (endpoint.parameters, endpoint.attributes):
        fields = [entry.field for entry in entries]
        assert len(fields) == len(set(fields))


@pytest.mark.parametrize("endpoint", EVERY)
def test_tags_are_dicom_tags(endpoint: Endpoint) -> None:
    assert all(re.fullmatch(r"(?:[0-9A-F]{8})?", attribute.tag) for attribute in endpoint.attributes)


@pytest.mark.parametrize("endpoint", EVERY)
def test_a_choice_of_formats_is_of_the_four_and_the_attachment(endpoint: Endpoint) -> None:
    if endpoint.has_format:
        assert set(endpoint.formats) - {"CSV-DOWNLOAD"} == set(FORMATS)
    else:
        assert len(endpoint.formats) <= 1


def test_a_numbered_parameter_is_known_by_its_stem() -> None:
    search = NBIA_V4["getSimpleSearch"]
    for name in ("criteriaType0", "value17", "fromDate3"):
        parameter = search.parameter(name)
        assert parameter is not None
        assert parameter.name == name.rstrip("0123456789")
    assert search.parameter("start") is not None
    assert search.parameter("start1") is None
    assert NBIA_V1["getSeries"].parameter("Collection0") is None


def test_v4_refuses_what_it_does_not_know() -> None:
    assert all(endpoint.is_strict for endpoint in NBIA_V4.values())
    assert not any(endpoint.is_strict for endpoint in (*NBIA_V1.values(), *NBIA_ADVANCED.values()))


def test_a_phantom_has_the_tag_of_quality_control() -> None:
    tags = {attribute.name: attribute.tag for attribute in NBIA_V1["getPatient"].attributes}
    assert tags["Phantom"] == "00100200"
