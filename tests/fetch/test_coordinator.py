"""The coordinator records and counts every outcome, and gives out again what a worker gives back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bulkdl.archive.profiles import Profile
from bulkdl.errors import DiskFull
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import WorkerSettings
from bulkdl.journal.journal import Journal
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.access import Access
from bulkdl.model.events import RunContext
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.tasks import Stage
from bulkdl.store.files import MirrorFiles
from tests.support.journals import begin, record_listed
from tests.support.memory_archive import MemoryArchive


class SlowRecording:
    """A journal that records outcomes when it is allowed to, and fails `failures` times first."""

    def __init__(self, journal_thread: JournalThread, *, failures: int = 0) -> None:
        self.began, self.may_end = asyncio.Event(), asyncio.Event()
        self._journal_thread = journal_thread
        self._failures = failures

    async def __call__(self, method: Any, *arguments: Any, **named: Any) -> Any:
        if method is Journal.record_outcomes:
            self.began.set()
            await self.may_end.wait()
            if self._failures:
                self._failures -= 1
                raise DiskFull("no space for the journal")
        return await self._journal_thread(method, *arguments, **named)


@asynccontextmanager
async def coordinator(files: MirrorFiles, *, failures: int = 0) -> AsyncIterator[tuple[Coordinator, SlowRecording]]:
    """A coordinator of a run that owes one instance, which its archive does not have."""
    archive = MemoryArchive({})
    settings = WorkerSettings(
        profile=Profile("memory", archive.url, "nbia-v1"),
        access=Access(),
        root=files.root,
        fetch=FetchSettings(workers=1),
        share=Share(4),
    )
    with Journal.create_or_open(files.journal_path) as journal:
        run = begin(journal)
        record_listed(journal, run, 1, range(1))
    async with open_journal_thread(files.journal_path) as journal_thread:
        recording: Any = SlowRecording(journal_thread, failures=failures)
        yield Coordinator(recording, run, settings, archive, RunContext()), recording


def ended() -> Stage:
    """The end of resolving."""
    upstream = Stage()
    upstream.end()
    return upstream


async def test_work_that_is_given_back_while_the_journal_is_read_is_given_out_again(files: MirrorFiles) -> None:
    """A worker died while its work was skipped: the run must not end while an instance is owed."""
    async with coordinator(files) as (made, _):
        work = await anext(made.owed(ended()))
        again = asyncio.ensure_future(anext(made.owed(ended())))
        await asyncio.sleep(0)  # the journal is being read
        made.give_back(work.series_uid, len(work.entries))
        assert await again == work


async def test_outcomes_are_counted_if_the_run_is_cancelled_while_they_are_recorded(files: MirrorFiles) -> None:
    async with coordinator(files) as (made, recording):
        fetching = asyncio.ensure_future(made.fetch(ended()))
        await recording.began.wait()
        fetching.cancel()
        recording.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert made.outcomes.total() == 1


async def test_a_run_ends_with_its_last_outcome(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait until outcomes are recorded anyway, a part of a second later."""
    async with coordinator(files) as (made, recording):
        recording.may_end.set()
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ever ends
            await made.fetch(ended())
        assert made.outcomes.total() == 1


async def test_an_outcome_that_could_not_be_recorded_is_recorded_later(files: MirrorFiles) -> None:
    async with coordinator(files, failures=1) as (made, recording):
        recording.may_end.set()
        with pytest.raises(DiskFull):
            await made.fetch(ended())
        await made.fetch(ended(), only=())
        assert made.outcomes.total() == 1
