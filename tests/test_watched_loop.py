"""The watch over the event loop reports the steps that block."""

from __future__ import annotations

import asyncio
import time

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
