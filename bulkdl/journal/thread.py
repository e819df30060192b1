"""A journal on a thread of its own: SQLite blocks, and a journal has one writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from bulkdl.journal.journal import Journal

Asked = ParamSpec("Asked")
Result = TypeVar("Result")


class JournalThread:
    """Carries questions and facts to the journal's thread, one after the other, in the order they were asked."""

    def __init__(self, journal: Journal, thread: ThreadPoolExecutor) -> None:
        self._journal = journal
        self._thread = thread

    async def __call__(
        self,
        method: Callable[Concatenate[Journal, Asked], Result],
        *arguments: Asked.args,
        **named: Asked.kwargs,
    ) -> Result:
        """Call a method of `Journal`, as in `await journal_thread(Journal.counts, run)`. It cannot be cancelled."""
        call = partial(method, self._journal, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


@asynccontextmanager
async def open_journal_thread(path: Path) -> AsyncIterator[JournalThread]:
    """The journal at `path`, made if it is not there; it is closed when the block ends, all facts in it.

    Raises:
        JournalError: it cannot be used.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, thread_name_prefix="bulkdl-journal") as thread:
        journal = await loop.run_in_executor(thread, Journal.create_or_open, path)
        try:
            yield JournalThread(journal, thread)
        finally:
            await asyncio.shield(loop.run_in_executor(thread, journal.close))
