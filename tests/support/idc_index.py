"""Small indexes of IDC, in the form of its Parquet files: the columns that bulkdl reads, and no others."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final, TypeAlias

import duckdb

from bulkdl.archive.idc import index

Row: TypeAlias = Mapping[str, Any]

VERSION: Final = "25.0.5-0-g0123456"

_SERIES: Final = {
    "collection_id": "VARCHAR",
    "analysis_result_id": "VARCHAR",
    "PatientID": "VARCHAR",
    "SeriesInstanceUID": "VARCHAR",
    "StudyInstanceUID": "VARCHAR",
    "source_DOI": "VARCHAR",
    "PatientAge": "VARCHAR",
    "PatientSex": "VARCHAR",
    "StudyDate": "VARCHAR",
    "StudyDescription": "VARCHAR",
    "BodyPartExamined": "VARCHAR",
    "Modality": "VARCHAR",
    "SOPClassUID": "VARCHAR",
    "TransferSyntaxUID": "VARCHAR",
    "Manufacturer": "VARCHAR",
    "ManufacturerModelName": "VARCHAR",
    "SeriesDate": "VARCHAR",
    "SeriesDescription": "VARCHAR",
    "SeriesNumber": "VARCHAR",
    "instanceCount": "BIGINT",
    "license_short_name": "VARCHAR",
    "series_init_idc_version": "BIGINT",
    "series_revised_idc_version": "BIGINT",
    "aws_bucket": "VARCHAR",
    "crdc_series_uuid": "VARCHAR",
    "series_size_MB": "DOUBLE",
}
_PRIOR: Final = {
    "collection_id": "VARCHAR",
    "PatientID": "VARCHAR",
    "SeriesInstanceUID": "VARCHAR",
    "StudyInstanceUID": "VARCHAR",
    "Modality": "VARCHAR",
    "crdc_series_uuid": "VARCHAR",
    "series_size_MB": "DOUBLE",
    "aws_bucket": "VARCHAR",
    "min_idc_version": "BIGINT",
    "max_idc_version": "BIGINT",
}
_COLLECTIONS: Final = {"collection_name": "VARCHAR", "collection_id": "VARCHAR"}
_RELEASES: Final = {"idc_version": "BIGINT", "version_timestamp": "VARCHAR"}


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def series_row(number: int, **values: Any) -> dict[str, Any]:
    """A row of the index: Series 1.2.3.NUMBER of patient P1 of the collection `lung_one`, 10 instances of 5 MB."""
    return {
        "collection_id": "lung_one",
        "PatientID": "P1",
        "SeriesInstanceUID": f"1.2.3.{number}",
        "StudyInstanceUID": "1.2.3",
        "source_DOI": "10.7937/K9/TCIA.2099.ONE",
        "Modality": "CT",
        "instanceCount": 10,
        "license_short_name": "CC BY 4.0",
        "series_init_idc_version": 1,
        "series_revised_idc_version": 1,
        "aws_bucket": "idc-open-data",
        "crdc_series_uuid": uuid(number),
        "series_size_MB": 5.000001,
        **values,
    }


def prior_row(number: int, last: int, **values: Any) -> dict[str, Any]:
    """A row of the index of earlier versions: a version of Series 1.2.3.NUMBER that ended with release `last`."""
    return {
        "collection_id": "lung_one",
        "PatientID": "P1",
        "SeriesInstanceUID": f"1.2.3.{number}",
        "StudyInstanceUID": "1.2.3",
        "Modality": "CT",
        "crdc_series_uuid": uuid(1000 * last + number),
        "series_size_MB": 5.0,
        "aws_bucket": "idc-open-data",
        "min_idc_version": 1,
        "max_idc_version": last,
        **values,
    }


def write_index(
    folder: Path,
    series: Iterable[Row],
    *,
    prior: Iterable[Row] | None = None,
    names: Mapping[str, str] | None = None,
    dates: Mapping[int, str] | None = None,
    version: str = VERSION,
) -> Path:
    """Write an index; files of which nothing is given are left out. `names` maps ids of collections to names."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / index.SERIES, _SERIES, series, version)
    if prior is not None:
        _write(folder / index.PRIOR, _PRIOR, prior, version)
    if names is not None:
        rows = [{"collection_id": key, "collection_name": name} for key, name in names.items()]
        _write(folder / index.COLLECTIONS, _COLLECTIONS, rows, version)
    if dates is not None:
        rows = [{"idc_version": str(number), "version_timestamp": day} for number, day in dates.items()]
        _write(folder / index.RELEASES, _RELEASES, rows, version)
    return folder


def _write(path: Path, columns: Mapping[str, str], rows: Iterable[Row], version: str) -> None:
    values = tuple(tuple(row.get(name) for name in columns) for row in rows)
    path.write_bytes(_parquet(tuple(columns.items()), values, version))


@lru_cache(maxsize=256)
def _parquet(columns: tuple[tuple[str, str], ...], rows: tuple[tuple[Any, ...], ...], version: str) -> bytes:
    """A table as a parquet file. To make it takes longer than most tests that need it, so equal ones are made once."""
    metadata = f", KV_METADATA {{idc_index_data_version: '{version}'}}" if version else ""
    kinds = ", ".join(f"{name} {kind}" for name, kind in columns)
    places = ", ".join("?" for _ in columns)
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file, _database().cursor() as database:
        database.execute(f"CREATE OR REPLACE TEMP TABLE t ({kinds})")
        for some in (rows[first : first + 100] for first in range(0, len(rows), 100)):
            lines = ", ".join([f"({places})"] * len(some))
            database.execute(f"INSERT INTO t VALUES {lines}", [value for row in some for value in row])  # noqa: S608 - ours
        database.execute(f"COPY t TO '{file.name}' (FORMAT parquet{metadata})")
        return Path(file.name).read_bytes()


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One for the process: to open a database takes as long as to write a file."""
    return duckdb.connect(config={"threads": 1})
