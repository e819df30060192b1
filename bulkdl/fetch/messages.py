"""What a worker process and its parent send each other.

The parent sends `WorkerSettings` first, then `SeriesWork`, and `Share`, `Stop` and `NoMoreWork` at any time. The
process sends `Batch` after `Batch`.
"""

from __future__ import annotations

from dataclasses import dataclass

from bulkdl.errors import BulkdlError
from bulkdl.fetch.worker import Traffic
from bulkdl.model.events import Event
from bulkdl.model.outcomes import InstanceOutcome


@dataclass(frozen=True, slots=True)
class Stop:
    """Take no more work."""


@dataclass(frozen=True, slots=True)
class NoMoreWork:
    """All work has been given out: end when it is done."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcomes and events since the last batch, and how many items of work were `begun` since.

    Nothing follows the last batch. Its `error` is one that must stop the run.
    """

    outcomes: tuple[InstanceOutcome, ...]
    events: tuple[Event, ...]
    traffic: Traffic
    begun: int
    is_last: bool = False
    error: BulkdlError | None = None
