"""Indexes in the form of the IDC's."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from bulkdl.archive.idc.index_file import COLUMNS, write_index
from bulkdl.errors import DiskError


def test_writes_rows_with_types_and_the_version(tmp_path: Path) -> None:
    path = tmp_path / "it's an index.parquet"
    rows = [
        {"collection_id": "b", "SeriesDescription": 'AX 2.5/1.25 "ä\x01\u2028\ud800', "instanceCount": 3},
        {"collection_id": "a", "series_size_MB": 5369.762296},
    ]
    write_index(rows, path, version="1.0.0-0-gabc")
    with duckdb.connect() as database:
        found = database.read_parquet(str(path))
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == dict(COLUMNS)
        assert list(found.columns) == list(COLUMNS)
        read = found.project("collection_id, SeriesDescription, instanceCount, series_size_MB").fetchall()
        assert read == [("a", None, None, 5369.762296), ("b", 'AX 2.5/1.25 "ä\x01\u2028?', 3, None)]
        keys = database.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    assert keys == [(b"idc_index_data_version", b"1.0.0-0-gabc")]
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_an_index_of_nothing_has_all_columns(tmp_path: Path) -> None:
    write_index([], tmp_path / "index.parquet", version="1.0.0")
    with duckdb.connect() as database:
        found = database.read_parquet(str(tmp_path / "index.parquet"))
        assert (list(found.columns), found.fetchall()) == (list(COLUMNS), [])


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write"):
        write_index([], tmp_path / "missing" / "index.parquet", version="1.0.0")


def test_has_the_columns_of_the_real_index() -> None:
    package = pytest.importorskip("idc_index_data")
    with duckdb.connect() as database:
        found = database.read_parquet(str(package.IDC_INDEX_PARQUET_FILEPATH))
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == dict(COLUMNS)
        assert list(found.columns) == list(COLUMNS)
