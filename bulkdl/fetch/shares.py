"""How workers share the limits of one run: requests in flight, and bytes a second.

The sum of all shares never exceeds a limit, not even while shares change: the shares that shrink are sent first.
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
        self._shares: dict[Sharer, Share] = {first: whole}

    @property
    def has_room(self) -> bool:
        """Whether one more worker would get a request."""
        return len(self._shares) < self._whole.ceiling

    def join(self, worker: Sharer) -> None:
        """Give `worker` a share, after the shares of all others have shrunk."""
        self._hand_out([*self._shares, worker])

    def leave(self, worker: Sharer) -> None:
        """Divide the share of `worker`, which has ended, among the others. Safe to repeat."""
        if worker in self._shares:
            del self._shares[worker]
            self._hand_out([*self._shares])

    def _hand_out(self, workers: list[Sharer]) -> None:
        none, new = Share(0), dict(zip(workers, divide(self._whole, len(workers)), strict=True))
        for worker in sorted(new, key=lambda worker: new[worker].ceiling - self._shares.get(worker, none).ceiling):
            if self._shares.get(worker) != new[worker]:
                self._shares[worker] = new[worker]
                worker(new[worker])
