"""How busy a thread is: whether its own work, not the archive or the disk, is what everything waits for.

And how an event loop stays awake for the rest while much of that work is due.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 0.1
_BUSY_SHARE: Final = 0.85


class Load:
    """The load of the thread that asks, which must always be the same one.

    A thread counts as busy until a first window says otherwise: whoever asks is about to give it something to do.
    """

    def __init__(
        self, *, cpu: Callable[[], float] = time.thread_time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cpu = cpu
        self._clock = clock
        self._used, self._at = cpu(), clock()
        self._share = 1.0

    @property
    def is_busy(self) -> bool:
        """Whether the thread used nearly all of a core in the last window, of a tenth of a second or more."""
        now = self._clock()
        if now - self._at >= _WINDOW_SECONDS:
            used = self._cpu()
            self._share = (used - self._used) / (now - self._at)
            self._used, self._at = used, now
        return self._share >= _BUSY_SHARE


class OnePerLoopCycle:
    """Lets one task pass in each round of the event loop.

    Many bodies that arrive together would be dealt with in one round, of a tenth of a second and more; whatever else
    there is to do, such as feeding other processes, would come to its turn only between two of those.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def passed(self) -> None:
        """Return in a round in which nobody else passes; first come, first served."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            waiter = loop.create_future()
            self._waiting.append(waiter)
            await waiter
            return
        self._is_taken = True
        loop.call_soon(self._next_round, loop)

    def _next_round(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                loop.call_soon(self._next_round, loop)
                return
        self._is_taken = False
