"""Keep the last result of a query that may be slow, for callers that need it several times a second."""

import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

Answered = TypeVar("Answered")

_PAUSE: Final = 9.0
"""The pause before the next query, in multiples of what the last one took: queries take a tenth of the time."""


class RecentAnswer(Generic[Answered]):
    """The last answer of `ask`, which is called again when it is due. For one caller at a time."""

    def __init__(self, ask: Callable[[], Awaitable[Answered]], clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._answers: list[Answered] = []
        self._due_at = 0.0

    async def get(self) -> Answered:
        """The answer; raises what `ask` raises."""
        began = self._clock()
        if not self._answers or began >= self._due_at:
            self._answers = [await self._ask()]
            ended = self._clock()
            self._due_at = ended + _PAUSE * (ended - began)
        return self._answers[0]

    def forget(self) -> None:
        """Ask anew the next time, however recent the answer is."""
        self._answers = []
