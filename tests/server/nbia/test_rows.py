"""Search over real sockets, byte for byte where the reference has the bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.server.catalogue import About, Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served import served
from tests.support.served_archive import FAILED, Archive


async def test_collections(archive: Archive) -> None:
    answer = await archive.get("getCollectionValues")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.body == b'[{"Collection":"LARGE"},{"Collection":"LUNG"}]'


async def test_patients_are_human_by_default_and_not_phantoms(archive: Archive) -> None:
    (row,) = (await archive.get("getPatient?Collection=lung&PatientId=patient-00000000")).rows
    assert row == {
        "PatientId": "PATIENT-00000000",
        "PatientName": "PATIENT^00000000",
        "Collection": "LUNG",
        "Phantom": "NO",
        "SpeciesCode": "337915000",
        "SpeciesDescription": "Homo sapiens",
    }


async def test_studies(archive: Archive) -> None:
    (row,) = (await archive.get(f"getPatientStudy?StudyInstanceUID={archive.made[0].study_uid}")).rows
    assert row["StudyDate"] == "2020-01-02 00:00:00.0"
    assert row["SeriesCount"] == 2
    assert "StudyDescription" not in row


async def test_series(archive: Archive) -> None:
    made = archive.made[0]
    (row,) = (await archive.get(f"getSeries?SeriesInstanceUID={made.series_uid}")).rows
    assert row.pop("TimeStamp")
    assert row == {
        "SeriesInstanceUID": made.series_uid,
        "StudyInstanceUID": made.study_uid,
        "Modality": "CT",
        "SeriesDate": "2020-01-02 00:00:00.0",
        "BodyPartExamined": "CHEST",
        "SeriesNumber": 1,
        "AnnotationsFlag": False,
        "Collection": "LUNG",
        "PatientID": made.patient_id,
        "Manufacturer": "EXAMPLE",
        "ImageCount": 2,
        "LicenseName": "CC BY 4.0",
        "LicenseURI": "https://creativecommons.org/licenses/by/4.0/",
        "FileSize": 2 * len(made.content),
        "DateReleased": "2021-07-15 00:00:00.0",
        "StudyDate": "2020-01-02 00:00:00.0",
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 4),
        ("Collection=lung", 3),
        ("Collection=LUNG&Collection=LARGE", 3),
        ("PatientId=nobody", 4),
        ("collection=LARGE", 4),
        ("Modality=ct&BodyPartExamined=chest", 4),
    ],
    ids=["all", "any-case", "first-of-two", "unknown-name", "names-have-case", "two-criteria"],
)
async def test_criteria_as_nbia_takes_them(archive: Archive, query: str, count: int) -> None:
    assert len((await archive.get(f"getSeries?{query}")).rows) == count


async def test_size_and_instances_of_a_series(archive: Archive) -> None:
    made = archive.made[0]
    size = await archive.get(f"getSeriesSize?SeriesInstanceUID={made.series_uid}")
    assert size.rows == [{"TotalSizeInBytes": 2 * len(made.content), "ObjectCount": 2}]
    listed = await archive.get(f"getSOPInstanceUIDs?SeriesInstanceUID={made.series_uid}")
    wanted = {one.sop_uid for one in archive.made if one.series_uid == made.series_uid}
    assert {row["SOPInstanceUID"] for row in listed.rows} == wanted


@pytest.mark.parametrize(
    "path",
    [
        "getPatient?Collection=NONE",
        "getSeries?PatientID=",
        "getSeries?Collection=NONE&format=CSV",
        "getSeries?Collection=NONE&format=nonsense",
        "getSOPInstanceUIDs?SeriesInstanceUID=1.2",
        "getM5HashForImage?SOPInstanceUid=1.2",
        "getContentsByName?name=list",
    ],
)
async def test_an_empty_result_is_an_empty_200(archive: Archive, path: str) -> None:
    answer = await archive.get(path)
    assert (answer.status, answer.body) == (200, b"")


async def test_the_size_of_an_unknown_series_is_an_empty_row(archive: Archive) -> None:
    assert (await archive.get("getSeriesSize?SeriesInstanceUID=1.2")).body == b"[{}]"


async def test_a_collection_without_a_description_is_described_by_its_name(tmp_path: Path) -> None:
    """Nbiatoolkit fails for an empty description."""
    roots = [
        Root(tmp_path / "a", "PLAIN <1>"),
        Root(tmp_path / "b", "DESCRIBED", About(description="Some scans.", citation="Doe")),
    ]
    for number, root in enumerate(roots):
        write_folder(root.path, instances(series=1, per_series=1, seed=str(number)))
    async with served(*roots, catalogue=tmp_path / "catalog.sqlite") as running:
        rows = (await running.nbia("getCollectionDescriptions", token=await running.log_in())).document
    assert {row["collectionName"]: row["description"] for row in rows} == {
        "PLAIN <1>": "<p>PLAIN &lt;1&gt;</p>",
        "DESCRIBED": "<p>Some scans.</p><p>Doe</p>",
    }


@pytest.mark.parametrize("api", ["services/v3/TCIA", "services/v4/TCIA"])
async def test_both_spellings_of_the_new_studies_of_a_patient_are_answered(archive: Archive, api: str) -> None:
    origin = archive.base.removesuffix("/nbia-api/services")
    bodies = []
    for name in ("NewStudiesInPatientCollection", "NewStudiesInPatientsCollection"):
        query = "Collection=LUNG&Date=1990-01-01&PatientID=PATIENT-00000000"
        async with archive.session.get(f"{origin}/{api}/query/{name}?{query}") as response:
            assert response.status == 200
            bodies.append(await response.json())
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) == 1


@pytest.mark.parametrize(
    ("word", "content_type", "start"),
    [
        ("json", "application/json", b"["),
        ("CSV", "text/csv", b'"PatientId","PatientName"'),
        ("csvQuoted", "text/csv", b'"PatientId","PatientName"'),
        ("CSV-DOWNLOAD", "text/csv", b'"PatientId","PatientName"'),
        ("xml", "application/xml", b"<?xml version="),
        ("HTML", "text/html", b"<P ALIGN="),
    ],
)
async def test_formats(archive: Archive, word: str, content_type: str, start: bytes) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert answer.body.startswith(start)


@pytest.mark.parametrize("word", ["", "yaml"])
async def test_an_unknown_format_is_a_server_error(archive: Archive, word: str) -> None:
    answer = await archive.get(f"getPatient?format={word}")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (500, "text/plain", FAILED)
