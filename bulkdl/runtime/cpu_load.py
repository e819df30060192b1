"""How busy a thread is: whether its own work, and not the archive or the disk, limits the speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

_WINDOW_SECONDS: Final = 0.1
_BUSY_SHARE: Final = 0.85


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
