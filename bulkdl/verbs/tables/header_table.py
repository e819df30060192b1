"""The table `headers`: chosen attributes of every held instance, read from the files in processes.

What was read is kept in the journal with the time of the file, so the next table reads only what is new. It is not kept
while another process works on the mirror, nor where the mirror cannot be written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from bulkdl.errors import DiskError, Interrupted, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.ids import is_plain_file
from bulkdl.runtime.processes import READER_DIED, AnsweringProcesses
from bulkdl.runtime.tasks import as_iterator, run_pool
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.mirrors.folders import require_mirror, require_settled

COLUMNS: Final = ("series_uid", "sop_uid", "path", "error")
"""The columns before those of the keywords. `error` says why a file could not be read."""

_PROGRAM: Final = "bulkdl.verbs.tables.header_main"
_PAGE: Final = 4_000  # instances in memory
_FILES_AT_ONCE: Final = 250  # that a process reads for one question

Tell: TypeAlias = Callable[[str, str], None]
Values: TypeAlias = dict[str, str] | str
"""The values of one file by keyword, or why it could not be read."""


async def read_headers(
    root: Path, keywords: Sequence[str], tell: Tell, stop: asyncio.Event
) -> AsyncGenerator[list[dict[str, Any]], None]:
    """Yield the rows of the table in pages, in the order of the journal.

    `tell` gets the path of each file that cannot be read, and why.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        Interrupted: `stop` was set.
    """
    async with _opened(root) as (journal, keeps), AnsweringProcesses(_PROGRAM) as processes:
        readers = _Readers(root, tuple(keywords), processes)
        after: tuple[int, str] | None = None
        while page := await journal(Journal.held, after=after, limit=_PAGE):
            after, is_last = (page[-1].series_id, page[-1].sop_uid), len(page) < _PAGE
            page = [held for held in page if not is_plain_file(held.path)]
            known = await journal(Journal.headers, page, keywords)
            missing = [held for held in page if held.path not in known]
            read = await readers.read(missing) if missing else {}
            if stop.is_set():
                raise Interrupted("the table is not complete")
            if keeps and read:
                await journal(Journal.keep_headers, [(held, read[held.path]) for held in missing], keywords)
            yield [_row(held, {**known, **read}[held.path], tell) for held in page]
            if is_last:
                return


def _row(held: HeldInstance, values: Values, tell: Tell) -> dict[str, Any]:
    row = dict(zip(COLUMNS, (held.series_uid, held.sop_uid, held.path, None), strict=True))
    if isinstance(values, str):
        tell(held.path, values)
        return {**row, "error": values}
    return {**row, **values}


@asynccontextmanager
async def _opened(root: Path) -> AsyncIterator[tuple[JournalThread, bool]]:
    """The journal, and whether it may be written: this process has the mirror for itself then."""
    path = require_mirror(root)
    async with AsyncExitStack() as stack:
        keeps = True
        try:
            stack.enter_context(lock_mirror(root, "export"))
        except (MirrorLocked, DiskError):
            keeps = False
        opener = Journal.create_or_open if keeps else Journal.open_readonly
        journal = await stack.enter_async_context(open_journal_thread(path, opener))
        await journal(lambda opened: require_settled(root, opened))
        yield journal, keeps


class _Readers:
    """Reads the attributes `keywords` of files of the mirror at `root` in `processes`."""

    def __init__(self, root: Path, keywords: tuple[str, ...], processes: AnsweringProcesses) -> None:
        self._root = root
        self._keywords = keywords
        self._processes = processes

    async def read(self, held: Sequence[HeldInstance]) -> dict[str, Values]:
        """The values of files by their paths in the mirror."""
        paths = [one.path for one in held]
        batches = [paths[at : at + _FILES_AT_ONCE] for at in range(0, len(paths), _FILES_AT_ONCE)]
        found: dict[str, Values] = {}

        async def read_batch(batch: list[str]) -> None:
            found.update(zip(batch, await self._read_batch(batch), strict=True))

        async with aclosing(as_iterator(batches)) as waiting:
            await run_pool(waiting, read_batch, workers=self._processes.at_once, name="headers")
        return found

    async def _read_batch(self, paths: Sequence[str]) -> Sequence[Values]:
        absolute = [str(self._root / path) for path in paths]
        answers = await self._processes.ask_about(absolute, lambda files: (files, self._keywords))
        return [values for _, answer in answers for values in ([READER_DIED] if answer is None else answer)]
