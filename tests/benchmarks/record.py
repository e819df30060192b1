"""The results of each part of the benchmarks in `latest.json`, written as they come and read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.goals import Bars, Goal
from tests.benchmarks.running import Run
from tests.benchmarks.scenarios import SCENARIOS, Result

_FILE: Final = "latest.json"


@dataclass(frozen=True, slots=True)
class Record:
    """One part: when it ran and how long it took, and what it found or why it failed. `load` is that of its start."""

    name: str
    date: str
    rounds: int
    seconds: float
    load: float
    result: Result | None = None
    goals: tuple[Goal, ...] = ()
    bars: tuple[Bars, ...] = ()
    failure: str | None = None

    def document(self) -> dict[str, Any]:
        """As JSON; of a scenario the name is enough."""
        found = asdict(self)
        if found["result"] is not None:
            found["result"]["scenario"] = found["name"]
        return found


def read(folder: Path, machine: str) -> dict[str, Record]:
    """The records in `folder` by their names; none if they are of another machine, or there are none."""
    path = folder / _FILE
    document = json.loads(path.read_text()) if path.is_file() else {}
    if document.get("machine") != machine:
        return {}
    return {row["name"]: _record(row) for row in document.get("parts", [])}


def made_with(folder: Path) -> tuple[str, list[str]]:
    """The machine on which the records in `folder` were made, and what was remarkable then."""
    path = folder / _FILE
    document = json.loads(path.read_text()) if path.is_file() else {}
    return document.get("machine", ""), document.get("notes", [])


def write(folder: Path, machine: str, records: Iterable[Record], further: Mapping[str, Any]) -> None:
    """Write `records`, with `further` for those who do not need all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine, **further, "parts": [one.document() for one in records]}
    (folder / _FILE).write_text(json.dumps(document, indent=1) + "\n")


def _record(row: dict[str, Any]) -> Record:
    result = _result(row["result"]) if row["result"] is not None else None
    goals = tuple(Goal(**goal) for goal in row["goals"])
    bars = tuple(
        Bars(one["title"], one["unit"], tuple((label, value) for label, value in one["values"])) for one in row["bars"]
    )
    return Record(**{**row, "result": result, "goals": goals, "bars": bars})


def _result(row: dict[str, Any]) -> Result:
    (scenario,) = (one for one in SCENARIOS if one.name == row["scenario"])
    runs = {tool: [Run(**run) for run in runs] for tool, runs in row["runs"].items()}
    return Result(**{**row, "scenario": scenario, "runs": runs})
