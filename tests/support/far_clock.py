"""A clock that makes every step long, as over a long line."""

from __future__ import annotations


class FarClock:
    """Each look at it is half a second later than the one before."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        self._now += 0.5
        return self._now
