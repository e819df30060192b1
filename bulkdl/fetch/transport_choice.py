"""How a Series is downloaded: one request per instance, or its bundle. Pure: measurements in, a choice out.

A bundle saves a round trip per instance, but cannot be resumed, and contains instances that are held already.
"""

from __future__ import annotations

from typing import Final

from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.settings import Transport

_WORTH_A_BUNDLE: Final = 4  # instances; fewer save too few round trips
_OWED_SHARE: Final = 0.75  # of the Series; below it a bundle has too many instances that are held already
_LARGEST_BUNDLE_BYTES: Final = 1 << 30
_LARGEST_TRIAL_BYTES: Final = 1 << 26
_TRIAL_EVERY: Final = 24  # Series, then twice as many after each trial that changes nothing
_RAREST_TRIAL: Final = 96
_TRIAL_SHARE: Final = 0.05  # of the time since the last trial: the most that one may lose
# For instances up to this size the round trip takes most of the time: until both transports are measured, use bundles.
_SMALL_BYTES: Final = 1 << 17
_MEMORY: Final = 0.3  # weight of the newest measurement
# The seconds of this process's own core for each transport: where the core is the bottleneck, the time that a permit is
# held says more about the core than about the archive. Measured: a request, and a byte of a deflated entry.
_REQUEST_SECONDS: Final = 300e-6
_INFLATE_SECONDS: Final = 5e-9


class TransportChooser:
    """Chooses a transport for each Series, and learns from how long each took on this archive.

    The cost is the time that an instance takes: of a permit, divided by the number in flight, and of this process's
    core. The dearer transport is tried now and then on a small Series, more rarely while the trials change nothing, and
    only when it would lose little: over a long line, small instances one by one may cost fifty times as much.
    """

    def __init__(self, transport: Transport, *, once: bool = False) -> None:
        self._fixed = transport
        self._owed_share = 1.0 if once else _OWED_SHARE
        self._cost: dict[Transport, float] = {}
        self._chosen = 0
        self._usual: Transport | None = None
        self._next_trial = _TRIAL_EVERY
        self._since_trial = 0  # instances
        self._usual_bytes = 0.0  # of an instance; 0 while unknown
        self._wait = _TRIAL_EVERY

    def twin(self) -> TransportChooser:
        """A copy with the same measurements, for another worker on the same archive."""
        twin = TransportChooser(self._fixed, once=self._owed_share >= 1)
        twin._cost, twin._usual_bytes = dict(self._cost), self._usual_bytes
        return twin

    def choose(self, work: SeriesWork) -> Transport:
        """`single` or `zip` for this Series."""
        owed, whole = len(work.entries), max(work.image_count or 0, len(work.entries))
        fits_a_bundle = work.whole or owed >= max(_WORTH_A_BUNDLE, self._owed_share * whole)
        if self._fixed is Transport.SINGLE or not fits_a_bundle:
            return Transport.SINGLE
        if self._fixed is Transport.ZIP:
            return Transport.ZIP
        if owed < _WORTH_A_BUNDLE or (work.size_bytes or 0) > _LARGEST_BUNDLE_BYTES:
            return Transport.SINGLE
        self._chosen += 1
        size_bytes = self._size_of_one(work)
        usual = self._usual_for(size_bytes)
        other = Transport.ZIP if usual is Transport.SINGLE else Transport.SINGLE
        self._since_trial += owed
        is_due = self._chosen >= self._next_trial and size_bytes * owed <= _LARGEST_TRIAL_BYTES
        if not is_due or not self._is_worth_a_trial(other, owed):
            return usual
        self._since_trial = 0
        if usual is not self._usual:
            self._usual, self._wait = usual, _TRIAL_EVERY
        self._next_trial = self._chosen + self._wait
        self._wait = min(2 * self._wait, _RAREST_TRIAL)
        return other

    def prefers_singles(self, work: SeriesWork) -> bool:
        """Whether measurements, or the caller, say that the instances of this Series come one by one."""
        if self._fixed is not Transport.AUTO:
            return self._fixed is Transport.SINGLE
        return bool(self._cost) and self._usual_for(self._size_of_one(work)) is Transport.SINGLE

    def _size_of_one(self, work: SeriesWork) -> float:
        """The bytes of an instance of this Series, as far as that is known; 0 otherwise."""
        return work.mean_bytes or self._usual_bytes

    def _usual_for(self, size_bytes: float) -> Transport:
        if self._knows_both:
            return min(self._cost, key=lambda transport: self._cost[transport])
        return Transport.ZIP if 0 < size_bytes <= _SMALL_BYTES else Transport.SINGLE

    def _is_worth_a_trial(self, other: Transport, instances: int) -> bool:
        """Whether the `other` transport is not measured yet, or would lose little time if it is dearer."""
        if not self._knows_both:
            return other not in self._cost
        cheap, dear = sorted(self._cost.values())
        return instances * (dear - cheap) <= _TRIAL_SHARE * self._since_trial * cheap

    @property
    def _knows_both(self) -> bool:
        """Whether both transports were measured."""
        return len(self._cost) > 1

    def measured(
        self, transport: Transport, *, instances: int, size_bytes: int, seconds: float, in_flight: tuple[int, int]
    ) -> None:
        """Add a measurement: `instances`, of `size_bytes` in total, took `seconds` of one permit.

        `in_flight` permits were in use when it began and when it ended: at the end of a run there are far fewer.
        """
        own = _REQUEST_SECONDS * instances if transport is Transport.SINGLE else _INFLATE_SECONDS * size_bytes
        cost = (seconds / max(sum(in_flight) / 2, 1) + own) / max(instances, 1)
        self._usual_bytes = size_bytes / max(instances, 1)
        before = self._cost.get(transport, cost)
        self._cost[transport] = before + _MEMORY * (cost - before)
