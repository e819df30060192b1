"""A slow question is asked for a tenth of the time at most, a quick one each time."""

from __future__ import annotations

import asyncio

import pytest

from bulkdl.runtime.recent_answer import RecentAnswer
from tests.support import virtual_time


@pytest.mark.parametrize(("answer_seconds", "asked"), [(2.0, 5), (0.0, 400)])
def test_a_question_costs_a_tenth_of_the_time_at_most(answer_seconds: float, asked: int) -> None:
    """It is wanted four times a second for a hundred seconds, beside the time that answers take."""

    async def main() -> list[int]:
        times: list[int] = []

        async def ask() -> int:
            await asyncio.sleep(answer_seconds)
            times.append(len(times))
            return len(times)

        recent = RecentAnswer(ask, virtual_time.clock)
        return [await recent.get() for _ in range(400) if await asyncio.sleep(0.25, result=True)]

    answers = virtual_time.run(main())
    assert answers == sorted(answers)
    assert answers[-1] == pytest.approx(asked, abs=1)


def test_an_answer_that_is_forgotten_is_asked_for_again() -> None:
    async def main() -> list[int]:
        numbers = iter(range(9))

        async def ask() -> int:
            await asyncio.sleep(1)
            return next(numbers)

        recent = RecentAnswer(ask, virtual_time.clock)
        answers = [await recent.get(), await recent.get()]
        recent.forget()
        return [*answers, await recent.get()]

    assert virtual_time.run(main()) == [0, 0, 1]
