from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from bulkdl.runtime.load import CpuLoad, WorkPerLoopCycle, times_waited, wanted_seconds

if TYPE_CHECKING:
    from collections.abc import Callable


class Clocks:
    """Wall clock and processor time, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0
        self.used = 7.0

    def pass_by(self, seconds: float, *, used: float) -> None:
        self.now += seconds
        self.used += used

    def load(self) -> CpuLoad:
        return CpuLoad(cpu=lambda: self.used, clock=lambda: self.now)


def test_a_process_counts_as_busy_until_it_is_measured() -> None:
    clocks = Clocks()
    load = clocks.load()
    assert load.is_busy
    clocks.pass_by(0.05, used=0.0)
    assert load.is_busy


def test_a_process_that_waits_is_not_busy() -> None:
    clocks = Clocks()
    load = clocks.load()
    clocks.pass_by(0.2, used=0.02)
    assert not load.is_busy


def test_the_last_window_counts() -> None:
    clocks = Clocks()
    load = clocks.load()
    clocks.pass_by(100.0, used=0.0)
    assert not load.is_busy
    clocks.pass_by(0.2, used=0.19)
    assert load.is_busy


def test_what_other_threads_compute_is_load_of_the_process() -> None:
    now = 0.0
    load = CpuLoad(clock=lambda: now)
    began = time.process_time()

    def compute() -> None:
        while time.process_time() < began + 0.11:
            pass

    other = threading.Thread(target=compute)
    other.start()
    other.join()
    now = 0.11
    is_busy = load.is_busy
    assert is_busy


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_waiting_for_a_core_that_others_use_is_load() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # for this thread, and the process that it starts
    try:
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
            used, wanted = time.process_time(), wanted_seconds()
            waited = 0.0
            while waited < 0.01 and time.process_time() - used < 2:
                waited = (wanted_seconds() - wanted) - (time.process_time() - used)
            other.kill()
    finally:
        os.sched_setaffinity(0, cores)
    assert waited >= 0.01


@pytest.mark.parametrize(("size_bytes", "cycles"), [(10_000, 13), (500_000, 50), (5_000_000, 50)])
async def test_few_tasks_pass_in_each_cycle_of_the_loop(size_bytes: int, cycles: int) -> None:
    loop_cycle, rounds, passed = WorkPerLoopCycle(), 0, []

    def count() -> None:
        nonlocal rounds
        rounds += 1
        asyncio.get_running_loop().call_soon(count)

    async def pass_by() -> None:
        await loop_cycle.passed(size_bytes)
        passed.append(rounds)

    asyncio.get_running_loop().call_soon(count)
    await asyncio.gather(*(pass_by() for _ in range(50)))
    assert len(set(passed)) == cycles
    assert passed == sorted(passed)


async def test_tasks_of_a_lower_rank_pass_first() -> None:
    loop_cycle, passed = WorkPerLoopCycle(), []

    async def pass_by(rank: int) -> None:
        await loop_cycle.passed(rank=rank)
        passed.append(rank)

    await asyncio.gather(*(pass_by(rank) for rank in (9, 2, 1, 2, 0)))  # the first one finds an empty cycle
    assert passed == [9, 0, 1, 2, 2]


async def test_tasks_of_each_rank_use_all_time_of_their_cycles() -> None:
    loop_cycle, cycles, ended = WorkPerLoopCycle(), 0, list[int]()

    def count() -> None:
        nonlocal cycles
        cycles += 1
        if len(ended) < 2:
            asyncio.get_running_loop().call_soon(count)

    async def pass_often(rank: int) -> None:
        for _ in range(20):
            await loop_cycle.passed(10_000, rank=rank)
        ended.append(cycles)

    count()
    await asyncio.gather(pass_often(0), pass_often(1))
    assert ended == [7, 12]


async def test_a_task_that_is_cancelled_while_waiting_blocks_no_other() -> None:
    loop_cycle = WorkPerLoopCycle()
    waiting = [asyncio.ensure_future(loop_cycle.passed(rank=rank)) for rank in range(10)]
    await asyncio.sleep(0)
    for task in waiting[1::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await loop_cycle.passed()
    assert [task.cancelled() for task in waiting] == [False, True] * 5


@pytest.mark.parametrize(("size_bytes", "bodies"), [(10_000, 11), (500_000, 3)])
async def test_work_for_some_cycles_is_work_behind(size_bytes: int, bodies: int) -> None:
    loop_cycle, was_behind = WorkPerLoopCycle(), []
    passing: list[asyncio.Future[None]] = []
    for _ in range(2):
        passing += [asyncio.ensure_future(loop_cycle.passed(size_bytes)) for _ in range(bodies)]
        await asyncio.sleep(0)
        was_behind.append(loop_cycle.is_behind)
    passing[-1].cancel()
    await asyncio.gather(*passing, return_exceptions=True)
    await loop_cycle.passed()
    assert [*was_behind, loop_cycle.is_behind] == [False, True, False]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count it")
def test_waits_of_a_thread_are_counted_and_its_work_is_not() -> None:
    def waits(action: Callable[[], object]) -> int:
        before = times_waited()
        action()
        return times_waited() - before

    assert waits(lambda: threading.Event().wait(0.001)) > 0
    assert 0 in {waits(lambda: sum(range(1000))) for _ in range(100)}
