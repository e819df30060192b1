"""The journal's thread runs one call after the other, and ends with the block."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import JournalError
from bulkdl.journal.journal import Journal
from bulkdl.journal.thread import open_journal_thread
from tests.support.journals import begin, record_listed

if TYPE_CHECKING:
    from pathlib import Path


async def test_calls_run_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    ran: list[int] = []

    def note(_: Journal, number: int) -> None:
        ran.append(number)

    async with open_journal_thread(tmp_path / "journal.sqlite") as journal_thread:
        await asyncio.gather(*(journal_thread(note, number) for number in range(20)))
    assert ran == list(range(20))


async def test_a_call_that_has_begun_is_carried_out_though_its_caller_is_cancelled(tmp_path: Path) -> None:
    began, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def slow(_: Journal) -> None:
        began.set()
        may_end.wait()
        ended.set()

    async with open_journal_thread(tmp_path / "journal.sqlite") as journal_thread:
        call = asyncio.ensure_future(journal_thread(slow))
        await asyncio.to_thread(began.wait)
        call.cancel()
        may_end.set()
        await journal_thread(Journal.last_run)
        assert ended.is_set()


async def test_an_error_reaches_the_caller_and_the_thread_continues(tmp_path: Path) -> None:
    async with open_journal_thread(tmp_path / "journal.sqlite") as journal_thread:
        run = await journal_thread(begin)
        with pytest.raises(JournalError, match="not in the journal"):
            await journal_thread(Journal.record_instances, run, "1.2", [], [])  # type: ignore[arg-type]
        await journal_thread(record_listed, run, 1, range(2))
        assert (await journal_thread(Journal.counts, run)).owed == 2


async def test_the_journal_is_closed_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"

    async def fail() -> None:
        async with open_journal_thread(path) as journal_thread:
            await journal_thread(begin)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    Journal.create_or_open(path).close()
