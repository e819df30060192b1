"""The results as a document, as Markdown and as a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from tests.benchmarks.scenarios import OURS, Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.goals import Goal

RESULTS: Final = Path(__file__).with_name("results")
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
_BAR: Final = {"height": 16, "gap": 5, "left": 250, "width": 430}


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


def write(results: Sequence[Result], goals: Sequence[Goal], notes: Sequence[str], rounds: int) -> str:
    """Write `latest.json`, `latest.md` and `speed.svg`; returns the Markdown."""
    now = datetime.now(UTC).date().isoformat()
    head = f"{now}, {machine()}; median of {rounds} rounds, server, link and client on the same machine."
    checked = (
        "`tool, checked` is a peer and, after it, what bulkdl does besides: SHA-256, a structure check with "
        "pydicom and a sync of each file, on all cores; in S7, whose archive lists MD5s, the MD5 too. "
        "A tool marked `!` did not bring every object."
    )
    text = "\n\n".join(
        [
            "# Speed",
            head,
            *notes,
            checked,
            *(_table(result) for result in results),
            "## Goals",
            _goals(goals),
        ]
    )
    missed = RESULTS / "missed.md"
    if missed.exists():
        text += "\n\n" + missed.read_text().strip()
    RESULTS.mkdir(exist_ok=True)
    document = {"date": now, "machine": machine(), "rounds": rounds, "results": [asdict(one) for one in results]}
    document["goals"] = [asdict(goal) for goal in goals]
    (RESULTS / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (RESULTS / "latest.md").write_text(text + "\n")
    (RESULTS / "speed.svg").write_text(_plot(results))
    return text


def _table(result: Result) -> str:
    ours = result.seconds(OURS)
    rows = [f"## {result.scenario.name}: {result.scenario.title}", ""]
    rows += ["| " + " | ".join(_COLUMNS) + " |", "| --- |" + " ---: |" * (len(_COLUMNS) - 1)]
    for name in sorted(result.runs, key=result.seconds):
        runs, seconds = result.runs[name], result.seconds(name)
        each = 1e3 / result.instances
        cells = [
            f"**{name}**" if name == OURS else name + ("!" if result.wrong[name] else ""),
            f"{seconds:.2f}",
            f"{seconds / ours:.2f}",
            f"{result.instances / seconds:,.0f}",
            f"{result.size_bytes / 1e6 / seconds:,.0f}",
            f"{statistics.median(one.user_seconds for one in runs) * each:.2f}",
            f"{statistics.median(one.system_seconds for one in runs) * each:.2f}",
            f"{max(one.peak_bytes for one in runs) / 1e6:.0f}",
            f"{statistics.median(one.requests for one in runs):,.0f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    for name in result.peers()[:1]:
        seconds = result.guaranteed_seconds(name)
        cells = [f"{name}, checked", f"{seconds:.2f}", f"{seconds / ours:.2f}", f"{result.instances / seconds:,.0f}"]
        rows.append("| " + " | ".join([*cells, f"{result.size_bytes / 1e6 / seconds:,.0f}", "", "", "", ""]) + " |")
    return "\n".join(rows)


def _goals(goals: Sequence[Goal]) -> str:
    rows = ["| goal | wanted | found | |", "| --- | --- | --- | --- |"]
    rows += [f"| {one.name} | {one.wanted} | {one.found} | {'met' if one.met else '**missed**'} |" for one in goals]
    return "\n".join(rows)


def _plot(results: Sequence[Result]) -> str:
    """Bars of seconds: ours, the peers, and the best peer with the same checks."""
    body, y = [], 8
    for result in results:
        bars = [(name, result.seconds(name)) for name in (OURS, *result.peers())]
        bars += [(f"{name}, checked", result.guaranteed_seconds(name)) for name in result.peers()[:1]]
        longest = max(seconds for _, seconds in bars)
        y += 18
        body.append(f'<text x="8" y="{y}" font-weight="bold">{result.scenario.name}: {result.scenario.title}</text>')
        y += 8
        for name, seconds in bars:
            width = _BAR["width"] * seconds / longest
            middle = y + _BAR["height"] - 4
            body.append(f'<text x="{_BAR["left"] - 8}" y="{middle}" text-anchor="end">{name}</text>')
            colour = "#1f77b4" if name == OURS else "#b0b0b0" if name.endswith("checked") else "#d0d0d0"
            body.append(
                f'<rect x="{_BAR["left"]}" y="{y}" width="{width:.0f}" height="{_BAR["height"]}" fill="{colour}"/>'
            )
            body.append(f'<text x="{_BAR["left"] + width + 6:.0f}" y="{middle}">{seconds:.2f} s</text>')
            y += _BAR["height"] + _BAR["gap"]
    size = f'width="760" height="{y + 8}" viewBox="0 0 760 {y + 8}"'
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    inside = "\n".join(body)
    paper = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{paper}\n{inside}\n</svg>\n'
