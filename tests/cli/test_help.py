"""`bulkdl help`: pages of the documentation on standard output."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bulkdl.cli.main import run
from bulkdl.docs import read_page, topics

HEAVY = ("asyncio", "aiohttp", "pydicom", "numpy", "sqlite3", "tqdm", "ssl", "bulkdl.cli.options")


def test_lists_all_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line[2:].partition(":")[0] for line in lines if line.startswith("- ")} == set(topics())


@pytest.mark.parametrize("topic", topics())
def test_prints_each_topic(topic: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", topic]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# ")
    assert "<!--" not in text
    assert "](" not in text


def test_prints_the_options_of_a_command_without_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "status"]) == 0
    assert capsys.readouterr().out.startswith("Usage: bulkdl status ")


@pytest.mark.parametrize("word", ["layout", "Layouts", "qickstart", "resumee"])
def test_an_unknown_topic_is_answered_with_the_nearest_one(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["help", word])
    ended = capsys.readouterr()
    nearest = {"layout": "layouts", "qickstart": "quickstart", "resumee": "resume"}.get(word)
    if nearest is None:
        assert code == 0
    else:
        assert (code, ended.out) == (2, "")
        assert f"did you mean {nearest}?" in ended.err


def test_a_topic_without_a_near_one_names_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "zzzz"]) == 2
    assert "bulkdl help lists all topics" in capsys.readouterr().err


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "layouts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "topic": "layouts",
        "title": read_page("layouts").title,
        "text": read_page("layouts").text,
    }


def test_json_is_one_document_on_failure_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "zzzz", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["error"] == "usage"
    assert "zzzz" in document["message"]


@pytest.mark.parametrize("topic", topics())
def test_prose_fits_a_narrow_terminal(
    topic: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run(["help", topic])
    lines = capsys.readouterr().out.splitlines()
    code = "    "
    assert [line for line in lines if len(line) > 80 and not line.startswith(code) and len(line.split()) > 2] == []


def test_help_imports_nothing_that_mirroring_needs() -> None:
    script = (
        "import sys\n"
        "from bulkdl.cli.main import run\n"
        "run(['help', 'quickstart'])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.stderr == "[]\n"


def test_a_reader_that_goes_away_is_not_an_error() -> None:
    pipeline = f"{sys.executable} -m bulkdl help options | head -1"
    ended = subprocess.run(["bash", "-c", pipeline], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
