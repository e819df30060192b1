"""The limiter against simulated archives; the rate limit and the outage by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkdl.runtime.concurrency import ByteRate, Limiter, Outage, Sample
from tests.support.simulated_archive import Archive, cliff, queueing, run, soft

if TYPE_CHECKING:
    from collections.abc import Callable

SIMULATED = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


KNEES = pytest.mark.parametrize("knee", [4, 6, 10, 16, 27, 40, 64])


@KNEES
@pytest.mark.parametrize(("slowed", "share"), [(queueing, 0.85), (soft, 0.85), (cliff, 0.75)])
def test_it_finds_the_knee_of_an_archive(knee: int, slowed: Callable[[float], float], share: float) -> None:
    course = run(Archive(lambda _: knee, slowed=slowed), Limiter(ceiling=256), seconds=90, after=30)
    assert course.share >= share
    assert course.refused_share < 0.02


@SIMULATED
@given(before=st.integers(4, 64), then=st.integers(4, 64), noise=st.floats(0, 0.5), seed=st.integers(0, 10**6))
def test_it_follows_an_archive_that_changes(before: int, then: int, noise: float, seed: int) -> None:
    archive = Archive(lambda now: before if now < 40 else then, noise=noise, seed=seed)
    course = run(archive, Limiter(ceiling=256), seconds=160, after=100)
    assert course.share >= 0.85
    assert course.refused_share < 0.02


def test_it_opens_up_for_small_objects_over_a_long_line() -> None:
    """More in flight is all that helps where 80 ms pass before a small answer."""
    archive = Archive(lambda _: 10_000, latency_seconds=0.08, size_bytes=60_000)
    course = run(archive, Limiter(ceiling=256), seconds=15, after=4)
    assert course.got / (15 - 4) >= 0.85 * 256 / 0.08


def test_it_does_not_crowd_a_line_that_is_full() -> None:
    """On loopback a dozen requests saturate a core; hundreds would only wait, and hold memory."""
    archive = Archive(lambda _: 10, latency_seconds=0.005, refuses=False)
    limiter = Limiter(ceiling=256)
    course = run(archive, limiter, seconds=20, after=4)
    assert course.share >= 0.95
    assert course.limit <= 20


def test_bodies_in_flight_fit_in_memory() -> None:
    archive = Archive(lambda _: 10_000, latency_seconds=1.0, size_bytes=3_000_000, noise=0.1)
    course = run(archive, Limiter(ceiling=256), seconds=300, after=1)
    assert course.most * archive.size_bytes < 40_000_000


def test_it_recovers_from_a_storm_of_refusals() -> None:
    archive = Archive(lambda now: 1 if 20 <= now < 30 else 32)
    assert run(archive, Limiter(ceiling=64), seconds=60, after=50).share >= 0.85


def test_a_burst_of_refusals_cuts_once() -> None:
    limiter = Limiter(ceiling=64, first=40)
    for in_flight in range(39, -1, -1):
        limiter.record(Sample(1.0, 0, refused=True), in_flight=in_flight, now=5.0)
    assert limiter.limit == 28


def test_one_broken_connection_is_no_refusal() -> None:
    limiter = Limiter(ceiling=64, first=40)
    limiter.record(Sample(0.5, 0, failed=True), in_flight=39, now=5.0)
    assert limiter.limit == 40


def test_many_broken_connections_are_one_refusal() -> None:
    limiter = Limiter(ceiling=64, first=40)
    for in_flight in range(39, -1, -1):
        limiter.record(Sample(0.5, 0, failed=True), in_flight=in_flight, now=5.0)
    assert limiter.limit == 28


def test_a_limit_that_is_not_used_does_not_grow() -> None:
    course = run(Archive(lambda _: 100, most_requests=4), Limiter(ceiling=256), seconds=60, after=1)
    assert course.most <= 8


def test_an_archive_of_one_request_at_a_time_is_never_starved() -> None:
    course = run(Archive(lambda _: 1), Limiter(ceiling=64), seconds=120, after=30)
    assert course.share >= 0.85


def test_a_lower_ceiling_holds_at_once() -> None:
    limiter = Limiter(ceiling=64, first=64)
    limiter.bound(5, now=1.0)
    assert limiter.limit == 5
    course = run(Archive(lambda _: 100), limiter, seconds=20, after=1)
    assert course.most <= 5


def test_a_higher_ceiling_is_soon_made_use_of() -> None:
    limiter = Limiter(ceiling=4)
    run(Archive(lambda _: 1000), limiter, seconds=20, after=1)
    limiter.bound(64, now=20.0)
    assert run(Archive(lambda _: 1000), limiter, seconds=30, after=25, now=20.0).most == 64


@given(
    ceiling=st.integers(1, 300),
    first=st.integers(-5, 300),
    samples=st.lists(
        st.tuples(
            st.floats(0, 100),
            st.integers(0, 10**10),
            st.booleans(),
            st.booleans(),
            st.integers(0, 300),
            st.floats(0, 9),
        ),
        max_size=200,
    ),
)
def test_whatever_happens_it_stays_between_one_and_the_ceiling(
    ceiling: int, first: int, samples: list[tuple[float, int, bool, bool, int, float]]
) -> None:
    limiter, now = Limiter(ceiling=ceiling, first=first), 0.0
    for seconds, size, refused, failed, in_flight, passed in samples:
        now += passed
        limiter.record(Sample(seconds, size, refused=refused, failed=failed), in_flight=in_flight, now=now)
        assert 1 <= limiter.limit <= ceiling


# --- the rate limit ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 3)), min_size=1))
def test_who_waits_as_told_keeps_to_the_rate(pieces: list[tuple[int, float]]) -> None:
    rate, now, got = ByteRate(100_000, now=0.0), 0.0, 0
    for size, idle in pieces:
        now += idle
        now += rate.wait_seconds(size, now=now)
        got += size
        assert got <= 100_000 * (now + 1) * 1.000001


def test_a_long_rest_is_no_licence_for_a_long_burst() -> None:
    rate = ByteRate(1000, now=0.0)
    assert rate.wait_seconds(3000, now=100.0) == 2.0


def test_a_change_of_the_rate_forgets_no_bytes() -> None:
    rate = ByteRate(1000, now=0.0)
    assert rate.wait_seconds(4000, now=0.0) == 4.0
    rate.change(500, now=2.0)
    assert rate.wait_seconds(0, now=2.0) == 4.0


# --- outages ----------------------------------------------------------------------------------------------------------


def test_one_connection_that_cannot_be_made_is_an_outage() -> None:
    outage = Outage(give_up_after_seconds=900)
    assert outage.unreachable(10.0)
    assert outage.is_away
    assert outage.probe_at == 11.0


def test_failures_of_one_moment_put_off_the_probe_no_further() -> None:
    outage = Outage(give_up_after_seconds=900)
    assert [outage.unreachable(10.0 + n / 100) for n in range(64)] == [True] + [False] * 63
    assert outage.probe_at == 11.0


def test_probes_become_rarer_up_to_half_a_minute() -> None:
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
def test_a_row_of_different_requests_without_an_answer_is_an_outage(*, names: int, is_away: bool) -> None:
    """A handful of instances that an archive always chokes on must not look like its end."""
    outage = Outage(give_up_after_seconds=900)
    for number in range(24):
        outage.went_unanswered(f"instance {number % names}", 1.0)
    assert outage.is_away is is_away


def test_an_answer_between_breaks_the_row() -> None:
    outage = Outage(give_up_after_seconds=900)
    for number in range(100):
        if number % 20 == 0:
            outage.answered()
        outage.went_unanswered(f"instance {number}", 1.0)
    assert not outage.is_away
