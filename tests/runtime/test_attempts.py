from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import (
    AccessDenied,
    ArchiveUnreachable,
    BulkdlError,
    ConnectFailed,
    ConnectionLost,
    Interrupted,
    InvalidInstance,
    NotFound,
    ServerFailed,
    ShortBody,
    TimedOut,
    TooManyRequests,
)
from bulkdl.runtime.attempts import SILENT_SECONDS, Retrier, RetryListener, RetryPolicy
from bulkdl.runtime.concurrency import Limiter, Sample
from bulkdl.runtime.rates import ByteRate
from tests.support.virtual_time import clock, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Announced:
    """Everything that a `Retrier` announces, in order."""

    def __init__(self) -> None:
        self.retries: list[tuple[str, str, int, float]] = []
        self.outages: list[tuple[str | None, float]] = []

    def retry(self, what: str, error: BulkdlError, attempt: int, wait: float) -> None:
        self.retries.append((what, error.code, attempt, wait))

    def outage(self, error: BulkdlError | None, seconds: float) -> None:
        self.outages.append((error.code if error else None, seconds))


def retrier(
    *,
    limit: int = 8,
    max_attempts: int = 4,
    give_up_after_seconds: float = 900.0,
    stop: asyncio.Event | None = None,
    announced: Announced | None = None,
    rate: ByteRate | None = None,
) -> Retrier:
    announced = announced or Announced()
    return Retrier(
        limiter=Limiter(ceiling=limit, first=limit),
        policy=RetryPolicy(max_attempts=max_attempts, give_up_after_seconds=give_up_after_seconds, chance=lambda: 1.0),
        stop=stop or asyncio.Event(),
        rate=rate,
        listener=RetryListener(retry=announced.retry, outage=announced.outage),
        clock=clock,
    )


def failing(*errors: BulkdlError | None) -> Callable[[int], Awaitable[float]]:
    """An action that fails with each of `errors` in turn, then returns the time at which it succeeded."""
    left = iter(errors)

    async def action(_: int) -> float:
        await asyncio.sleep(0)
        if (error := next(left, None)) is not None:
            raise error
        return clock()

    return action


def away(until: float, *, starts: list[float] | None = None) -> Callable[[int], Awaitable[float]]:
    """An action on an archive that refuses connections before `until`; `starts` receives the time of each call."""

    async def action(_: int) -> float:
        if starts is not None:
            starts.append(clock())
        await asyncio.sleep(0.01)
        if clock() < until:
            raise ConnectFailed("refused")
        return clock()

    return action


# --- attempts ---------------------------------------------------------------------------------------------------------


def test_an_action_is_repeated_until_it_succeeds() -> None:
    async def main() -> None:
        announced = Announced()
        made = retrier(announced=announced)
        seconds, attempts = await made.attempt("x", failing(ServerFailed("e", status=500), ShortBody("e")))
        assert attempts == 3
        assert seconds == pytest.approx(0.5 + 1.0)
        assert announced.retries == [("x", "server-error", 1, 0.5), ("x", "short-body", 2, 1.0)]
        assert made.retries == 2

    run(main())


def test_an_action_receives_the_number_of_its_attempt() -> None:
    async def main() -> None:
        numbers: list[int] = []

        async def action(attempt: int) -> None:
            numbers.append(attempt)
            if attempt < 3:
                raise InvalidInstance("cut")

        await retrier().attempt("x", action)
        assert numbers == [1, 2, 3]

    run(main())


@pytest.mark.parametrize(
    ("error", "attempts"),
    [(ServerFailed("e", status=500), 4), (NotFound("e", status=404), 1), (AccessDenied("e", status=401), 1)],
    ids=["temporary", "permanent", "refused"],
)
def test_the_last_failure_is_raised_with_its_attempts(error: BulkdlError, attempts: int) -> None:
    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await retrier(max_attempts=4).attempt("x", failing(*[error] * 9))
        assert caught.value.attempts == attempts

    run(main())


# --- outages ----------------------------------------------------------------------------------------------------------


def test_a_connection_that_cannot_be_made_costs_no_attempt() -> None:
    async def main() -> None:
        made, starts = retrier(max_attempts=1), list[float]()
        _, attempts = await made.attempt("x", away(until=300, starts=starts))
        assert attempts == 1
        assert 300 <= clock() <= 331
        assert made.retries == len(starts) - 1

    run(main())


def test_one_request_at_a_time_probes_an_archive_that_is_away() -> None:
    async def main() -> None:
        starts: list[float] = []
        made = retrier(limit=8)
        await asyncio.gather(*(made.attempt(f"{n}", away(until=100, starts=starts)) for n in range(40)))
        during = [seconds for seconds in starts if 0.01 < seconds < 100]
        assert during == pytest.approx([1.01, 3.02, 7.03, 15.04, 31.05, 61.06, 91.07])
        assert len(starts) == 8 + len(during) + 40

    run(main())


def test_requests_that_are_never_answered_keep_no_other_one_from_being_the_probe() -> None:
    """Eight instances that an archive cannot deliver look like an outage; another one shows that it is none."""

    async def silent(_: int) -> None:
        await asyncio.sleep(0.01)
        raise TimedOut("silent")

    async def main() -> None:
        announced = Announced()
        made = retrier(limit=8, max_attempts=4, announced=announced)
        never = [asyncio.ensure_future(made.attempt(f"never {n}", silent)) for n in range(8)]
        await asyncio.sleep(30)
        assert announced.outages
        assert [await made.attempt(f"well {n}", failing()) for n in range(3)]
        assert clock() < 300
        for each in never:
            with pytest.raises(TimedOut):
                await each
        assert announced.outages[-1][0] is None

    run(main())


def test_a_probe_that_fails_waits_for_its_next_turn_behind_the_others() -> None:
    """The latest request is the next probe, so one that failed again and again would keep all others from it."""

    async def silent(_: int) -> None:
        await asyncio.sleep(0.01)
        raise TimedOut("silent")

    async def main() -> None:
        made = retrier(limit=8, max_attempts=4)
        never = [asyncio.ensure_future(made.attempt(f"never {n}", silent)) for n in range(8)]
        await asyncio.sleep(30)
        assert made.is_unanswered
        well = asyncio.ensure_future(made.attempt("well", failing()))
        await asyncio.sleep(0)
        never.append(asyncio.ensure_future(made.attempt("never 8", silent)))
        await well
        for each in never:
            with pytest.raises(TimedOut):
                await each

    run(main())


@pytest.mark.parametrize("cycles", range(24))
def test_a_request_that_is_cancelled_leaves_the_probe_to_others(cycles: int) -> None:
    """At each of the cycles of the event loop in which the place of the probe passes to it."""

    async def main() -> None:
        made = retrier(limit=1)
        answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def request(number: int) -> None:
            async def action(attempt: int) -> None:
                await away(until=100)(attempt)
                if not answered.done():
                    answered.set_result(number)

            await made.attempt(f"{number}", action)

        requests = [asyncio.ensure_future(request(number)) for number in range(2)]
        waiting = requests[1 - await answered]
        for _ in range(cycles):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait(requests)
        async with asyncio.timeout(100):
            await made.attempt("last", away(until=clock() + 10))

    run(main())


def test_requests_that_wait_for_a_permit_are_held_back_when_the_archive_goes_away() -> None:
    """Sixty tasks that queue for permits must not each fail once."""

    async def main() -> None:
        starts: list[float] = []
        made = retrier(limit=1)
        await asyncio.gather(*(made.attempt(f"{n}", away(until=0.5, starts=starts)) for n in range(60)))
        assert sum(seconds < 0.5 for seconds in starts) == 1

    run(main())


def test_an_outage_and_its_end_are_announced() -> None:
    async def main() -> None:
        announced = Announced()
        made = retrier(limit=8, announced=announced)
        await asyncio.gather(*(made.attempt(f"{n}", away(until=2)) for n in range(30)))
        assert [code for code, _ in announced.outages] == ["connect-failed", "connect-failed", None]
        assert announced.outages[0][1] == 900
        assert announced.outages[-1][1] == pytest.approx(3.02)
        assert announced.retries == []

    run(main())


@pytest.mark.parametrize("seconds", [0.0, 20.0, 900.0])
def test_it_gives_up_when_the_archive_stays_away(seconds: float) -> None:
    async def main() -> None:
        with pytest.raises(ArchiveUnreachable, match=f"{seconds:.0f} s") as caught:
            await retrier(give_up_after_seconds=seconds).attempt("x", away(until=1e9))
        assert isinstance(caught.value.__cause__, ConnectFailed)
        assert seconds <= clock() <= seconds + 1

    run(main())


def test_the_time_that_is_left_is_never_less_than_none() -> None:
    async def main() -> None:
        announced = Announced()

        async def slow(_: int) -> None:
            await asyncio.sleep(15)
            raise ConnectFailed("refused")

        with pytest.raises(ArchiveUnreachable):
            await retrier(give_up_after_seconds=20, announced=announced).attempt("x", slow)
        assert [seconds for _, seconds in announced.outages] == [20, 4, 0]

    run(main())


def test_a_request_that_is_never_answered_is_given_up_in_time() -> None:
    async def main() -> None:
        async def silent(_: int) -> None:
            await asyncio.sleep(5)
            raise TimedOut("e")

        await asyncio.sleep(100)
        with pytest.raises(TimedOut) as caught:
            await retrier(max_attempts=100, give_up_after_seconds=20).attempt("x", silent)
        assert (caught.value.attempts, clock()) == (4, 123.5)

    run(main())


def test_errors_are_retried_without_time_before_giving_up() -> None:
    async def main() -> None:
        made = retrier(give_up_after_seconds=0)
        for error in (ServerFailed("e", status=504), TooManyRequests("e", status=429)):
            assert (await made.attempt("x", failing(error)))[1] == 2

    run(main())


def test_each_outage_has_the_full_time_before_giving_up() -> None:
    async def main() -> None:
        made = retrier(give_up_after_seconds=20)
        for _ in range(5):
            await made.attempt("x", away(until=clock() + 15))
        assert clock() > 60

    run(main())


def test_an_answer_to_a_request_from_before_an_outage_does_not_end_it() -> None:
    """A body that started before the archive stopped accepting connections may still complete."""

    async def main() -> None:
        announced = Announced()
        made = retrier(announced=announced)

        async def long(_: int) -> None:
            await asyncio.sleep(5)

        await asyncio.gather(made.attempt("long", long), made.attempt("x", away(until=60)))
        assert [code for code, _ in announced.outages].count(None) == 1
        assert announced.outages[-1][1] > 50

    run(main())


def test_any_answer_ends_an_outage() -> None:
    async def main() -> None:
        announced = Announced()
        action = failing(ConnectFailed("e"), NotFound("e", status=404))
        with pytest.raises(NotFound):
            await retrier(announced=announced).attempt("x", action)
        assert [code for code, _ in announced.outages] == ["connect-failed", None]

    run(main())


@pytest.mark.parametrize(
    "error",
    [ServerFailed("gateway", status=503), ConnectionLost("reset"), TimedOut("silent")],
    ids=["gateway errors", "resets", "silence"],
)
def test_failures_of_many_different_requests_are_an_outage_and_fail_no_instance(error: BulkdlError) -> None:
    """A proxy in front of a dead archive answers in its place, or closes the connection."""

    async def main() -> None:
        announced = Announced()
        made = retrier(limit=16, max_attempts=8, announced=announced)

        async def action(_: int) -> float:
            await asyncio.sleep(0.05)
            if clock() < 600:
                raise error
            return clock()

        await asyncio.gather(*(made.attempt(f"instance {n}", action) for n in range(40)))
        assert announced.outages[0][0] == error.code
        assert announced.outages[-1][0] is None

    run(main())


def test_failures_of_a_few_instances_are_not_an_outage() -> None:
    async def main() -> None:
        announced = Announced()
        made = retrier(max_attempts=8, announced=announced)
        ended = await asyncio.gather(
            *(made.attempt(f"{n}", failing(*[ServerFailed("e", status=504)] * 99)) for n in range(5)),
            return_exceptions=True,
        )
        assert [type(error) for error in ended] == [ServerFailed] * 5
        assert announced.outages == []

    run(main())


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_retry_after_pauses_all_requests() -> None:
    async def main() -> None:
        made = retrier()
        refusal = TooManyRequests("slow down", status=429, retry_after_seconds=30)
        first = asyncio.ensure_future(made.attempt("first", failing(refusal)))
        await asyncio.sleep(1)
        others = await asyncio.gather(*(made.attempt(f"{n}", failing()) for n in range(5)))
        assert [seconds for seconds, _ in others] == [30] * 5
        assert (await first)[0] == 30

    run(main())


def test_an_archive_that_refuses_all_requests_is_given_up() -> None:
    async def main() -> None:
        refusal = TooManyRequests("slow down", status=429, retry_after_seconds=15)
        with pytest.raises(ArchiveUnreachable, match="has accepted no request for 60 s"):
            await retrier(max_attempts=40, give_up_after_seconds=60).attempt("x", failing(*[refusal] * 40))
        assert 60 <= clock() < 120

    run(main())


def test_an_archive_that_accepts_requests_between_its_refusals_is_not_given_up() -> None:
    async def main() -> None:
        made = retrier(give_up_after_seconds=60)
        for _ in range(3):
            await made.attempt("x", failing(TooManyRequests("slow down", status=429)))
            await asyncio.sleep(100)

    run(main())


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    async def main() -> None:
        made = retrier()
        refusals = [TooManyRequests("slow down", status=429, retry_after_seconds=seconds) for seconds in (30, 1)]
        refused = [asyncio.ensure_future(made.attempt("x", failing(refusal))) for refusal in refusals]
        await asyncio.sleep(0.1)
        assert (await made.attempt("later", failing()))[0] == 30
        await asyncio.gather(*refused)

    run(main())


def test_an_archive_that_answers_between_its_silences_is_not_given_up() -> None:
    async def main() -> None:
        between = [ServerFailed("e", status=500), TimedOut("e")] * 4
        ended = await retrier(max_attempts=10, give_up_after_seconds=20).attempt("x", failing(TimedOut("e"), *between))
        assert ended[0] > 60

    run(main())


def test_requests_that_wait_for_a_permit_are_paused_too() -> None:
    async def main() -> None:
        made = retrier(limit=1)
        refusal = TooManyRequests("slow down", status=429, retry_after_seconds=30)
        ended = await asyncio.gather(
            made.attempt("first", failing(refusal)), *(made.attempt(f"{n}", failing()) for n in range(5))
        )
        assert all(seconds >= 30 for seconds, _ in ended)

    run(main())


def test_an_archive_that_counts_requests_gets_no_more_a_second_than_it_accepted() -> None:
    async def main() -> None:
        made = retrier(limit=64)
        await asyncio.gather(*(made.attempt(f"{n}", failing()) for n in range(11)))
        made.finished(Sample(clock(), 0, throttled=True))
        ended = await asyncio.gather(*(made.attempt(f"{n}", failing()) for n in range(40)))
        starts = sorted(seconds for seconds, _ in ended)
        assert all(later - earlier > 1.0 for earlier, later in zip(starts, starts[10:], strict=False))

    run(main())


def test_the_refusal_of_a_request_from_before_a_rate_was_learned_does_not_lower_it() -> None:
    async def main() -> None:
        made = retrier(limit=64)
        await asyncio.sleep(10)
        await asyncio.gather(*(made.attempt(f"{n}", failing()) for n in range(11)))
        made.finished(Sample(0.0, 0, throttled=True))
        await asyncio.sleep(2)
        made.finished(Sample(2.5, 0, throttled=True))
        ended = await asyncio.gather(*(made.attempt(f"{n}", failing()) for n in range(100)))
        starts = sorted(seconds for seconds, _ in ended)
        assert starts[-1] - starts[0] == pytest.approx(99 / 9.9)

    run(main())


def test_throttled_requests_do_not_change_the_limit_of_requests_in_flight() -> None:
    async def main() -> None:
        made = retrier(limit=64)
        for _ in range(64):
            made.finished(Sample(0.0, 0, throttled=True))
        assert made.permits.limit == 64

    run(main())


def test_a_pause_is_never_longer_than_the_time_before_giving_up() -> None:
    async def main() -> None:
        made = retrier(give_up_after_seconds=60)
        refusal = TooManyRequests("come back tomorrow", status=429, retry_after_seconds=86_400)
        first = asyncio.ensure_future(made.attempt("first", failing(refusal)))
        await asyncio.sleep(1)
        seconds, _ = await made.attempt("x", failing())
        assert seconds == 60
        first.cancel()

    run(main())


def test_received_bytes_keep_to_the_rate_limit() -> None:
    async def main() -> None:
        made = retrier(rate=ByteRate(1000, now=0.0))
        for _ in range(10):
            await made.received(1000)
        assert clock() == pytest.approx(9, abs=1)

    run(main())


def test_received_bytes_are_given_out_evenly_and_at_once_without_a_rate() -> None:
    async def main() -> None:
        content = bytes(range(256)) * 20
        made, times, pieces = retrier(rate=ByteRate(1024, now=0.0)), [0.0], []
        async for piece in made.paced(content):
            pieces.append(piece)
            times.append(clock())
        assert b"".join(pieces) == content
        assert max(after - before for before, after in pairwise(times)) < 0.2
        assert clock() == pytest.approx(5, abs=0.2)
        assert [piece async for piece in retrier().paced(content)] == [content]

    run(main())


# --- the end ----------------------------------------------------------------------------------------------------------


async def _backing_off(made: Retrier) -> None:
    await made.attempt("x", failing(*[ServerFailed("e", status=500)] * 3))


async def _probing(made: Retrier) -> None:
    await made.attempt("x", away(until=1e9))


async def _behind_a_probe(made: Retrier) -> None:
    probe = asyncio.ensure_future(made.attempt("probe", away(until=1e9)))
    await asyncio.sleep(0.05)
    try:
        await made.attempt("x", away(until=1e9))
    finally:
        with pytest.raises(Interrupted):
            await probe


async def _paused(made: Retrier) -> None:
    await made.attempt("x", failing(TooManyRequests("e", status=429, retry_after_seconds=600)))


async def _throttled(made: Retrier) -> None:
    await made.received(10**9)


@pytest.mark.parametrize("waiting", [_backing_off, _probing, _behind_a_probe, _paused, _throttled])
def test_stop_ends_all_waiting(waiting: Callable[[Retrier], Awaitable[None]]) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        made = retrier(stop=stop, rate=ByteRate(1, now=0.0))
        asyncio.get_running_loop().call_later(0.2, stop.set)
        with pytest.raises(Interrupted):
            await waiting(made)
        assert clock() == pytest.approx(0.2)

    run(main())


def test_stop_does_not_wait_for_a_running_probe() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        made = retrier(stop=stop)

        async def silent(_: int) -> None:
            await asyncio.sleep(0 if clock() < 1 else 120)
            raise ConnectFailed("refused")

        probe = asyncio.ensure_future(made.attempt("probe", silent))
        await asyncio.sleep(0.5)
        asyncio.get_running_loop().call_later(10, stop.set)
        with pytest.raises(Interrupted):
            await made.attempt("x", away(until=1e9))
        assert clock() == 10.5
        probe.cancel()

    run(main())


def test_no_action_starts_after_stop() -> None:
    async def main() -> None:
        stop = asyncio.Event()
        stop.set()
        begun: list[int] = []

        async def action(attempt: int) -> None:
            begun.append(attempt)

        with pytest.raises(Interrupted):
            await retrier(stop=stop).attempt("x", action)
        assert begun == []

    run(main())


# --- limits ----------------------------------------------------------------------------------------------------------


def test_the_limiter_sets_the_permits() -> None:
    async def main() -> None:
        made = retrier(limit=20)
        await asyncio.sleep(5)
        made.finished(Sample(1.0, 0, refused=True))
        assert made.permits.limit == 14

    run(main())


def test_a_share_is_a_ceiling_from_now_on() -> None:
    async def main() -> None:
        made = retrier(limit=20)
        made.share(3)
        at_once, most = 0, 0

        async def action(_: int) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(1)
            at_once -= 1
            made.finished(Sample(1.0, 1000))

        await asyncio.gather(*(made.attempt(f"{n}", action) for n in range(60)))
        assert most == 3

    run(main())


def test_a_share_of_the_rate_is_kept_from_now_on() -> None:
    async def main() -> None:
        made = retrier(rate=ByteRate(1000, now=0.0))
        made.share(3, rate_bytes=100)
        for _ in range(10):
            await made.received(100)
        assert clock() == pytest.approx(9, abs=1)

    run(main())


def test_another_origin_has_the_same_policy_and_its_own_outages() -> None:
    async def main() -> None:
        announced = Announced()
        first = retrier(give_up_after_seconds=5.0, announced=announced, limit=2, rate=ByteRate(1000, now=0.0))
        first.first_answer_seconds = 7.0
        second = first.for_another_origin()
        assert (second.policy, second.stop, second.first_answer_seconds) == (first.policy, first.stop, 7.0)
        assert (second.limiter.ceiling, second.permits.limit) == (2, 2)
        with pytest.raises(ArchiveUnreachable):
            await first.attempt("a", failing(*[ConnectFailed("down")] * 50))
        assert await second.ask("b", failing()) is not None
        assert (second.retries, second.is_paced) == (0, True)
        await second.ask("c", failing(ServerFailed("e", status=500)))
        assert [what for what, *_ in announced.retries] == ["c"]

    run(main())


@pytest.mark.parametrize(("takes", "expected"), [(2.0, 0), (20.0, 1)])
def test_a_silent_archive_is_announced_once(takes: float, expected: int) -> None:
    async def main() -> None:
        said: list[float] = []
        made = retrier()
        made.on_silence = lambda: said.append(clock())

        async def action(_: int) -> None:
            await asyncio.sleep(takes)
            made.answering()

        await asyncio.gather(*(made.ask(f"{n}", action) for n in range(3)))
        await made.ask("later", action)
        assert said == [SILENT_SECONDS] * expected

    run(main())


def test_an_archive_that_begins_to_answer_is_not_silent() -> None:
    async def main() -> None:
        said: list[float] = []
        made = retrier()
        made.on_silence = lambda: said.append(clock())
        await made.ask("ended soon", failing())
        await asyncio.sleep(2 * SILENT_SECONDS)

        async def long(_: int) -> None:
            made.answering()
            await asyncio.sleep(2 * SILENT_SECONDS)

        await made.ask("a long answer", long)
        assert said == []

    run(main())


def test_a_first_answer_is_awaited_for_a_time_and_later_ones_for_longer() -> None:
    async def main() -> None:
        made = retrier()
        made.first_answer_seconds = 5.0

        async def slow(_: int) -> float:
            await asyncio.sleep(60)
            return clock()

        async def answered(_: int) -> None:
            await asyncio.sleep(1)
            made.answering()

        with pytest.raises(ArchiveUnreachable, match="has not answered within 5 s"):
            await made.ask("never answered", slow)
        with pytest.raises(NotFound):
            await made.ask("ended before", failing(NotFound("e", status=404)))
        assert (await asyncio.gather(made.ask("meanwhile", slow), made.ask("x", answered)))[0] == 65
        assert await made.ask("later", slow) == 125

    run(main())


def test_an_outage_that_is_announced_is_not_called_silence_too() -> None:
    async def main() -> None:
        said: list[float] = []
        made = retrier()
        made.on_silence = lambda: said.append(clock())
        await made.ask("a", failing(*[ConnectFailed("down")] * 5))
        assert said == []

    run(main())


def test_a_new_limit_is_announced() -> None:
    """So that work which waits for a permit is given out at once."""
    retrying = Retrier(
        limiter=Limiter(ceiling=64), policy=RetryPolicy(max_attempts=1, give_up_after_seconds=0), stop=asyncio.Event()
    )
    limits: list[int] = []
    retrying.on_limit = lambda: limits.append(retrying.permits.limit)
    retrying.permits.in_use = 8
    for _ in range(8):
        retrying.began(0.1, 500_000)
    assert limits == sorted(set(limits))
    assert limits[-1] == 32


@pytest.mark.parametrize(("expected", "connections"), [(0, 0), (5, 5), (1_000, 32)])
def test_expected_requests_need_no_more_connections_than_the_limit_can_soon_allow(
    expected: int, connections: int
) -> None:
    retrying = retrier(limit=8)
    assert retrying.connections == 0
    retrying.limiter.ceiling = 64
    retrying.expected = expected
    assert retrying.connections == connections


def test_an_archive_that_answers_soon_is_near() -> None:
    async def main() -> None:
        retrying, found = retrier(), []
        for seconds in (0.03, 0.01, 1.0):
            retrying.began(seconds, 10)
            found.append((retrying.is_near, retrying.is_far))
        assert found == [(False, True), (True, False), (True, False)]

    run(main())
