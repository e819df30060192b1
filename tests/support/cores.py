"""How long processes waited for a core, so that a deadline does not depend on what else the machine does."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from tests.support.processes import tree


class Cores:
    """The seconds for which this process, or a command with the processes of its tree, waited for a core."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._longest: dict[int, float] = {}

    def seconds_without(self) -> float:
        """So many so far: of this process, and of the one in the tree that waited longest, which others wait for."""
        for one in tree(self._pid):
            self._longest[one] = max(self._longest.get(one, 0.0), ready_seconds(one))  # 0 where it has just ended
        return ready_seconds(os.getpid()) + max(self._longest.values())


@asynccontextmanager
async def deadline(seconds: float, pid: int) -> AsyncIterator[None]:
    """As `asyncio.timeout`, for what a command and this process do; seconds without a core do not count."""
    async with asyncio.timeout(None) as limit:
        watching = asyncio.create_task(_expire(limit, seconds, Cores(pid)))
        try:
            yield
        finally:
            watching.cancel()


async def _expire(limit: asyncio.Timeout, seconds: float, cores: Cores) -> None:
    ends_at = time.monotonic() - cores.seconds_without() + seconds
    while (left := ends_at - time.monotonic() + cores.seconds_without()) > 0:  # noqa: ASYNC110 - no event says so
        await asyncio.sleep(left)
    limit.reschedule(0.0)


def ready_seconds(pid: int) -> float:
    """How long the thread of a process that waited longest was ready, without a core (`schedstat` of proc(5))."""
    longest = 0
    with suppress(OSError):  # processes and threads end while we look
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                longest = max(longest, int((task / "schedstat").read_text().split()[1]))
    return longest / 1e9
