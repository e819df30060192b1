"""The coordinator's own duty: what was delivered is recorded, and counted, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from bulkdl.errors import DiskFull
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.journal.rows import Run
from bulkdl.model.events import ignore
from tests.support.journals import outcome

if TYPE_CHECKING:
    from bulkdl.journal.desk import JournalDesk


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


def coordinator(desk: JournalDesk | SlowDesk) -> Coordinator:
    run = Run(id=1, archive_id=1, selection_id=None)
    nobody: Any = None
    return Coordinator(desk, run, nobody, nobody, sink=ignore, stop=asyncio.Event())  # type: ignore[arg-type]


async def test_recording_that_is_cut_off_is_counted_all_the_same() -> None:
    desk = SlowDesk()
    made = coordinator(desk)
    await made._deliver(outcome(0, 0))
    recording = asyncio.ensure_future(made._record())
    await desk.began.wait()
    recording.cancel()
    desk.may_end.set()
    await made._record()
    assert made.outcomes.total() == 1


async def test_what_could_not_be_recorded_is_not_lost() -> None:
    desk = SlowDesk(failures=1)
    desk.may_end.set()
    made = coordinator(desk)
    await made._deliver(outcome(0, 0))
    with pytest.raises(DiskFull):
        await made._record()
    await made._record()
    assert made.outcomes.total() == 1
