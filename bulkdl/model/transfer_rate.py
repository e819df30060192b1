"""How fast a total grows, and how long the rest takes. Pure but for its clock."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

Clock = Callable[[], float]

SHOWN_SECONDS: Final = 10.0
"""A rate that is shown covers so much time."""
ESTIMATE_SECONDS: Final = 30.0
"""A rate that predicts covers so much time: one slow instance must not change the remaining time."""


class TransferRate:
    """The growth of a total per second, over the last `seconds`, and its highest value.

    The total is `first` when the object is made.
    """

    def __init__(self, clock: Clock = time.monotonic, *, first: int = 0, seconds: float = SHOWN_SECONDS) -> None:
        self._clock = clock
        self._seconds = seconds
        self._seen: deque[tuple[float, int]] = deque([(clock(), first)])
        self.peak = 0.0

    def add(self, total: int) -> None:
        """Note that the total is `total` now."""
        now = self._clock()
        self._seen.append((now, total))
        while len(self._seen) > 2 and now - self._seen[1][0] >= self._seconds:  # noqa: PLR2004 - a difference needs two
            self._seen.popleft()
        if now - self._seen[0][0] >= min(1.0, self._seconds):  # a burst of milliseconds is not a rate
            self.peak = max(self.peak, self.per_second())

    def per_second(self) -> float:
        """The growth per second; 0 before time has passed."""
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0


class RemainingTime:
    """How long a download still takes: by its bytes where all sizes are known, else by the number of instances.

    Instances of one run differ in size a thousand times, so their number is the second choice.
    """

    def __init__(self, clock: Clock = time.monotonic, *, first_bytes: int = 0, first_instances: int = 0) -> None:
        self._bytes = TransferRate(clock, first=first_bytes, seconds=ESTIMATE_SECONDS)
        self._instances = TransferRate(clock, first=first_instances, seconds=ESTIMATE_SECONDS)

    def add(self, bytes_fetched: int, instances_ended: int) -> None:
        """Note what has arrived so far."""
        self._bytes.add(bytes_fetched)
        self._instances.add(instances_ended)

    def seconds(self, *, bytes_left: int | None, instances_left: int) -> float | None:
        """Seconds for the rest; None where nothing is known of the rate."""
        if bytes_left is not None and instances_left:
            left, per_second = bytes_left, self._bytes.per_second()
        else:
            left, per_second = instances_left, self._instances.per_second()
        if not left:
            return 0.0
        return left / per_second if per_second > 0 else None
