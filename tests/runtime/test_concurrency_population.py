"""The limiter with simulated archives of different limits, latencies, sizes, noise and drift, all seeded.

They are 400, or 2,000 in `make fuzz`. A single archive may be a bad case. The tests state what users get: the limiter
converges for nearly all archives, starves none, never passes its ceiling (`run` checks every step), and recovers after
many refusals.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from bulkdl.runtime.concurrency import Limiter
from tests.support.simulated_archive import Archive, Course, cliff, queueing, run, soft
from tests.support.tracing import untraced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _no_coverage() -> Iterator[None]:
    """The limiter's lines are covered elsewhere; tracing these millions of steps takes three times as long."""
    with untraced():
        yield


BATCHES = pytest.mark.parametrize("batch", range(1 if settings().max_examples <= 100 else 10))
PER_BATCH = 100


def archives(batch: int, *, knee: Callable[[random.Random], Callable[[float], int]]) -> list[Archive]:
    made = []
    for seed in range(batch * PER_BATCH, (batch + 1) * PER_BATCH):
        chance = random.Random(seed)  # noqa: S311 - no secret is made
        made.append(
            Archive(
                knee(chance),
                latency_seconds=10 ** chance.uniform(-0.8, 0.2),
                slowed=chance.choice([queueing, soft, cliff]),
                size_bytes=int(10 ** chance.uniform(4, 5.5)),
                noise=chance.uniform(0, 0.5),
                seed=seed,
            )
        )
    return made


def drifting(chance: random.Random) -> Callable[[float], int]:
    knee, drift, period = 4 * 16 ** chance.random(), chance.choice([0, 0, 0.3]), chance.uniform(20, 60)
    return lambda now: max(1, round(knee * (1 + drift * math.sin(now / period))))


def stormy(chance: random.Random) -> Callable[[float], int]:
    knee = round(4 * 16 ** chance.random())
    return lambda now: 1 if now < 15 else knee


def median(courses: list[Course]) -> float:
    return sorted(course.share for course in courses)[len(courses) // 2]


@BATCHES
def test_it_converges_and_starves_no_archive(batch: int) -> None:
    courses = [
        run(archive, Limiter(ceiling=256), seconds=max(30.0, 200 * archive.latency_seconds), after=10.0)
        for archive in archives(batch, knee=drifting)
    ]
    assert median(courses) > 0.85
    assert min(course.share for course in courses) > 0.4
    assert sum(course.refused_share >= 0.02 for course in courses) <= PER_BATCH * 3 // 20
    assert sum(course.refused for course in courses) < 0.01 * sum(course.finished for course in courses)


@BATCHES
def test_it_recovers_from_a_storm(batch: int) -> None:
    courses = [run(archive, Limiter(ceiling=256), seconds=60, after=45) for archive in archives(batch, knee=stormy)]
    assert median(courses) > 0.7
    assert sorted(course.share for course in courses)[PER_BATCH // 10] > 0.25
