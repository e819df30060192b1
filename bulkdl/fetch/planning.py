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
_TRIAL_EVERY: Final = 12
_FIRST_TRIAL: Final = 2
_MEMORY: Final = 0.3  # weight of the newest measurement
# What our own core does for each transport besides, in seconds: where it is the bottleneck, the times that permits are
# held say more of the core than of the archive. Measured: a request, and a byte of a deflated entry.
_REQUEST_SECONDS: Final = 300e-6
_INFLATE_SECONDS: Final = 5e-9


class TransportChooser:
    """Chooses a transport for each Series, and learns from how long each took on this archive.

    The cost of a transport is the time that an instance takes: that of a permit, shared by those in flight, and that of
    our own core. The one that is cheaper so far is used, the other is tried now and then on a small Series, because
    archives change.
    """

    def __init__(self, transport: Transport) -> None:
        self._fixed = transport
        self._cost: dict[Transport, float] = {}
        self._chosen = 0

    def choose(self, work: SeriesWork) -> Transport:
        """`single` or `zip` for this Series."""
        if self._fixed is Transport.SINGLE or not _fits_a_zip(work):
            return Transport.SINGLE
        if self._fixed is Transport.ZIP:
            return Transport.ZIP
        if len(work.sop_uids) < _WORTH_A_ZIP or (work.size_bytes or 0) > _LARGEST_ZIP_BYTES:
            return Transport.SINGLE
        self._chosen += 1
        is_small = (work.size_bytes or 0) <= _LARGEST_TRIAL_BYTES
        if not self._cost:  # one of each, to begin with
            return Transport.ZIP if self._chosen == 1 and is_small else Transport.SINGLE
        single, bundle = self._cost.get(Transport.SINGLE), self._cost.get(Transport.ZIP)
        cheaper = Transport.SINGLE if bundle is None or (single is not None and single <= bundle) else Transport.ZIP
        is_trial = self._chosen % _TRIAL_EVERY == _FIRST_TRIAL and is_small
        if is_trial:
            return Transport.ZIP if cheaper is Transport.SINGLE else Transport.SINGLE
        return cheaper

    def measured(
        self, transport: Transport, *, instances: int, size_bytes: int, seconds: float, in_flight: int
    ) -> None:
        """Learn that `instances` of `size_bytes` in all took `seconds` of a permit, one of `in_flight`."""
        own = _REQUEST_SECONDS * instances if transport is Transport.SINGLE else _INFLATE_SECONDS * size_bytes
        cost = (seconds / max(in_flight, 1) + own) / max(instances, 1)
        before = self._cost.get(transport, cost)
        self._cost[transport] = before + _MEMORY * (cost - before)


def _fits_a_zip(work: SeriesWork) -> bool:
    owed = len(work.sop_uids)
    whole = max(work.image_count or 0, owed)
    return work.whole or owed >= max(_WORTH_A_ZIP, _OWED_SHARE * whole)
