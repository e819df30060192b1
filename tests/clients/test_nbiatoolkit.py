"""The public Python client nbiatoolkit 1.3.1, unmodified but for its base address, against `bulkdl serve --demo`.

It logs in as the guest and speaks NBIA v2 and the Advanced API. It runs in a separate environment (`make
test-clients`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from nbiatoolkit import NBIAClient
from nbiatoolkit.utils.nbia_endpoints import NBIA_BASE_URLS

COLLECTION = "BULKDL-PHANTOM"


@pytest.fixture
def client(archive: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[NBIAClient]:
    monkeypatch.setattr(NBIA_BASE_URLS.NBIA, "_value_", f"{archive}/")
    # Its download processes look up the address by its value.
    monkeypatch.setitem(NBIA_BASE_URLS._value2member_map_, f"{archive}/", NBIA_BASE_URLS.NBIA)
    monkeypatch.setattr(NBIA_BASE_URLS.LOGOUT_URL, "_value_", f"{archive.removesuffix('/services')}/logout")
    with NBIAClient(log_level="ERROR") as connected:
        yield connected


def smallest(client: NBIAClient, modality: str) -> dict[str, Any]:
    series: list[dict[str, Any]] = client.getSeries(Collection=COLLECTION, Modality=modality)
    return min(series, key=lambda row: row["ImageCount"])


def test_the_guest_is_logged_in_and_out(client: NBIAClient, capsys: pytest.CaptureFixture[str]) -> None:
    login = client.OAuth_client
    assert login.access_token
    assert login.expiry_time is not None
    assert login.refresh_token
    login._refresh_access_token()  # noqa: SLF001 - the client calls it when a token has expired
    assert client.getCollections()
    login.logout()
    assert "Error" not in capsys.readouterr().out


def test_collections_are_listed(client: NBIAClient) -> None:
    assert client.getCollections(prefix="BULKDL") == [{"Collection": COLLECTION}]


def test_patients_are_counted(client: NBIAClient) -> None:
    (counted,) = client.getCollectionPatientCount(prefix=COLLECTION)
    assert int(counted["PatientCount"]) == len(client.getPatients(Collection=COLLECTION))
    assert client.getBodyPartCounts(Collection=COLLECTION)


def test_a_collection_is_described(client: NBIAClient) -> None:
    (described,) = client.getCollectionDescriptions(COLLECTION)
    assert described["Collection"] == COLLECTION
    assert described["Description"]


def test_modalities_are_listed_and_counted(client: NBIAClient) -> None:
    assert {"Modality": "CT"} in client.getModalityValues(Collection=COLLECTION)
    counted = client.getModalityValues(Collection=COLLECTION, Counts=True)
    assert "CT" in {row["Modality"] for row in counted}


def test_patients_come_as_a_data_frame(client: NBIAClient) -> None:
    frame = client.getPatients(Collection=COLLECTION, return_type="dataframe")
    assert set(frame["Collection"]) == {COLLECTION}


def test_patients_with_a_modality_are_listed(client: NBIAClient) -> None:
    found = client.getPatientsByCollectionAndModality(Collection=COLLECTION, Modality="CT")
    assert {row["PatientId"] for row in found} <= {row["PatientId"] for row in client.getPatients(COLLECTION)}


def test_what_is_new_since_a_day_is_listed(client: NBIAClient) -> None:
    patients = client.getPatients(Collection=COLLECTION)
    assert len(client.getNewPatients(Collection=COLLECTION, Date="1999-12-31")) == len(patients)
    assert len(client.getNewSeries(Date="1999-12-31")) >= len(client.getSeries(Collection=COLLECTION))


def test_studies_and_series_are_listed(client: NBIAClient) -> None:
    studies = client.getStudies(Collection=COLLECTION)
    series = client.getSeries(Collection=COLLECTION)
    assert {row["StudyInstanceUID"] for row in series} == {row["StudyInstanceUID"] for row in studies}
    assert sum(row["SeriesCount"] for row in studies) == len(series)


def test_metadata_of_several_series_are_fetched(client: NBIAClient) -> None:
    uids = [row["SeriesInstanceUID"] for row in client.getSeries(Collection=COLLECTION)[:3]]
    found = client.getSeriesMetadata(uids)
    assert [row["Series UID"] for row in found] == uids


def test_the_elements_of_a_series_are_shown(client: NBIAClient) -> None:
    series = smallest(client, "CT")
    rows = client.getDICOMTags(series["SeriesInstanceUID"])
    assert {"element": "(0008,0060)", "name": "Modality", "data": "CT"} in rows


def test_a_structure_set_leads_to_the_series_it_was_drawn_on(client: NBIAClient) -> None:
    structures = smallest(client, "RTSTRUCT")
    (referred,) = set(client.getRefSeriesUIDs(structures["SeriesInstanceUID"]))
    (original,) = client.getSeries(SeriesInstanceUID=referred)
    assert original["PatientID"] == structures["PatientID"]


def test_series_are_downloaded_checked_and_sorted(client: NBIAClient, tmp_path: Path) -> None:
    series = smallest(client, "CT")
    assert client.downloadSeries([series["SeriesInstanceUID"]], downloadDir=str(tmp_path))
    files = list(tmp_path.rglob("*.dcm"))
    assert len(files) == series["ImageCount"]
    assert {pydicom.dcmread(path).SeriesInstanceUID for path in files} == {series["SeriesInstanceUID"]}
