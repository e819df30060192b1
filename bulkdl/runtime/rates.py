"""How many requests a second an archive takes that counts them (429, RFC 6585 §4). Pure: the clock is passed in.

The limit of requests in flight cannot hold a rate: one request more or less is a step of a tenth or a third. So a 429
does not move that limit; it sets a pace instead, which is what the archive took in the second before.
"""

from __future__ import annotations

from bisect import bisect
from typing import Final

_MEMORY_SECONDS: Final = 10.0  # a refusal hardly takes longer
_BELOW: Final = 0.99  # of what the archive took: on its border every stumble of the line would be a refusal
_LESS: Final = 0.95  # when that was still too much
_LOWEST: Final = 0.2  # requests a second
_BREATH_SECONDS: Final = 0.25  # after a refusal: what was too much in the last second must not count in the next
_MORE: Final = 1.05
_FIRST_LOOK_SECONDS: Final = 30.0  # until more is tried; twice as long after each time that it was refused
_LONGEST_LOOK_SECONDS: Final = 600.0
_PROVEN_SECONDS: Final = 10.0  # without refusal, and a higher pace stands


class ByteRate:
    """At most so many bytes a second, with a second's worth of slack: how long to wait before going on."""

    def __init__(self, bytes_per_second: float, *, now: float) -> None:
        self._rate = bytes_per_second
        self._paid_until = now

    def change(self, bytes_per_second: float, *, now: float) -> None:
        """Go on at another rate; bytes that are not waited for yet are still due, at the new rate."""
        due_bytes = max(0.0, self._paid_until - now) * self._rate
        self._rate = bytes_per_second
        self._paid_until = now + due_bytes / bytes_per_second

    def wait_seconds(self, size_bytes: int, *, now: float) -> float:
        """Account for `size_bytes` and return the seconds to wait before the next ones."""
        self._paid_until = max(self._paid_until, now - 1.0) + size_bytes / self._rate
        return max(0.0, self._paid_until - now)


class RequestRate:
    """The pace of the requests to one archive; none until it refuses one for coming too soon.

    From time to time a little more is tried, because limits are lifted: what is refused then is taken back at once.
    Refusals of requests that began before the last change of pace say nothing of it.
    """

    def __init__(self) -> None:
        self.per_second: float | None = None
        self._proven = 0.0  # the pace to return to when a higher one is refused
        self._next_at = 0.0
        self._changed_at = 0.0
        self._asked = 0  # for a place since then, and how many were held back: a pace that nobody feels proves nothing
        self._held_back = 0
        self._lowered_at = -1.0
        self._first_refused = 0.0  # when the first request began that was refused
        self._look_seconds = _FIRST_LOOK_SECONDS
        self._began: list[float] = []  # of late, in order, but for those that were refused

    def wait_seconds(self, now: float) -> float:
        """Take the next place in the row; the seconds until it is due, and the request is to begin."""
        due = now if self.per_second is None else max(now, self._next_at)
        if self._began and self._began[0] < now - 2 * _MEMORY_SECONDS:  # not at each request: a list is long
            del self._began[: bisect(self._began, now - _MEMORY_SECONDS)]
        self._began.append(due)
        if self.per_second is not None:
            self._next_at = due + 1.0 / self.per_second
            self._asked += 1
            self._held_back += due > now
        return due - now

    def took(self, now: float) -> None:
        """The archive answered a request, whatever it said, but for its coming too soon."""
        if self.per_second is None or self._held_back * 2 < self._asked:
            return
        since = now - self._changed_at
        if self.per_second > self._proven and since >= _PROVEN_SECONDS:
            self._proven, self._look_seconds = self.per_second, _FIRST_LOOK_SECONDS
            self._set(self.per_second * _MORE, now)
        elif self.per_second <= self._proven and since >= self._look_seconds:
            self._set(self._proven * _MORE, now)

    def refused(self, now: float, *, began: float) -> None:
        """The archive refused a request that began at `began` for coming too soon."""
        if (place := bisect(self._began, began)) > 0:
            del self._began[place - 1]
        if self.per_second is None:
            self._first_refused = began
            self._proven = self._accepted()
            self._set(self._proven, now)
            self._next_at = now + 1.0  # so that none of the burst counts any more
        elif began < self._changed_at:
            if self._first_refused:  # of the same burst: the archive took fewer than it seemed
                self._proven = self.per_second = self._accepted()
                self._next_at = self._changed_at + 1.0 + self._asked / self.per_second
        elif began < self._lowered_at + 1.5:  # the second that was too full is not over
            self._next_at = max(self._next_at, now + _BREATH_SECONDS)
        elif self.per_second > self._proven:
            self._look_seconds = min(2 * self._look_seconds, _LONGEST_LOOK_SECONDS)
            self._lower(self._proven, now)
        else:
            self._lower(max(_LOWEST, self.per_second * _LESS), now)

    def _accepted(self) -> float:
        """The pace that the archive bore in the second before the first refusal."""
        last = bisect(self._began, self._first_refused)
        return max(_LOWEST, _BELOW * (last - bisect(self._began, self._first_refused - 1.0)))

    def _lower(self, per_second: float, now: float) -> None:
        self._proven = per_second
        self._set(per_second, now)
        self._lowered_at = now
        self._next_at = max(self._next_at, now + _BREATH_SECONDS)

    def _set(self, per_second: float, now: float) -> None:
        if self.per_second is not None:
            self._first_refused = 0.0
        self.per_second = per_second
        self._changed_at = now
        self._asked = self._held_back = 0
