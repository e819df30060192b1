"""Whether a thread's own work limits the speed, and how its event loop stays responsive while many tasks have work."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Final

if sys.platform == "linux":
    import resource

_WINDOW_SECONDS: Final = 0.1
_BUSY_SHARE: Final = 0.85


def times_waited() -> int:
    """How often the calling thread has waited: for a disk or a lock, but not for a core that another process uses.

    Where the system does not count it, another number at each call.
    """
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if sys.platform == "linux" else time.perf_counter_ns()


class CpuLoad:
    """The load of the calling thread, which must always be the same one.

    A thread counts as busy until the first window has ended: its caller is about to give it work.
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
