"""How far a run is, for people: what the journal counts, what has arrived since, how fast, and how long the rest takes.

Pure but for its clock. The counts of the journal may be some seconds old, so everything says of which moment it is.
"""

import time
from typing import Final, NamedTuple

from bulkdl.fetch.worker import Traffic
from bulkdl.journal.rows import Counts
from bulkdl.model.events import Progress
from bulkdl.model.transfer_rate import Clock, RemainingTime, TransferRate

_ALMOST: Final = 0.999  # of what is owed: only what is recorded is done


class Recorded(NamedTuple):
    """What a run has recorded up to some moment: the bytes that it fetched, and the instances that ended."""

    bytes_fetched: int = 0
    instances: int = 0


class ProgressMeter:
    """Makes the events of one run. Its counts never fall: a body that is received again changes nothing at first."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.rate = TransferRate(clock)
        self._remaining = RemainingTime(clock)
        self._bytes = 0
        self._instances = 0.0

    def progress(
        self, counts: Counts, counted: Recorded, now: Recorded, traffic: Traffic, *, resolving: bool
    ) -> Progress:
        """The event of this moment. `counted` is what was recorded when `counts` were made, `now` what is by now."""
        # What has arrived is not finished for a moment, until its outcome is recorded.
        self._bytes = max(self._bytes, now.bytes_fetched + traffic.unfinished_bytes)
        self._instances = max(self._instances, now.instances + traffic.unfinished_instances)
        since_bytes = self._bytes - counted.bytes_fetched
        self.rate.add(self._bytes)
        self._remaining.add(self._bytes, now.instances)
        bytes_left = _bytes_left(counts, since_bytes)
        likely_left = bytes_left if bytes_left is not None else _likely_bytes_left(counts, traffic)
        seconds_left = self._remaining.seconds(bytes_left=likely_left, instances_left=counts.owed)
        return Progress(
            series_selected=counts.series_selected,
            series_done=counts.series_complete + counts.series_failed,
            instances_selected=counts.instances_selected,
            instances_held=counts.held,
            instances_failed=counts.failed + counts.quarantined,
            instances_arriving=round(min(self._instances - counted.instances, _ALMOST * counts.owed), 3),
            bytes_fetched=self._bytes,
            bytes_left=bytes_left,
            bytes_selected=counts.promised_bytes,
            bytes_per_second=round(self.rate.per_second()),
            seconds_left=None if resolving else seconds_left,
            retries=traffic.retries,
            in_flight=traffic.in_flight,
            limit=traffic.limit,
            resolving=resolving,
        )


def _bytes_left(counts: Counts, since_bytes: int) -> int | None:
    """What is still to come of the archive's sizes; None where a size is not known. Failed instances do not come."""
    if counts.series_unsized or not counts.promised_bytes:
        return None
    failed = counts.failed + counts.quarantined
    failed_bytes = counts.promised_bytes * failed // max(1, counts.promised_instances)
    return max(0, counts.promised_bytes - counts.held_bytes - failed_bytes - since_bytes)


def _likely_bytes_left(counts: Counts, traffic: Traffic) -> int | None:
    """The same where sizes are not known; None where nothing is held.

    What is under way has the length that it announces. Other instances are as large as those that are held of their
    Series, or of all.
    """
    if not counts.held or not counts.owed:
        return None
    likely = counts.likely_bytes + counts.instances_unlike * counts.held_bytes // counts.held
    waiting = max(0, counts.owed - traffic.awaited_instances)
    return likely * waiting // counts.owed + traffic.awaited_bytes
