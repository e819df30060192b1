"""Compare bulkdl with the tools that people use today, on one machine, in one run: `make bench`.

It needs Debian's nginx-light, openssl and curl, compares with wget2, aria2 and s5cmd where they are installed, makes
slow links where it may (root, iproute2), and asks wrk about `bulkdl serve`. The results of each part go to
`tests/benchmarks/results/` when it ends; a part that fails is a missed goal. With names of parts, only those are
measured, and replace their results of before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks import corpus, link, peers, record, report
from tests.benchmarks.archive import serving
from tests.benchmarks.goals import Bars, Goal
from tests.benchmarks.parts import PARTS, Bench, needs_link
from tests.benchmarks.record import Record
from tests.benchmarks.scenarios import Result

_IDLE_SHARE = 0.3  # of the cores, at most used by other work
_PROGRAMS = ("nginx", "curl", "openssl")


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"all, or some of: {' '.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="few objects, to see that everything runs; writes nothing")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where files are written")
    parser.add_argument("--render", action="store_true", help="only write the report of the latest results again")
    parser.add_argument("--results", type=Path, default=report.RESULTS, help="the folder of the results")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    if not given.render and (lacking := [name for name in _PROGRAMS if shutil.which(name) is None]):
        raise SystemExit(f"{', '.join(lacking)}: missing; install Debian's nginx-light, curl, aria2, wget2 and wrk")
    machine, notes = record.made_with(given.results) if given.render else (report.machine(), _notes())
    known = record.read(given.results, machine) if given.render or given.parts else {}
    if given.render:
        text = report.write(list(known.values()), machine, notes, given.results)
    else:
        text = _measure(given, known, machine, notes)
    sys.stdout.write(f"{text}\n")
    for goal in report.unexplained(known.values()):
        say(f"missed, without a paragraph in missed.md: {goal.name}: {goal.found}, wanted: {goal.wanted}")


def _notes() -> list[str]:
    notes = [f"Not installed, so not compared: {name}." for name in peers.missing()]
    if (why := link.missing()) is not None:
        notes.append(f"No slow links: {why}.")
    else:
        notes.append(f"Congestion control of TCP, on the slow links too: {link.congestion_control()}.")
    if (load := os.getloadavg()[1]) > (os.cpu_count() or 1) * _IDLE_SHARE:
        notes.append(
            f"The machine was busy with other work: its load was {load:.1f} before the start. Seconds are too long for "
            "every tool; user and system time are nearer to what a quiet machine shows."
        )
    for note in notes:
        say(note)
    return notes


def _measure(given: argparse.Namespace, known: dict[str, Record], machine: str, notes: list[str]) -> str:
    """Run the parts one after the other; each result is on the disk when the next begins. The report of all."""
    things = corpus.ready(Path(tempfile.gettempdir()) / f"bulkdl-bench-corpus-{corpus.VERSION}")
    rounds, text = 1 if given.short else given.rounds, ""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=given.disk)))
        shared = Path("/dev/shm")  # noqa: S108 - the file system in memory, where the kernel has one
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=shared))) if shared.is_dir() else disk
        near = stack.enter_context(serving(things, folder / "nginx"))
        bench = Bench(things, near, disk, memory, rounds, given.short, say)
        results = folder / "results" if given.short else given.results
        for name in given.parts or PARTS:
            if needs_link(name) and link.missing() is not None:
                continue
            known[name] = _run(name, bench)
            ordered = [known[part] for part in PARTS if part in known]
            known.clear()
            known.update({one.name: one for one in ordered})
            text = report.write(ordered, machine, notes, results)
    return text


def _run(name: str, bench: Bench) -> Record:
    started, load = time.perf_counter(), os.getloadavg()[0]
    goals: list[Goal] = []
    bars: list[Bars] = []
    result, failure = None, None
    try:
        found = PARTS[name](bench)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - named in the report; the other parts go on
        say(traceback.format_exc())
        failure = f"failed: {type(error).__name__}: {error}"
    else:
        if isinstance(found, Result):
            result = found
        else:
            goals, bars = found if isinstance(found, tuple) else (found, [])
    seconds = time.perf_counter() - started
    say(f"{name}: {failure or 'done'}, {seconds:.0f} s")
    for goal in goals:
        say(f"  {goal.name}: {goal.found} ({goal.wanted}) {'met' if goal.met else 'MISSED'}")
    date = datetime.now(UTC).date().isoformat()
    return Record(name, date, bench.rounds, seconds, load, result, tuple(goals), tuple(bars), failure)


if __name__ == "__main__":
    main()
