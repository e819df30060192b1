"""`export --table headers`: attributes of every file, read in processes and kept in the journal."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow import parquet

import bulkdl
from bulkdl.dicom.header_values import DEFAULT_KEYWORDS
from bulkdl.errors import ConfigurationError
from bulkdl.model.events import Event, Noted
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.mirror_lock import lock_mirror
from tests.support.bad_archive import BadArchive
from tests.support.commands import run
from tests.support.dicom_files import instances
from tests.support.killed_readers import kill_reader_of
from tests.support.syncing import mirrored

MADE_UP = list(instances(series=2, per_series=3))
CHOSEN = ("PatientID", "Rows,Modality", "KVP")


@pytest.fixture
async def mirror(tmp_path: Path) -> Path:
    async with BadArchive(MADE_UP) as archive:
        return await mirrored(archive, tmp_path)


async def headers(mirror: Path, *keywords: str, events: list[Event] | None = None) -> list[dict[str, str | None]]:
    file = io.StringIO(newline="")
    sink = (events if events is not None else []).append
    count = await bulkdl.export_async(mirror, file, table="headers", format="jsonl", keywords=keywords, sink=sink)
    rows = [json.loads(line) for line in file.getvalue().splitlines()]
    assert len(rows) == count
    return rows


def spoiled(mirror: Path) -> str:
    """The path of a file whose content is not DICOM any more, and has its size and its time."""
    path = next(mirror.rglob("*.dcm"))
    before = path.stat()
    path.write_bytes(b"x" * before.st_size)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return path.relative_to(mirror).as_posix()


def with_pipe(mirror: Path) -> Path:
    """A file of the mirror that is a pipe now."""
    path = next(mirror.rglob("*.dcm"))
    path.unlink()
    os.mkfifo(path)
    return path


async def test_each_file_is_a_row_with_the_attributes_that_were_chosen(mirror: Path) -> None:
    rows = await headers(mirror, *CHOSEN)
    columns = ["series_uid", "sop_uid", "path", "error", "PatientID", "Rows", "Modality", "KVP"]
    assert all(list(row) == columns for row in rows)
    values = {(row["sop_uid"], *list(row.values())[3:]) for row in rows}
    assert values == {(one.sop_uid, None, one.patient_id, "8", "CT", None) for one in MADE_UP}


@pytest.mark.skipif(sys.platform != "linux", reason="the reader of a pipe is found in /proc")
async def test_a_file_that_kills_its_reader_is_named_and_all_others_are_read(mirror: Path) -> None:
    deadly = with_pipe(mirror)
    exporting = asyncio.create_task(headers(mirror, *CHOSEN))
    for _ in range(2):  # once beside others, and once alone
        await kill_reader_of(deadly)
    errors = {row["path"]: row["error"] for row in await exporting}
    assert len(errors) == len(MADE_UP)
    assert {path: error for path, error in errors.items() if error} == {
        deadly.relative_to(mirror).as_posix(): "its reader died"
    }


async def test_without_keywords_there_is_a_usual_set(mirror: Path) -> None:
    (first, *_) = await headers(mirror)
    assert tuple(first)[4:] == DEFAULT_KEYWORDS
    assert first["SOPClassUID"]


async def test_what_was_read_is_kept_and_only_what_is_new_is_read(mirror: Path) -> None:
    before = await headers(mirror, *CHOSEN)
    path = spoiled(mirror)
    assert await headers(mirror, *CHOSEN) == before
    assert await headers(mirror, "Rows") == [
        {name: row[name] for name in ("series_uid", "sop_uid", "path", "error", "Rows")} for row in before
    ]
    events: list[Event] = []
    more = await headers(mirror, "Columns", events=events)
    assert [row["path"] for row in more if row["error"]] == [path]
    assert [path in event.message for event in events if isinstance(event, Noted)] == [True]
    assert sorted({row["Columns"] or "" for row in more}) == ["", "8"]


async def test_nothing_is_kept_while_another_process_works_on_the_mirror(mirror: Path) -> None:
    with lock_mirror(mirror, "mirror"):
        assert len(await headers(mirror, "Rows")) == len(MADE_UP)
    with closing(sqlite3.connect(mirror / JOURNAL)) as journal:
        assert journal.execute("SELECT count(*) FROM instance_header").fetchone() == (0,)


async def test_headers_are_written_as_csv_and_as_parquet(mirror: Path, tmp_path: Path) -> None:
    text, binary = io.StringIO(newline=""), tmp_path / "headers.parquet"
    await bulkdl.export_async(mirror, text, table="headers", keywords="Rows")
    assert {row["Rows"] for row in csv.DictReader(io.StringIO(text.getvalue()))} == {"8"}
    with binary.open("wb") as file:
        await bulkdl.export_async(mirror, file, table="headers", format="parquet", keywords=["Rows", "KVP"])
    table = parquet.read_table(binary)
    assert (table.num_rows, table.column_names[-2:]) == (len(MADE_UP), ["Rows", "KVP"])


@pytest.mark.parametrize(
    ("table", "keyword", "says"),
    [("headers", "PatientId", "did you mean PatientID"), ("series", "Rows", "only the table headers has keywords")],
)
async def test_a_keyword_that_does_not_exist_is_refused(mirror: Path, table: str, keyword: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        await bulkdl.export_async(mirror, io.StringIO(), table=table, keywords=keyword)


def test_the_command_names_files_that_cannot_be_read_and_ends_with_1(mirror: Path, tmp_path: Path) -> None:
    path = spoiled(mirror)
    words = ("export", mirror, "--table", "headers", "--keyword", "Rows,KVP", "--keyword", "Modality")
    done = run(*words, "--output", tmp_path / "t.csv", cache=tmp_path)
    assert (done.code, path in done.err, "Traceback" in done.err) == (1, True, False)
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows if row["error"]] == [path]
    assert len(rows) == len(MADE_UP)
