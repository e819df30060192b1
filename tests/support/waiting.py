"""Wait for a state of another process or of the file system that sends no event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

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


def is_waiting(*names: str) -> bool:
    """Whether a task of this event loop waits in a coroutine with one of these names, `Class.method` or `function`."""
    return any(not names_of(task).isdisjoint(names) for task in asyncio.all_tasks())


def names_of(task: asyncio.Task[Any]) -> set[str]:
    """The names of the coroutines of a task, from the first to the one that waits."""
    inner: Any = task.get_coro()
    names = set[str]()
    while inner is not None:
        names.add(getattr(inner, "__qualname__", ""))
        inner = getattr(inner, "cr_await", None)
    return names


def wait_until(state: Callable[[], State], *, seconds: float = 30.0) -> State:
    """The same for programs without an event loop."""
    deadline = time.monotonic() + seconds
    while not (found := state()):
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(_EVERY_SECONDS)
    return found
