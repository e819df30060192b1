"""Tasks: the one place that starts them. Every task has an owner that waits for it.

There are four forms: work over a bounded pool (`run_pool`), tasks that end together (`together`), a task that runs as
long as a block (`running_alongside`), and a group that can grow (`Tasks`). All follow the rules of `asyncio.TaskGroup`:
the first error cancels the other tasks and is raised from the block, and no task outlives the block. The error itself
is raised, not an exception group.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar, TypeVarTuple

Item = TypeVar("Item")
Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class Tasks(asyncio.TaskGroup):
    """A task group that tasks can join while it runs; the end of the block waits for all of them."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        first: BaseException | None = None
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            first = _first_of(group)
        if first is not None:
            raise first  # outside the handler, and not `from None`: its cause must stay

    def join(self, part: Coroutine[Any, Any, None], *, name: str | None = None) -> asyncio.Task[None]:
        """Start `part` as a task of the group."""
        return self.create_task(part, name=name or getattr(part, "__qualname__", None))


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            return _first_of(error)
        return error
    return group


async def run_pool(
    items: AsyncIterable[Item],
    work: Callable[[Item], Awaitable[None]],
    *,
    workers: int,
    ahead: int = 1,
    name: str = "worker",
) -> None:
    """Call `work` on every item, at most `workers` at a time.

    Workers take items when they are free, so a slow pool slows its source down, which is asked for up to `ahead` items
    that none has taken yet. Returns when the source has ended and the last item is done. An error of `work` stops the
    pool, so `work` has to record the failures that it expects.
    """
    queue: asyncio.Queue[tuple[Item] | None] = asyncio.Queue(maxsize=ahead)

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
            del taken  # an item may have a thousand instances, and this waits long for the next one

    async with Tasks() as tasks:
        tasks.join(feed(), name=f"{name}-feed")
        for number in range(workers):
            tasks.join(take(), name=f"{name}-{number}")


async def pool_results(
    items: AsyncIterable[Item],
    work: Callable[[Item, Callable[[Result], Awaitable[None]]], Awaitable[None]],
    *,
    workers: int,
    name: str = "worker",
) -> AsyncGenerator[Result, None]:
    """Call `work(item, emit)` on every item as `run_pool` does, and yield what the calls emit, in the order of arrival.

    `emit` waits until the result has been taken, so a slow consumer holds the pool back. What `work` raises is raised
    here, behind the results emitted before it. Closing the generator cancels the pool.
    """
    queue: asyncio.Queue[tuple[Result] | BaseException | None] = asyncio.Queue(maxsize=1)

    async def emit(result: Result) -> None:
        await queue.put((result,))

    async def run() -> None:
        try:
            await run_pool(items, lambda item: work(item, emit), workers=workers, name=name)
        except Exception as error:  # noqa: BLE001 - raised by the consumer, in its own task
            await queue.put(error)
        else:
            await queue.put(None)

    async with running_alongside(run()):
        while (taken := await queue.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            yield taken[0]


async def read_ahead(items: AsyncGenerator[Item, None]) -> AsyncGenerator[Item, None]:
    """Yield `items`; each is read while the one before it is processed. What they raise is raised here, behind them.

    Closing it closes `items`.
    """
    queue: asyncio.Queue[tuple[Item] | BaseException | None] = asyncio.Queue()

    async def read() -> None:
        try:
            async for item in items:
                queue.put_nowait((item,))
                await queue.join()  # until it was taken
        except Exception as error:  # noqa: BLE001 - raised by the consumer, in its own task
            queue.put_nowait(error)
        else:
            queue.put_nowait(None)

    async with aclosing(items), running_alongside(read()):
        while (taken := await queue.get()) is not None:
            if isinstance(taken, BaseException):
                raise taken
            queue.task_done()
            yield taken[0]


async def as_iterator(items: Iterable[Item]) -> AsyncGenerator[Item, None]:
    """Yield `items` asynchronously."""
    for item in items:
        yield item


async def together(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all parts concurrently and return when all have ended. The first error cancels the others."""
    async with Tasks() as tasks:
        for part in parts:
            tasks.join(part)


@asynccontextmanager
async def running_alongside(part: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `part` while the block runs. The end of the block cancels it and waits for it.

    An error of the task ends the block.
    """
    async with Tasks() as tasks:
        task = tasks.join(part)
        try:
            yield
        finally:
            task.cancel()


async def in_thread(
    call: Callable[[*Arguments], Result], *arguments: *Arguments, executor: Executor | None = None
) -> Result:
    """Run `call` in a thread. A caller that is cancelled waits nevertheless: it may close next what `call` uses."""
    running = asyncio.get_running_loop().run_in_executor(executor, call, *arguments)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise


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
    """The state of one stage of a pipeline, for the next one: whether there is new work, and whether more may follow.

    The next stage clears `changed`, looks for work, and only then waits for `changed`: so it misses nothing.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.has_ended = False

    def more(self) -> None:
        """There is new work."""
        self.changed.set()

    def end(self) -> None:
        """There will be no more work."""
        self.has_ended = True
        self.changed.set()
