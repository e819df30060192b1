"""Repeat an action until it succeeds, with a limit on actions in flight, and wait while the archive is unavailable.

`retry` decides, `concurrency`, `rates` and `availability` keep count; this module waits. One `Retrier` serves one
archive in one process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from bulkdl import errors
from bulkdl.runtime.availability import Outage
from bulkdl.runtime.concurrency import LONG_SECONDS, Limiter, Permits, ProbeTurn, Sample
from bulkdl.runtime.rates import ByteRate, RequestRate
from bulkdl.runtime.retry import NextStep, backoff_seconds, decide
from bulkdl.runtime.tasks import running_alongside

Result = TypeVar("Result")

SILENT_SECONDS: Final = 3.0
"""How long the first answer of an archive is awaited before that is announced."""

_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long to try.

    An action is given up after `max_attempts`, the archive after it has been unavailable for `give_up_after_seconds`.
    `wait_scale` multiplies every wait between attempts; `chance` returns numbers from 0 to 1.
    """

    max_attempts: int
    give_up_after_seconds: float
    wait_scale: float = 1.0
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryListener:
    """Receives what happens: `retry(what, error, attempt, wait)`, and `outage(error or None, seconds)`.

    An outage is announced when it begins and at each failed probe, with its error and the seconds until the archive is
    given up; when it ends, with None and the seconds that it lasted.
    """

    retry: Callable[[str, errors.BulkdlError, int, float], None] = lambda *_: None
    outage: Callable[[errors.BulkdlError | None, float], None] = lambda *_: None


class Retrier:
    """Repeats actions on one archive as `policy` and `runtime.retry` say, no more at once than `limiter` allows.

    `stop` ends every wait with `Interrupted`. `rate` limits the bytes a second. Where `first_answer_seconds` is set, a
    question is given up after so long if the archive has never begun to answer one. `on_silence` is called once, when
    the first answer has been awaited for some seconds, unless an outage was announced by then.
    """

    def __init__(
        self,
        *,
        limiter: Limiter,
        policy: RetryPolicy,
        stop: asyncio.Event,
        rate: ByteRate | None = None,
        listener: RetryListener | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limiter = limiter
        self.retries = 0
        self.stop = stop
        self.permits = Permits(limiter.limit)
        self.policy = policy
        self._outage = Outage(policy.give_up_after_seconds, wait_scale=policy.wait_scale)
        self._probe = ProbeTurn()
        self._paused_until = 0.0
        self._rate = rate
        self._request_rate = RequestRate()
        self._listener = listener or RetryListener()
        self._clock = clock
        self._refused_since: float | None = None
        self._has_answered = False
        self._first_answers: set[asyncio.Timeout] = set()
        self.first_answer_seconds: float | None = None
        self.on_silence: Callable[[], None] | None = None
        self.on_limit: Callable[[], None] = lambda: None
        self.is_near = False
        """Whether an answer came so soon that its way is short."""
        self.is_far = False
        """Whether answers came, and none so soon."""
        self.expected = 0
        """How many requests are going to follow, as far as that is known."""

    def for_another_origin(self) -> Retrier:
        """A retrier for another archive: with the same policy, rate and listener, and its own limit and outages."""
        other = Retrier(
            limiter=Limiter(ceiling=self.limiter.ceiling, first=self.limiter.limit, now=self._clock()),
            policy=self.policy,
            stop=self.stop,
            rate=self._rate,
            listener=self._listener,
            clock=self._clock,
        )
        other.first_answer_seconds, other.on_silence = self.first_answer_seconds, self.on_silence
        return other

    async def attempt(self, what: str, action: Callable[[int], Awaitable[Result]]) -> tuple[Result, int]:
        """Run `action(attempt)` until it succeeds; returns its result and the number of attempts.

        An action that fails because the archive is unavailable runs again when the archive answers; that does not count
        as an attempt.

        Raises:
            BulkdlError: the last failure, with its `attempts` set, if it may not or need not be tried again.
            ArchiveUnreachable: the archive was unavailable for longer than the policy allows.
            Interrupted: `stop` was set.
        """
        attempt = probes = 0
        unanswered_since: float | None = None
        while True:
            async with self._permit_when_available(probes):
                began = self._clock()
                try:
                    result = await action(attempt + 1)
                except errors.BulkdlError as error:
                    failure = error
                    if self._is_outage(error, what, began):
                        self.retries += 1
                        probes += 1
                        continue
                else:
                    self._answered(began)
                    return result, attempt + 1
            attempt += 1
            decision = decide(failure, attempt, max_attempts=self.policy.max_attempts, chance=self.policy.chance)
            unanswered_since = (unanswered_since or began) if _is_no_answer(failure) else None
            waited = self._clock() - unanswered_since if unanswered_since is not None else 0.0
            if decision.next_step is not NextStep.RETRY or self._is_too_long(waited):
                failure.attempts = attempt
                raise failure
            self.retries += 1
            wait = self._bounded(decision.wait_seconds)
            self._listener.retry(what, failure, attempt, wait)
            await self.sleep(wait)

    async def ask(self, what: str, action: Callable[[int], Awaitable[Result]]) -> Result:
        """The result of `attempt` for a question, which `stop` ends even while its answer is awaited."""

        async def until_stopped(attempt: int) -> Result:
            async with running_alongside(self._interrupted()):
                return await action(attempt)

        seconds = None if self._has_answered else self.first_answer_seconds
        first = asyncio.timeout(seconds)
        self._first_answers.add(first)
        silence = asyncio.get_running_loop().call_later(SILENT_SECONDS, self._is_silent)
        try:
            async with first:
                result, _ = await self.attempt(what, until_stopped)
        except TimeoutError as error:
            raise errors.ArchiveUnreachable(
                f"the archive has not answered within {seconds:.0f} s; `bulkdl archives` shows which archives answer"
            ) from error
        finally:
            silence.cancel()
            self._first_answers.discard(first)
        return result

    @property
    def is_unanswered(self) -> bool:
        """Whether the archive counts as away although it can be reached: perhaps it would answer other requests."""
        return self._outage.is_away and self._outage.is_connected

    async def _interrupted(self) -> None:
        await self.stop.wait()
        raise errors.Interrupted("stopped while waiting for the archive")

    def _is_silent(self) -> None:
        if self.on_silence is not None and not self._has_answered and not self._outage.is_away:
            announce, self.on_silence = self.on_silence, None
            announce()

    def answering(self) -> None:
        """The archive has begun to answer: from now on it is given more time."""
        if not self._has_answered:
            self._has_answered = True
            for first in self._first_answers:
                first.reschedule(None)

    def began(self, seconds: float, size_bytes: int) -> None:
        """Account for an answer of `size_bytes` that begins, `seconds` after its request was sent."""
        self.is_near = self.is_near or seconds < LONG_SECONDS
        self.is_far = not self.is_near
        self.limiter.begin(seconds, size_bytes, in_flight=self.permits.in_use, now=self._clock())
        self._keep_to_limit()

    def finished(self, sample: Sample) -> None:
        """Account for a request that has ended, successful or not."""
        now = self._clock()
        self.limiter.record(sample, in_flight=max(0, self.permits.in_use - 1), now=now)
        if sample.throttled:
            self._request_rate.refused(now, began=now - sample.seconds)
        elif not sample.failed:
            self._request_rate.took(now)
        self._keep_to_limit()

    def _keep_to_limit(self) -> None:
        if self.limiter.limit != self.permits.limit:
            self.permits.resize(self.limiter.limit)
            self.on_limit()

    @property
    def connections(self) -> int:
        """How many connections the expected requests may need soon."""
        return min(self.expected, self.limiter.soonest)

    def share(self, ceiling: int, *, rate_bytes: float | None = None) -> None:
        """Use at most `ceiling` requests in flight, and `rate_bytes` a second if a rate is set, from now on."""
        self.limiter.bound(ceiling, now=self._clock())
        self.permits.resize(self.limiter.limit)
        if self._rate is not None and rate_bytes is not None:
            self._rate.change(rate_bytes, now=self._clock())

    async def received(self, size_bytes: int) -> None:
        """Account for received bytes, and wait if the rate limit requires it."""
        if self._rate is not None and (wait := self._rate.wait_seconds(size_bytes, now=self._clock())) > 0:
            await self.sleep(wait)

    @property
    def is_paced(self) -> bool:
        """Whether a rate limits the bytes a second."""
        return self._rate is not None

    async def paced(self, chunk: bytes) -> AsyncIterator[bytes]:
        """Yield received bytes as fast as the rate limit allows, in pieces of a fraction of a second."""
        if self._rate is None:
            yield chunk
            return
        for start in range(0, len(chunk), piece_bytes := self._rate.piece_bytes):
            piece = chunk[start : start + piece_bytes]
            await self.received(len(piece))
            yield piece

    async def back_off(self, attempt: int) -> None:
        """Wait as after attempt number `attempt`, because an answer was received but is not plausible."""
        await self.sleep(backoff_seconds(attempt, chance=self.policy.chance) * self.policy.wait_scale)

    async def sleep(self, seconds: float) -> None:
        """Wait, at most until `stop` is set."""
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self.stop.wait()
            except TimeoutError:
                return
        if self.stop.is_set():
            raise errors.Interrupted("stopped while waiting")

    def _bounded(self, wait_seconds: float) -> float:
        """A wait in seconds: no single wait is longer than the archive as a whole is waited for."""
        return min(wait_seconds, self.policy.give_up_after_seconds) * self.policy.wait_scale

    def _is_outage(self, error: errors.BulkdlError, what: str, began: float) -> bool:
        """Account for a failure; whether the archive is unavailable, so that the action itself is not at fault."""
        now = self._clock()
        if isinstance(error, errors.ConnectFailed):
            is_news = self._outage.unreachable(now)
        elif _is_no_answer(error):
            is_news = self._outage.went_unanswered(what, now)
        else:
            if isinstance(error, errors.TooManyRequests):  # which proves only that something is there
                wait = self._bounded(error.retry_after_seconds or 0.0)
                self._paused_until = max(self._paused_until, now + wait)
                self._refused_since = now if self._refused_since is None else self._refused_since
                if self._is_too_long(now - self._refused_since):
                    raise self._given_up("has accepted no request", error) from error
            elif isinstance(error, (errors.RequestFailed, errors.InstanceError, errors.BundleError)):
                self._answered(began)
            return False
        if is_news:
            self._availability_changed(error)
        return self._outage.is_away

    def _is_too_long(self, seconds: float) -> bool:
        return seconds >= self.policy.give_up_after_seconds > 0

    def _given_up(self, what: str, error: errors.BulkdlError) -> errors.ArchiveUnreachable:
        seconds = f"{self.policy.give_up_after_seconds:.0f} s"
        return errors.ArchiveUnreachable(f"the archive {what} for {seconds} ({error}); everything finished is saved")

    def _answered(self, began: float) -> None:
        """Account for an answer to an action that began at `began`: one from before an outage does not end it."""
        since = self._outage.since
        if since is not None and began < since:
            return
        self._refused_since = None
        self._outage.answered()
        if since is not None:
            self._listener.outage(None, self._clock() - since)

    def _availability_changed(self, error: errors.BulkdlError) -> None:
        now, since = self._clock(), self._outage.since
        if since is not None:
            self._listener.outage(error, max(0.0, since + self.policy.give_up_after_seconds - now))
        if self._outage.is_hopeless(now):
            what = "answered nothing" if self._outage.is_connected else "could not be reached"
            raise self._given_up(what, error) from error

    @asynccontextmanager
    async def _permit_when_available(self, probes: int) -> AsyncIterator[None]:
        """Enter with a permit when requests may be sent: after a pause that the archive set, or as the one probe.

        The request was sent `probes` times while the archive was away.
        """
        while True:
            await self.sleep(self._paused_until - self._clock())
            is_probe, has_turn = self._outage.is_away, False
            try:
                if is_probe:
                    async with running_alongside(self._interrupted()):
                        await self._probe.acquire(probes)
                        has_turn = True
                    if not self._outage.is_away:
                        continue  # it answered meanwhile
                    await self.sleep(self._outage.probe_at - self._clock())
                async with self.permits:
                    await self.sleep(self._request_rate.wait_seconds(self._clock()))
                    if self._paused_until > self._clock() or (self._outage.is_away and not is_probe):
                        continue  # availability changed during the wait
                    yield
                    return
            finally:
                if has_turn:
                    self._probe.release()


def _is_no_answer(error: errors.BulkdlError) -> bool:
    """Whether the archive itself did not answer: its gateway answered, or the connection broke or timed out."""
    if isinstance(error, errors.ServerFailed):
        return error.status in _GATEWAY_STATUSES
    return isinstance(error, (errors.ConnectionLost, errors.TimedOut))
