"""How many cores this process may use: on a cluster or in a container that is a part of those of the machine."""

from __future__ import annotations

import os
import sys
from math import ceil
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # of a container, which sees its own control group as the root


def usable_cores(*, quota: Path = _QUOTA) -> int:
    """The cores that the scheduler may give to this process, as `taskset` and batch systems restrict them.

    At most as many as the `quota` of processor time of a container makes up, if there is one. Source: the manual of the
    Linux kernel, "Control Group v2", cpu.max.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
        return max(1, min(cores, ceil(int(most) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # there is no such file, or it says `max`
        return cores
