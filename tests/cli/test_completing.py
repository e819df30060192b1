"""A shell completes the names of the collections that the chosen archive was last known to have; else files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from bulkdl.cli.main import cli
from bulkdl.model.data_sets import DataSet
from bulkdl.verbs.data_sets.answers import KeptAnswer, keep_answer


@pytest.fixture(autouse=True)
def _known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("BULKDL_ARCHIVE", raising=False)
    for archive, names in (("tcia", ("LIDC-IDRI", "LungCT Diagnosis", "TCGA-GBM")), ("lab", ("LOCAL",))):
        data_sets = (*(DataSet(name=name, in_archive=True) for name in names), DataSet(name="L-elsewhere"))
        answer = KeptAnswer(source=archive, address="x", archive=archive, time=datetime.now(UTC), data_sets=data_sets)
        keep_answer(tmp_path / "bulkdl", answer)


def completed(*words: str) -> list[tuple[str, str]]:
    *before, last = words
    found = ShellComplete(cli, {}, "bulkdl", "_BULKDL_COMPLETE").get_completions(before, last)
    return [(item.type, item.value) for item in found]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("mirror", "l"), ["LIDC-IDRI", "LungCT-Diagnosis"]),
        (("ls", "lungct_d"), ["LungCT-Diagnosis"]),
        (("plan", "--collection", "tcga"), ["TCGA-GBM"]),
        (("plan", "LIDC-IDRI", "TCGA"), ["TCGA-GBM"]),
        (("mirror", "--archive", "lab", "l"), ["LOCAL"]),
        (("mirror", "--collection", "none"), []),
    ],
)
def test_collections_are_completed_in_any_spelling(words: tuple[str, ...], names: list[str]) -> None:
    assert completed(*words) == [("plain", name) for name in names]


def test_another_word_may_be_a_file() -> None:
    assert completed("mirror", "cohort") == [("file", "cohort")]


def test_the_archive_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKDL_ARCHIVE", "lab")
    assert completed("plan", "lo") == [("plain", "LOCAL")]
