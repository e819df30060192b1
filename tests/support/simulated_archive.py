"""Archives in simulated time, to test limiters; all random numbers are seeded.

Up to K requests in flight (the knee) are served at full speed. Beyond that they queue: latency doubles at 2 K, and more
requests are refused with 503. Latencies and sizes are noisy. Some archives also limit requests per second and refuse
the others with 429.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from bulkdl.runtime.concurrency import Limiter, Sample
from bulkdl.runtime.rates import RequestRate

if TYPE_CHECKING:
    from collections.abc import Callable


def queueing(load: float) -> float:
    """The factor on latency at `load` (requests in flight, K is 1): a fair queue before a fixed number of servers."""
    return max(1.0, load)


def soft(load: float) -> float:
    """The same with a rounded knee."""
    rounded: float = (1 + load**3) ** (1 / 3)
    return rounded


def cliff(load: float) -> float:
    """Latency doubles at once above K."""
    return 1.0 if load <= 1 else 2.0


@dataclass
class Archive:
    """An archive in simulated time, kept busy by as many requests as the limiter allows."""

    knee: Callable[[float], int]
    latency_seconds: float = 0.1
    slowed: Callable[[float], float] = queueing
    size_bytes: int = 500_000
    noise: float = 0.4
    seed: int = 1
    most_requests: int = 10**9
    refuses: bool = True
    per_second: Callable[[float], float] | None = None


@dataclass
class Course:
    """The result of a simulation from `after` on. `best` is the result of the best fixed limit."""

    got: float = 0.0
    best: float = 0.0
    finished: int = 0
    refused: int = 0
    limit: int = 0
    most: int = 0

    @property
    def share(self) -> float:
        return self.got / self.best

    @property
    def refused_share(self) -> float:
        return self.refused / self.finished


def run(
    archive: Archive,
    limiter: Limiter,
    *,
    seconds: float,
    after: float,
    now: float = 0.0,
    pace: RequestRate | None = None,
) -> Course:
    """Let `limiter`, and `pace` if given, control the requests to `archive` until `seconds`."""
    chance = random.Random(archive.seed)  # noqa: S311 - no secret is made
    spread = archive.noise
    course = Course()
    under_way: list[tuple[float, int, float, bool, bool]] = []
    arrived: deque[float] = deque()  # in the second before
    numbers = count()
    best_load = max((load / 100 for load in range(1, 201)), key=lambda load: load / archive.slowed(load))
    while now < seconds:
        while len(under_way) < min(limiter.limit, archive.most_requests):
            load = (len(under_way) + 1) / archive.knee(now)
            refused = archive.refuses and load > 2
            begins = now + (pace.wait_seconds(now) if pace is not None else 0.0)
            throttled = not refused and archive.per_second is not None and _is_too_soon(arrived, begins, archive)
            takes = archive.latency_seconds * (0.3 if refused or throttled else archive.slowed(load))
            takes *= chance.lognormvariate(-spread * spread / 2, spread)
            heapq.heappush(under_way, (begins + takes, next(numbers), begins, refused, throttled))
        before, (now, _, began, refused, throttled) = now, heapq.heappop(under_way)
        if pace is not None:
            pace.refused(now, began=began) if throttled else pace.took(now)
        size = 0 if refused else int(archive.size_bytes * chance.lognormvariate(-spread * spread / 2, spread))
        if now >= after:
            rate = archive.knee(now) * best_load / archive.slowed(best_load) / archive.latency_seconds
            if archive.per_second is not None:
                rate = min(rate, archive.per_second(now))
            course.best += rate * (now - max(before, after))
            course.got += not (refused or throttled)
            course.finished += 1
            course.refused += refused or throttled
        limiter.record(
            Sample(now - began, size, refused=refused, throttled=throttled), in_flight=len(under_way), now=now
        )
        course.limit = limiter.limit
        course.most = max(course.most, limiter.limit)
        assert 1 <= limiter.limit <= limiter.ceiling
    return course


def _is_too_soon(arrived: deque[float], at: float, archive: Archive) -> bool:
    """Whether an archive with a limit per second refuses a request `at` this time."""
    assert archive.per_second is not None
    while arrived and arrived[0] <= at - 1.0:
        arrived.popleft()
    if len(arrived) >= archive.per_second(at):
        return True
    arrived.append(at)
    return False
