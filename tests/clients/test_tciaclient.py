"""The public Python client tciaclient 0.0.3, unmodified but for its base address, against `bulkdl serve --demo`.

It speaks TCIA v3. It runs in a separate environment (`make test-clients`).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from tciaclient.core import TCIAClient

COLLECTION = "BULKDL-PHANTOM"


@pytest.fixture(params=["v3", "v4"])
def client(archive: str, request: pytest.FixtureRequest) -> TCIAClient:
    """v4 of TCIA's own API, the client's default, answers as v3 does."""
    return TCIAClient(baseUrl=f"{archive.removesuffix('/nbia-api/services')}/services/{request.param}")


def smallest(client: TCIAClient, modality: str) -> dict[str, Any]:
    series: list[dict[str, Any]] = client.get_series(collection=COLLECTION, modality=modality)
    return min(series, key=lambda row: int(row["ImageCount"]))


def test_collections_are_listed(client: TCIAClient) -> None:
    assert {"Collection": COLLECTION} in client.get_collection_values()


def test_values_are_listed(client: TCIAClient) -> None:
    assert {"Modality": "CT"} in client.get_modality_values(collection=COLLECTION)
    assert client.get_body_part_values(collection=COLLECTION, modality="CT")
    assert {"Manufacturer": "bulkdl"} in client.get_manufacturer_values(collection=COLLECTION)


def test_patients_and_studies_are_listed(client: TCIAClient) -> None:
    patients = {row["PatientID"] for row in client.get_patient(collection=COLLECTION)}
    studies = client.get_patient_study(collection=COLLECTION)
    assert {row["PatientID"] for row in studies} == patients
    one = studies[0]
    assert client.get_patient_study(studyInstanceUid=one["StudyInstanceUID"]) == [one]


def test_series_of_a_study_are_listed(client: TCIAClient) -> None:
    study_uid = client.get_patient_study(collection=COLLECTION)[0]["StudyInstanceUID"]
    series = client.get_series(studyInstanceUid=study_uid)
    assert {row["StudyInstanceUID"] for row in series} == {study_uid}


def test_nothing_found_is_an_empty_list(client: TCIAClient) -> None:
    assert client.get_series(collection="NO-SUCH-COLLECTION") == []


def test_other_formats_come_as_they_are(client: TCIAClient) -> None:
    answer = client.get_collection_values(outputFormat="csv").read().decode()
    assert answer.splitlines()[0].strip() == "Collection"
    assert COLLECTION in answer


def test_the_size_of_a_series_counts_its_instances(client: TCIAClient) -> None:
    series = smallest(client, "CT")
    (size,) = client.get_series_size(SeriesInstanceUID=series["SeriesInstanceUID"])
    assert int(size["ObjectCount"]) == int(series["ImageCount"])


def test_a_series_is_downloaded(client: TCIAClient, tmp_path: Path) -> None:
    series = smallest(client, "CT")
    assert client.get_image(series["SeriesInstanceUID"], str(tmp_path), "series.zip")
    with zipfile.ZipFile(tmp_path / "series.zip") as bundle:
        assert bundle.testzip() is None
        found = [name for name in bundle.namelist() if bundle.read(name)[128:132] == b"DICM"]
    assert len(found) == int(series["ImageCount"])
    (size,) = client.get_series_size(SeriesInstanceUID=series["SeriesInstanceUID"])
    with zipfile.ZipFile(tmp_path / "series.zip") as bundle:
        assert sum(bundle.getinfo(name).file_size for name in found) == int(float(size["TotalSizeInBytes"]))
