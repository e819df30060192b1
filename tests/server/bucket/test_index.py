"""The index of the bucket, as a client gets it."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
import pytest_asyncio

from bulkdl.errors import DiskError
from bulkdl.model.ids import stable_uuid
from bulkdl.server.bucket.index import IndexFile, IndexNeeded
from bulkdl.server.catalogue import About, Catalogue, Root
from bulkdl.server.responses import ServerThreads, Unavailable
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


# --- made in a process ------------------------------------------------------------------------------------------------


@pytest.fixture
def threads() -> Iterator[ServerThreads]:
    running = ServerThreads()
    yield running
    running.close()


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    write_folder(tmp_path / "many", instances(series=3, per_series=1, collection="LUNG"))
    write_folder(tmp_path / "many", instances(series=1, per_series=1, collection="SECRET"))
    with Catalogue.open(tmp_path / "many.sqlite") as opened:
        opened.scan([Root(tmp_path / "many")])
        yield opened


@pytest.fixture
def stuck(catalogue: Catalogue, tmp_path: Path) -> Iterator[tuple[IndexFile, sqlite3.Connection]]:
    """An index whose process waits until the transaction of a connection ends."""
    with (
        closing(sqlite3.connect(catalogue.path)) as source,
        closing(sqlite3.connect(tmp_path / "copy.sqlite", isolation_level=None)) as lock,
    ):
        source.backup(lock)
        assert lock.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        lock.execute("BEGIN EXCLUSIVE")
        yield IndexFile(Catalogue(tmp_path / "copy.sqlite", lock), catalogue, few_series=0), lock


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet*"))


async def test_a_process_makes_what_a_thread_makes(
    catalogue: Catalogue, threads: ServerThreads, tmp_path: Path
) -> None:
    made: list[dict[str, bytes]] = []
    for few_series in (0, 10):
        index = IndexFile(catalogue, catalogue.without(frozenset({"SECRET"})), few_series=few_series)
        with pytest.raises(IndexNeeded):
            index.paths()
        await asyncio.gather(*(index.make(threads, lambda: False) for _ in range(3)))
        paths = index.paths()
        made.append({name: path.read_bytes() for name, path in paths.items()})
        assert files_of(tmp_path) == sorted(path.name for path in paths.values())
        for path in paths.values():
            path.unlink()
    assert made[0] == made[1]
    assert b"SECRET" not in made[0]["idc_index.parquet"]


async def test_it_is_given_up_when_the_last_who_wants_it_has_left(
    stuck: tuple[IndexFile, sqlite3.Connection], threads: ServerThreads, tmp_path: Path
) -> None:
    index, lock = stuck
    (tmp_path / "copy.index-0123.parquet.part").touch()  # as an ended process leaves it
    with pytest.raises(Unavailable):
        await index.make(threads, lambda: True)
    assert files_of(tmp_path) == []
    stays = asyncio.create_task(index.make(threads, lambda: False))
    with pytest.raises(Unavailable):
        await index.make(threads, lambda: True)
    assert not stays.done()
    lock.execute("COMMIT")
    await stays
    assert len(files_of(tmp_path)) == 2


async def test_it_ends_with_the_server(
    stuck: tuple[IndexFile, sqlite3.Connection], threads: ServerThreads, tmp_path: Path
) -> None:
    index, _ = stuck
    making = asyncio.create_task(index.make(threads, lambda: False))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.shield(making)
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert files_of(tmp_path) == []


async def test_a_folder_that_cannot_be_written_is_an_error(
    catalogue: Catalogue, threads: ServerThreads, tmp_path: Path
) -> None:
    index = IndexFile(catalogue, catalogue, few_series=0)
    with pytest.raises(IndexNeeded):
        index.paths()
    name = f"{catalogue.path.stem}.names-"
    digest = hashlib.sha256(catalogue.stamp().encode()).hexdigest()[:12]
    (tmp_path / f"{name}{digest}.parquet.part").mkdir()
    with pytest.raises(DiskError, match="cannot"):
        await index.make(threads, lambda: False)
