"""Candidates are found by content, in files and in zips; Collections come from tables and folders."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bulkdl.dicom.header import Header
from bulkdl.verbs.adoption.batch import Examination, FileKind, Refused, examine
from bulkdl.verbs.adoption.sources import (
    SourceItem,
    batches_of,
    collection_by_folder,
    collections_in_tables,
    items_below,
    items_of_zip,
)
from tests.support.dicom_files import instances

MADE_UP = list(instances(series=1, per_series=3))


def find(folder: Path) -> tuple[list[str], int, list[tuple[str, str]]]:
    """The UIDs of the instances of a folder, how many other files there are, and which files are refused and why."""
    items = list(items_below(folder, folder / "mirror", lambda: False))
    found: list[str] = []
    others = 0
    refused: list[tuple[str, str]] = []

    def reject(path: str, _error: str, message: str) -> None:
        refused.append((path, message))

    for item, finding in zip(items, examine(Examination(tuple(item.source for item in items), None)), strict=True):
        if isinstance(finding, Header):
            found.append(finding.sop_uid)
        elif finding is FileKind.ZIP:
            entries = tuple(entry.source for entry in items_of_zip(item, reject))
            found += [header.sop_uid for header in examine(Examination(entries, None)) if isinstance(header, Header)]
        elif isinstance(finding, Refused):
            refused.append((item.found, finding.message))
        else:
            others += 1
    return found, others, refused


def test_finds_files_and_entries_of_zips_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "no suffix").write_bytes(MADE_UP[0].content)
    (tmp_path / "text.dcm").write_text("not DICOM")
    (tmp_path / "DICOMDIR").write_bytes(MADE_UP[1].content)
    with zipfile.ZipFile(tmp_path / "series.zip", "w") as made:
        made.writestr("LICENSE", "text")
        made.writestr("1.dcm", MADE_UP[2].content)
    found, others, refused = find(tmp_path)
    assert sorted(found) == sorted([MADE_UP[0].sop_uid, MADE_UP[2].sop_uid])
    assert (others, refused) == (2, [])


def test_a_zip_that_is_cut_and_an_invalid_header_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole", "w") as made:
        made.writestr("1.dcm", MADE_UP[0].content)
    (tmp_path / "cut.zip").write_bytes((tmp_path / "whole").read_bytes()[:300])
    (tmp_path / "whole").unlink()
    (tmp_path / "header.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 40)
    found, _, refused = find(tmp_path)
    assert found == []
    assert sorted(path for path, _ in refused) == ["cut.zip", "header.dcm"]


def test_stops_between_two_files(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(MADE_UP[0].content)
    assert list(items_below(tmp_path, tmp_path / "mirror", lambda: True)) == []


def test_batches_are_bounded_in_number_and_size() -> None:
    small = [SourceItem(str(number), "", 1) for number in range(600)]
    large = [SourceItem(str(number), "", 40 << 20) for number in range(3)]
    assert [len(batch) for batch in batches_of(iter([*small, *large]))] == [256, 256, 90, 1]


def test_tables_name_the_collection_of_a_series(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "metadata.csv").write_text("Series UID,Collection,Text\n1.2,FIRST,a, b\n")
    (tmp_path / "below" / "idc.csv").write_text("collection_id,series_uid\nSECOND,1.3\n")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    assert collections_in_tables(tmp_path) == {"1.2": "FIRST", "1.3": "SECOND"}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_bytes("Series UID,Collection\r\n1.2,ERSTE-Ä\r\n".encode(encoding))
    assert collections_in_tables(tmp_path) == {"1.2": "ERSTE-Ä"}


def test_a_data_set_without_preamble_is_rejected_with_the_reason(tmp_path: Path) -> None:
    content = MADE_UP[0].content
    meta_ends = content.index(b"\x08\0\x05\0") if b"\x08\0\x05\0" in content else content.index(b"\x08\0\x16\0")
    (tmp_path / "with meta").write_bytes(content[132:])
    (tmp_path / "data set alone").write_bytes(content[meta_ends:])
    (tmp_path / "text").write_text("not DICOM at all, but long enough to be looked at " * 10)
    found, others, refused = find(tmp_path)
    assert (found, others) == ([], 1)
    assert sorted(path for path, _ in refused) == ["data set alone", "with meta"]
    assert all("no DICOM preamble" in message for _, message in refused)


def test_a_folder_above_the_patients_names_the_collection() -> None:
    assert collection_by_folder("COLL/PATIENT/study/1.dcm", "PATIENT") == "COLL"
    assert collection_by_folder("PATIENT/study/1.dcm", "PATIENT") == ""
    assert collection_by_folder("a/b/1.dcm", None) == ""
