"""The public Python client tcia_utils 3.3.5, unmodified but for its base address, against `bulkdl serve --demo`.

It runs in an environment of its own (`make test-clients`), where bulkdl is not installed: the command is named by the
environment variable BULKDL.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tcia_utils import nbia

COLLECTION = "BULKDL-PHANTOM"


@pytest.fixture(scope="session")
def archive() -> Iterator[str]:
    """The base address of a running demonstration archive."""
    command = [os.environ["BULKDL"], "serve", "--demo", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())["url"]
        finally:
            server.terminate()


@pytest.fixture(autouse=True)
def _pointed_at_v1(archive: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbia, "setApiUrl", lambda *_: f"{archive.rstrip('/')}/v1/")


def smallest_series() -> dict[str, object]:
    series = nbia.getSeries(collection=COLLECTION)
    return min(series, key=lambda row: row["ImageCount"])


def several_slices() -> dict[str, object]:
    series = nbia.getSeries(collection=COLLECTION, modality="CT")
    return min(series, key=lambda row: row["ImageCount"])


def test_collections_are_listed() -> None:
    assert {"Collection": COLLECTION} in nbia.getCollections()


def test_patients_of_a_collection_are_listed() -> None:
    patients = nbia.getPatient(collection=COLLECTION)
    assert len(patients) >= 3
    assert {patient["Collection"] for patient in patients} == {COLLECTION}


def test_studies_of_a_patient_are_listed() -> None:
    patient = nbia.getPatient(collection=COLLECTION)[0]["PatientId"]
    studies = nbia.getStudy(collection=COLLECTION, patientId=patient)
    assert {study["PatientID"] for study in studies} == {patient}
    assert all(study["SeriesCount"] > 0 for study in studies)


def test_series_come_as_a_data_frame_with_their_sizes() -> None:
    frame = nbia.getSeries(collection=COLLECTION, format="df")
    assert frame["SeriesInstanceUID"].is_unique
    assert (frame["FileSize"] > 0).all()


def test_an_unknown_collection_has_no_series() -> None:
    assert nbia.getSeries(collection="NO-SUCH-COLLECTION") is None


def test_the_size_of_a_series_agrees_with_its_record() -> None:
    series = smallest_series()
    (size,) = nbia.getSeriesSize(series["SeriesInstanceUID"])
    assert (size["ObjectCount"], size["TotalSizeInBytes"]) == (series["ImageCount"], series["FileSize"])


def test_as_many_instances_are_listed_as_are_counted() -> None:
    series = several_slices()
    assert len(nbia.getSopInstanceUids(series["SeriesInstanceUID"])) == series["ImageCount"]


def test_a_single_instance_is_downloaded(tmp_path: Path) -> None:
    series_uid = smallest_series()["SeriesInstanceUID"]
    sop_uid = nbia.getSopInstanceUids(series_uid)[0]["SOPInstanceUID"]
    nbia.downloadImage(series_uid, sop_uid, path=str(tmp_path))
    content = (tmp_path / series_uid / f"{sop_uid}.dcm").read_bytes()
    assert content[128:132] == b"DICM"
    assert sop_uid.encode() in content


def test_a_series_is_downloaded_with_checksums_that_hold(tmp_path: Path) -> None:
    series = several_slices()
    series_uid = series["SeriesInstanceUID"]
    nbia.downloadSeries([series_uid], input_type="list", path=str(tmp_path), hash="y")
    folder = tmp_path / series_uid
    with (folder / "md5hashes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == series["ImageCount"]
    for row in rows:
        content = (folder / row["Filename"]).read_bytes()
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == row["MD5Hash"]


def test_a_series_is_downloaded_with_its_licence(tmp_path: Path) -> None:
    series = several_slices()
    nbia.downloadSeries([series], path=str(tmp_path))
    names = {path.name for path in (tmp_path / series["SeriesInstanceUID"]).iterdir()}
    assert "LICENSE" in names
    assert len(names) == series["ImageCount"] + 1
    assert all(name.startswith("1-") for name in names - {"LICENSE"})


def test_the_series_of_a_manifest_are_downloaded(tmp_path: Path) -> None:
    manifest = Path(__file__).parents[2] / "manifests" / "sample.tcia"
    nbia.downloadSeries(str(manifest), input_type="manifest", path=str(tmp_path))
    wanted = set(manifest.read_text().split("ListOfSeriesToDownload=")[1].split())
    assert {path.name for path in tmp_path.iterdir()} == wanted
