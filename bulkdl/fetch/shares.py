"""How workers share the limits of one run: requests in flight, and bytes a second.

The sum of all shares never exceeds a limit, not even while shares change: a worker that joins gets its share last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Share:
    """What one of `workers` may use from now on: requests in flight, and bytes a second, None for as many as come."""

    ceiling: int
    rate_bytes: float | None = None
    workers: int = 1


Sharer: TypeAlias = Callable[[Share], None]
"""What tells a worker to use no more than its share from now on."""


def divide(whole: Share, workers: int) -> list[Share]:
    """`whole` in as many nearly equal shares; there are no more workers than requests in flight."""
    each, more = divmod(whole.ceiling, workers)
    rate = None if whole.rate_bytes is None else whole.rate_bytes / workers
    return [Share(each + (number < more), rate, workers) for number in range(workers)]


class Shares:
    """The shares of the workers of one run, evenly divided anew whenever a worker joins or leaves."""

    def __init__(self, whole: Share, first: Sharer) -> None:
        self._whole = whole
        self._workers = [first]

    @property
    def has_room(self) -> bool:
        """Whether one more worker would get a request."""
        return len(self._workers) < self._whole.ceiling

    def join(self, worker: Sharer) -> None:
        """Give `worker` a share, after the shares of all others have shrunk."""
        self._workers.append(worker)
        self._hand_out()

    def leave(self, worker: Sharer) -> None:
        """Divide the share of `worker`, which has ended, among the others. Safe to repeat."""
        if worker in self._workers:
            self._workers.remove(worker)
            self._hand_out()

    def _hand_out(self) -> None:
        for worker, share in zip(self._workers, divide(self._whole, len(self._workers)), strict=True):
            worker(share)
