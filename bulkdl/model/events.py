"""Events announced while a verb works. The caller hands in a sink; the command shows them, a library may ignore them.

Every event has a stable `name`, which is the `event` of `--progress json`. `RunContext` takes the sink to all parts.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bulkdl.model.completed_series import CompletedHandler
from bulkdl.model.settings import FetchSettings


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    name: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins. With `sends`, it sends what the mirror holds to the archive (`push`)."""

    name: ClassVar[str] = "run-started"
    run: int
    mirror: str
    archive: str
    sends: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """The state of a run, from the counts of the journal; sent a few times per second at most.

    While `resolving`, the totals still grow. Bytes are those of this run, of unfinished instances too; `bytes_selected`
    is the archive's number for everything selected, 0 if it sends none; `bytes_left` is None where a size is unknown.
    `bytes_per_second` is the rate of the last ten seconds; `seconds_left` is None where the rest is not known, and an
    estimate from the sizes of what is held where `bytes_left` is None.
    `instances_arriving` is the sum of the shares that have arrived of unfinished instances.
    `limit` is how many requests may be in flight now; `at_work` are the first folders that are downloaded into.
    """

    name: ClassVar[str] = "progress"
    series_selected: int
    series_done: int
    instances_selected: int
    instances_held: int
    instances_failed: int
    bytes_fetched: int
    bytes_selected: int
    bytes_left: int | None = None
    instances_arriving: float = 0.0
    bytes_per_second: int = 0
    seconds_left: float | None = None
    retries: int
    in_flight: int
    limit: int
    resolving: bool
    at_work: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verifying(Event):
    """The state of a verification: files verified, of how many, bytes read, and problems found.

    `bytes_checked` counts those of unfinished files, too. `bytes_held` is how many there are to read, 0 where only
    sizes are compared.
    """

    name: ClassVar[str] = "verifying"
    checked: int
    held: int
    bytes_checked: int
    problems: int
    bytes_held: int = 0


@dataclass(frozen=True, slots=True)
class Adopting(Event):
    """The state of an adoption: instances found so far, those adopted, their bytes, and those rejected."""

    name: ClassVar[str] = "adopting"
    found: int
    adopted: int
    bytes_adopted: int
    refused: int


@dataclass(frozen=True, slots=True)
class Working(Event):
    """The state of a task that downloads nothing: `relayout`, `view`, `merge`, `lock`, `prune` or `push`.

    `done` of `total` are counted in `unit`; a total of 0 is not known.
    """

    name: ClassVar[str] = "working"
    task: str
    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class Retrying(Event):
    """A request failed and will be repeated."""

    name: ClassVar[str] = "retrying"
    what: str
    error: str
    message: str
    attempt: int
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class ArchiveDown(Event):
    """The archive does not answer; the run waits and tries again."""

    name: ClassVar[str] = "archive-down"
    message: str
    give_up_in_seconds: float


@dataclass(frozen=True, slots=True)
class ArchiveUp(Event):
    """The archive answers again."""

    name: ClassVar[str] = "archive-up"
    after_seconds: float


@dataclass(frozen=True, slots=True)
class InstanceFailed(Event):
    """An instance, an entry of unknown UID (`key`), or else a whole Series ended as failed or quarantined."""

    name: ClassVar[str] = "instance-failed"
    series_uid: str
    sop_uid: str | None
    error: str
    message: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Information for the user; the run is not affected."""

    name: ClassVar[str] = "note"
    message: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The command has ended; the last event. `document` is that of `--json`."""

    name: ClassVar[str] = "run-ended"
    document: Mapping[str, Any]


Sink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A sink that ignores every event."""
    del event


@dataclass(frozen=True, slots=True)
class RunContext:
    """The settings of a run, the sink of its events, and the event that stops it once it is set.

    `completed` gets each Series that the run completes.
    """

    settings: FetchSettings = field(default_factory=FetchSettings)
    sink: Sink = ignore
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    completed: CompletedHandler | None = None
