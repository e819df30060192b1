"""A rate covers the last seconds, and the remaining time follows from bytes, else from counts."""

from __future__ import annotations

from itertools import accumulate

import pytest

from bulkdl.model.transfer_rate import RemainingTime, TransferRate
from tests.support.clocks import HandMovedClock


def test_a_rate_covers_the_last_ten_seconds() -> None:
    clock = HandMovedClock()
    rate = TransferRate(clock)
    assert rate.per_second() == 0
    total = 0
    for second in range(1, 31):
        clock.now += 1
        total += 1000 if second <= 15 else 3000
        rate.add(total)
    assert rate.per_second() == 3000
    assert rate.peak == 3000


def test_a_burst_of_milliseconds_does_not_count_as_peak() -> None:
    clock = HandMovedClock()
    rate = TransferRate(clock)
    clock.now += 0.001
    rate.add(1_000_000)
    assert rate.peak == 0
    clock.now += 1.999
    rate.add(1_000_000)
    assert rate.peak == 500_000


def test_the_remaining_time_follows_from_bytes_where_all_sizes_are_known() -> None:
    clock = HandMovedClock()
    remaining = RemainingTime(clock)
    assert remaining.seconds(bytes_left=10, instances_left=5) is None
    clock.now += 2
    remaining.add(1000, 50)
    assert remaining.seconds(bytes_left=10_000, instances_left=5) == 20
    assert remaining.seconds(bytes_left=None, instances_left=50) == 2
    assert remaining.seconds(bytes_left=None, instances_left=0) == 0


@pytest.mark.parametrize("sizes", [[5_000] * 52 + [2_200_000] * 10, [2_200_000] * 10 + [5_000] * 52])
def test_the_remaining_time_is_true_from_a_third_on_and_bytes_never_stand_still(sizes: list[int]) -> None:
    """A run of 52 tiny and 10 large instances at 500 kB/s, one after the other, measured four times a second."""
    clock = HandMovedClock()
    remaining = RemainingTime(clock)
    begin, bytes_per_second, total = clock.now, 500_000, sum(sizes)
    ends = [size / bytes_per_second for size in accumulate(sizes)]
    duration, before = total / bytes_per_second, -1
    while (elapsed := clock.now + 0.25 - begin) < duration:
        clock.now += 0.25
        fetched = int(elapsed * bytes_per_second)
        assert fetched > before
        before, ended = fetched, sum(end <= elapsed for end in ends)
        remaining.add(fetched, ended)
        left = remaining.seconds(bytes_left=total - fetched, instances_left=len(sizes) - ended)
        if elapsed >= duration / 3:
            assert left == pytest.approx(duration - elapsed, rel=0.2)
