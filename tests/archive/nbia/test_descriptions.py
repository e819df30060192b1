"""Patients, Studies and descriptions in the answers of each family."""

from __future__ import annotations

import json as jsons
from datetime import date
from typing import Any

import pytest

from bulkdl.archive.nbia.descriptions import collections_in, describes_parents, parents_in
from bulkdl.archive.nbia.endpoints import NBIA_V1, NBIA_V4, TCIA_V3
from bulkdl.errors import RequestRejected
from bulkdl.model.descriptions import CollectionDescription, Descriptions
from bulkdl.model.ids import StudyUid
from bulkdl.model.records import Patient, Study
from tests.support.archives import opened
from tests.support.faults import Action, FaultyServer, Seen, answer, json

OF_STUDY = {
    "StudyInstanceUID": "1.2",
    "StudyDate": "2001-02-03 00:00:00.0",
    "StudyDescription": "Thorax",
    "PatientAge": "061Y",
    "PatientID": "P1",
    "PatientName": "A^B",
    "PatientBirthDate": "1940-01-02 00:00:00.0",
    "PatientSex": "F",
    "EthnicGroup": "x",
    "Collection": "A",
    "SeriesCount": 9,
    "LongitudinalTemporalOffsetFromEvent": 2.5,
}


def test_a_row_of_studies_is_of_a_patient_too() -> None:
    found = parents_in(NBIA_V1["getPatientStudy"].attributes, [OF_STUDY, OF_STUDY])
    patient = Patient(
        patient_id="P1", collection="A", name="A^B", birth_date=date(1940, 1, 2), sex="F", ethnic_group="x"
    )
    study = Study(
        study_uid=StudyUid("1.2"),
        patient_id="P1",
        collection="A",
        study_date=date(2001, 2, 3),
        description="Thorax",
        patient_age="061Y",
        patient_name="A^B",
        patient_birth_date=date(1940, 1, 2),
        patient_sex="F",
        ethnic_group="x",
        longitudinal_offset_days=2.5,
    )
    assert found == Descriptions(patients=(patient,), studies=(study,))


def test_a_row_of_series_has_the_description_of_its_study_apart() -> None:
    row = {
        "SeriesInstanceUID": "1.2.3",
        "StudyInstanceUID": "1.2",
        "SeriesDescription": "axial",
        "StudyDesc": "Thorax",
        "PatientID": "P1",
        "PatientSex": "F",
        "PatientAge": "061Y",
        "Collection": "A",
    }
    found = parents_in(NBIA_V4["getSeries"].attributes, [row])
    assert found.patients == (Patient(patient_id="P1", collection="A", sex="F"),)
    study = Study(study_uid=StudyUid("1.2"), patient_id="P1", collection="A", description="Thorax", patient_age="061Y")
    assert found.studies == (study,)


@pytest.mark.parametrize("odd", [{}, {"StudyInstanceUID": "../x"}, {"PatientSex": ["F"]}])
def test_odd_rows_have_no_study(odd: dict[str, Any]) -> None:
    assert parents_in(NBIA_V4["getSeries"].attributes, [{"Collection": "A", **odd}]).studies == ()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (NBIA_V1["getSeries"].attributes, False),
        (TCIA_V3["getSeries"].attributes, False),
        (NBIA_V4["getSeries"].attributes, True),
        (NBIA_V4["getSeriesMetadata"].attributes, True),
    ],
)
def test_knows_which_answers_have_more_than_series(attributes: Any, expected: bool) -> None:  # noqa: FBT001
    assert describes_parents(attributes) is expected


def test_a_description_is_kept_as_html_and_as_text() -> None:
    row = {
        "description": "<p>A &amp; B</p><p>C</p>",
        "collectionName": "a",
        "descriptionURI": "https://doi.org/10.1/x",
        "collectionDescTimestamp": 1_000,
    }
    assert collections_in("A", [{"collectionName": "B"}, row]) == (
        CollectionDescription(
            collection="A",
            html="<p>A &amp; B</p><p>C</p>",
            description="A & B\nC",
            uri="https://doi.org/10.1/x",
            updated="1970-01-01T00:00:01",
        ),
    )


@pytest.mark.parametrize(
    "odd",
    [
        {"description": 7},
        {"description": "x" * 1_000_000, "descriptionURI": []},
        {"collectionDescTimestamp": 10**40},
        {"collectionDescTimestamp": "soon"},
    ],
)
def test_odd_values_of_a_description_are_left_out(odd: dict[str, Any]) -> None:
    assert collections_in("A", [{"collectionName": "A", **odd}]) == (CollectionDescription(collection="A"),)


@pytest.mark.parametrize(
    ("family", "target"),
    [
        ("nbia-v4", "/v4/getCollectionDescriptions?collectionName=A"),
        ("nbia-v1", "/v1/getPatientStudy?Collection=A&PatientID=P1"),
        ("tcia-v3", "/TCIA/query/getPatientStudy?Collection=A&PatientID=P1&format=json"),
    ],
)
async def test_one_request_asks_for_a_collection(family: str, target: str) -> None:
    asked: list[str] = []
    taken: list[Descriptions] = []

    def script(request: Seen) -> Action:
        asked.append(request.target)
        rows = [OF_STUDY] if "Study" in request.target else [{"collectionName": "A", "description": "d"}]
        return json(jsons.dumps(rows))

    async def take(found: Descriptions) -> None:
        taken.append(found)

    async with FaultyServer(script) as server, opened(server.url, kind=family) as archive:
        await archive.describe("A", take, patient_id="P1")
    assert len(asked) == 1
    assert asked[0].endswith(target)
    found = Descriptions.joined(taken)
    assert len(found.studies or found.collections) == 1


async def test_a_family_without_the_endpoint_refuses_the_question() -> None:
    async def take(found: Descriptions) -> None:
        raise AssertionError(found)

    async with (
        FaultyServer(lambda _: answer(b"nothing here", status=404)) as server,
        opened(server.url, kind="nbia-v4") as archive,
    ):
        with pytest.raises(RequestRejected):
            await archive.describe("A", take)
