"""With this folder on PYTHONPATH, every Python process runs this first: the command and its worker processes.

`LOOPS_BY=uvloop` makes them use uvloop. If `LOOPS_NOTED_IN` names a file, each process writes there the module it runs
and the type of its loop. `FAULT_POINT=POINT:N` makes the process that runs the module
`FAULT_POINT_IN` kill itself at the N-th call of POINT; see `fault_points`. `MISSING_MODULES` are names, with blanks
between them, that no process finds, as if they were not installed. `SUITE_TRANSPORT=aiohttp` is in `variants`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

runs = sys.orig_argv[1:3]  # `-m` and a module

if sys.platform == "linux":
    WORKER = "bulkdl.fetch.worker_main"

    def become_worker() -> None:
        """The one process that a command forks, without a new Python, is its second worker."""
        runs[-1:] = [WORKER]
        if os.environ.get("FAULT_POINT_IN") == WORKER:
            from tests.support.fault_points import arm  # noqa: PLC0415 - most processes need none

            arm(os.environ["FAULT_POINT"])

    os.register_at_fork(after_in_child=become_worker)

if os.environ.get("LOOPS_BY") == "uvloop":
    import uvloop

    class Policy(uvloop.EventLoopPolicy):  # type: ignore[misc] # uvloop gives it no type before Python 3.14
        def new_event_loop(self) -> asyncio.AbstractEventLoop:
            loop: asyncio.AbstractEventLoop = super().new_event_loop()
            if path := os.environ.get("LOOPS_NOTED_IN"):
                with Path(path).open("a") as notes:
                    notes.write(f"{runs[-1]} {type(loop).__module__}\n")
            return loop

    asyncio.set_event_loop_policy(Policy())

if missing := os.environ.get("MISSING_MODULES", "").split():
    installed = PathFinder.find_spec

    def find_spec(name: str, *where: Any) -> ModuleSpec | None:
        return None if name in missing else installed(name, *where)

    PathFinder.find_spec = find_spec  # type: ignore[method-assign,assignment]

if runs == ["-m", os.environ.get("FAULT_POINT_IN")]:
    from tests.support.fault_points import arm

    arm(os.environ["FAULT_POINT"])

if os.environ.get("SUITE_TRANSPORT") == "aiohttp":
    from tests.support.variants import use_aiohttp

    use_aiohttp()
