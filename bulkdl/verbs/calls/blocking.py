"""The blocking twins of the verbs, which also work where an event loop runs already, as in a notebook."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from bulkdl.verbs.calls.signatures import full_signature

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def blocking(verb: Callable[Parameters, Coroutine[Any, Any, Result]]) -> Callable[Parameters, Result]:
    """The twin of `verb` that waits for its result; its name is that of `verb` without `_async`.

    In a notebook, a verb that has events shows them as a bar, unless the caller gives a `sink`.
    """
    has_events = "sink" in signature(verb).parameters

    @wraps(verb)
    def twin(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not (has_events and "sink" not in kwargs and is_in_notebook()):
            return wait_for(verb(*args, **kwargs))
        from bulkdl.progress.display import notebook_display  # noqa: PLC0415 - late: only notebooks need it

        with notebook_display(sys.stderr) as sink:
            kwargs["sink"] = sink
            return wait_for(verb(*args, **kwargs))

    _name(twin, verb)
    return twin


def blocking_block(
    verb: Callable[Parameters, AbstractAsyncContextManager[Result]],
) -> Callable[Parameters, AbstractContextManager[Result]]:
    """The twin of an asynchronous context manager: its loop runs in a second thread until the block ends."""

    @contextmanager
    @wraps(verb)
    def twin(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Iterator[Result]:
        entered: Future[tuple[Result, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

        async def hold() -> None:
            async with verb(*args, **kwargs) as value:
                leave = asyncio.Event()
                entered.set_result((value, asyncio.get_running_loop(), leave))
                await leave.wait()

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bulkdl") as thread:
            ended = thread.submit(asyncio.run, hold())
            either: list[Future[Any]] = [entered, ended]
            wait(either, return_when=FIRST_COMPLETED)
            if not entered.done():
                ended.result()  # raises what prevented the start
            value, loop, leave = entered.result()
            try:
                yield value
            finally:
                if not ended.done():
                    loop.call_soon_threadsafe(leave.set)
                ended.result()

    _name(twin, verb)
    return twin


def is_in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    return type(shell).__name__ in {"ZMQInteractiveShell", "Shell"}  # of Jupyter, and of Colab


def _name(twin: Callable[..., Any], verb: Callable[..., Any]) -> None:
    verb.__signature__ = twin.__signature__ = full_signature(verb)  # type: ignore[attr-defined] # what help() shows
    twin.__name__ = verb.__name__.removesuffix("_async")
    twin.__qualname__ = twin.__name__


def wait_for(work: Coroutine[Any, Any, Result]) -> Result:
    """Run `work` on a new event loop, and return its result.

    Where this thread runs a loop already, a second thread runs the other one; the caller and its loop wait. Ctrl-C
    cancels `work` and waits until it has ended.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="bulkdl") as thread:
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]] = Future()

        async def announce() -> Result:
            started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
            return await work

        ended = thread.submit(asyncio.run, announce())
        try:
            return ended.result()
        except KeyboardInterrupt:
            loop, task = started.result()
            if task is not None and not ended.done():
                loop.call_soon_threadsafe(task.cancel)
            raise  # leaving the block waits for the thread
