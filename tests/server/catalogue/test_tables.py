"""The database file: its indexes, and when it is created again."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.server.catalogue import Catalogue
from tests.support.catalogue_files import put, scan
from tests.support.dicom_files import instances, write_folder


@pytest.mark.usefixtures("catalogue")
def test_no_query_by_name_scans_every_series(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalog.sqlite") as database:
        for condition in ("collection_key = ?", "patient_key = ?", "study_uid = ?", "series_uid = ?"):
            question = f"SELECT series_uid FROM series WHERE {condition} AND (series_uid) > (?) ORDER BY series_uid"  # noqa: S608 - fixed words
            plan = " ".join(row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {question}", ("x", "y")))
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan
    database.close()


def test_a_damaged_catalogue_is_created_again(served: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    write_folder(served, instances(series=1, per_series=2))
    scan(path, served)
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    assert scan(path, served).totals.instances == 2


def test_a_catalogue_of_another_version_is_created_again(served: Path, tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    scan(path, served)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 77")
        database.execute("DROP TABLE meta")
    database.close()
    write_folder(served, instances(series=1, per_series=2))
    assert scan(path, served).totals.instances == 2


def test_does_not_change_a_file_of_another_kind(tmp_path: Path) -> None:
    path = put(tmp_path, "thesis.txt", b"the only copy")
    with pytest.raises(DiskError, match="not changed"):
        Catalogue.open(path)
    assert path.read_bytes() == b"the only copy"


def test_does_not_change_the_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE precious (x)")
    database.close()
    content = path.read_bytes()
    with pytest.raises(DiskError, match="not changed"):
        Catalogue.open(path)
    assert path.read_bytes() == content


def test_only_its_owner_can_read_a_catalogue(tmp_path: Path) -> None:
    """It repeats Patients and Studies of mirrors that may be private."""
    path = tmp_path / "catalog.sqlite"
    with Catalogue.open(path) as catalogue:
        assert catalogue.collections() == []
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.glob("catalog.sqlite*")}
    assert modes[path.name] == 0o600
    assert set(modes.values()) == {0o600}
