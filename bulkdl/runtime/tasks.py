"""Tasks: the one place that starts them, and every one has an owner that waits for it.

Four shapes are enough: work over a bounded pool (`run_pool`), things that end together (`together`), a task that lives
as long as a block (`running_alongside`), and a group that may grow (`Tasks`). All of them end by the rules of
`asyncio.TaskGroup`: the first error cancels the others and leaves the block; nothing outlives it. The error leaves
bare, not in a group: whoever called one thing gets one error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

Item = TypeVar("Item")


class Tasks:
    """A task group that tasks may join while it runs; leaving the block waits for all of them."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        first: BaseException | None = None
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            first = _first_of(group)
        if first is not None:
            raise first  # outside the handler, and not `from None`: its own cause must stay

    def join(self, part: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
        """Start `part` as a task of the group."""
        return self._group.create_task(part, name=name or getattr(part, "__qualname__", None))


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first_of(error)
        return error
    return group


async def run_pool(
    items: AsyncIterable[Item], work: Callable[[Item], Awaitable[None]], *, workers: int, name: str = "worker"
) -> None:
    """Call `work` on every item, at most `workers` at a time.

    The items are taken as workers come free, so a slow pool holds its source back. Returns when the source has ended
    and the last item is done. What `work` raises stops the pool; an expected failure is for `work` itself to record.
    """
    queue: asyncio.Queue[tuple[Item] | None] = asyncio.Queue(maxsize=1)

    async def feed() -> None:
        try:
            async for item in items:
                await queue.put((item,))
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        for _ in range(workers):
            await queue.put(None)

    async def take() -> None:
        while (taken := await queue.get()) is not None:
            await work(taken[0])

    async with Tasks() as tasks:
        tasks.join(feed(), name=f"{name}-feed")
        for number in range(workers):
            tasks.join(take(), name=f"{name}-{number}")


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all parts side by side, and return when all have. The first error cancels the others."""
    async with Tasks() as tasks:
        for part in parts:
            tasks.join(part)


@asynccontextmanager
async def running_alongside(part: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `part` while the block runs; it is cancelled, and waited for, when the block ends.

    An error of the task ends the block too.
    """
    async with Tasks() as tasks:
        task = tasks.join(part)
        try:
            yield
        finally:
            task.cancel()


async def first_set(*events: asyncio.Event) -> None:
    """Wait until one of `events` is set."""
    waiters = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)


class Stage:
    """What a stage knows of the one before it: that there is something new to look for, and whether more may come.

    Whoever looks clears `changed` first, looks, and only then waits for it: so no news is missed.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.has_ended = False

    def more(self) -> None:
        """There is something new to look for."""
        self.changed.set()

    def end(self) -> None:
        """No more will come."""
        self.has_ended = True
        self.changed.set()
