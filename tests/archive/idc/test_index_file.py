"""Indexes in the form of the IDC's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bulkdl.archive.idc.index_file import COLUMNS, collection_id, write_index
from bulkdl.errors import DiskError
from bulkdl.model.grouped_series import GroupedRow, SharedValues
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Patient, Series, Study

NAMES = {"1.2.840.10008.5.1.4.1.1.2": "CT Image Storage"}


@dataclass
class Groups:
    """Series as a test says them."""

    shared: list[SharedValues] = field(default_factory=list)
    parents: list[tuple[Patient, Study]] = field(default_factory=list)
    own: list[GroupedRow] = field(default_factory=list)

    def kinds(self) -> Iterator[SharedValues]:
        return iter(self.shared)

    def studies(self) -> Iterator[tuple[Patient, Study]]:
        return iter(self.parents)

    def rows(self) -> Iterator[Sequence[GroupedRow]]:
        return ([row] for row in self.own)


def kind(collection: str, sop_class: str | None = None, **values: Any) -> SharedValues:
    return SharedValues(Series(series_uid=SeriesUid(""), collection=collection, **values), sop_class)


def row(number: int, at: int, study: int, **values: Any) -> GroupedRow:
    own = {"series_uid": f"1.{number}", "kind": at, "study": study, "location": f"bulkdl/uuid-{number}", **values}
    return GroupedRow._make(own.get(name) for name in GroupedRow._fields)


def read(path: Path, columns: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as database:
        return database.read_parquet(str(path)).project(columns).fetchall()


def test_writes_series_with_what_they_share_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "it's an index.parquet"
    ct = "1.2.840.10008.5.1.4.1.1.2"
    studies = [
        (Patient(patient_id="p1", sex="F"), Study(study_uid=StudyUid("2.1"), study_date=date(2001, 2, 3))),
        (Patient(patient_id="p2"), Study(study_uid=StudyUid("2.2"), description="CHEST", patient_age="042Y")),
        (Patient(patient_id="p3"), Study(study_uid=StudyUid(""))),
    ]
    text = 'AX 2.5/1.25 "ä\x01\u2028\ud800'
    groups = Groups(
        [kind("B c"), kind("A-b", ct, modality="CT", collection_uri="https://doi.org/10.7937/ABC")],
        studies,
        [
            row(9, 1, 0, description=text, image_count=3, series_number=7),
            row(2, 0, 1, size_bytes=5369762296),
            row(3, 1, 1, differing=("other", None, None), series_date="1999-12-31"),
            row(1, 1, 2, differing=("p3", "2002-03-04", "HEAD")),
        ],
    )
    write_index(groups, path, version="1.0.0-0-gabc", uid_names=NAMES)
    with duckdb.connect() as database:
        found = database.read_parquet(str(path))
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == dict(COLUMNS)
        assert list(found.columns) == list(COLUMNS)
        keys = database.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(path)]).fetchall()
    assert keys == [(b"idc_index_data_version", b"1.0.0-0-gabc")]
    assert read(path, "SeriesInstanceUID, PatientID, PatientSex, StudyInstanceUID, StudyDate, StudyDescription") == [
        ("1.9", "p1", "F", "2.1", "2001-02-03", None),
        ("1.2", "p2", None, "2.2", None, "CHEST"),
        ("1.3", "other", None, "2.2", None, None),
        ("1.1", "p3", None, None, "2002-03-04", "HEAD"),
    ]
    assert read(path, "collection_id, Modality, sop_class_name, source_DOI")[:2] == [
        ("a_b", "CT", "CT Image Storage", "10.7937/abc"),
        ("b_c", None, None, None),
    ]
    assert read(path, "SeriesDescription, SeriesNumber, instanceCount, series_size_MB, SeriesDate")[:3] == [
        (text.replace("\ud800", "?"), "7", 3, None, None),
        (None, None, None, 5369.762296, None),
        (None, None, None, None, "1999-12-31"),
    ]
    assert read(path, "aws_bucket, crdc_series_uuid, series_aws_url")[0] == ("bulkdl", "uuid-9", "s3://bulkdl/uuid-9/*")
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_an_index_of_nothing_has_all_columns(tmp_path: Path) -> None:
    write_index(Groups(), tmp_path / "index.parquet", version="1.0.0", uid_names={})
    with duckdb.connect() as database:
        found = database.read_parquet(str(tmp_path / "index.parquet"))
        assert (list(found.columns), found.fetchall()) == (list(COLUMNS), [])


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot write"):
        write_index(Groups(), tmp_path / "missing" / "index.parquet", version="1.0.0", uid_names={})


def test_the_id_of_a_collection_is_made_of_its_name() -> None:
    assert collection_id("NSCLC-Radiomics Genomics") == "nsclc_radiomics_genomics"


def test_has_the_columns_of_the_real_index() -> None:
    package = pytest.importorskip("idc_index_data")
    with duckdb.connect() as database:
        found = database.read_parquet(str(package.IDC_INDEX_PARQUET_FILEPATH))
        assert dict(zip(found.columns, map(str, found.types), strict=True)) == dict(COLUMNS)
        assert list(found.columns) == list(COLUMNS)
