"""SQLite files, recognised by their headers."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bulkdl.journal.sqlite_header import read_application_id


@pytest.mark.parametrize("application_id", [0, 0x62646361])
def test_reads_the_application_id(tmp_path: Path, application_id: int) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA application_id = {application_id}")
        database.execute("CREATE TABLE t (x)")
    database.close()
    assert read_application_id(path) == application_id


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"%PDF-1.7" * 20], ids=["empty", "truncated", "other"])
def test_anything_else_has_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert read_application_id(path) is None


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_application_id(tmp_path / "x")
