"""The page on JSON names every key that the commands print."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bulkdl.cli.main import run
from bulkdl.docs import read_page

SELECTION = ("--archive", "demo", "--collection", "PYDICOM-UNSOUND")


def keys(value: Any, path: str = "") -> Iterator[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from keys(inner, f"{path}.{key}" if path else key)
        case list():
            for inner in value:
                yield from keys(inner, f"{path}[]")
        case _:
            yield path


def section(title: str) -> str:
    found = re.search(rf"^### [^\n]*`{title}`.*?(?=^##|\Z)", read_page("json").text, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[0]


@pytest.fixture
def place(tmp_path: Path, demo_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(demo_cache))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("place")
def test_every_key_of_the_documents_and_events_is_on_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    commands = {
        "plan": ("plan", *SELECTION),
        "mirror": ("mirror", *SELECTION, "--to", "m", "--progress", "json"),
        "status": ("status", "m"),
        "verify": ("verify", "m", "--archive", "demo", "--remote"),
        "adopt": ("adopt", "rejected", "--to", "a"),
    }
    events: list[dict[str, Any]] = []
    for name, arguments in commands.items():
        if name == "adopt":
            shutil.copytree("m/.bulkdl/quarantine", "rejected")
        run([*arguments, "--json"])
        printed = capsys.readouterr()
        document = json.loads(printed.out)
        known = {re.sub(r"\.CODE$", ".*", key) for key in re.findall(r"^\| `([^`]+)`", section(name), re.MULTILINE)}
        found = {re.sub(r"^errors\..*", "errors.*", key) for key in keys(document) if not key.endswith("[]")}
        assert found - known == set(), name
        if name == "mirror":
            lines = [line for line in printed.err.splitlines() if line.startswith("{")]
            events = [json.loads(line) for line in lines]
    assert {event["event"] for event in events} >= {"run-started", "progress"}
    for event in events:
        text = section(event["event"])
        assert {key for key in event if f"`{key}`" not in text} <= {"event", "time", "bytes_per_second", "seconds_left"}
