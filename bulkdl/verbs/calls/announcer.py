"""Announce how far a verb is that downloads nothing: a few times a second, however many steps there are."""

import time
from collections.abc import Callable
from typing import Final

from bulkdl.model.events import Sink, Working

_SECONDS: Final = 0.25


class Announcer:
    """Announces the steps of one task. `total` is 0 where it is not known; `unit` is the plural of what is counted."""

    def __init__(
        self, sink: Sink, task: str, total: int, unit: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._sink, self._task, self._total, self._unit, self._clock = sink, task, total, unit, clock
        self._done = 0
        self._announced: float | None = None

    def step(self, count: int = 1) -> None:
        """Count what is done now."""
        self._done += count
        now = self._clock()
        is_last = 0 < self._total <= self._done
        if self._announced is None or is_last or now - self._announced >= _SECONDS:
            self._announced = now
            self._sink(Working(self._task, self._done, self._total, self._unit))
