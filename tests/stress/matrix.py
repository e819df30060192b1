"""Faults, attacks, contracts, connections, torture and mixed faults, with every transport, over TLS, with two workers.

`python -m tests.stress.matrix` runs four cells, in which every two values meet; `--all` runs all eight,
`--only aiohttp-tls-2` one, `--quick` all without torture and mixed faults. The first cell, `sockets-plain-1`, is how
`make test` runs the suites, so they do not run in it again. See `tests.support.variants`.
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
SUITES: Final = (
    "tests/contract",
    "tests/faults",
    "tests/attacks",
    "tests/archive/test_http.py",
    "tests/archive/test_transports.py",
    "tests/archive/test_socket_transport.py",
    "tests/fetch/test_ranges.py",
)
SERVER_ALONE: Final = (  # `make test` runs them: nothing is downloaded, so all cells are the same to them
    "errors_through_pools",
    "guests_and_answers",
    "hosts",
    "silent_connections",
    "thumbnails_of_hostile_files",
)
KILLS: Final = "100"
INSTANCES: Final = "1000"


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
        left_out = [f"--ignore=tests/attacks/test_{name}.py" for name in SERVER_ALONE]
        if self != CELLS[0]:
            yield [sys.executable, *suites, *SUITES, *left_out]
        if not is_quick:
            for name, *options in self._tortures():
                yield [sys.executable, "-m", f"tests.stress.{name}", *options]

    def _tortures(self) -> Iterator[tuple[str, ...]]:
        workers = ("--workers", str(self.workers))
        yield ("torture", "--kills", KILLS, *workers)
        for transport in ("single", "zip", "auto"):
            yield ("mixed_faults", "--instances", INSTANCES, "--transport", transport, *workers)
        for form in ("nbia", "idc"):
            yield ("kills", "--kills", "8", "--instances", "800", "--form", form, *workers)
        yield ("rearranging", "--kills", "8", "--verb", "sync", "--verb", "prune")  # the verbs that ask an archive
        yield ("large", "--gigabytes", "1")


CELLS: Final = tuple(Cell(*each) for each in product(("sockets", "aiohttp"), (False, True), (1, 2)))
PAIRS: Final = (
    CELLS[0],
    Cell("sockets", is_tls=True, workers=2),
    Cell("aiohttp", is_tls=False, workers=2),
    Cell("aiohttp", is_tls=True, workers=1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=[cell.name for cell in CELLS], help="may be repeated")
    parser.add_argument("--all", action="store_true", help="all cells, not four in which every two values meet")
    parser.add_argument("--quick", action="store_true", help="without torture and mixed faults")
    given = parser.parse_args()
    failed = []
    for cell in CELLS:
        if cell.name not in given.only if given.only else cell not in PAIRS and not given.all:
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
