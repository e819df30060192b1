"""A journal in its own thread, because SQLite blocks and a journal has one writer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from bulkdl.journal.journal import Journal

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class JournalThread:
    """Calls the methods of a journal in its thread, one after the other, in the order of the calls."""

    def __init__(self, journal: Journal, thread: ThreadPoolExecutor) -> None:
        self._journal = journal
        self._thread = thread

    async def __call__(
        self,
        method: Callable[Concatenate[Journal, Parameters], Result],
        *arguments: Parameters.args,
        **named: Parameters.kwargs,
    ) -> Result:
        """Call a method of `Journal`, as in `await journal_thread(Journal.counts, run)`. It ends once begun."""
        call = partial(method, self._journal, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


@asynccontextmanager
async def open_journal_thread(
    path: Path, opened: Callable[[Path], Journal] = Journal.create_or_open
) -> AsyncIterator[JournalThread]:
    """The journal at `path` as `opened` opens it, in its thread. It is closed when the block ends."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="bulkdl-journal") as thread:
        journal = await loop.run_in_executor(thread, opened, path)
        try:
            yield JournalThread(journal, thread)
        finally:
            await asyncio.shield(loop.run_in_executor(thread, journal.close))
