"""Kill a mirror hundreds of times, at fault points inside it and from outside, and look at what is left each time.

`python -m tests.stress.torture --kills 300` is the long form; the tests run a short one. Every run begins with the
recovery from the kill before, so recoveries are killed as often as anything else. A mirror that got complete in spite
of it all is judged, removed, and begun anew.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.commands import BULKDL, environment, loops_by_uvloop, serve
from tests.support.dicom_files import instances, write_folder
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums

CONCURRENCY = 6
_PER_SERIES = 20
_INSTANCES = 400
_OUTSIDE = "outside"
# How many such calls a run may be allowed before its end, at most.
_LATEST = {"write": 60, "fsync": 120, "rename": 60, "unlink": 3, "commit": 12, _OUTSIDE: 0}
# The same in the worker in a process of its own: no more than a single Series has.
_LATEST_OF_WORKER = {"write": _PER_SERIES, "fsync": _PER_SERIES, "rename": _PER_SERIES}
_LONGEST_LIFE_SECONDS = 2.5
_NOTHING_BEGUN = "has seen no run that could be resumed"  # as `resume` says it


@dataclass
class Torture:
    """What came of it. `allowed` is how many object requests there may be at most."""

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


def torture(
    folder: Path,
    *,
    kills: int,
    seed: int,
    transports: Sequence[str] = ("single", "single", "zip"),
    workers: Sequence[str] = ("1", "1", "1", "2"),
    by_uvloop: bool = False,
) -> Torture:
    """Mirror, with so many kills on the way, and then to the end; each run by one of `transports` and `workers`."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    found = Torture(seed)
    made_up = write_folder(
        folder / "archive", instances(series=_INSTANCES // _PER_SERIES, per_series=_PER_SERIES, rows=64)
    )
    wanted = checksums_of(made_up)
    mirror, cache = folder / "mirror", folder / "cache"
    env = environment(cache) | (loops_by_uvloop() if by_uvloop else {})
    with serve(folder / "archive", cache=cache, log=folder / "access.jsonl") as archive:
        begin = ("mirror", "--archive", archive.url, "--everything", "--to", str(mirror), "--yes")
        while found.kills < kills:
            can_resume = (mirror / ".bulkdl" / "journal.sqlite").exists() and chance.random() < 0.4
            at_work = chance.choice(workers)
            options = (
                *("--progress", "none", "--concurrency", str(CONCURRENCY)),
                *("--transport", chance.choice(transports)),
                *("--workers", at_work),
            )
            # With two workers every other run dies in the second, the first run among them: there it has work for sure.
            where = "" if at_work == "1" else (":beside" if found.runs % 2 else ":worker")
            latest = _LATEST_OF_WORKER if where == ":worker" else _LATEST
            point = chance.choice(list(latest))
            name = point if point == _OUTSIDE else point + chance.choice(["", "-after"])
            where = "" if point == _OUTSIDE else where
            fault = f"{name}:{chance.randint(1, max(1, latest[point]))}{where}"
            command = (*(("resume", str(mirror)) if can_resume else begin), *options)
            when = f"run {found.runs + 1}, {fault}, {' '.join(command)}"
            code, err = _run(command, fault, env, chance.uniform(0, _LONGEST_LIFE_SECONDS))
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
        last = (*begin, "--progress", "none", "--transport", transports[0], "--workers", workers[-1])
        code, err = _run(last, f"write:{10**9}", env, 0.0)
        found.complete += 1
        if code != 0:
            found.wrong.append(f"in the end: exit {code}: {err}")
        found.wrong += _judge(mirror, wanted, "in the end")
        found.object_requests = len(archive.object_requests())
    return found


def _run(command: tuple[str, ...], fault: str, env: dict[str, str], life_seconds: float) -> tuple[int, str]:
    is_outside = fault.startswith(_OUTSIDE)
    entry = BULKDL if is_outside else (sys.executable, "-m", "tests.support.fault_points", fault)
    with subprocess.Popen(
        [*entry, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
    ) as process:
        if is_outside:
            time.sleep(life_seconds)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        try:
            _, err = process.communicate(timeout=120)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers, where it died alone
    return process.returncode, err


def look(mirror: Path, wanted: dict[str, str], when: str) -> list[str]:
    """What is wrong with what is visible, and with what the journal says of it."""
    visible = checksums_on_disk(mirror)
    wrong = [f"{when}: {path} is not right" for path, found in visible.items() if wanted.get(path) != found]
    if (mirror / ".bulkdl" / "journal.sqlite").exists():
        held = journalled_checksums(mirror)
        wrong += [f"{when}: {path} is journalled and not there" for path in held if visible.get(path) != held[path]]
    return wrong


def _judge(mirror: Path, wanted: dict[str, str], when: str) -> list[str]:
    is_whole = checksums_on_disk(mirror) == wanted and journalled_checksums(mirror) == wanted
    left = [path.name for path in (mirror / ".bulkdl" / "partial").iterdir()]
    return ([] if is_whole else [f"{when}: not what was asked for"]) + [f"{when}: {name} is left" for name in left]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--transport", action="append", default=[], help="may be repeated; one of them for each run")
    parser.add_argument("--workers", action="append", default=[], help="the same")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = torture(
            Path(folder),
            kills=options.kills,
            seed=options.seed,
            transports=options.transport or ("single", "single", "zip"),
            workers=options.workers or ("1", "1", "1", "2"),
            by_uvloop=options.uvloop,
        )
    print(f"{found}; {found.allowed} object requests were allowed")  # noqa: T201 - a script
    sys.exit(bool(found.wrong) or found.object_requests > found.allowed)


if __name__ == "__main__":
    main()
