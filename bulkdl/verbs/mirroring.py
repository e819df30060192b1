"""`mirroring`: a run of `mirror` as an asynchronous iterator of the Series that it completes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.completed_series import CompletedHandler, CompletedSeries
from bulkdl.model.events import Sink, ignore
from bulkdl.model.reports.run import RunReport
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.tasks import Tasks
from bulkdl.verbs.calls.signatures import Given, Paths
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.mirror import mirror_selection
from bulkdl.verbs.runs.options import context_of
from bulkdl.verbs.select import Wanted, choose_selection

_MOST_WAITING: Final = 1_000  # completed Series; of more, the run keeps only the UIDs


class MirroringRun:
    """A run of `mirror`. Iterate over it for the Series that it completes, each once."""

    def __init__(self) -> None:
        self._report: RunReport | None = None
        self._completed = asyncio.Queue[CompletedSeries | None](_MOST_WAITING)
        self._is_left = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CompletedSeries:
        completed = await self._completed.get()
        if completed is None:
            self._completed.put_nowait(None)  # for the next one who asks
            raise StopAsyncIteration
        return completed

    @property
    def report(self) -> RunReport:
        """The report of the run, behind the block. Raises RuntimeError: the run has not ended, or it failed."""
        if self._report is None:
            raise RuntimeError("the run has no report before its end")
        return self._report

    async def _put(self, completed: CompletedSeries | None) -> None:
        if not self._is_left:
            await self._completed.put(completed)

    def _leave(self) -> None:
        """No further Series is taken."""
        self._is_left = True
        while not self._completed.empty():
            self._completed.get_nowait()


@asynccontextmanager
async def mirroring(
    selection: Wanted = None,
    *,
    to: Paths,
    layout: str | None = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    **criteria: Given,
) -> AsyncIterator[MirroringRun]:
    """Mirror as `mirror_async` does, and hand out each Series as soon as all of it is in the mirror.

        async with bulkdl.mirroring("TCGA-GBM", to="gbm") as run:
            async for completed in run:
                print(completed.folder, completed.series.modality)
        print(run.report.outcome)

    Only Series that this run completes are handed out, not those that were complete before. The download goes on
    meanwhile.
    Leaving the block before its end stops the run within seconds, as interrupted; everything finished is kept.
    Raises what `mirror_async` raises, at the end of the block.
    """
    stop, run = asyncio.Event(), MirroringRun()
    wanted = choose_selection(selection, criteria, sink)
    context = context_of({"settings": settings, "sink": sink, "stop": stop})
    context = replace(context, completed=CompletedHandler(run._put))  # noqa: SLF001 - of this module

    choice = choose_archive(archive)

    async def work() -> None:
        try:
            run._report = await mirror_selection(wanted, Path(to), layout, choice, context)  # noqa: SLF001 - as above
        finally:
            await run._put(None)  # noqa: SLF001 - of this module

    async with Tasks() as tasks:
        working = tasks.join(work(), name="mirroring")
        try:
            yield run
        finally:
            if not working.done():
                stop.set()
            run._leave()  # noqa: SLF001 - of this module
