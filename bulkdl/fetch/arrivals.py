"""What has arrived of instances that have no outcome yet: without it, progress would stand still below a large one."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from bulkdl.archive.base import Body

_UNKNOWN_BYTES: Final = 1 << 20  # of an instance of unknown size, half has arrived then


class Unfinished(NamedTuple):
    """Bytes that have arrived of unfinished instances, and the sum of the shares of the instances that these are.

    `awaited_bytes` are still to come of those whose size is known, which are `awaited`.
    """

    size_bytes: int = 0
    instances: float = 0.0
    awaited_bytes: int = 0
    awaited: int = 0


class Arrival:
    """What has arrived of one instance, of `expected_bytes` if that is known, or of the instances of one bundle."""

    def __init__(self, expected_bytes: int = 0) -> None:
        self.expected_bytes = expected_bytes
        self._instances = 0  # that are whole
        self._instance_bytes = 0  # of these
        self._bytes = 0  # of the one that is not
        self._body: Body | None = None

    def reads(self, body: Body) -> None:
        """From now on the bytes are those of `body`, which is read as a whole."""
        self._body = body

    def add(self, size_bytes: int) -> None:
        """Count further bytes."""
        self._bytes += size_bytes

    def ends_instance(self) -> None:
        """The last instance of a bundle is whole."""
        self._instances += 1
        self._instance_bytes += self._bytes
        self._bytes = 0

    def ends_other(self) -> None:
        """What has arrived last is not an instance."""
        self._bytes = 0

    def is_delivered(self, size_bytes: int) -> None:
        """An instance of a bundle has its outcome."""
        self._instances = max(0, self._instances - 1)
        self._instance_bytes = max(0, self._instance_bytes - size_bytes)

    @property
    def unfinished(self) -> Unfinished:
        """The state of it."""
        part = self._bytes if self._body is None else self._body.arrived
        arrived = self._instance_bytes + part
        if not self.expected_bytes:
            return Unfinished(arrived, self._instances + part / (part + _UNKNOWN_BYTES))
        return Unfinished(arrived, min(1.0, part / self.expected_bytes), max(0, self.expected_bytes - part), 1)


def total(arrivals: Iterable[Arrival]) -> Unfinished:
    """The sum of several."""
    return Unfinished(*map(sum, zip(Unfinished(), *(arrival.unfinished for arrival in arrivals), strict=True)))
