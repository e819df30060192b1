"""How a blocking call waits for its async twin, where an event loop runs already, as in a notebook, too."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` to its end on an event loop of its own, and return its result.

    Where this thread runs a loop already, a second thread runs the other; the caller waits for it, and so does its
    loop. Ctrl-C cancels `work` and lets it end in good order.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bulkdl") as thread:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()
        ended = thread.submit(asyncio.run, _announced(work, started))
        try:
            return ended.result()
        except KeyboardInterrupt:
            loop, task = started.result()
            if task is not None and not ended.done():
                loop.call_soon_threadsafe(task.cancel)
            raise  # leaving the block waits for the thread


async def _announced(
    work: Coroutine[Any, Any, Result], started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]]
) -> Result:
    started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
    return await work
