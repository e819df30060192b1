"""How an event loop stays responsive while many tasks have work for it."""

from __future__ import annotations

import asyncio
from collections import deque


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
