"""`bulkdl ls`: tables, one JSON document, CSV and JSON Lines; exit codes; nothing is sent with --offline."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from bulkdl.cli.main import run
from tests.support.idc_index import series_row, write_index

ROWS = [series_row(1), series_row(2, PatientID="=P2", Modality="MR"), series_row(3, collection_id="brain_two")]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("index"), ROWS, names={"lung_one": "Lung-One"})


class Ended:
    """A command that has ended: exit code, standard output, standard error."""

    def __init__(self, code: int, captured: Any) -> None:
        self.code, self.out, self.err = code, captured.out, captured.err


@pytest.fixture
def ls(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def listed(*words: str) -> Ended:
        archive = ("--archive", "idc+http://127.0.0.1:9/", "--idc-index", str(index), "--offline")
        code = run(["ls", *archive, *words])
        return Ended(code, capsys.readouterr())

    return listed


def test_a_table_is_printed_and_nothing_else(ls: Any) -> None:
    ended = ls()
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[:3] for line in ended.out.splitlines()[1:3]] == [
        ["brain_two", "1", "1"],
        ["Lung-One", "2", "2"],
    ]


def test_one_document_is_printed(ls: Any) -> None:
    document = json.loads(ls("--json", "lung-one").out)
    assert [each["patient"] for each in document["patients"]] == ["=P2", "P1"]
    assert document["collections"][0]["bytes"] == 10_000_002
    assert json.loads(ls("--json", "none").out)["error"] == "selection"


def test_rows_are_written_as_csv_and_json_lines(ls: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(ls("--format", "csv").out)))
    assert [(row["name"], row["kind"], row["modalities"]) for row in rows] == [
        ("brain_two", "collection", "CT"),
        ("Lung-One", "collection", "CT; MR"),
    ]
    lines = [json.loads(line) for line in ls("Lung-One", "=P2", "--format", "jsonl").out.splitlines()]
    assert [(line["series"], line["patient"], line["modality"]) for line in lines] == [("1.2.3.2", "=P2", "MR")]
    patients = list(csv.DictReader(io.StringIO(ls("Lung-One", "--format", "csv").out)))
    assert [row["patient"] for row in patients] == ["'=P2", "P1"]  # no spreadsheet executes it


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--json", "--format", "csv"), 2, "cannot be combined"),
        (("nothing",), 2, "no collection and no patient"),
        (("Lung-One", "P9"), 2, "has no patient"),
        (("--search", "liver"), 0, "nothing is found with 'liver'"),
        (("--archive", "nowhere"), 2, "no archive profile"),
        (("--archive", "nbia-v1+http://127.0.0.1:9/nbia-api/services"), 2, "leave out --offline"),
    ],
)
def test_the_exit_code_and_one_line_say_what_is_wrong(ls: Any, words: tuple[str, ...], code: int, said: str) -> None:
    ended = ls(*words)
    assert ended.code == code
    assert said in ended.err
    assert ended.err.count("\n") == 1
