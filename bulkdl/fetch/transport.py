"""How a Series is fetched: one request per instance, or its zip. Pure: measurements in, a choice out.

A zip spares a round trip per instance, but cannot be resumed, and brings what is held already once more. It is an
optimisation: what it does not bring is fetched singly.
"""

from __future__ import annotations

from typing import Final

from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.settings import Transport

_WORTH_A_ZIP: Final = 4  # instances; below it there is no round trip to spare
_OWED_SHARE: Final = 0.75  # of the Series; below it a zip brings too much that is held already
_LARGEST_ZIP_BYTES: Final = 1 << 30
_LARGEST_TRIAL_BYTES: Final = 1 << 26
_TRIAL_EVERY: Final = 24  # Series, then twice as many after each trial that changed nothing
_RAREST_TRIAL: Final = 96
# Of instances up to here most time goes into the way to the archive and back: nothing known, their Series come as zips.
_SMALL_BYTES: Final = 1 << 17
_MEMORY: Final = 0.3  # weight of the newest measurement
# What our own core does for each transport besides, in seconds: where it is the bottleneck, the times that permits are
# held say more of the core than of the archive. Measured: a request, and a byte of a deflated entry.
_REQUEST_SECONDS: Final = 300e-6
_INFLATE_SECONDS: Final = 5e-9


class TransportChooser:
    """Chooses a transport for each Series, and learns from how long each took on this archive.

    The cost of a transport is the time that an instance takes: that of a permit, shared by those in flight, and that of
    our own core. The one that is cheaper so far is used, the other is tried now and then on a small Series, because
    archives change: ever more rarely while that teaches nothing new.
    """

    def __init__(self, transport: Transport) -> None:
        self._fixed = transport
        self._cost: dict[Transport, float] = {}
        self._chosen = 0
        self._usual: Transport | None = None
        self._next_trial = _TRIAL_EVERY
        self._usual_bytes = 0.0  # of an instance; 0 while nobody knows
        self._wait = _TRIAL_EVERY

    def twin(self) -> TransportChooser:
        """One that knows as much, for another worker on the same archive, and begins to try things out anew."""
        twin = TransportChooser(self._fixed)
        twin._cost, twin._usual_bytes = dict(self._cost), self._usual_bytes
        return twin

    def choose(self, work: SeriesWork) -> Transport:
        """`single` or `zip` for this Series."""
        if self._fixed is Transport.SINGLE or not _fits_a_zip(work):
            return Transport.SINGLE
        if self._fixed is Transport.ZIP:
            return Transport.ZIP
        if len(work.entries) < _WORTH_A_ZIP or (work.size_bytes or 0) > _LARGEST_ZIP_BYTES:
            return Transport.SINGLE
        self._chosen += 1
        size_bytes = (work.size_bytes or 0) / len(work.entries) or self._usual_bytes
        usual = self._cheaper(Transport.ZIP if 0 < size_bytes <= _SMALL_BYTES else Transport.SINGLE)
        if self._chosen < self._next_trial or size_bytes * len(work.entries) > _LARGEST_TRIAL_BYTES:
            return usual
        if usual is not self._usual:
            self._usual, self._wait = usual, _TRIAL_EVERY
        self._next_trial = self._chosen + self._wait
        self._wait = min(2 * self._wait, _RAREST_TRIAL)
        return Transport.ZIP if usual is Transport.SINGLE else Transport.SINGLE

    def _cheaper(self, unknown: Transport) -> Transport:
        """The transport that costs less; `unknown` while not both are known."""
        if len(self._cost) < len((Transport.SINGLE, Transport.ZIP)):
            return unknown
        return min(self._cost, key=lambda transport: self._cost[transport])

    def measured(
        self, transport: Transport, *, instances: int, size_bytes: int, seconds: float, in_flight: int
    ) -> None:
        """Learn that `instances` of `size_bytes` in all took `seconds` of a permit, one of `in_flight`."""
        own = _REQUEST_SECONDS * instances if transport is Transport.SINGLE else _INFLATE_SECONDS * size_bytes
        cost = (seconds / max(in_flight, 1) + own) / max(instances, 1)
        self._usual_bytes = size_bytes / max(instances, 1)
        before = self._cost.get(transport, cost)
        self._cost[transport] = before + _MEMORY * (cost - before)


def _fits_a_zip(work: SeriesWork) -> bool:
    owed = len(work.entries)
    whole = max(work.image_count or 0, owed)
    return work.whole or owed >= max(_WORTH_A_ZIP, _OWED_SHARE * whole)
