"""Faults, attacks, contracts, torture and mixed faults, with every transport, over TLS, with two workers.

`python -m tests.stress.matrix` runs every cell; `--only aiohttp-tls-2` one, `--quick` without torture and mixed faults.
The tests themselves run in the first cell, `sockets-plain-1`, alone. See `tests.support.variants`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from tests.support.faults import CERTIFICATE
from tests.support.fork_server import SITE

ROOT: Final = Path(__file__).parents[2]
SUITES: Final = ("tests/contract", "tests/faults", "tests/attacks")
KILLS: Final = "40"
INSTANCES: Final = "600"


@dataclass(frozen=True)
class Cell:
    """One way to run everything."""

    transport: str
    is_tls: bool
    workers: int

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.transport}-{'tls' if self.is_tls else 'plain'}-{self.workers}"

    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        more = {
            "PYTHONPATH": os.pathsep.join([SITE, str(ROOT)]),
            "SUITE_TRANSPORT": self.transport,
            "SUITE_TLS": str(int(self.is_tls)),
            "SUITE_WORKERS": str(self.workers),
        }
        trusted = {"SSL_CERT_FILE": str(CERTIFICATE)} if self.is_tls else {}
        return {**os.environ, **more, **trusted}

    def commands(self, *, is_quick: bool) -> Iterator[list[str]]:
        """What runs in it."""
        suites = ["-m", "pytest", "-q", "--numprocesses", "logical", "--dist", "worksteal", "-p", "no:cacheprovider"]
        yield [sys.executable, *suites, *SUITES]
        if not is_quick:
            workers = ["--workers", str(self.workers)]
            yield [sys.executable, "-m", "tests.stress.torture", "--kills", KILLS, *workers]
            for transport in ("single", "zip", "auto"):
                mixed = ["tests.stress.mixed_faults", "--instances", INSTANCES, "--transport", transport, *workers]
                yield [sys.executable, "-m", *mixed]


CELLS: Final = tuple(Cell(*each) for each in product(("sockets", "aiohttp"), (False, True), (1, 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[cell.name for cell in CELLS], help="may be repeated")
    parser.add_argument("--quick", action="store_true", help="without torture and mixed faults")
    given = parser.parse_args()
    failed = []
    for cell in CELLS:
        if given.only and cell.name not in given.only:
            continue
        for command in cell.commands(is_quick=given.quick):
            started = time.monotonic()
            done = subprocess.run(command, check=False, cwd=ROOT, env=cell.environment())
            said = f"{cell.name}: {' '.join(command[2:])}: exit {done.returncode}, {time.monotonic() - started:.0f} s"
            print(said, flush=True)  # noqa: T201 - a script
            failed += [said] if done.returncode else []
    sys.exit("\n".join(["", "failed:", *failed]) if failed else 0)


if __name__ == "__main__":
    main()
