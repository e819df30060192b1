"""Kill a mirror run at random instants, and check the mirror after each kill.

`python -m tests.stress.kills --kills 50 --instances 2000` is the long form; the tests run a short one.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support import variants
from tests.support.commands import Process, run, serve, start
from tests.support.dicom_files import instances, write_folder
from tests.support.faults import CERTIFICATE
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.waiting import wait_until

PER_SERIES = 40


@dataclass(frozen=True)
class Torture:
    """The result. `allowed` is the largest number of object requests that is acceptable."""

    kills: int
    instances: int
    object_requests: int
    allowed: int
    wrong: tuple[str, ...]


def torture(
    folder: Path,
    *,
    kills: int,
    instances_wanted: int,
    concurrency: int,
    transport: str,
    workers: int,
    seed: int,
    form: str = "nbia",
) -> Torture:
    """Mirror `instances_wanted` made-up instances with `kills` SIGKILLs during the runs, then completely.

    Only the command is killed: worker processes must notice it, and must not disturb the next run. After each kill
    every visible file must be correct, and every held instance of the journal must exist. With the `form` idc the
    archive is used as a bucket with an index.
    """
    chance = random.Random(seed)  # noqa: S311 - no secret
    made_up = write_folder(folder / "archive", instances(series=instances_wanted // PER_SERIES, per_series=PER_SERIES))
    wanted = checksums_of(made_up)
    mirror = folder / "mirror"
    cache = folder / "cache"
    wrong: list[str] = []
    secure, trusting = (("--tls-cert", CERTIFICATE), ("--ca-bundle", CERTIFICATE)) if variants.IS_TLS else ((), ())
    with serve(folder / "archive", *secure, cache=cache, log=folder / "access.jsonl") as archive:
        address = (*archive.options_of(form), *trusting)
        first: tuple[str | Path, ...] = ("mirror", *address, "--everything", "--to", mirror, "--yes")
        steering = ("--concurrency", str(concurrency), "--transport", transport, "--workers", str(workers))
        options = (*steering, "--progress", "none")
        alive = _seconds_to_the_first_file(first, options, mirror, cache)
        for number in range(kills):
            command: tuple[str | Path, ...] = ("resume", mirror, *address, "--yes") if number % 3 == 2 else first
            # The rate limit makes the run longer, so that kills fall on all its stages.
            rate = len(made_up) * len(made_up[0].content) / kills / alive
            with start([*command, *options, "--rate-limit", f"{rate:.0f}"], cache=cache) as process:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(chance.uniform(0, 3 * alive))
                _kill(process)
            wrong += _look(mirror, wanted, f"after kill {number + 1}")
        done = run(*first, *options, "--json", cache=cache)
        if done.code != 0:
            wrong.append(f"in the end: exit {done.code}: {done.err}")
        if checksums_on_disk(mirror) != wanted or journalled_checksums(mirror) != wanted:
            wrong.append("in the end: the mirror is incomplete or wrong")
        requests = len(archive.object_requests())
    allowed = len(made_up) + (kills + 1) * (concurrency + 4 * workers)
    return Torture(kills, len(made_up), requests, allowed, tuple(wrong))


def _seconds_to_the_first_file(
    command: tuple[str | Path, ...], options: tuple[str, ...], mirror: Path, cache: Path
) -> float:
    """How long a run takes until it writes: kills within three times this time fall on all its stages."""
    started = time.monotonic()
    with start([*map(str, command), *options], cache=cache) as process:
        wait_until(lambda: process.poll() is not None or list(mirror.glob("*/**/*.dcm")))
        seconds = time.monotonic() - started
        _kill(process)
    return seconds


def _kill(process: Process) -> None:
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _look(mirror: Path, wanted: dict[str, str], when: str) -> list[str]:
    visible = checksums_on_disk(mirror)
    wrong = [f"{when}: {path} is wrong" for path, found in visible.items() if wanted.get(path) != found]
    if (mirror / ".bulkdl" / "journal.sqlite").exists():
        held = journalled_checksums(mirror)
        wrong += [
            f"{when}: {path} is in the journal and does not exist" for path in held if visible.get(path) != held[path]
        ]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--instances", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--transport", default="single")
    parser.add_argument("--form", default="nbia", choices=("nbia", "idc"))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = torture(
            Path(folder),
            kills=options.kills,
            instances_wanted=options.instances,
            concurrency=options.concurrency,
            transport=options.transport,
            workers=options.workers,
            seed=options.seed,
            form=options.form,
        )
    print(f"seed {options.seed}: {found}")  # noqa: T201 - a script
    sys.exit(bool(found.wrong) or found.object_requests > found.allowed)


if __name__ == "__main__":
    main()
