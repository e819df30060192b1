from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkdl.runtime.concurrency import FIRST_LIMIT, Limiter, Permits, ProbeTurn, Sample
from tests.support.simulated_archive import Archive, cliff, queueing, run, soft
from tests.support.tracing import untraced
from tests.support.virtual_time import clock
from tests.support.virtual_time import run as run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Callable

SIMULATED = settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


KNEES = pytest.mark.parametrize("knee", [4, 6, 10, 16, 27, 40, 64])


@KNEES
@pytest.mark.parametrize(("slowed", "share"), [(queueing, 0.85), (soft, 0.85), (cliff, 0.75)])
def test_it_finds_the_limit_of_an_archive(knee: int, slowed: Callable[[float], float], share: float) -> None:
    with untraced():
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


def test_the_limit_grows_for_small_objects_over_a_long_line() -> None:
    """With 80 ms before each small answer, only more requests in flight help."""
    archive = Archive(lambda _: 10_000, latency_seconds=0.08, size_bytes=60_000)
    course = run(archive, Limiter(ceiling=256), seconds=15, after=4)
    assert course.got / (15 - 4) >= 0.85 * 256 / 0.08


def _begin_bodies(limiter: Limiter, seconds: list[float], *, size_bytes: int = 500_000, now: float = 1.0) -> None:
    for waited in seconds:
        limiter.begin(waited, size_bytes, in_flight=len(seconds), now=now + waited)


def test_bodies_that_begin_together_over_a_long_line_leave_room_for_more() -> None:
    limiter = Limiter(ceiling=256)
    _begin_bodies(limiter, [0.08 + number / 1000 for number in range(8)])
    assert limiter.limit == 32
    _begin_bodies(limiter, [0.08] * 32, now=2.0)
    assert limiter.limit == 40


def test_lists_that_begin_together_leave_room_for_bodies() -> None:
    limiter = Limiter(ceiling=256)
    _begin_bodies(limiter, [0.08, 0.081, 0.08, 0.082, 0.081, 0.083], size_bytes=7_200)
    assert limiter.limit == 24


@pytest.mark.parametrize(
    ("seconds", "ceiling", "limit"),
    [([0.2], 100, 4), ([0.2, 0.1], 100, 8), ([0.1, 0.2], 100, 8), ([0.2], 8, 8)],
    ids=["very long", "a slow answer first", "long", "a fixed number"],
)
def test_a_very_long_line_begins_with_few_requests(seconds: list[float], ceiling: int, limit: int) -> None:
    limiter = Limiter(ceiling=ceiling)
    for number, each in enumerate(seconds):
        limiter.begin(each, 300, in_flight=1, now=1.0 + number)
    assert limiter.limit == limit


@pytest.mark.parametrize(
    ("size_bytes", "seconds", "limits"),
    [(500_000, 1.5, [4, 4, 4, 4, 4, 5, 5, 7]), (5_000_000, 1.5, [8]), (5_000, 0.25, [8])],
    ids=["a narrow line", "a wide line", "a slow archive"],
)
def test_a_very_long_and_narrow_line_is_given_time(size_bytes: int, seconds: float, limits: list[int]) -> None:
    """Its connections warm up in the first round of each limit, and a connection more is slow for long."""
    limiter = Limiter(ceiling=100)
    limiter.begin(0.2, 300, in_flight=1, now=1.0)
    limiter.record(Sample(0.2, 300), in_flight=0, now=1.2)
    found, now = [], 1.2
    for _ in limits:
        now += 2.0
        for _ in range(limiter.limit):
            limiter.record(Sample(seconds, size_bytes), in_flight=limiter.limit - 1, now=now)
        found.append(limiter.limit)
    assert found == limits


def test_answers_that_begin_one_after_the_other_leave_no_room() -> None:
    """As many as are in flight begin together; the others tell nothing of the line, however many they are."""
    limiter = Limiter(ceiling=256)
    for number in range(100):
        limiter.begin(0.1 + (number % 8) * 0.005, 500_000, in_flight=8, now=1.0 + number)
        assert limiter.limit == FIRST_LIMIT


def test_half_of_the_answers_show_nothing_of_the_others() -> None:
    """An archive that serves four requests at a time begins four of eight answers promptly."""
    limiter = Limiter(ceiling=256)
    for seconds in [0.08] * 4 + [0.16] * 4:
        limiter.begin(seconds, 500_000, in_flight=8, now=1 + seconds)
    assert limiter.limit == FIRST_LIMIT


@pytest.mark.parametrize(
    ("seconds", "size_bytes"),
    [
        ([0.1 + number * 0.006 for number in range(8)], 500_000),
        ([0.002] * 8, 500_000),
        ([0.1 + number * 0.003 for number in range(8)], 7_500),
        ([0.1] * 8, 1_000),
        ([0.1] * 3, 500_000),
    ],
    ids=["a narrow line", "a short line", "lists over a narrow line", "short answers", "a few"],
)
def test_what_shows_no_room_leaves_the_limit(seconds: list[float], size_bytes: int) -> None:
    limiter = Limiter(ceiling=256)
    _begin_bodies(limiter, seconds, size_bytes=size_bytes)
    assert limiter.limit == FIRST_LIMIT


@pytest.mark.parametrize(("ceiling", "size_bytes", "limit"), [(12, 500_000, 12), (256, 1 << 20, 20), (256, 1 << 30, 8)])
def test_a_limit_at_once_is_bounded(ceiling: int, size_bytes: int, limit: int) -> None:
    limiter = Limiter(ceiling=ceiling)
    _begin_bodies(limiter, [0.08] * 8, size_bytes=size_bytes)
    assert limiter.limit == limit


def test_a_refusal_takes_back_what_was_given_at_once() -> None:
    limiter = Limiter(ceiling=256)
    _begin_bodies(limiter, [0.08] * 8)
    assert limiter.limit == 32
    limiter.record(Sample(0.1, 0, refused=True), in_flight=31, now=3.0)
    assert limiter.limit == FIRST_LIMIT
    _begin_bodies(limiter, [0.08] * 8, now=4.0)
    assert limiter.limit == FIRST_LIMIT


def _round(limiter: Limiter, begun: list[float], *, now: float, seconds: float, size_bytes: int = 500_000) -> None:
    """Requests sent together at `now`, as many as there are answers; all end after so many `seconds`."""
    for waited in begun:
        limiter.begin(waited, size_bytes, in_flight=len(begun), now=now + waited)
    for _ in begun:
        limiter.record(Sample(seconds, size_bytes), in_flight=len(begun) - 1, now=now + seconds)


def test_a_request_from_before_a_step_shows_nothing() -> None:
    limiter = Limiter(ceiling=256)
    _round(limiter, [0.01] * 8, now=1.0, seconds=1.0)
    assert limiter.limit == 16
    _begin_bodies(limiter, [0.08] * 8, now=1.95)
    assert limiter.limit == 16
    _begin_bodies(limiter, [0.08] * 8, now=2.05)
    assert limiter.limit == 32


LATE = [0.1 + number * 0.006 for number in range(8)]


@pytest.mark.parametrize(
    ("begun", "seconds", "limit"),
    [(LATE, 3.8, 8), ([0.1] * 8, 3.8, 32), (LATE, 1.0, 16)],
    ids=["a full and narrow line", "a slow archive", "a quick line"],
)
def test_a_full_and_narrow_line_is_given_time(begun: list[float], seconds: float, limit: int) -> None:
    limiter = Limiter(ceiling=256)
    _round(limiter, begun, now=1.0, seconds=seconds)
    assert limiter.limit == limit
    if limit == FIRST_LIMIT:
        for number in range(1, 6):
            _round(limiter, begun, now=1.0 + 4 * number, seconds=seconds)
        assert limiter.limit == 10


@pytest.mark.parametrize(("waited", "rises"), [(0.081, True), (0.12, False)], ids=["no queue", "a queue"])
def test_a_queue_before_an_even_line_keeps_the_limit(waited: float, rises: bool) -> None:  # noqa: FBT001 - a case
    """At 40 in flight the line is full. More would lose packets."""
    limiter, highest, now = Limiter(ceiling=256), 0, 1.0
    _begin_bodies(limiter, [0.08] * 40, now=now)
    assert limiter.limit == 40
    for _ in range(30):
        now += 0.2
        _round(limiter, [waited] * limiter.limit, now=now, seconds=0.2)
        highest = max(highest, limiter.limit)
    assert (highest > 40) is rises


def test_the_limit_stays_low_on_a_full_line() -> None:
    """On loopback a dozen requests saturate a core; hundreds would only wait and use memory."""
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


def test_one_broken_connection_is_not_a_refusal() -> None:
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


def test_a_lower_ceiling_applies_at_once() -> None:
    limiter = Limiter(ceiling=64, first=64)
    limiter.bound(5, now=1.0)
    assert limiter.limit == 5
    course = run(Archive(lambda _: 100), limiter, seconds=20, after=1)
    assert course.most <= 5


def test_a_higher_ceiling_is_soon_used() -> None:
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
def test_the_limit_always_stays_between_one_and_the_ceiling(
    ceiling: int, first: int, samples: list[tuple[float, int, bool, bool, int, float]]
) -> None:
    limiter, now = Limiter(ceiling=ceiling, first=first), 0.0
    for seconds, size, refused, failed, in_flight, passed in samples:
        now += passed
        limiter.record(Sample(seconds, size, refused=refused, failed=failed), in_flight=in_flight, now=now)
        assert 1 <= limiter.limit <= ceiling


# --- permits ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    limit=st.integers(1, 5),
    tasks=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.one_of(st.none(), st.floats(0, 5))), max_size=30),
    sizes=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 8)), max_size=5),
)
def test_permits_are_never_exceeded_and_never_lost(
    limit: int, tasks: list[tuple[float, float, float | None]], sizes: list[tuple[float, int]]
) -> None:
    """Tasks take permits and are cancelled while the size changes. In the end all permits are free."""

    async def main() -> None:
        permits = Permits(limit)
        held = 0
        loop = asyncio.get_running_loop()

        async def hold(after: float, seconds: float) -> None:
            nonlocal held
            await asyncio.sleep(after)
            async with permits:
                held += 1
                assert held == permits.in_use or held < permits.in_use  # some may be on their way to a waiter
                assert permits.in_use <= most
                try:
                    await asyncio.sleep(seconds)
                finally:
                    held -= 1

        most = max([limit, *(size for _, size in sizes)])
        for moment, size in sizes:
            loop.call_later(moment, permits.resize, size)
        started = [asyncio.ensure_future(hold(after, seconds)) for after, seconds, _ in tasks]
        for task, (_, _, cancelled_at) in zip(started, tasks, strict=True):
            if cancelled_at is not None:
                loop.call_later(cancelled_at, task.cancel)
        ended = await asyncio.gather(*started, return_exceptions=True)
        assert not [error for error in ended if isinstance(error, Exception)]
        assert permits.in_use == 0

    run_in_virtual_time(main())


def test_permits_are_given_in_the_order_of_the_requests() -> None:
    """A task that asks again at once must not overtake waiting tasks, or they would wait forever."""

    async def main() -> None:
        permits = Permits(2)
        turns: Counter[int] = Counter()

        async def work(number: int) -> None:
            while clock() < 10:
                async with permits:
                    turns[number] += 1
                    await asyncio.sleep(0.1)

        await asyncio.gather(*(work(number) for number in range(6)))
        assert max(turns.values()) - min(turns.values()) <= 1

    run_in_virtual_time(main())


def test_a_waiter_that_is_cancelled_passes_its_permit_on() -> None:
    async def main() -> None:
        permits = Permits(1)
        entered: list[str] = []

        async def enter(name: str) -> None:
            async with permits:
                entered.append(name)

        async with permits:
            first = asyncio.ensure_future(enter("first"))
            second = asyncio.ensure_future(enter("second"))
            await asyncio.sleep(0)
        first.cancel()  # it has been handed the permit, and has not run since
        await asyncio.wait([first, second])
        assert entered == ["second"]

    run_in_virtual_time(main())


def test_the_latest_request_probes_next_and_none_does_so_again_before_all_others() -> None:
    """Requests that came first may all be for one Series, which the archive cannot deliver."""

    async def main() -> None:
        turn = ProbeTurn()
        probed: list[str] = []

        async def request(name: str) -> None:
            for probes in range(2):
                await turn.acquire(probes)
                await asyncio.sleep(0.1)
                probed.append(name)
                turn.release()

        async with asyncio.TaskGroup() as requests:
            for name in ("first", "second", "third", "latest"):
                requests.create_task(request(name))
        assert probed[:4] == ["first", "latest", "third", "second"]
        assert sorted(probed[4:]) == ["first", "latest", "second", "third"]

    run_in_virtual_time(main())


def test_a_request_that_is_cancelled_passes_its_turn_on() -> None:
    async def main() -> None:
        turn = ProbeTurn()
        await turn.acquire(0)
        second, third = (asyncio.ensure_future(turn.acquire(0)) for _ in range(2))
        await asyncio.sleep(0)
        turn.release()
        third.cancel()  # it has been given the turn, and has not run since
        await asyncio.wait([third])
        assert third.cancelled()
        await second
        second_again = asyncio.ensure_future(turn.acquire(1))
        await asyncio.sleep(0)
        second_again.cancel()  # while it waits
        await asyncio.wait([second_again])
        turn.release()
        await turn.acquire(0)

    run_in_virtual_time(main())
