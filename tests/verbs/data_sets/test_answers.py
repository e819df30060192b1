"""The last answers are kept whole, for their owner alone; a file that is not one counts as no answer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bulkdl.model.data_sets import DataSet, DataSetDownload, DataSetKind, DownloadWay
from bulkdl.verbs.data_sets.answers import KeptAnswer, keep_answer, known_names, read_answer

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
FULL = DataSet(
    name="Lüng",
    kind=DataSetKind.ANALYSIS_RESULT,
    in_archive=True,
    title="T",
    doi="10.7937/x",
    dois=("10.7937/x", "10.7937/y"),
    patients=0,
    size_bytes=10**15,
    modalities=("CT",),
    downloads=(
        DataSetDownload(title="d", way=DownloadWay.ASPERA, kinds=("a",), size_bytes=3),
        DataSetDownload(title="e"),
    ),
)
ANSWER = KeptAnswer(
    source="idc", address="https://a.example.org/", archive="tcia", time=NOW, data_sets=(FULL, DataSet(name="B"))
)


def path_of(cache: Path) -> Path:
    (path,) = (cache / "answers").iterdir()
    return path


def test_an_answer_is_read_as_it_was_kept(tmp_path: Path) -> None:
    keep_answer(tmp_path, replace(ANSWER, stamp="s"))
    keep_answer(tmp_path, ANSWER)
    assert read_answer(tmp_path, "idc", ANSWER.address) == ANSWER
    assert path_of(tmp_path).stat().st_mode & 0o077 == 0
    assert read_answer(tmp_path, "idc", "https://b.example.org/") is None


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda _: b"[" * 100_000,
        lambda text: text[: len(text) // 2],
        lambda text: json.dumps({**json.loads(text), "version": 2}).encode(),
        lambda text: json.dumps({**json.loads(text), "time": "soon"}).encode(),
        lambda text: json.dumps({**json.loads(text), "data_sets": [{"name": 7}]}).encode(),
        lambda text: json.dumps({**json.loads(text), "data_sets": [{"name": "x", "patients": True}]}).encode(),
        lambda text: json.dumps({**json.loads(text), "data_sets": [{"name": "x", "dois": [1]}]}).encode(),
        lambda text: json.dumps({**json.loads(text), "data_sets": [{"other": "x"}]}).encode(),
    ],
    ids=["empty", "deep", "cut", "version", "time", "number", "flag", "list", "field"],
)
def test_a_file_that_is_not_an_answer_counts_as_none(tmp_path: Path, change: Any) -> None:
    keep_answer(tmp_path, ANSWER)
    path_of(tmp_path).write_bytes(change(path_of(tmp_path).read_bytes()))
    assert read_answer(tmp_path, "idc", ANSWER.address) is None
    assert known_names(tmp_path, "tcia") == ()


def test_an_answer_that_cannot_be_kept_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("a file")
    keep_answer(tmp_path, ANSWER)
    assert read_answer(tmp_path, "idc", ANSWER.address) is None


@pytest.mark.parametrize(
    ("age", "fresh"),
    [(timedelta(0), True), (timedelta(hours=23), True), (timedelta(days=1), False), (timedelta(hours=-1), False)],
)
def test_an_answer_is_fresh_for_a_day_or_as_long_as_its_files_are_the_same(age: timedelta, fresh: bool) -> None:  # noqa: FBT001
    assert ANSWER.is_fresh("", NOW + age) is fresh
    assert replace(ANSWER, stamp="s").is_fresh("s", NOW + age)
    assert not replace(ANSWER, stamp="s").is_fresh("t", NOW + age)


def test_the_names_of_an_archive_are_those_that_it_has(tmp_path: Path) -> None:
    keep_answer(tmp_path, ANSWER)
    keep_answer(tmp_path, replace(ANSWER, source="nbia", data_sets=(DataSet(name="a", in_archive=True),)))
    keep_answer(tmp_path, replace(ANSWER, source="nbia", address="c", archive="other"))
    assert known_names(tmp_path, "tcia") == ("a", "Lüng")
    assert known_names(tmp_path, "none") == ()
