"""Wait for a state of another process or of the file system that sends no event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

State = TypeVar("State")

_EVERY_SECONDS: Final = 0.005


async def until(state: Callable[[], State], *, seconds: float = 30.0) -> State:
    """Call `state` until its result is true, and return the result.

    Raises:
        TimeoutError: it is not true within `seconds`.
    """
    async with asyncio.timeout(seconds):
        while not (found := state()):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_EVERY_SECONDS)
    return found


def wait_until(state: Callable[[], State], *, seconds: float = 30.0) -> State:
    """The same for programs without an event loop."""
    deadline = time.monotonic() + seconds
    while not (found := state()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_EVERY_SECONDS)
    return found
