"""`export` writes the journal as tables; its metadata is read by the readers of the NBIA Data Retriever's file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from datetime import date
from pathlib import Path

import pytest
from pyarrow import parquet

import bulkdl
from bulkdl.errors import ConfigurationError, JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.manifest import read_manifest
from tests.support.bad_archive import BadArchive, command
from tests.support.dicom_files import instances
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=3, per_series=2))
SERIES = list(dict.fromkeys(one.series_uid for one in MADE_UP))
COLUMNS = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,Study Description,Study Date,"
    "Series Description,Manufacturer,Modality,SOP Class Name,SOP Class UID,Number of Images,File Size,File Location,"
    "Download Timestamp"
)


@pytest.fixture
async def mirror(tmp_path: Path) -> Path:
    async with BadArchive(MADE_UP) as archive:
        return await mirrored(archive, tmp_path)


def exported(mirror: Path, table: str, form: str = "csv") -> str:
    file = io.StringIO(newline="")
    count = bulkdl.export(mirror, file, table=table, format=form)
    text = file.getvalue()
    assert count == len(list(csv.DictReader(io.StringIO(text)))) if form == "csv" else text.count("\n")
    return text


async def test_each_series_is_a_row(mirror: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(mirror, "series"))))
    assert [row["series_uid"] for row in rows] == SERIES
    assert {(row["collection"], row["held"], row["owed"]) for row in rows} == {("MADE-UP", "2", "0")}


async def test_each_instance_is_a_row_with_its_file_and_its_checksums(mirror: Path) -> None:
    rows = [json.loads(line) for line in exported(mirror, "instances", "jsonl").splitlines()]
    assert {row["sop_uid"]: row["sha256"] for row in rows} == {
        one.sop_uid: hashlib.sha256(one.content).hexdigest() for one in MADE_UP
    }
    assert all((mirror / row["path"]).stat().st_size == row["size_bytes"] for row in rows)


async def test_metadata_has_the_columns_of_the_data_retriever_and_is_a_manifest(mirror: Path) -> None:
    text = exported(mirror, "metadata")
    assert text.splitlines()[0] == COLUMNS
    first = next(csv.DictReader(io.StringIO(text)))
    assert (first["SOP Class Name"], first["Number of Images"]) == ("CT Image Storage", "2")
    assert (mirror / first["File Location"]).is_dir()
    assert list(read_manifest(text.encode(), source="metadata.csv").series) == SERIES


async def test_the_command_writes_to_standard_output_or_to_a_file(mirror: Path, cache: Path, tmp_path: Path) -> None:
    shown = await command("export", mirror, "--table", "metadata", cache=cache)
    written = await command("export", mirror, "--table", "metadata", "--output", tmp_path / "m.csv", cache=cache)
    assert (shown.code, written.code, written.out) == (0, 0, "")
    assert (tmp_path / "m.csv").read_text().splitlines() == shown.out.splitlines()
    refused = await command("export", mirror, "--output", tmp_path / "none" / "m.csv", cache=cache)
    assert refused.code == 5


async def test_a_table_that_cannot_be_completed_leaves_the_old_one(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("old")
    failed = await command("export", tmp_path / "none", "--output", tmp_path / "m.csv", cache=cache)
    assert (failed.code, (tmp_path / "m.csv").read_text()) == (2, "old")


@pytest.mark.parametrize("table", ["series", "instances", "metadata", "headers"])
def test_a_folder_without_a_journal_has_no_table_without_rows(table: str, tmp_path: Path) -> None:
    file = io.StringIO()
    with pytest.raises(JournalUnreadable):
        bulkdl.export(tmp_path, file, table=table)
    assert file.getvalue() == ""


@pytest.mark.parametrize("table", ["series", "instances", "metadata"])
async def test_parquet_has_the_same_rows_with_types(table: str, mirror: Path, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.parquet"
    told = await command("export", mirror, "--table", table, "--format", "parquet", "--output", path, cache=cache)
    read = parquet.read_table(path)
    lines = [json.loads(line) for line in exported(mirror, table, "jsonl").splitlines()]
    assert (told.code, read.num_rows) == (0, len(lines))
    assert json.loads(json.dumps(read.to_pylist(), default=date.isoformat)) == lines
    if table == "series":
        assert (str(read.schema.field("held").type), str(read.schema.field("series_date").type)) == (
            "int64",
            "date32[day]",
        )


def test_a_mirror_without_instances_has_tables_without_rows(tmp_path: Path) -> None:
    (tmp_path / ".bulkdl").mkdir()
    Journal.create_or_open(tmp_path / ".bulkdl" / "journal.sqlite").close()
    assert exported(tmp_path, "metadata") == f"{COLUMNS}\r\n"
    file = io.BytesIO()
    assert bulkdl.export(tmp_path, file, format="parquet") == 0
    assert "series_uid" in parquet.read_table(io.BytesIO(file.getvalue())).column_names


async def test_without_pyarrow_the_message_says_what_to_install(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'bulkdl\[pyarrow\]'"):
        bulkdl.export(mirror, io.BytesIO(), format="parquet")
