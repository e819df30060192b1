"""Whether this process limits the speed, and how its event loop stays responsive while many tasks have work."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from typing import Final

if sys.platform == "linux":
    import resource

_THREADS: Final = Path("/proc/self/task")
_WINDOW_SECONDS: Final = 0.1
_BUSY_SHARE: Final = 0.85
# The work of a cycle of the event loop, in bytes of bodies, and what a body takes beside its bytes (measured: a small
# one takes a quarter of a millisecond, one of 500 KB a millisecond more).
_BYTES_PER_CYCLE: Final = 5 << 17
_BYTES_PER_BODY: Final = 1 << 17
_MOST_WAITING: Final = 2  # cycles


def times_waited() -> int:
    """How often the calling thread has waited: for a disk or a lock, but not for a core that another process uses.

    Where the system does not count it, another number at each call.
    """
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw if sys.platform == "linux" else time.perf_counter_ns()


def wanted_seconds() -> float:
    """How long the threads of this process have run, or waited for a core where the system (Linux) tells that.

    A container, or a machine that others use, may give a process a part of a core alone.
    """
    waited = 0
    for path in _THREADS.glob("*/schedstat"):
        with suppress(OSError):  # a thread has ended meanwhile
            waited += int(path.read_bytes().split()[1])
    return time.process_time() + waited / 1e9


class CpuLoad:
    """The load of this process, with all its threads: some hash and write large bodies.

    It counts as busy until the first window has ended: its caller is about to give it work.
    """

    def __init__(
        self, *, cpu: Callable[[], float] = wanted_seconds, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cpu = cpu
        self._clock = clock
        self._used, self._at = cpu(), clock()
        self._share = 1.0

    @property
    def is_busy(self) -> bool:
        """Whether it wanted nearly all of a core, or more, in the last window, of a tenth of a second or more."""
        now = self._clock()
        if now - self._at >= _WINDOW_SECONDS:
            used = self._cpu()
            self._share = (used - self._used) / (now - self._at)
            self._used, self._at = used, now
        return self._share >= _BUSY_SHARE


class WorkPerLoopCycle:
    """Lets tasks pass in a cycle of the event loop for about a millisecond of work: some small bodies, or a larger one.

    Otherwise many bodies that arrive together would be processed in one cycle, of a tenth of a second or more, and
    other work, such as feeding other processes, would have to wait for its end. A cycle for each small body would take
    more time, because each cycle asks the system what has arrived.
    """

    def __init__(self) -> None:
        self._given = 0  # to tasks of this cycle
        self._waiting: list[tuple[int, int, asyncio.Future[None], int]] = []  # a heap, by rank and arrival
        self._arrived = count()
        self._waiting_work = 0

    @property
    def is_behind(self) -> bool:
        """Whether the bodies that wait are work for some cycles: more of them would leave the cache of the core."""
        return self._waiting_work > _MOST_WAITING * _BYTES_PER_CYCLE

    async def passed(self, size_bytes: int = _BYTES_PER_CYCLE, *, rank: int = 0) -> None:
        """Return in a cycle that has time for a body of `size_bytes`, or in an empty one.

        Tasks pass in order; those of a lower `rank` come first, and those of another one in another cycle.
        """
        loop = asyncio.get_running_loop()
        work = size_bytes + _BYTES_PER_BODY
        if (self._waiting and self._waiting[0][0] <= rank) or not self._has_time(work):
            waiter = loop.create_future()
            heappush(self._waiting, (rank, next(self._arrived), waiter, work))
            self._waiting_work += work
            await waiter
            return
        if not self._given:
            loop.call_soon(self._next_cycle, loop)
        self._given += work

    def _has_time(self, work: int) -> bool:
        return not self._given or self._given + work <= _BYTES_PER_CYCLE

    def _next_cycle(self, loop: asyncio.AbstractEventLoop) -> None:
        self._given = 0
        lowest = self._waiting[0][0] if self._waiting else 0  # which may pass again in the same cycle
        while self._waiting and self._waiting[0][0] == lowest and self._has_time(self._waiting[0][-1]):
            _, _, waiter, work = heappop(self._waiting)
            self._waiting_work -= work
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                self._given += work
        if self._given or self._waiting:
            loop.call_soon(self._next_cycle, loop)
