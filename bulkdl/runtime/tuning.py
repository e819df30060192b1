"""Settings of a whole process that runs for days: for processes of our own, never for a library in somebody else's.

The first keep memory flat, on Linux with glibc; elsewhere nothing needs to be done, or can be. Bodies of all sizes come
and go in several threads. glibc answers by raising the size above which it gives memory back at once, and by a heap for
each thread, and its heaps fray: measured, a mirror's resident size grew by 10 MB for each 30,000 instances while Python
held no more objects than before. With these three settings it stays where it was. The two sizes are larger than any
body that is held in memory: taken from the system and given back each time, its pages would cost more than its bytes
(measured, CT slices on loopback: half of the system time).

The last lets the event loop have the interpreter back soon: after each of its system calls it would otherwise wait for
5 ms while another thread computes (observed: requests went out at 200 a second while a thread imported pydicom).
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Final

# Parameters of mallopt(3), and what we set them to.
_TRIM_THRESHOLD: Final = (-1, 1 << 25)
_MMAP_THRESHOLD: Final = (-3, 1 << 22)
_ARENA_MAX: Final = (-8, 2)
_SWITCH_SECONDS: Final = 0.0005


def tune_process() -> None:
    """Set the allocator and the interpreter lock of this process for a run of days."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - wanted by long runs alone

    with suppress(OSError, AttributeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        for option, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX):
            set_option(option, value)
