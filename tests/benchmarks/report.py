"""The results as Markdown and as a plot, and the few figures that README and documentation show."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import psutil

from tests.benchmarks import record, scenario_goals
from tests.benchmarks.goals import Bars, Goal
from tests.benchmarks.record import Record
from tests.benchmarks.scenarios import FLOOR, OURS, Result

RESULTS: Final = Path(__file__).with_name("results")
_MISSED: Final = RESULTS / "missed.md"
_NAIVE: Final = "naive aiohttp"
_COLUMNS: Final = [
    "tool",
    "seconds",
    "times ours",
    "instances/s",
    "MB/s",
    "user ms each",
    "system ms each",
    "peak MB",
    "requests",
]
_CHECKED: Final = (
    "`tool, checked` is a peer and, after it, what bulkdl does besides: SHA-256, a structure check with pydicom and a "
    "sync of each file, on all cores; in S7, whose archive lists MD5s, the MD5 too. `floor` is a program that does "
    "only this, with addresses that it knows: receive, hash, parse, write, sync, rename "
    "(`tests/benchmarks/floor.py`). A tool marked `!` did not bring every object."
)
_BAR: Final = {"height": 16, "gap": 5, "left": 250, "width": 430}
_OURS_COLOUR, _CHECKED_COLOUR, _FLOOR_COLOUR, _RAW_COLOUR = "#1f77b4", "#8a8a8a", "#ffbf6b", "#d0d0d0"


def machine() -> str:
    """The kind of machine, without its name."""
    model = next(
        (line.split(":")[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")),
        platform.machine(),
    )
    memory = psutil.virtual_memory().total / (1 << 30)
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}"
    )


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def goals_of(records: Iterable[Record]) -> list[Goal]:
    """All goals: of the scenarios together, of the other parts, and one for each part that failed."""
    every = list(records)
    found = scenario_goals.goals([one.result for one in every if one.result is not None])
    found += [goal for one in every for goal in one.goals]
    return found + [Goal(one.name, "runs to its end", one.failure, met=False) for one in every if one.failure]


def unexplained(records: Iterable[Record]) -> list[Goal]:
    """The missed goals without a paragraph in `missed.md`."""
    explained = _explanations()
    return [goal for goal in goals_of(records) if not goal.met and goal.name not in explained]


def write(records: Sequence[Record], kind: str, notes: Sequence[str], folder: Path = RESULTS) -> str:
    """Write `latest.json`, `latest.md` and `speed.svg` for a machine of this `kind`; returns the Markdown."""
    date = max((one.date for one in records), default="")
    text = _markdown(records, notes, kind, date)
    results = [one.result for one in records if one.result is not None]
    goals = goals_of(records)
    further = {
        "date": date,
        "rounds": _rounds(records),
        "notes": list(notes),
        "goals": len(goals),
        "goals_met": sum(goal.met for goal in goals),
        "summary": [_summary(one) for one in results],
    }
    record.write(folder, kind, records, further)
    (folder / "latest.md").write_text(text + "\n")
    (folder / "speed.svg").write_text(_plot(results, [bars for one in records for bars in one.bars]))
    return text


def _markdown(records: Sequence[Record], notes: Sequence[str], kind: str, date: str) -> str:
    head = f"{date}, {kind}; median of {_rounds(records)} rounds, server, link and client on the same machine."
    tables = [_table(one, date) for one in records if one.result is not None]
    return "\n\n".join(["# Speed", head, *notes, _CHECKED, "## Goals", *_goals(goals_of(records)), *tables])


def _rounds(records: Iterable[Record]) -> int:
    return max((one.rounds for one in records), default=0)


def _summary(result: Result) -> dict[str, Any]:
    """The figures of one scenario: seconds of bulkdl, of the best peer followed by the checks, and of the best raw."""
    peers = [name for name in result.peers() if name != _NAIVE]
    checked = {name: result.guaranteed_seconds(name) for name in peers}
    raw = {name: result.seconds(name) for name in peers}
    best = {
        "checked": min(checked.items(), key=_second, default=None),
        "raw": min(raw.items(), key=_second, default=None),
    }
    floor = result.seconds(FLOOR) if FLOOR in result.runs else None
    return {
        "name": result.scenario.name,
        "title": result.scenario.title,
        "ours": result.seconds(OURS),
        "floor": floor,
        **best,
    }


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def _table(of: Record, date: str) -> str:
    result = of.result
    assert result is not None
    ours = result.seconds(OURS)
    rows = [f"## {result.scenario.name}: {result.scenario.title}", ""]
    rows += [] if of.date == date else [f"Measured on {of.date}.", ""]
    rows += ["| " + " | ".join(_COLUMNS) + " |", "| --- |" + " ---: |" * (len(_COLUMNS) - 1)]
    for name in sorted(result.runs, key=result.seconds):
        runs, seconds = result.runs[name], result.seconds(name)
        each = 1e3 / result.instances
        cells = [
            f"**{name}**" if name == OURS else name + ("!" if result.wrong[name] else ""),
            *_rates(result, seconds, ours),
            f"{statistics.median(one.user_seconds for one in runs) * each:.2f}",
            f"{statistics.median(one.system_seconds for one in runs) * each:.2f}",
            f"{max(one.peak_bytes for one in runs) / 1e6:.0f}",
            f"{statistics.median(one.requests for one in runs):,.0f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    for name in sorted(result.peers(), key=result.guaranteed_seconds)[:2]:
        cells = [f"{name}, checked", *_rates(result, result.guaranteed_seconds(name), ours)]
        rows.append("| " + " | ".join([*cells, "", "", "", ""]) + " |")
    return "\n".join(rows)


def _rates(result: Result, seconds: float, ours: float) -> list[str]:
    rates = [f"{result.instances / seconds:,.0f}", f"{result.size_bytes / 1e6 / seconds:,.0f}"]
    return [f"{seconds:.2f}", f"{seconds / ours:.2f}", *rates]


def _goals(goals: Sequence[Goal]) -> list[str]:
    """The table of all goals, and a paragraph on each that is missed."""
    met = sum(goal.met for goal in goals)
    rows = ["| goal | wanted | found | |", "| --- | --- | --- | --- |"]
    rows += [f"| {one.name} | {one.wanted} | {one.found} | {'met' if one.met else '**missed**'} |" for one in goals]
    explained, missed = _explanations(), [goal for goal in goals if not goal.met]
    parts = [f"{met} of {len(goals)} are met.", "\n".join(rows)]
    if missed:
        parts.append("## What is missed, and why")
    if (general := explained.get("")) is not None:
        parts.append(general)
    parts += [f"**{goal.name}**, {goal.found}. {explained.get(goal.name, 'Not explained yet.')}" for goal in missed]
    return parts


def _explanations() -> dict[str, str]:
    """The paragraphs of `missed.md` by the goals that their headings name; those before the first have no name."""
    if not _MISSED.is_file():
        return {}
    parts = re.split(r"^### (.+)\n", _MISSED.read_text(), flags=re.MULTILINE)
    found = {"": parts[0].strip()}
    for names, text in zip(parts[1::2], parts[2::2], strict=True):
        found |= dict.fromkeys((name.strip() for name in names.split(";")), text.strip())
    return {name: text for name, text in found.items() if text}


def _plot(results: Sequence[Result], further: Sequence[Bars]) -> str:
    """Bars of seconds: ours, the best peer with the same checks, the floor and all peers; then the other figures."""
    groups = [(f"{one.scenario.name}: {one.scenario.title}", " s", _bars_of(one)) for one in results]
    groups += [
        (bars.title, f" {bars.unit}", [(label, value, _OURS_COLOUR) for label, value in bars.values])
        for bars in further
    ]
    body, y = [], 8
    for title, unit, bars_of_group in groups:
        longest = max(value for _, value, _ in bars_of_group) or 1.0
        y += 18
        body.append(f'<text x="8" y="{y}" font-weight="bold">{escape(title)}</text>')
        y += 8
        for name, value, colour in bars_of_group:
            body += _bar(y, name, _BAR["width"] * value / longest, f"{value:.2f}{unit}", colour)
            y += _BAR["height"] + _BAR["gap"]
    size = f'width="760" height="{y + 8}" viewBox="0 0 760 {y + 8}"'
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    inside = "\n".join(body)
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{paper}\n{inside}\n</svg>\n'


def _bars_of(result: Result) -> list[tuple[str, float, str]]:
    bars = [(OURS, result.seconds(OURS), _OURS_COLOUR)]
    best = sorted(result.peers(), key=result.guaranteed_seconds)[:1]
    bars += [(f"{name}, checked", result.guaranteed_seconds(name), _CHECKED_COLOUR) for name in best]
    bars += [(FLOOR, result.seconds(FLOOR), _FLOOR_COLOUR)] if FLOOR in result.runs else []
    return bars + [(name, result.seconds(name), _RAW_COLOUR) for name in result.peers()]


def _bar(y: int, name: str, width: float, text: str, colour: str) -> list[str]:
    middle = y + _BAR["height"] - 4
    box = f'width="{width:.0f}" height="{_BAR["height"]}" fill="{colour}"'
    return [
        f'<text x="{_BAR["left"] - 8}" y="{middle}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{_BAR["left"]}" y="{y}" {box}/>',
        f'<text x="{_BAR["left"] + width + 6:.0f}" y="{middle}">{text}</text>',
    ]
