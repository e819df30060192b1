"""Rates: bytes a second (`--rate-limit`), and requests a second where an archive counts them (429, RFC 6585 §4).

The limit of requests in flight cannot control a rate: one request more or less is a step of a tenth or a third. So a
429 does not change that limit. It sets a rate: the number of requests that the archive accepted in the second before.

Pure state machines: the clock is an argument.
"""

from __future__ import annotations

from bisect import bisect
from typing import Final

_PIECE_SECONDS: Final = 0.1
_MEMORY_SECONDS: Final = 10.0  # longer than a refusal takes
_BELOW: Final = 0.99  # of the accepted rate: at the limit itself every jitter of the network would cause a refusal
_LESS: Final = 0.95  # when that was still too high
_LOWEST: Final = 0.2  # requests a second
_COOLDOWN_SECONDS: Final = 0.25  # after a refusal: lets the archive's window of one second pass
_MORE: Final = 1.05
_FIRST_LOOK_SECONDS: Final = 30.0  # until a higher rate is tried; doubled after each refusal
_LONGEST_LOOK_SECONDS: Final = 600.0
_FEWEST: Final = 5  # requests in a second, from which a rate is learned; of fewer, three refusals are needed
_REFUSALS_OF_FEW: Final = 3
_ANSWERS_IN_A_ROW: Final = 3  # after nothing but refusals: from then on the archive may accept far more than before
_GUESS_SECONDS: Final = 3.0  # until a rate that was learned from a single refusal is raised
_MORE_THAN_GUESSED: Final = 1.2
_PROVEN_SECONDS: Final = 10.0  # without a refusal, until a higher rate counts as proven


class ByteRate:
    """At most so many bytes a second, with bursts of one second's worth."""

    def __init__(self, bytes_per_second: float, *, now: float) -> None:
        self._rate = bytes_per_second
        self._paid_until = now

    @property
    def piece_bytes(self) -> int:
        """What to account for at a time, so that bytes are received evenly."""
        return max(1, int(self._rate * _PIECE_SECONDS))

    def change(self, bytes_per_second: float, *, now: float) -> None:
        """Go on at another rate; bytes that are not waited for yet are still due, at the new rate."""
        due_bytes = max(0.0, self._paid_until - now) * self._rate
        self._rate = bytes_per_second
        self._paid_until = now + due_bytes / bytes_per_second

    def wait_seconds(self, size_bytes: int, *, now: float) -> float:
        """Account for `size_bytes`; returns the seconds to wait before receiving more."""
        self._paid_until = max(self._paid_until, now - 1.0) + size_bytes / self._rate
        return max(0.0, self._paid_until - now)


class RequestRate:
    """The rate of requests to one archive; unlimited until the archive throttles a request.

    From time to time a slightly higher rate is tried, because limits change; a refusal takes it back at once. A rate
    that was lowered while nothing at all was accepted says little: it is forgotten once requests are accepted again.
    Refusals of requests that started before the last change of the rate do not count against it.
    """

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._proven = 0.0  # the rate to return to when a higher one is refused
        self._next_at = 0.0
        self._changed_at = 0.0
        self._asked = 0  # requests since then, and how many of them waited: an unused rate proves nothing
        self._held_back = 0
        self._answered = 0
        self._is_floor = False  # nothing was answered between two refusals
        self._lowered_at = -1.0
        self._first_refused = 0.0  # when the first refused request started
        self._look_seconds = _FIRST_LOOK_SECONDS
        self._refusals = 0  # in all: a rate that was learned from a single one is a guess
        self._refusals_of_few = 0
        self._began: list[float] = []  # start times of the last requests, in order, without the refused ones

    def wait_seconds(self, now: float) -> float:
        """Reserve the next start time; returns the seconds until then."""
        due = max(now, self._next_at)
        if self._began and self._began[0] < now - 2 * _MEMORY_SECONDS:  # not at each request, because the list is long
            del self._began[: bisect(self._began, now - _MEMORY_SECONDS)]
        self._began.append(due)
        if self.per_second is not None:
            self._next_at = due + 1.0 / self.per_second
            self._asked += 1
            self._held_back += due > now
        return due - now

    def took(self, now: float) -> None:
        """The archive answered a request without throttling it."""
        self._answered += 1
        if self._is_floor and self._answered >= _ANSWERS_IN_A_ROW:
            self._is_floor, self.per_second, self._next_at = False, None, now
        if self.per_second is None or self._held_back * 2 < self._asked:
            return
        since = now - self._changed_at
        if self._refusals == 1 and since >= _GUESS_SECONDS:
            self._proven = self.per_second
            self._set(self.per_second * _MORE_THAN_GUESSED, now)
        elif self.per_second > self._proven and since >= _PROVEN_SECONDS:
            self._proven, self._look_seconds = self.per_second, _FIRST_LOOK_SECONDS
            self._set(self.per_second * _MORE, now)
        elif self.per_second <= self._proven and since >= self._look_seconds:
            self._set(self._proven * _MORE, now)

    def refused(self, now: float, *, began: float) -> None:
        """The archive throttled a request that started at `began`."""
        self._refusals += 1
        if (place := bisect(self._began, began)) > 0:
            del self._began[place - 1]
        if self.per_second is None:
            self._first_refused = began
            self._refusals_of_few += now >= self._next_at
            self._next_at = now + 1.0  # so that the burst no longer counts
            accepted = self._accepted()
            if accepted < _FEWEST and self._refusals_of_few < _REFUSALS_OF_FEW:
                return  # nothing can be learned from so few
            self._proven = accepted
            self._set(self._proven, now)
        elif began < self._changed_at:
            if self._first_refused:  # of the same burst: the archive accepted fewer than it seemed
                self._proven = self.per_second = self._accepted()
                self._next_at = self._changed_at + 1.0 + self._asked / self.per_second
        elif began < self._lowered_at + 1.5:  # the archive still counts the same second
            self._next_at = max(self._next_at, now + _COOLDOWN_SECONDS)
        elif self.per_second > self._proven:
            self._look_seconds = min(2 * self._look_seconds, _LONGEST_LOOK_SECONDS)
            self._lower(self._proven, now)
        else:
            self._lower(max(_LOWEST, self.per_second * _LESS), now)

    def _accepted(self) -> float:
        """The rate that the archive accepted in the second before the first refusal."""
        last = bisect(self._began, self._first_refused)
        return max(_LOWEST, _BELOW * (last - bisect(self._began, self._first_refused - 1.0)))

    def _lower(self, per_second: float, now: float) -> None:
        self._is_floor = not self._answered
        self._proven = per_second
        self._set(per_second, now)
        self._lowered_at = now
        self._next_at = max(self._next_at, now + _COOLDOWN_SECONDS)

    def _set(self, per_second: float, now: float) -> None:
        if self.per_second is not None:
            self._first_refused = 0.0
        self.per_second = per_second
        self._changed_at = now
        self._asked = self._held_back = self._answered = 0
