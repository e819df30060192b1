from __future__ import annotations

import pytest

from bulkdl.runtime.availability import Outage


def test_one_connection_that_cannot_be_made_is_an_outage() -> None:
    outage = Outage(give_up_after_seconds=900)
    assert outage.unreachable(10.0)
    assert outage.is_away
    assert outage.probe_at == 11.0


def test_failures_of_one_moment_do_not_delay_the_probe() -> None:
    outage = Outage(give_up_after_seconds=900)
    assert [outage.unreachable(10.0 + n / 100) for n in range(64)] == [True] + [False] * 63
    assert outage.probe_at == 11.0


def test_the_time_between_probes_grows_to_half_a_minute() -> None:
    outage, now, waits = Outage(give_up_after_seconds=900), 0.0, []
    for _ in range(8):
        outage.unreachable(now)
        waits.append(outage.probe_at - now)
        now = outage.probe_at
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_the_last_probe_is_not_missed() -> None:
    outage = Outage(give_up_after_seconds=10)
    now = 0.0
    while not outage.is_hopeless(now):
        outage.unreachable(now)
        now = outage.probe_at
    assert now == 10


@pytest.mark.parametrize(
    ("names", "is_away"),
    [(24, True), (8, True), (7, False), (1, False)],
    ids=["all different", "several of each", "a few instances", "one instance"],
)
def test_a_series_of_different_requests_without_an_answer_is_an_outage(*, names: int, is_away: bool) -> None:
    """A few instances that an archive can never deliver must not count as an outage."""
    outage = Outage(give_up_after_seconds=900)
    for number in range(24):
        outage.went_unanswered(f"instance {number % names}", 1.0)
    assert outage.is_away is is_away


def test_an_answer_ends_the_series() -> None:
    outage = Outage(give_up_after_seconds=900)
    for number in range(100):
        if number % 20 == 0:
            outage.answered()
        outage.went_unanswered(f"instance {number}", 1.0)
    assert not outage.is_away


def test_after_an_answer_the_probes_begin_anew() -> None:
    outage = Outage(give_up_after_seconds=900)
    for now in (0.0, 1.0, 3.0):
        outage.unreachable(now)
    outage.answered()
    outage.unreachable(100.0)
    assert outage.probe_at == 101.0
