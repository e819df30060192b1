"""How an event loop stays responsive while many tasks have work for it."""

from __future__ import annotations

import asyncio
from collections import deque


class OnePerLoopCycle:
    """Lets one task pass in each cycle of the event loop.

    Otherwise many bodies that arrive together would be processed in one cycle, of a tenth of a second or more, and
    other work, such as feeding other processes, would have to wait for its end.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def passed(self) -> None:
        """Return in a cycle in which no other task passes; tasks pass in order."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            waiter = loop.create_future()
            self._waiting.append(waiter)
            await waiter
            return
        self._is_taken = True
        loop.call_soon(self._next_cycle, loop)

    def _next_cycle(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                loop.call_soon(self._next_cycle, loop)
                return
        self._is_taken = False
