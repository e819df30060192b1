from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.runtime.concurrency import Limiter, Sample
from bulkdl.runtime.rates import ByteRate, RequestRate
from tests.support.simulated_archive import Archive, run
from tests.support.tracing import untraced


def test_without_refusals_no_request_waits() -> None:
    rate = RequestRate()
    assert [rate.wait_seconds(0.0) for _ in range(1000)] == [0.0] * 1000
    assert rate.per_second is None


def test_the_rate_is_what_the_archive_accepted_in_the_second_before() -> None:
    rate = RequestRate()
    for number in range(60):
        rate.wait_seconds(5.0 + number / 100)
    rate.refused(5.65, began=5.59)
    assert rate.per_second == pytest.approx(59 * 0.99)


def test_a_burst_counts_once_and_by_its_accepted_requests() -> None:
    rate = RequestRate()
    for _ in range(64):
        rate.wait_seconds(5.0)
    for _ in range(44):
        rate.refused(5.1, began=5.0)
    assert rate.per_second == pytest.approx(20 * 0.99)


def test_no_request_starts_in_the_second_after_a_burst() -> None:
    rate = RequestRate()
    rate.wait_seconds(5.0)
    rate.wait_seconds(5.0)
    rate.refused(5.1, began=5.0)
    assert rate.wait_seconds(5.1) == pytest.approx(1.0)


def test_requests_are_evenly_srated() -> None:
    rate = RequestRate()
    for _ in range(11):
        rate.wait_seconds(0.0)
    rate.refused(0.1, began=0.0)
    due = [2.0 + rate.wait_seconds(2.0) for _ in range(5)]
    assert due == [pytest.approx(2.0 + number / 9.9) for number in range(5)]


def test_a_throttled_request_does_not_move_the_limit_of_requests_in_flight() -> None:
    limiter = Limiter(ceiling=64, first=40)
    for in_flight in range(39, -1, -1):
        limiter.record(Sample(1.0, 0, throttled=True), in_flight=in_flight, now=5.0)
    assert limiter.limit == 40


@pytest.mark.parametrize("batch", range(2 if settings().max_examples <= 100 else 5))  # all in `make fuzz`
def test_it_keeps_to_the_rate_of_any_archive(batch: int) -> None:
    """The median is 95 % of the archive's rate, the minimum 85 %, and fewer than 1 % are refused."""
    shares = []
    for seed in range(batch * 30, batch * 30 + 30):
        chance = random.Random(seed)  # noqa: S311 - no secret is made
        latency_seconds = 10 ** chance.uniform(-1.3, -0.5)
        rate = min(10 ** chance.uniform(0.8, 2.5), 0.4 * 256 / latency_seconds)
        archive = Archive(
            lambda _: 10_000,
            latency_seconds=latency_seconds,
            noise=chance.uniform(0, 0.5),
            size_bytes=int(10 ** chance.uniform(4, 5.5)),
            seed=seed,
            per_second=lambda _, rate=rate: int(rate),  # type: ignore[misc]
        )
        with untraced():
            course = run(archive, Limiter(ceiling=256), pace=RequestRate(), seconds=90, after=10)
        assert course.refused_share < 0.01, archive
        assert course.share > 0.85, archive
        shares.append(course.share)
    assert sorted(shares)[15] > 0.95


def test_a_limit_that_is_lifted_is_noticed() -> None:
    archive = Archive(lambda _: 10_000, size_bytes=10_000, per_second=lambda now: 50 if now < 60 else 1_000)
    rate = RequestRate()
    run(archive, Limiter(ceiling=256), pace=rate, seconds=400, after=60)
    assert rate.per_second is not None
    assert rate.per_second > 100


@pytest.mark.parametrize("accepted", [20, 50, 300])
def test_an_archive_that_refused_everything_for_a_while_is_soon_asked_at_its_rate(accepted: int) -> None:
    archive = Archive(lambda _: 10_000, size_bytes=10_000, per_second=lambda now: 0 if now < 40 else accepted)
    course = run(archive, Limiter(ceiling=256), pace=RequestRate(), seconds=200, after=80)
    assert course.share > 0.8
    assert course.refused_share < 0.02


def test_a_limit_that_is_lowered_is_respected() -> None:
    archive = Archive(lambda _: 10_000, size_bytes=10_000, per_second=lambda now: 100 if now < 60 else 25)
    course = run(archive, Limiter(ceiling=256), pace=RequestRate(), seconds=200, after=100)
    assert course.share > 0.8
    assert course.refused_share < 0.02


# --- bytes -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 3)), min_size=1))
def test_waiting_as_returned_keeps_to_the_rate(pieces: list[tuple[int, float]]) -> None:
    rate, now, got = ByteRate(100_000, now=0.0), 0.0, 0
    for size, idle in pieces:
        now += idle
        now += rate.wait_seconds(size, now=now)
        got += size
        assert got <= 100_000 * (now + 1) * 1.000001


def test_a_long_rest_does_not_allow_a_long_burst() -> None:
    rate = ByteRate(1000, now=0.0)
    assert rate.wait_seconds(3000, now=100.0) == 2.0


def test_a_change_of_the_rate_forgets_no_bytes() -> None:
    rate = ByteRate(1000, now=0.0)
    assert rate.wait_seconds(4000, now=0.0) == 4.0
    rate.change(500, now=2.0)
    assert rate.wait_seconds(0, now=2.0) == 4.0
