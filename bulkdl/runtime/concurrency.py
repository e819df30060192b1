"""How many requests may be in flight: `Limiter` finds the limit, `Permits` keeps to it, and `ProbeTurn` to one.

`Limiter` is a pure state machine: the clock is an argument, and it never waits.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, NamedTuple

# Each request has a fixed cost: goodput counts this many bytes in addition to each body. So the number of small
# instances counts, and the bytes of large ones.
REQUEST_WEIGHT_BYTES: Final = 32_768

FIRST_LIMIT: Final = 8
# A step pays if it brings this share of the gain that an archive without limits would give. Archives saturate
# gradually: a share of a half would stop too early, a small one would follow the noise.
_WORTH: Final = 1 / 3
_COARSE_STEP: Final = 1 / 2
_FINEST_STEP: Final = 1 / 8
_FIRST_WINDOW_SECONDS: Final = 0.08  # while every doubling has paid: one round of requests shows the difference
# During the first doublings a step that pays looks like connections that warm up. With this many bytes in flight a line
# of 1 Gbit/s and 80 ms is full (10 MB) and so is its queue; packet loss then costs more than waiting (measured).
_OPENING_BYTES: Final = 20 << 20
LONG_SECONDS: Final = 0.03
"""A way to the archive is long if a connection, or the first answer, takes so long."""
# A very long line is narrow as a rule, so it begins with few requests.
_VERY_LONG_SECONDS: Final = 0.15
_FEW: Final = 4
# On a long line a round of requests takes many round trips, because new connections start slowly. The limit need not
# wait for its end: if most answers have begun, and their first windows came at this rate, there is room for four times
# as many. A line of 10 Mbit/s brings a fifth of it; very short answers show nothing.
_QUICK_BYTES_PER_SECOND: Final = 6_000_000
_USUAL: Final = 7 / 8  # of the answers: one may be late by chance
# Where half of them begin so much later than the first one, a queue stands before the line. More requests only lengthen
# it and lose packets.
_LATE: Final = 1 / 8
# A line is narrow where it brings no more than this, and bodies take many round trips. Its connections warm up for
# seconds: meanwhile a doubling seems to pay, and only fills the queue (measured at 10 Mbit/s and 200 ms: 24 CT slices
# take 13.0 to 14.9 s with 3 to 6 at once, 12 to 36 s with 8). So the first round is not measured, and steps are small.
# A connection that is opened before a full queue may stay slow for ten seconds, so none is before so many rounds.
_NARROW_BYTES_PER_SECOND: Final = 2_000_000
_MANY_TRIPS: Final = 5
_NARROW_STEP: Final = 1 / 4
_NARROW_ROUNDS: Final = 5
_NEWEST: Final = 32
_FEWEST_ANSWERS: Final = 4
_TIMES_AT_ONCE: Final = 4
_MOST_AT_ONCE: Final = 40
_WINDOW_BYTES: Final = 14_600  # that servers send before the first acknowledgement (RFC 6928)
_LEAST_BYTES: Final = 2_000
_MOST_BYTES: Final = 32 << 20  # of bodies in flight at any time, because they are in memory
_LARGE_BYTES: Final = 4 << 20  # no more of one body is in flight
_MEAN_WEIGHT: Final = 0.1  # of the latest size
_COARSE_WINDOW_SECONDS: Final = 0.25
_FINE_WINDOW_SECONDS: Final = 1.0
_LONGEST_WINDOW_SECONDS: Final = 5.0  # or two rounds of requests, if these are slower
_SETTLED_WINDOWS: Final = 2
_FIRST_REST_SECONDS: Final = 3.0  # after a refusal; twice as long after each one that follows soon
_LONGEST_REST_SECONDS: Final = 12.0
_SOON_SECONDS: Final = 60.0
_BACK_OFF: Final = 0.7
_IN_USE: Final = 0.75  # of the limit: a window with fewer requests in flight does not measure it


class Sample(NamedTuple):
    """One finished request.

    `refused`: the archive is overloaded (503); `throttled`: too many requests a second (429); `failed`: it broke off.
    """

    seconds: float
    size_bytes: int
    refused: bool = False
    throttled: bool = False
    failed: bool = False


class _Beginnings:
    """How soon answers have begun, under one limit. `shortest` is the time of the first one under another limit."""

    def __init__(self, shortest: float = math.inf) -> None:
        self._count = 0
        self._in_flight = 0
        self._bytes = 0
        self.shortest = shortest
        self._newest: deque[float] = deque(maxlen=_NEWEST)

    def add(self, seconds: float, size_bytes: int, in_flight: int) -> None:
        self._count += 1
        self._in_flight += in_flight
        self._bytes += min(size_bytes, _WINDOW_BYTES)
        self.shortest = min(self.shortest, seconds)
        self._newest.append(seconds)

    @property
    def _are_known(self) -> bool:
        return self._count >= _FEWEST_ANSWERS and self.shortest >= LONG_SECONDS

    def _later(self, share: float) -> float:
        """How many seconds after the time of the first one `share` of the newest began."""
        return sorted(self._newest)[int(len(self._newest) * share)] - self.shortest

    @property
    def are_late(self) -> bool:
        """Whether a queue stands before a long line."""
        return self._are_known and self._later(1 / 2) > _LATE * self.shortest

    @property
    def room(self) -> int:
        """How many requests in flight would be answered as soon; 0 if that is not known."""
        if not self._are_known or 2 * self._count**2 <= self._in_flight:  # no more than half of those in flight
            return 0
        together = min(self._count, self._in_flight // self._count)  # the others began after these
        after_first = self._bytes * (together - 1) / self._count
        is_prompt = self._later(_USUAL) * _QUICK_BYTES_PER_SECOND <= after_first
        return _TIMES_AT_ONCE * together if is_prompt else 0


class Limiter:
    """The limit of requests in flight: raised while that increases throughput, lowered when it does not or is refused.

    The limiter tries another limit for a window of requests and keeps it if it pays: a higher one if it brings a third
    of the proportional gain, a lower one if less than that is lost. It starts by doubling. After a step that pays the
    next one is twice as large, after one that does not it is half as large. When steps of an eighth do not pay, the
    limiter rests for some windows, then tries the other direction, because archives change.
    On a long line, where answers begin together, it starts with a step of four times what is in flight. It does not go
    up there while answers begin later than before, because a queue stands before the line then.

    A refusal ends a trial, or lowers the limit by three tenths; several broken connections in one window count as one
    refusal. Only requests that started under the present limit count against it, so a burst of refusals lowers it once.
    The limit stays between 1 and `ceiling`.
    """

    def __init__(self, *, ceiling: int, first: int = FIRST_LIMIT, now: float = 0.0) -> None:
        self.ceiling = ceiling
        self.limit = max(1, min(first, ceiling))
        self._held = self.limit  # the limit to return to when a trial does not pay
        self._held_goodput = 0.0  # 0: not measured yet
        self._step = 1.0  # of the next trial, as a share of the held limit
        self._upwards = True
        self._is_opening = True  # every step has paid so far
        self._is_warm = False  # the connections of the present limit have been used
        self._first = self.limit
        self._shortest = math.inf  # of the times after which answers began
        self._mean_bytes = 0.0
        self._rest = 0  # windows until the next trial
        self._rest_until = now
        self._rest_seconds = _FIRST_REST_SECONDS
        self._refused_at = -_SOON_SECONDS
        self._beginnings = _Beginnings()
        self._prompt_seconds: float | None = None  # of a long line where answers began together
        self._proven = self.limit  # the highest limit that paid, while nothing was refused
        self._changed_at = now
        self._tried_at = now  # when the limit was changed to see what it brings
        self._open_window(now)

    def _open_window(self, now: float) -> None:
        self._since = now
        self._units = 0.0
        self._done = 0
        self._unit_seconds = 0.0
        self._failed = 0
        self._in_flight = 0

    def bound(self, ceiling: int, *, now: float) -> None:
        """Set another ceiling; a higher one is tried at once."""
        if ceiling > self.ceiling:
            self._upwards, self._step, self._rest = True, 1.0, 0
        self.ceiling = max(1, ceiling)
        if self._held > self.ceiling:
            self._hold(self.ceiling, goodput=0.0, now=now)
        elif self.limit > self.ceiling:
            self._hold(self._held, goodput=self._held_goodput, now=now)

    @property
    def soonest(self) -> int:
        """The limit that one round of prompt answers can bring."""
        if not self._is_opening:
            return self.limit
        return max(self.limit, min(_TIMES_AT_ONCE * self.limit, _MOST_AT_ONCE, self.ceiling))

    def begin(self, seconds: float, size_bytes: int, *, in_flight: int, now: float) -> None:
        """Account for an answer of `size_bytes` that begins, `seconds` after its request.

        `in_flight` is the number of all requests that run, with this one.
        """
        self._shortest = min(self._shortest, seconds)
        if self._is_opening and not self._held_goodput and self._first < self.ceiling:
            self._begin_with(min(self._first, _FEW) if self._is_very_long else self._first, now)
        if size_bytes < _LEAST_BYTES or now - seconds < self._tried_at:
            return
        self._beginnings.add(seconds, size_bytes, in_flight)
        if not self._is_opening:
            return
        most = max(1, _OPENING_BYTES // min(size_bytes, _LARGE_BYTES))
        limit = min(self._beginnings.room, _MOST_AT_ONCE, most, self.ceiling)
        if limit > self.limit:
            self._prompt_seconds = self._beginnings.shortest
            self._change(limit, now)  # further answers of this round may raise it more

    def _begin_with(self, first: int, now: float) -> None:
        if self.limit in {self._first, _FEW} and self.limit != first:
            self._hold(first, goodput=0.0, now=now)

    @property
    def _is_very_long(self) -> bool:
        return self._shortest >= _VERY_LONG_SECONDS

    def record(self, sample: Sample, *, in_flight: int, now: float) -> None:
        """Account for a finished request; `in_flight` is the number of others that are running."""
        if sample.throttled:  # `rates.RequestRate` handles it
            return
        began_before = now - sample.seconds < self._changed_at
        if began_before and (not self._done or sample.refused or sample.failed):
            if not self._done:
                self._since = now  # the window starts when the first request of the present limit has ended
            return
        self._done += 1
        self._in_flight += min(in_flight + 1, self.limit)
        self._failed += sample.failed
        if sample.refused or self._failed * 4 > max(self._done, 8):
            self._back_off(now)
            return
        if not sample.failed:
            size_bytes = min(sample.size_bytes, _LARGE_BYTES)
            self._mean_bytes += (size_bytes - self._mean_bytes) * (_MEAN_WEIGHT if self._mean_bytes else 1.0)
            units = sample.size_bytes + REQUEST_WEIGHT_BYTES
            self._units += units
            self._unit_seconds += units * sample.seconds
        if self._has_seen_enough(now - self._since):
            self._end_window(now)

    def _end_window(self, now: float) -> None:
        if self._is_narrow(now - self._since):
            if not self._is_warm:
                self._is_warm, self._changed_at = True, now
                self._open_window(now)
                return
            self._step = min(self._step, _NARROW_STEP)
        is_used = self._in_flight >= self._done * self.limit * _IN_USE
        goodput = self._units / max(now - self._since, 1e-9)
        self._open_window(now)
        if is_used:
            self._judge(goodput, now)
        elif self.limit != self._held:
            self._hold(self._held, goodput=self._held_goodput, now=now)  # the higher limit is not needed

    def _has_seen_enough(self, seconds: float) -> bool:
        """Whether the window distinguishes a step of the present size from noise: smaller steps need more requests."""
        if self._is_opening:
            rounds = _NARROW_ROUNDS if self._is_warm and self.limit == self._held else 1
            return seconds >= _FIRST_WINDOW_SECONDS and self._done >= rounds * self.limit
        step = abs(self.limit - self._held) / self._held or max(self._step, 1 / self._held)
        least_seconds = _COARSE_WINDOW_SECONDS if step >= _COARSE_STEP else _FINE_WINDOW_SECONDS
        if seconds < least_seconds or self._done < 2 * self.limit:
            return False
        return self._done >= 4 / step**2 or seconds >= _LONGEST_WINDOW_SECONDS

    def _is_narrow(self, seconds: float) -> bool:
        """Whether a long line may be full of the bytes of this window, which are few for its `seconds`."""
        may_be_full = self._is_opening and (self._beginnings.are_late or self._is_very_long)
        take_long = self._unit_seconds >= _MANY_TRIPS * self._shortest * self._units
        return may_be_full and take_long and self._units < _NARROW_BYTES_PER_SECOND * seconds

    def _judge(self, goodput: float, now: float) -> None:
        if self.limit == self._held:
            known = self._held_goodput
            self._held_goodput = (known + goodput) / 2 if known else goodput
            self._rest -= 1
            if self._rest < 0 and now >= self._rest_until:
                self._try(now)
            return
        worth = 1 + (self.limit / self._held - 1) * _WORTH
        if goodput >= worth * self._held_goodput:
            self._step = min(1.0, 2 * self._step) if self._upwards else _FINEST_STEP
            self._proven = self.limit if not self._upwards else max(self._proven, self.limit)
            self._hold(self.limit, goodput=goodput, now=now)
            self._try(now)
            return
        self._is_opening = False
        self._hold(self._held, goodput=self._held_goodput, now=now)
        if self._step > _FINEST_STEP and self._step * self._held > 1:
            self._step = max(_FINEST_STEP, self._step / 2)
        else:
            self._turn()

    def _try(self, now: float) -> None:
        if self._upwards and self._prompt_seconds is not None and self._beginnings.are_late:
            self._turn()
            return
        step = max(1, round(self._held * self._step))
        limit = max(1, min(self._held + step if self._upwards else self._held - step, self.ceiling))
        most_bytes = _OPENING_BYTES if self._is_opening else _MOST_BYTES
        if limit > self._held and limit * self._mean_bytes > most_bytes:
            limit = max(self._held, int(most_bytes / self._mean_bytes))
        if limit == self._held:
            self._turn()
            return
        self._tried_at = now
        self._beginnings = _Beginnings(self._prompt_seconds or math.inf)
        self._change(limit, now)

    def _change(self, limit: int, now: float) -> None:
        self.limit = limit
        self._changed_at = now
        self._is_warm = False
        self._open_window(now)

    def _turn(self) -> None:
        self._is_opening = False
        self._upwards = not self._upwards
        self._step = _FINEST_STEP
        self._rest = _SETTLED_WINDOWS

    def _hold(self, limit: int, *, goodput: float, now: float) -> None:
        if limit != self.limit:
            self._changed_at = now
        self.limit = self._held = limit
        self._held_goodput = goodput
        self._open_window(now)

    def _back_off(self, now: float) -> None:
        self._is_opening = False
        lower = self._held if self.limit > self._held else max(1, int(self.limit * _BACK_OFF))
        self._hold(lower, goodput=0.0, now=now)
        self._changed_at = now
        is_soon = now - self._refused_at < _SOON_SECONDS
        self._rest_seconds = min(2 * self._rest_seconds, _LONGEST_REST_SECONDS) if is_soon else _FIRST_REST_SECONDS
        self._refused_at, self._rest_until = now, now + self._rest_seconds
        # Far below the proven limit large steps are safe; close to it they are not.
        self._upwards, self._rest = True, 0
        self._step = 1.0 if 2 * lower <= self._proven else _FINEST_STEP


async def _granted(waiter: asyncio.Future[None], give_back: Callable[[], None]) -> None:
    """Wait for what another task grants. A task that is cancelled after that, before it could use it, gives it back."""
    try:
        await waiter
    except asyncio.CancelledError:
        if waiter.done() and not waiter.cancelled():
            give_back()
        raise


class Permits:
    """A semaphore whose size can change while it is held, for the length of a block. Waiters are served in order."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_use = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def resize(self, limit: int) -> None:
        """Change the number of permits. Permits in use beyond it stay valid."""
        self.limit = limit
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.in_use < self.limit:
            waiter = self._waiting.popleft()
            if not waiter.done():
                self.in_use += 1  # taken for the waiter, so that no later task gets it
                waiter.set_result(None)

    async def __aenter__(self) -> None:
        if self.in_use < self.limit:  # then no task waits
            self.in_use += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await _granted(waiter, self._give_back)

    async def __aexit__(self, *_: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        self.in_use -= 1
        self._hand_out()


class ProbeTurn:
    """The right to send the one request that probes an archive, while it is away.

    It is given first to requests that sent the fewest probes, of these to the latest: where nothing of one Series is
    answered, a request for another one need not wait for all of that.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = count()

    async def acquire(self, probes: int) -> None:
        """Wait for the turn of a request that was a probe so many times."""
        if not self._is_taken:  # then none waits
            self._is_taken = True
            return
        waiter = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (probes, -next(self._number), waiter))
        await _granted(waiter, self.release)

    def release(self) -> None:
        """Let the next one have its turn."""
        while self._waiting:
            *_, waiter = heappop(self._waiting)
            if not waiter.done():
                waiter.set_result(None)
                return
        self._is_taken = False
