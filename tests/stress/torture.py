"""Kill mirror runs hundreds of times, at fault points and from outside, and check the mirror after each kill.

`python -m tests.stress.torture --kills 300` is the long form; the tests run a short one. Every run begins with the
recovery from the previous kill, so recoveries are killed too. A complete mirror is checked, deleted, and begun again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import variants
from tests.support.bad_archive import BadArchive, no_fault
from tests.support.commands import environment, loops_by_uvloop, process_of, requests_by_aiohttp
from tests.support.dicom_files import instances
from tests.support.fault_points import COMMAND, WORKER, dying_at
from tests.support.faults import CERTIFICATE, over_tls
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.second_worker import OthersFirst

CONCURRENCY = 6
_PER_SERIES = 20
_INSTANCES = 400
_OUTSIDE = "outside"
# The largest number of such calls before the kill.
_LATEST = {"write": 60, "fsync": 120, "rename": 60, "unlink": 3, "commit": 12, _OUTSIDE: 0}
# The same in the separate worker process: not more than a Series has.
_LATEST_OF_WORKER = {"write": _PER_SERIES, "fsync": _PER_SERIES, "rename": _PER_SERIES}
_LONGEST_LIFE_SECONDS = 2.5  # of a run that is killed from outside
_LONGEST_RUN_SECONDS = 120.0
_NOTHING_BEGUN = "has no run to resume"  # as `resume` says it


@dataclass
class Torture:
    """The result. `allowed` is the largest number of object requests that is acceptable."""

    seed: int
    kills: int = 0
    runs: int = 0
    complete: int = 0
    object_requests: int = 0
    by_point: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def allowed(self) -> int:
        return _INSTANCES * self.complete + self.kills * (CONCURRENCY + 4)


@dataclass(frozen=True)
class Plan:
    """The number of kills. Each run has one of `transports` and one of `workers`."""

    kills: int
    seed: int
    transports: Sequence[str] = ("single", "single", "zip")
    workers: Sequence[str] = ("1", "1", "1", "2")
    by_uvloop: bool = False
    by_aiohttp: bool = False
    over_tls: bool = variants.IS_TLS


async def torture(folder: Path, plan: Plan) -> Torture:
    """Mirror with the kills of `plan`, then completely."""
    made_up = list(instances(series=_INSTANCES // _PER_SERIES, per_series=_PER_SERIES, rows=64))
    with over_tls(plan.over_tls):
        async with BadArchive(made_up) as archive:
            return await asyncio.to_thread(_torture, folder, plan, archive)


def _torture(folder: Path, plan: Plan, archive: BadArchive) -> Torture:
    chance = random.Random(plan.seed)  # noqa: S311 - no secret
    found = Torture(plan.seed)
    wanted = checksums_of(archive.made_up)
    mirror, cache = folder / "mirror", folder / "cache"
    env = environment(cache) | (loops_by_uvloop() if plan.by_uvloop else {})
    env |= requests_by_aiohttp() if plan.by_aiohttp else {}
    trusting = ("--ca-bundle", str(CERTIFICATE)) if plan.over_tls else ()
    begin = ("mirror", "--archive", archive.address, "--everything", "--to", str(mirror), "--yes")
    while found.kills < plan.kills:
        can_resume = (mirror / ".bulkdl" / "journal.sqlite").exists() and chance.random() < 0.4
        at_work = chance.choice(plan.workers)
        options = (
            *("--progress", "none", "--concurrency", str(CONCURRENCY)),
            *("--transport", chance.choice(plan.transports)),
            *("--workers", at_work),
            *trusting,
        )
        # With two workers every other run dies in the second worker, beginning with the first run, where it has work.
        in_worker = at_work != "1" and found.runs % 2 == 0
        latest = _LATEST_OF_WORKER if in_worker else _LATEST
        point = chance.choice(list(latest))
        name = point if point == _OUTSIDE else point + chance.choice(["", "-after"])
        where = "" if point == _OUTSIDE or at_work == "1" else (":worker" if in_worker else ":beside")
        at = f"{name}:{chance.randint(1, max(1, latest[point]))}"
        command = (*(("resume", str(mirror)) if can_resume else begin), *options)
        when = f"run {found.runs + 1}, {at}{where}, {' '.join(command)}"
        life_seconds = chance.uniform(0, _LONGEST_LIFE_SECONDS) if point == _OUTSIDE else _LONGEST_RUN_SECONDS
        fault = {} if point == _OUTSIDE else dying_at(at, module=WORKER if in_worker else COMMAND)
        code, err = _run(command, archive if at_work != "1" else None, env | fault, life_seconds)
        found.runs += 1
        found.wrong += look(mirror, wanted, when)
        if code == -signal.SIGKILL:
            found.kills += 1
            found.by_point[name + where] = found.by_point.get(name + where, 0) + 1
        elif code == 0 and not can_resume:
            found.complete += 1
            found.wrong += _judge(mirror, wanted, when)
            shutil.rmtree(mirror)
        elif code != 0 and not (can_resume and _NOTHING_BEGUN in err):
            found.wrong.append(f"{when}: exit {code}: {err}")
    last = (*begin, "--progress", "none", "--transport", plan.transports[0], "--workers", plan.workers[-1], *trusting)
    code, err = _run(last, None, env, _LONGEST_RUN_SECONDS)
    found.complete += 1
    if code != 0:
        found.wrong.append(f"in the end: exit {code}: {err}")
    found.wrong += _judge(mirror, wanted, "in the end")
    found.object_requests = archive.object_requests()
    return found


def _run(
    command: tuple[str, ...], held_by: BadArchive | None, env: dict[str, str], life_seconds: float
) -> tuple[int, str]:
    """Run `command` for at most `life_seconds`. With `held_by`, its second worker begins first."""
    with process_of(command, env) as process:
        if held_by is not None:
            held_by.fault = OthersFirst(held_by, process.pid)
        try:
            _, err = process.communicate(timeout=life_seconds)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):  # it has ended in this moment
                os.killpg(process.pid, signal.SIGKILL)
            _, err = process.communicate()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers, if only the command died
            if held_by is not None:
                held_by.fault = no_fault
    return process.wait(), err


def run_once(command: tuple[str, ...], env: dict[str, str], life_seconds: float) -> tuple[int, str]:
    """Run `command` for at most `life_seconds`; its exit code, and what it said on standard error."""
    return _run(command, None, env, life_seconds)


def look(mirror: Path, wanted: dict[str, str], when: str) -> list[str]:
    """The errors in the visible files and in the journal."""
    visible = checksums_on_disk(mirror)
    wrong = [f"{when}: {path} is wrong" for path, found in visible.items() if wanted.get(path) != found]
    if (mirror / ".bulkdl" / "journal.sqlite").exists():
        held = journalled_checksums(mirror)
        wrong += [
            f"{when}: {path} is in the journal and does not exist" for path in held if visible.get(path) != held[path]
        ]
    return wrong


def _judge(mirror: Path, wanted: dict[str, str], when: str) -> list[str]:
    is_whole = checksums_on_disk(mirror) == wanted and journalled_checksums(mirror) == wanted
    left = [path.name for path in (mirror / ".bulkdl" / "partial").iterdir()]
    return ([] if is_whole else [f"{when}: the mirror is incomplete or wrong"]) + [
        f"{when}: {name} is left" for name in left
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--transport", action="append", default=[], help="may be repeated; one of them for each run")
    parser.add_argument("--workers", action="append", default=[], help="the same")
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--aiohttp", action="store_true", help="send requests with aiohttp")
    parser.add_argument("--tls", action="store_true", default=Plan.over_tls, help="over TLS")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            kills=options.kills,
            seed=options.seed,
            transports=options.transport or Plan.transports,
            workers=options.workers or Plan.workers,
            by_uvloop=options.uvloop,
            by_aiohttp=options.aiohttp,
            over_tls=options.tls,
        )
        found = asyncio.run(torture(Path(folder), plan))
    print(f"{found}; {found.allowed} object requests were allowed")  # noqa: T201 - a script
    sys.exit(bool(found.wrong) or found.object_requests > found.allowed)


if __name__ == "__main__":
    main()
