"""The parts of the benchmarks by their names: the scenarios, and the goals that downloads do not show."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.benchmarks import cores, inner, link, many, portal, scenarios
from tests.benchmarks import serving as served
from tests.benchmarks.archive import Archive, serving
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.goals import Bars, Goal
from tests.benchmarks.scenarios import SCENARIOS, Places, Result, Say, Scenario


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the parts run. `memory` is a folder in memory; `is_short` asks for few objects and short times."""

    things: Corpus
    near: Archive
    disk: Path
    memory: Path
    rounds: int
    is_short: bool
    say: Say


Found: TypeAlias = "Result | list[Goal] | tuple[list[Goal], list[Bars]]"
PartOf: TypeAlias = Callable[[Bench], Found]


def _scenario(scenario: Scenario) -> PartOf:
    def compare(bench: Bench) -> Result:
        wanted = scenario.in_short() if bench.is_short else scenario
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            archive = bench.near
            if wanted.line is not None:
                bench.say(f"the link is made by {stack.enter_context(link.slow_link(folder, wanted.line))}")
                far = serving(bench.things, folder / "far", host=link.SERVER_HOST, inside=link.SERVER)
                archive = stack.enter_context(far)
            places = Places(bench.things, archive, folder, bench.memory if wanted.in_memory else bench.disk)
            return scenarios.compare(wanted, places, rounds=bench.rounds, say=bench.say)

    return compare


PARTS: Final[Mapping[str, PartOf]] = {
    **{one.name: _scenario(one) for one in SCENARIOS},
    "S6": lambda bench: scenarios.rerun(bench.things, bench.near, bench.disk, say=bench.say),
    "own": lambda bench: inner.own_cost(bench.things, bench.near, bench.memory),
    "start": lambda _: inner.start_up(),
    "cores": lambda bench: cores.growth(bench.near, bench.memory, is_short=bench.is_short),
    "verify": lambda bench: inner.verifying(bench.near.url, bench.memory),
    "small-files": lambda bench: many.small_files(bench.memory, is_short=bench.is_short),
    "serve": lambda bench: served.serving(bench.things, bench.memory, is_short=bench.is_short),
    "serve-list": lambda bench: served.listing(bench.things, bench.memory),
    "serve-idc": lambda bench: served.gateway(bench.disk),
    "portal": lambda bench: portal.goals(bench.disk, series=1_000 if bench.is_short else 50_000),
    "journal": lambda bench: inner.journal(bench.disk, instances=20_000 if bench.is_short else 1_000_000),
    "limits": lambda _: inner.limits(),
    "memory": lambda bench: many.memory(bench.memory, is_short=bench.is_short),
}


def needs_link(name: str) -> bool:
    """Whether a part needs a slow link."""
    return any(one.name == name and one.line is not None for one in SCENARIOS)
