"""Selections are made of criteria and manifests, and refused when they select nothing."""

from __future__ import annotations

import io
import os
import threading
import tracemalloc
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bulkdl
from bulkdl.errors import InvalidUid, ManifestError, SelectionError
from bulkdl.model.events import Event, Noted
from bulkdl.verbs.locks.files import keep_locks
from bulkdl.verbs.mirrors.folders import kept_locks
from bulkdl.verbs.select import choose_selection, read_content, select_from
from tests.support.dicom_files import uid
from tests.support.manifest_texts import workbook

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SAMPLE = Path(__file__).parents[2] / "manifests" / "cohort.lock"
ONE, TWO, THREE = (uid("series", number) for number in range(3))


def test_criteria_are_one_value_or_several() -> None:
    selection = bulkdl.select(collection="A", modality=["CT", "MR"], series="1.2.3", since="2024-01-31")
    assert (selection.collections, selection.modalities) == (("A",), ("CT", "MR"))
    assert selection.series == ("1.2.3",)
    assert selection.since == date(2024, 1, 31)


def test_manifests_are_read_and_merged(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(f"{ONE}\n{TWO}\n")
    (tmp_path / "two.txt").write_text(f"{TWO}\n{THREE}\n")
    selection = bulkdl.select(manifest=[tmp_path / "one.txt", str(tmp_path / "two.txt")], series="1.2.9")
    assert selection.series == ("1.2.9", ONE, TWO, THREE)


def test_what_a_manifest_leaves_out_is_said_by_the_verb(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text(f"Patient,SeriesInstanceUID\nA,{ONE}\nB,\n")
    (tmp_path / "one.txt").write_text(f"{ONE}\n")
    selection = bulkdl.select(manifest=[tmp_path / "patients.csv", tmp_path / "one.txt"])
    said: list[Event] = []
    assert choose_selection(selection, {}, said.append) is selection
    assert said == [
        Noted(f"{tmp_path / 'patients.csv'}: 1 row names no series and is left out; the first is in line 3")
    ]
    assert selection == bulkdl.select(series=ONE)
    assert selection.as_json() == {"series": (ONE,)}


@pytest.mark.parametrize(
    ("criteria", "error"),
    [
        ({}, SelectionError),
        ({"colection": "A"}, SelectionError),
        ({"since": "31.1.2024", "collection": "A"}, SelectionError),
        ({"series": "one"}, InvalidUid),
        ({"manifest": "not-there.tcia"}, ManifestError),
    ],
    ids=["nothing", "unknown criterion", "no date", "no UID", "no manifest"],
)
def test_refuses_what_selects_nothing_sensible(criteria: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error):
        bulkdl.select(**criteria)


def test_a_selection_and_criteria_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="further criteria"):
        bulkdl.mirror(bulkdl.select(collection="A"), patient="P", to=tmp_path)


def test_a_large_manifest_from_a_pipe_takes_little_memory() -> None:
    lines = io.BytesIO(b"".join(b"1.3.6.1.4.1.14519.5.2.1.7009.9004.%d\n" % number for number in range(100_000)))
    tracemalloc.start()
    content = read_content("standard input", lines)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_500_000 < len(lines.getvalue())
    assert len(select_from(content, source="standard input").series) == 100_000


class Endless(io.RawIOBase):
    """Lines without an end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = (b"1.2.3\n" * (len(view) // 6 + 1))[: len(view)]
        return len(view)


def test_a_pipe_without_an_end_is_refused() -> None:
    with pytest.raises(ManifestError, match="standard input: cannot be read: it has more than 3,000,000 bytes"):
        read_content("standard input", io.BufferedReader(Endless()), at_most=3_000_000)


def test_a_binary_file_without_an_end_is_refused_by_its_beginning() -> None:
    content = read_content("/dev/zero", at_most=3_000_000)
    with pytest.raises(ManifestError, match="this is a binary file"):
        select_from(content, source="/dev/zero")


def test_large_text_of_two_bytes_a_letter_is_not_taken_for_a_binary_file() -> None:
    lines = "".join(f"1.2.3.{number}\n" for number in range(10_000)).encode("utf-16")
    content = read_content("standard input", io.BytesIO(lines), in_memory=1_001)
    assert len(select_from(content, source="standard input").series) == 10_000


def test_a_large_workbook_is_not_taken_for_a_binary_file_that_is_refused() -> None:
    content = workbook([["SeriesInstanceUID"], *([f"1.2.3.{number}"] for number in range(1_000))])
    read = read_content("standard input", io.BytesIO(content), in_memory=1_000)
    assert len(select_from(read, source="standard input").series) == 1_000


def test_a_lock_that_was_copied_from_a_pipe_is_a_lock(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(SAMPLE.read_bytes(),))
    writing.start()
    selection = select_from(read_content(tmp_path / "pipe", in_memory=100), source="standard input")
    writing.join()
    assert selection == bulkdl.select(manifest=SAMPLE)
    (tmp_path / "m" / ".bulkdl").mkdir(parents=True)
    keep_locks(tmp_path / "m", selection.locks, private=False)
    assert [kept.read_bytes() for kept in kept_locks(tmp_path / "m")] == [SAMPLE.read_bytes()]
