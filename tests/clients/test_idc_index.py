"""The public Python client idc-index 0.13.4, unmodified but for its index and its endpoint, against `bulkdl serve`.

It reads the index of the IDC, and downloads from a bucket with s5cmd, which it brings. The index is the one that the
server offers beside its bucket. It runs in a separate environment (`make test-clients`).
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path

import idc_index.index
import idc_index_data
import pytest
from idc_index import IDCClient

COLLECTION = "bulkdl_phantom"
MakeClient = Callable[[str], IDCClient]


@pytest.fixture
def make_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeClient:
    """Makes a client of the server at a base address."""

    def make(services: str) -> IDCClient:
        base = services.removesuffix("/nbia-api/services")
        index = tmp_path / "idc_index.parquet"
        urllib.request.urlretrieve(f"{base}/bulkdl/index/idc_index.parquet", index)  # noqa: S310 - our own server
        monkeypatch.setattr(idc_index_data, "IDC_INDEX_PARQUET_FILEPATH", index)
        monkeypatch.setattr(idc_index.index, "aws_endpoint_url", base)
        return IDCClient()

    return make


@pytest.fixture
def client(archive: str, make_client: MakeClient) -> IDCClient:
    return make_client(archive)


def is_complete(folder: Path, client: IDCClient, **wanted: str) -> bool:
    """Whether a folder has the files of the rows of the index with these values, by their number and their bytes."""
    rows = client.index
    for column, value in wanted.items():
        rows = rows[rows[column] == value]
    contents = [path.read_bytes() for path in folder.rglob("*.dcm")]
    assert all(content[128:132] == b"DICM" for content in contents)
    size_bytes = round(float(rows["series_size_MB"].sum()) * 1_000_000)
    count = int(rows["instanceCount"].sum())
    return 0 < len(contents) == count and sum(map(len, contents)) == size_bytes


def test_collections_are_known(client: IDCClient) -> None:
    assert COLLECTION in client.get_collections()
    assert client.get_patients(COLLECTION, outputFormat="list")


def test_a_collection_is_downloaded(client: IDCClient, tmp_path: Path) -> None:
    client.download_from_selection(str(tmp_path / "out"), collection_id=COLLECTION, show_progress_bar=False)
    assert is_complete(tmp_path / "out", client, collection_id=COLLECTION)


def test_a_patient_is_downloaded(client: IDCClient, tmp_path: Path) -> None:
    patient = client.get_patients(COLLECTION, outputFormat="list")[0]
    client.download_from_selection(str(tmp_path / "out"), patientId=patient, show_progress_bar=False)
    assert is_complete(tmp_path / "out", client, PatientID=patient)


@pytest.mark.parametrize("is_validated", [True, False], ids=["validated", "as-it-is"])
def test_a_manifest_is_downloaded(client: IDCClient, tmp_path: Path, *, is_validated: bool) -> None:
    rows = client.index[client.index["collection_id"] == COLLECTION]
    manifest = tmp_path / "manifest.s5cmd"
    manifest.write_text("".join(f"cp {url} .\n" for url in rows["series_aws_url"]))
    (tmp_path / "out").mkdir()
    client.download_from_manifest(
        str(manifest), str(tmp_path / "out"), validate_manifest=is_validated, show_progress_bar=False
    )
    assert is_complete(tmp_path / "out", client, collection_id=COLLECTION)


def test_the_files_of_a_series_are_listed(client: IDCClient) -> None:
    row = client.index.iloc[0]
    urls = client.get_series_file_URLs(row["SeriesInstanceUID"])
    assert len(urls) == row["instanceCount"]
    assert all(url.startswith(f"s3://{row['aws_bucket']}/{row['crdc_series_uuid']}/") for url in urls)


def test_a_cache_asks_its_bucket_once(logged_cache: tuple[str, Path], make_client: MakeClient, tmp_path: Path) -> None:
    services, log = logged_cache
    client = make_client(services)
    asked = [len(log.read_text().splitlines())]
    for run in ("first", "second"):
        client.download_from_selection(str(tmp_path / run), collection_id=COLLECTION, show_progress_bar=False)
        assert is_complete(tmp_path / run, client, collection_id=COLLECTION)
        asked.append(len(log.read_text().splitlines()))
    assert asked[0] < asked[1] == asked[2]
