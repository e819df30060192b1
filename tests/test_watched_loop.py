"""The watch over the event loop reports the steps that block."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.support.blocking import LIMIT_SECONDS, WatchedLoop


def compute(seconds: float) -> None:
    began = time.thread_time()
    while time.thread_time() - began < seconds:
        pass


def blocked_by(seconds: float) -> list[str]:
    """What is reported of a callback that computes for so long; one of asyncio's is not a step of a test."""

    async def wait_for_the_callback() -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(compute, seconds)
        loop.call_soon((is_over := asyncio.Event()).set)
        await is_over.wait()

    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(wait_for_the_callback())
        loop = runner.get_loop()
        assert isinstance(loop, WatchedLoop)
        return loop.blocked


def test_a_step_that_computes_for_too_long_is_reported() -> None:
    (found,) = blocked_by(1.5 * LIMIT_SECONDS)
    assert "s computed" in found
    assert "compute(" in found


def test_a_short_step_is_not_reported() -> None:
    assert blocked_by(0.3 * LIMIT_SECONDS) == []


def test_the_time_of_another_thread_is_not_that_of_the_loop() -> None:
    """The loop is asked for the time in the threads that look for addresses, too."""

    async def wait_for_a_thread() -> None:
        loop = asyncio.get_running_loop()

        def ask() -> None:
            time.sleep(0.01)  # until the loop would note the next time that anything asks for
            loop.time()

        await loop.run_in_executor(None, ask)
        loop.call_soon(time.sleep, 1.5 * LIMIT_SECONDS)
        loop.call_soon((is_over := asyncio.Event()).set)
        await is_over.wait()

    compute(2 * LIMIT_SECONDS)  # so that this thread has used more than the other one
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(wait_for_a_thread())
        loop = runner.get_loop()
        assert isinstance(loop, WatchedLoop)
        assert all(float(found.split()[0]) < LIMIT_SECONDS for found in loop.blocked)


def run_soon(callback: Any) -> None:
    async def step() -> None:
        asyncio.get_running_loop().call_soon(callback)
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        runner.run(step())


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match=r"call_soon\(\) of None"):
        run_soon(None)


def test_a_coroutine_that_nothing_awaits_is_reported() -> None:
    async def nobody_waits() -> None: ...

    with pytest.warns(RuntimeWarning, match="nobody_waits' was never awaited"):
        run_soon(nobody_waits)
