"""The coordinator records and counts every delivered outcome, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from bulkdl.errors import DiskFull
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.journal.rows import Run
from bulkdl.model.context import RunContext
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.settings import Transport
from bulkdl.runtime.tasks import Stage
from tests.support.journals import listed, outcome, series_uid, sop_uid

if TYPE_CHECKING:
    from bulkdl.journal.thread import JournalThread


RUN = Run(id=1, archive_id=1, selection_id=None)


class SlowDesk:
    """A journal that takes its time, and may fail at first."""

    def __init__(self, failures: int = 0) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self._failures = failures

    async def __call__(self, *_: Any) -> None:
        self.began.set()
        await self.may_end.wait()
        if self._failures:
            self._failures -= 1
            raise DiskFull("no room for the journal")


def coordinator(journal_thread: JournalThread | SlowDesk) -> Coordinator:
    nobody: Any = None
    return Coordinator(journal_thread, RUN, nobody, nobody, RunContext())  # type: ignore[arg-type]


async def test_what_is_given_back_while_the_journal_is_read_is_given_out_again() -> None:
    """A worker dies while its work is skipped as in progress: the run must not end while that is owed."""
    entry = listed(sop_uid(0, 0))
    work = SeriesWork(series_uid=series_uid(0), study_uid=None, folder="f", entries=(entry,), names=("n",))
    settings = SimpleNamespace(fetch=SimpleNamespace(transport=Transport.AUTO))

    async def journal_thread(*_: Any, **__: Any) -> tuple[list[SeriesWork], None]:
        if made._in_hand:
            made._give_back(work, 0)
        return [work], None

    made = Coordinator(journal_thread, RUN, settings, None, RunContext())  # type: ignore[arg-type]
    made._in_hand[work.series_uid] = 1
    upstream = Stage()
    upstream.end()
    assert await anext(made._owed(upstream)) == work


async def test_recording_that_is_cut_off_is_counted_all_the_same() -> None:
    journal_thread = SlowDesk()
    made = coordinator(journal_thread)
    await made._deliver(outcome(0, 0))
    recording = asyncio.ensure_future(made._record())
    await journal_thread.began.wait()
    recording.cancel()
    journal_thread.may_end.set()
    await made._record()
    assert made.outcomes.total() == 1


async def test_what_could_not_be_recorded_is_not_lost() -> None:
    journal_thread = SlowDesk(failures=1)
    journal_thread.may_end.set()
    made = coordinator(journal_thread)
    await made._deliver(outcome(0, 0))
    with pytest.raises(DiskFull):
        await made._record()
    await made._record()
    assert made.outcomes.total() == 1
