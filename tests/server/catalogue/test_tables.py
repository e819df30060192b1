"""The database file: its indexes, and when it is created again."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import DiskError
from bulkdl.server.catalogue import Catalogue, CatalogueView
from bulkdl.server.catalogue.view import SeriesCriteria
from tests.support.catalogue_files import put, scan
from tests.support.dicom_files import instances, write_folder


@pytest.mark.parametrize("name", ["collection", "patient_id", "study_uid", "series_uid"])
def test_no_query_by_name_scans_every_series(catalogue: Catalogue, name: str) -> None:
    plans: list[list[str]] = []

    def explain(query: str, values: Sequence[Any]) -> list[Any]:
        plans.append([row[3] for row in catalogue.select(f"EXPLAIN QUERY PLAN {query}", values)])
        return []

    criteria: SeriesCriteria = {"modality": "CT", name: "x"}  # type: ignore[misc] # one of its keys
    view = CatalogueView(explain, catalogue.md5)
    list(view.series(**criteria))
    criteria["collection"] = "x"
    list(view.details(**criteria))
    list(view.studies(**criteria))
    of_studies = plans.pop()
    assert name == "series_uid" or not any("kind=?" in step for step in of_studies)  # which would try every kind
    for first, *rest in plans:
        assert first.startswith("SEARCH t USING INDEX series_by_")
        if name == "collection":
            assert "USE TEMP B-TREE FOR ORDER BY" not in rest
        else:
            assert "series_by_collection" not in first


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
