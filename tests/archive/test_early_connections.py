"""Connections before the requests: which request gets each, and what happens to those that no request waits for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bulkdl.archive.early_connections import EarlyConnections
from bulkdl.errors import ConnectFailed
from bulkdl.runtime.tasks import Tasks

ORIGIN = "https://archive.example"


class Line:
    """Connections that are opened when `answers` says so: each is a number, or fails where it is None."""

    def __init__(self) -> None:
        self.answers: asyncio.Queue[int | None] = asyncio.Queue()
        self.kept: list[int] = []

    async def connect(self, _: str) -> int:
        if (number := await self.answers.get()) is None:
            raise ConnectFailed("refused")
        return number


@asynccontextmanager
async def early(line: Line, connections: int) -> AsyncIterator[EarlyConnections[str, int]]:
    async with Tasks() as tasks:
        opened = EarlyConnections(tasks, line.connect, line.kept.append)
        opened.open(ORIGIN, connections)
        await asyncio.sleep(0)
        yield opened
        opened.close()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_get_them_in_order_and_the_rest_is_kept() -> None:
    line = Line()
    async with early(line, 3) as opened:
        waiting = [asyncio.ensure_future(opened.next(ORIGIN)) for _ in range(2)]
        await asyncio.sleep(0)
        for number in (1, 2, 3):
            line.answers.put_nowait(number)
        assert await asyncio.gather(*waiting) == [1, 2]
        await _settle()
        assert (line.kept, opened.under_way(ORIGIN)) == ([3], 0)


async def test_no_request_waits_for_one_that_another_gets() -> None:
    line = Line()
    async with early(line, 1) as opened:
        first = asyncio.ensure_future(opened.next(ORIGIN))
        await asyncio.sleep(0)
        assert await opened.next(ORIGIN) is None
        assert await opened.next("https://elsewhere.example") is None
        line.answers.put_nowait(1)
        assert await first == 1


async def test_one_that_fails_sends_its_request_away() -> None:
    line = Line()
    async with early(line, 1) as opened:
        waiting = asyncio.ensure_future(opened.next(ORIGIN))
        await asyncio.sleep(0)
        line.answers.put_nowait(None)
        assert await waiting is None
        assert line.kept == []


@pytest.mark.parametrize("has_arrived", [False, True], ids=["before", "after it was handed over"])
async def test_a_request_that_is_cancelled_leaves_its_connection(has_arrived: bool) -> None:  # noqa: FBT001 - a case
    line = Line()
    async with early(line, 1) as opened:
        waiting = asyncio.ensure_future(opened.next(ORIGIN))
        await asyncio.sleep(0)
        if has_arrived:
            line.answers.put_nowait(1)
            await asyncio.sleep(0)
            assert (opened.under_way(ORIGIN), waiting.done()) == (0, False)
            waiting.cancel()
        else:
            waiting.cancel()
            await asyncio.sleep(0)
            line.answers.put_nowait(1)
        await _settle()
        assert waiting.cancelled()
        assert line.kept == [1]


async def test_closing_ends_what_is_under_way() -> None:
    line = Line()
    async with early(line, 2) as opened:
        waiting = asyncio.ensure_future(opened.next(ORIGIN))
        await asyncio.sleep(0)
        opened.close()
        assert await waiting is None
        assert opened.under_way(ORIGIN) == 0
