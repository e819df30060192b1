"""Deadlines for other processes: they pass, and not while a process waits for a core."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from tests.support.cores import Cores, deadline

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say who waits for a core")
BUSY = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); print(flush=True)\nwhile True: pass"


async def test_a_deadline_passes() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(0.01, os.getpid()):
            await asyncio.Event().wait()


async def test_what_ends_in_time_is_not_disturbed() -> None:
    async with deadline(60, os.getpid()):
        pass


async def test_two_processes_on_one_core_wait_for_it() -> None:
    busy = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", BUSY, stdout=asyncio.subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for one in busy:
            assert one.stdout is not None
            await one.stdout.readline()
        cores = Cores(busy[0].pid)
        before = cores.seconds_without()
        while cores.seconds_without() < before + 0.1:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0.01)
    finally:
        for one in busy:
            one.kill()
            await one.communicate()
