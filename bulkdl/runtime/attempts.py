"""Carrying out an action until it succeeds, under a limit of actions in flight and with an archive that may go away.

`retry` judges, `concurrency` counts, this module waits. One `Retrier` serves one archive in one process.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from bulkdl.errors import (
    ArchiveUnreachable,
    BulkdlError,
    BundleError,
    ConnectFailed,
    ConnectionLost,
    InstanceError,
    Interrupted,
    RequestFailed,
    ServerFailed,
    TimedOut,
    TooManyRequests,
)
from bulkdl.runtime.availability import Outage
from bulkdl.runtime.concurrency import Limiter, Permits, Sample
from bulkdl.runtime.rates import ByteRate, RequestRate
from bulkdl.runtime.retry import NextStep, backoff_seconds, decide
from bulkdl.runtime.tasks import first_set

Result = TypeVar("Result")

_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})
_FIRST_PROBE_SECONDS: Final = 1.0
_SLOWEST_PROBE_SECONDS: Final = 30.0


class Retrier:
    """Attempts at one archive: at most as many at once as the limiter allows, repeated as `runtime.retry` says.

    `announce_retry(what, error, attempt, wait)` and `announce_outage(error or None, seconds)` are told of what happens;
    `stop` ends all waiting, with `Interrupted`, when it is set. `chance` gives numbers from 0 to 1; `wait_scale`
    stretches every wait between attempts.
    """

    def __init__(
        self,
        *,
        limiter: Limiter,
        max_attempts: int,
        give_up_after_seconds: float,
        stop: asyncio.Event,
        rate: ByteRate | None = None,
        announce_retry: Callable[[str, BulkdlError, int, float], None] = lambda *_: None,
        announce_outage: Callable[[BulkdlError | None, float], None] = lambda *_: None,
        chance: Callable[[], float] = random.random,
        wait_scale: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limiter = limiter
        self.permits = Permits(limiter.limit)
        self.retries = 0
        self.stop = stop
        self._max_attempts = max_attempts
        self._wait_scale = wait_scale
        self._outage = Outage(
            give_up_after_seconds=give_up_after_seconds,
            first_probe_seconds=_FIRST_PROBE_SECONDS * wait_scale,
            slowest_probe_seconds=_SLOWEST_PROBE_SECONDS * wait_scale,
        )
        self._give_up_after = give_up_after_seconds
        self._probing = False
        self._paused_until = 0.0
        self._rate = rate
        self._pace = RequestRate()
        self._announce_retry = announce_retry
        self._announce_outage = announce_outage
        self._chance = chance
        self._clock = clock
        self._turn = asyncio.Event()  # replaced at every change of the weather, to wake who waits

    async def attempt(self, what: str, action: Callable[[int], Awaitable[Result]]) -> tuple[Result, int]:
        """Carry out `action(attempt)` until it succeeds; its result, and how many attempts it took.

        An action that fails because the archive is away waits until it is back; that is no attempt of its own.

        Raises:
            BulkdlError: the last failure, with its `attempts` set, once there is no more to try.
            ArchiveUnreachable: the archive was away for longer than the caller waits.
            Interrupted: `stop` was set.
        """
        attempt = 0
        while True:
            async with self._permit_when_available():
                began = self._clock()
                try:
                    result = await action(attempt + 1)
                except BulkdlError as error:
                    failure = error
                    if self._is_outage(error, what, began):
                        self.retries += 1
                        continue
                else:
                    self._answered(began)
                    return result, attempt + 1
            attempt += 1
            decision = decide(failure, attempt, max_attempts=self._max_attempts, chance=self._chance)
            if decision.next_step is not NextStep.RETRY:
                failure.attempts = attempt
                raise failure
            self.retries += 1
            # Nobody is waited for longer than the caller waits for the archive as a whole.
            wait = min(decision.wait_seconds, self._give_up_after) * self._wait_scale
            self._announce_retry(what, failure, attempt, wait)
            await self.sleep(wait)

    def finished(self, sample: Sample) -> None:
        """Tell the limits of a request that has ended, well or not."""
        now = self._clock()
        self.limiter.record(sample, in_flight=max(0, self.permits.in_use - 1), now=now)
        if sample.throttled:
            self._pace.refused(now, began=now - sample.seconds)
        elif not sample.failed:
            self._pace.took(now)
        if self.limiter.limit != self.permits.limit:
            self.permits.resize(self.limiter.limit)

    def share(self, ceiling: int, *, rate_bytes: float | None = None) -> None:
        """Use no more than `ceiling` permits, and `rate_bytes` a second where there is a rate, from now on."""
        self.limiter.bound(ceiling, now=self._clock())
        self.permits.resize(self.limiter.limit)
        if self._rate is not None and rate_bytes is not None:
            self._rate.change(rate_bytes, now=self._clock())

    async def received(self, size_bytes: int) -> None:
        """Account for bytes that came, and wait where a rate limit asks for it."""
        if self._rate is not None and (wait := self._rate.wait_seconds(size_bytes, now=self._clock())) > 0:
            await self.sleep(wait)

    async def back_off(self, attempt: int) -> None:
        """Wait as after attempt number `attempt`, for an answer that came but is not believed.

        Raises:
            Interrupted: `stop` was set.
        """
        await self.sleep(backoff_seconds(attempt, chance=self._chance) * self._wait_scale)

    async def sleep(self, seconds: float) -> None:
        """Wait, but not beyond `stop`.

        Raises:
            Interrupted: `stop` was set.
        """
        if seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self.stop.wait()
            except TimeoutError:
                return
        if self.stop.is_set():
            raise Interrupted("stopped while waiting")

    def _is_outage(self, error: BulkdlError, what: str, began: float) -> bool:
        """Take note of a failure; whether it is the archive's being away, and not this one action's."""
        now = self._clock()
        if isinstance(error, ConnectFailed):
            is_news = self._outage.unreachable(now)
        elif _is_no_answer(error):
            is_news = self._outage.went_unanswered(what, now)
        else:
            if isinstance(error, TooManyRequests):
                wait = min(error.retry_after_seconds or 0.0, self._give_up_after) * self._wait_scale
                self._paused_until = max(self._paused_until, now + wait)
            if isinstance(error, (RequestFailed, InstanceError, BundleError)):
                self._answered(began)
            return False
        if is_news:
            self._availability_changed(error)
        return self._outage.is_away

    def _answered(self, began: float) -> None:
        """An action that began at `began` had an answer; one from before an outage does not say that it is over."""
        since = self._outage.since
        if since is not None and began < since:
            return
        self._outage.answered()
        if since is not None:
            self._announce_outage(None, self._clock() - since)
            self._wake_all()

    def _availability_changed(self, error: BulkdlError) -> None:
        now, since = self._clock(), self._outage.since
        if since is not None:
            self._announce_outage(error, max(0.0, since + self._give_up_after - now))
        if self._outage.is_hopeless(now):
            raise ArchiveUnreachable(
                f"the archive could not be reached for {self._give_up_after:.0f} s ({error}); what was finished is kept"
            ) from error
        self._wake_all()

    def _wake_all(self) -> None:
        self._turn.set()
        self._turn = asyncio.Event()

    @asynccontextmanager
    async def _permit_when_available(self) -> AsyncIterator[None]:
        """Enter with a permit when requests may go out: after a pause that was asked for, or as the one probe."""
        while True:
            await self.sleep(self._paused_until - self._clock())
            if self._outage.is_away and self._probing:
                await first_set(self._turn, self.stop)
                continue
            is_probe = self._outage.is_away
            try:
                if is_probe:
                    self._probing = True
                    await self.sleep(self._outage.probe_at - self._clock())
                async with self.permits.one():
                    await self.sleep(self._pace.wait_seconds(self._clock()))
                    if self.stop.is_set():
                        raise Interrupted("stopped before the next attempt")
                    if self._paused_until > self._clock() or (self._outage.is_away and not is_probe):
                        continue  # the weather changed while we waited
                    yield
                    return
            finally:
                if is_probe:
                    self._probing = False
                    self._wake_all()


def _is_no_answer(error: BulkdlError) -> bool:
    """Whether the archive itself did not answer: its gateway did, or nobody."""
    if isinstance(error, ServerFailed):
        return error.status in _GATEWAY_STATUSES
    return isinstance(error, (ConnectionLost, TimedOut))
