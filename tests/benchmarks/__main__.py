"""Compare bulkdl with the tools that people use today, on one machine, in one run: `make bench`.

It needs Debian's nginx-light and curl, compares with wget2, aria2 and s5cmd where they are installed, makes a slow
link where it may (root, iproute2), and asks wrk about `bulkdl serve`. The results go to `tests/benchmarks/results/`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks import corpus, inner, link, peers, report, scenario_goals, scenarios
from tests.benchmarks.archive import serving
from tests.benchmarks.goals import Goal
from tests.benchmarks.scenarios import SCENARIOS, Result, Scenario

_IDLE_SHARE = 0.3  # of the cores, at most used by other work


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenarios", default=",".join(one.name for one in SCENARIOS), help="such as S1,S5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only-scenarios", action="store_true", help="no reruns, no goals beside them")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where files are written")
    given = parser.parse_args()
    for program in ("nginx", "curl"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: install Debian's nginx-light, curl, aria2, wget2 and wrk")
    wanted = [one for one in SCENARIOS if one.name in given.scenarios.split(",")]
    notes = [f"Not installed, so not compared: {name}." for name in peers.missing()]
    if any(one.slow for one in wanted) and (why := link.missing()) is not None:
        notes.append(f"No slow link, so no S4 and S5: {why}.")
        wanted = [one for one in wanted if not one.slow]
    if (load := os.getloadavg()[1]) > (os.cpu_count() or 1) * _IDLE_SHARE:
        notes.append(
            f"The machine was busy with other work: its load was {load:.1f} before the start. Seconds are too long for "
            "every tool; user and system time are nearer to what a quiet machine shows."
        )
    for note in notes:
        say(note)
    things = corpus.ready(Path(tempfile.gettempdir()) / "bulkdl-bench-corpus")
    results, goals = measure(wanted, things, given.disk, given.rounds, beside=not given.only_scenarios)
    sys.stdout.write(report.write(results, goals, notes, given.rounds) + "\n")


def measure(
    wanted: list[Scenario], things: corpus.Corpus, disk: Path, rounds: int, *, beside: bool
) -> tuple[list[Result], list[Goal]]:
    """All of it, and everything that was started ends with it."""
    results: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=disk)))
        memory = Path("/dev/shm")  # noqa: S108 - the file system in memory, where the kernel has one
        in_memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory))) if memory.is_dir() else disk
        near = stack.enter_context(serving(things, folder / "nginx"))
        for one in (one for one in wanted if not one.slow):
            out = in_memory if one.in_memory else disk
            results.append(scenarios.compare(one, things, near, folder, out, rounds=rounds, say=say))
        if any(one.slow for one in wanted):
            say(f"the slow link is made by {stack.enter_context(link.slow_link(folder))}")
            far = stack.enter_context(serving(things, folder / "far", host=link.SERVER_HOST, inside=link.SERVER))
            results += [
                scenarios.compare(one, things, far, folder, in_memory, rounds=rounds, say=say)
                for one in wanted
                if one.slow
            ]
        goals = scenario_goals.goals(results)
        if beside:
            goals += scenarios.rerun(things, near, disk, say=say)
            goals += inner.own_cost(things, near, in_memory) + inner.memory(in_memory)
            goals += inner.start_up() + inner.verifying(near.url, in_memory)
            goals += inner.serving(things, in_memory) + inner.listing(things, in_memory)
            goals += inner.journal(disk) + inner.limits() + inner.gateway(disk)
    return results, goals


if __name__ == "__main__":
    main()
