from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import DiskFull
from bulkdl.runtime.tasks import (
    Stage,
    Tasks,
    as_iterator,
    first_set,
    pool_results,
    read_ahead,
    run_pool,
    running_alongside,
    together,
)
from tests.support.virtual_time import clock, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_item_is_processed_once(workers: int) -> None:
    async def main() -> None:
        done: list[int] = []

        async def work(number: int) -> None:
            await asyncio.sleep(number % 3)
            done.append(number)

        await run_pool(numbers(20), work, workers=workers)
        assert sorted(done) == list(range(20))

    run(main())


def test_no_more_items_are_processed_at_once_than_there_are_workers() -> None:
    async def main() -> None:
        busy, most = 0, 0

        async def work(_: int) -> None:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(1)
            busy -= 1

        await run_pool(numbers(20), work, workers=4)
        assert most == 4
        assert clock() == 5

    run(main())


def test_an_item_is_let_go_when_it_is_done() -> None:
    """Each worker of a pool kept its last item until it got another: a Series, of which a mirror has many."""

    class Thing:
        pass

    async def main() -> None:
        made: list[weakref.ref[Thing]] = []
        kept: list[int] = []

        async def things() -> AsyncIterator[Thing]:
            for _ in range(8):
                thing = Thing()
                made.append(weakref.ref(thing))
                yield thing
            await asyncio.sleep(10)
            kept.append(sum(thing() is not None for thing in made))

        async def work(_: Thing) -> None:
            await asyncio.sleep(1)

        await run_pool(things(), work, workers=4)
        assert kept == [1]  # the source has it

    run(main())


@pytest.mark.parametrize("ahead", [1, 5])
def test_a_slow_pool_slows_its_source_down(ahead: int) -> None:
    async def main() -> None:
        taken, done, furthest = 0, 0, 0

        async def source() -> AsyncIterator[int]:
            nonlocal taken
            for number in range(100):
                taken += 1
                yield number

        async def work(_: int) -> None:
            nonlocal done, furthest
            await asyncio.sleep(1)
            done += 1
            furthest = max(furthest, taken - done)

        await run_pool(source(), work, workers=3, ahead=ahead)
        assert furthest == 2 + ahead + 1  # still in hand, in the queue, and the one that waits to enter it

    run(main())


def test_an_error_stops_the_pool_and_is_raised_itself() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def source() -> AsyncIterator[int]:
            try:
                for number in range(100):
                    yield number
            finally:
                ended.append("source")

        async def work(number: int) -> None:
            if number == 3:
                raise DiskFull("full")
            try:
                await asyncio.sleep(1000)
            finally:
                ended.append("worker")

        with pytest.raises(DiskFull):
            await run_pool(source(), work, workers=4)
        assert sorted(ended) == ["source", "worker", "worker", "worker"]
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_an_error_of_the_source_stops_the_pool() -> None:
    async def main() -> None:
        async def source() -> AsyncIterator[int]:
            yield 1
            raise DiskFull("full")

        async def work(_: int) -> None:
            await asyncio.sleep(1000)

        with pytest.raises(DiskFull):
            await run_pool(source(), work, workers=2)

    run(main())


def test_an_error_keeps_its_cause() -> None:
    """The cause, an error of a library, shows a maintainer what happened."""

    async def main() -> None:
        cause = OSError(28, "no space")

        async def fail() -> None:
            raise DiskFull("full") from cause

        with pytest.raises(DiskFull) as caught:
            await together(fail())
        assert caught.value.__cause__ is cause

    run(main())


def test_the_first_error_is_raised() -> None:
    async def main() -> None:
        async def fail(after: float, error: Exception) -> None:
            try:
                await asyncio.sleep(after)
            finally:
                raise error

        with pytest.raises(DiskFull):
            await together(fail(2, ValueError("later")), fail(1, DiskFull("full")))

    run(main())


def test_a_cancelled_pool_leaves_nothing_behind() -> None:
    async def main() -> None:
        async def work(_: int) -> None:
            await asyncio.sleep(1000)

        pool = asyncio.ensure_future(run_pool(numbers(10), work, workers=3))
        await asyncio.sleep(1)
        pool.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pool
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_a_group_waits_for_tasks_that_joined_late() -> None:
    async def main() -> None:
        done: list[str] = []

        async def late() -> None:
            await asyncio.sleep(5)
            done.append("late")

        async with Tasks() as tasks:

            async def early() -> None:
                tasks.join(late())

            tasks.join(early())
        assert done == ["late"]

    run(main())


def test_a_task_alongside_ends_with_its_block() -> None:
    async def main() -> None:
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                ticks.append(clock())
                await asyncio.sleep(1)

        async with running_alongside(tick()):
            await asyncio.sleep(2.5)
        assert ticks == [0, 1, 2]
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_an_error_of_a_task_alongside_ends_the_block() -> None:
    async def main() -> None:
        async def fail() -> None:
            await asyncio.sleep(1)
            raise DiskFull("full")

        with pytest.raises(DiskFull):
            async with running_alongside(fail()):
                await asyncio.sleep(1000)
        assert clock() == 1

    run(main())


def test_an_error_of_the_block_ends_its_task() -> None:
    async def main() -> None:
        async def fail_beside_a_companion() -> None:
            async with running_alongside(asyncio.sleep(1000)):
                await asyncio.sleep(1)
                raise DiskFull("full")

        with pytest.raises(DiskFull):
            await fail_beside_a_companion()
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_the_first_event_is_enough() -> None:
    async def main() -> None:
        events = [asyncio.Event(), asyncio.Event()]
        asyncio.get_running_loop().call_later(3, events[1].set)
        await first_set(*events)
        assert clock() == 3
        assert len(asyncio.all_tasks()) == 1

    run(main())


def test_clearing_before_looking_misses_no_change() -> None:
    async def main() -> None:
        upstream, shelf, found = Stage(), list[int](), list[int]()

        async def look() -> None:
            while True:
                upstream.changed.clear()
                had_ended = upstream.has_ended
                while shelf:
                    found.append(shelf.pop(0))
                    await asyncio.sleep(1)
                if had_ended:
                    return
                await upstream.changed.wait()

        async def put() -> None:
            for number in range(20):
                shelf.append(number)
                upstream.more()
                await asyncio.sleep(number % 4)
            upstream.end()

        await together(look(), put())
        assert found == list(range(20))

    run(main())


# --- results of a pool ------------------------------------------------------------------------------------------------


async def emit_twice(item: int, emit: Callable[[int], Awaitable[None]]) -> None:
    await emit(item)
    await emit(-item)


async def test_results_are_yielded_as_they_come() -> None:
    found = [result async for result in pool_results(as_iterator([1, 2, 3]), emit_twice, workers=2)]
    assert sorted(found) == [-3, -2, -1, 1, 2, 3]


async def test_an_error_of_the_work_is_raised_behind_its_results() -> None:
    async def work(item: int, emit: Callable[[int], Awaitable[None]]) -> None:
        await emit(item)
        raise LookupError(item)

    async with aclosing(pool_results(as_iterator([7]), work, workers=1)) as results:
        assert await anext(results) == 7
        with pytest.raises(LookupError):
            await anext(results)


async def test_a_consumer_that_takes_nothing_holds_the_pool_back() -> None:
    begun: list[int] = []

    async def work(item: int, emit: Callable[[int], Awaitable[None]]) -> None:
        begun.append(item)
        await emit(item)

    async with aclosing(pool_results(as_iterator(range(100)), work, workers=1)) as results:
        await anext(results)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(begun) < 5


async def test_closing_ends_the_work() -> None:
    ended = asyncio.Event()

    async def work(item: int, emit: Callable[[int], Awaitable[None]]) -> None:
        await emit(item)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with aclosing(pool_results(as_iterator([1]), work, workers=1)) as results:
        await anext(results)
    assert ended.is_set()


# --- reading ahead ----------------------------------------------------------------------------------------------------


def test_each_item_is_read_while_the_one_before_it_is_processed() -> None:
    async def main() -> None:
        async def slow() -> AsyncGenerator[int, None]:
            for number in range(3):
                await asyncio.sleep(1)
                read.append(number)
                yield number

        read: list[int] = []
        seen: list[tuple[int, list[int]]] = []
        async with aclosing(read_ahead(slow())) as items:
            async for item in items:
                await asyncio.sleep(3)
                seen.append((item, list(read)))
        assert seen == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]
        assert clock() == 1 + 3 * 3

    run(main())


def test_what_reading_raises_comes_behind_the_items_before_it() -> None:
    async def main() -> None:
        async def failing() -> AsyncGenerator[int, None]:
            yield 1
            yield 2
            raise DiskFull("no space")

        seen: list[int] = []
        with pytest.raises(DiskFull):  # noqa: PT012 - the items before it count
            async for item in read_ahead(failing()):
                await asyncio.sleep(1)
                seen.append(item)
        assert seen == [1, 2]

    run(main())


def test_reading_ahead_ends_with_its_reader() -> None:
    async def main() -> None:
        closed: list[bool] = []

        async def endless() -> AsyncGenerator[int, None]:
            try:
                while True:
                    await asyncio.sleep(1)
                    yield 1
            finally:
                closed.append(True)

        async with aclosing(read_ahead(endless())) as items:
            assert await anext(items) == 1
        assert closed == [True]
        assert len(asyncio.all_tasks()) == 1

    run(main())
