"""The index of the bucket, as a client gets it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from bulkdl.model.ids import stable_uuid
from bulkdl.server.catalogue import About, Root
from tests.server.bucket.conftest import ServedBucket
from tests.support.dicom_files import instances, write_folder
from tests.support.served import served


async def read(bucket: ServedBucket, path: Path) -> list[dict[str, Any]]:
    """The rows of the index that the bucket sends."""
    body = (await bucket.ask("index/idc_index.parquet")).body
    await asyncio.to_thread(path.write_bytes, body)
    with duckdb.connect() as database:
        found = database.read_parquet(str(path))
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


@pytest_asyncio.fixture
async def described(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    folder = tmp_path / "described"
    write_folder(folder, instances(series=1, per_series=1, collection="A-b c"))
    async with served(
        Root(folder, about=getattr(request, "param", About())), catalogue=tmp_path / "described.sqlite"
    ) as running:
        yield ServedBucket(running, [], folder)


async def test_has_a_row_for_each_visible_series(bucket: ServedBucket, tmp_path: Path) -> None:
    rows = {row["SeriesInstanceUID"]: row for row in await read(bucket, tmp_path / "got.parquet")}
    assert set(rows) == {made.series_uid for made in bucket.made}
    for series_uid, row in rows.items():
        of_series = [made for made in bucket.made if made.series_uid == series_uid]
        uuid = stable_uuid(series_uid)
        assert (row["collection_id"], row["PatientID"]) == (of_series[0].collection.lower(), of_series[0].patient_id)
        assert (row["StudyInstanceUID"], row["Modality"]) == (of_series[0].study_uid, "CT")
        assert (row["StudyDate"], row["SeriesNumber"]) == ("2020-01-02", "1")
        assert (row["sop_class_name"], row["transfer_syntax_name"]) == (
            "CT Image Storage",
            "Explicit VR Little Endian",
        )
        assert row["instanceCount"] == len(of_series)
        assert round(row["series_size_MB"] * 1e6) == sum(len(made.content) for made in of_series)
        assert (row["aws_bucket"], row["crdc_series_uuid"]) == ("bulkdl", uuid)
        assert row["series_aws_url"] == f"s3://bulkdl/{uuid}/*"


async def test_its_checksum_lies_beside_it(bucket: ServedBucket) -> None:
    index = await bucket.ask("index/idc_index.parquet")
    beside = (await bucket.ask("index/idc_index.parquet.sha256")).body.decode()
    assert beside == f"{hashlib.sha256(index.body).hexdigest()}  idc_index.parquet\n"
    assert index.headers["ETag"] == f'"{hashlib.md5(index.body, usedforsecurity=False).hexdigest()}"'


async def test_the_names_of_collections_lie_beside_it(described: ServedBucket, tmp_path: Path) -> None:
    body = (await described.ask("index/collections_index.parquet")).body
    path = tmp_path / "names.parquet"
    await asyncio.to_thread(path.write_bytes, body)
    with duckdb.connect() as database:
        assert database.read_parquet(str(path)).fetchall() == [("a_b_c", "A-b c")]


async def test_is_made_anew_after_a_scan_that_found_something(bucket: ServedBucket, tmp_path: Path) -> None:
    before = await read(bucket, tmp_path / "before.parquet")
    first = (await bucket.ask("index/idc_index.parquet")).headers["ETag"]
    write_folder(bucket.folder, instances(series=1, per_series=1, collection="MORE"))
    catalogue = bucket.server.catalogue
    await asyncio.to_thread(catalogue.scan, [Root(bucket.folder)])
    assert len(await read(bucket, tmp_path / "after.parquet")) == len(before) + 1
    await asyncio.to_thread(catalogue.scan, [Root(bucket.folder)])
    assert (await bucket.ask("index/idc_index.parquet")).headers["ETag"] != first
    assert len(list(catalogue.path.parent.glob(f"{catalogue.path.stem}.*.parquet"))) == 2


@pytest.mark.parametrize(
    ("described", "license_name", "doi"),
    [
        (
            About(
                license_name="Creative Commons Attribution 4.0 International License",
                license_uri="https://creativecommons.org/licenses/by/4.0/",
                collection_uri="https://doi.org/10.7937/K9/TCIA.2016.tNB1kqBU",
            ),
            "CC BY 4.0",
            "10.7937/k9/tcia.2016.tnb1kqbu",
        ),
        (
            About(license_name="Name", license_uri="http://creativecommons.org/licenses/by-nc/3.0/"),
            "CC BY-NC 3.0",
            None,
        ),
        (
            About(license_name="MIT License", license_uri="https://example.org/", collection_uri="x"),
            "MIT License",
            None,
        ),
        (About(), None, None),
    ],
    indirect=["described"],
)
async def test_names_licence_and_doi_as_the_idc_does(
    described: ServedBucket, tmp_path: Path, license_name: str | None, doi: str | None
) -> None:
    (row,) = await read(described, tmp_path / "index.parquet")
    assert (row["collection_id"], row["license_short_name"], row["source_DOI"]) == ("a_b_c", license_name, doi)
