"""What is announced while work goes on. A sink is handed in by the caller; `cli` draws, the library may ignore.

Every event has a stable `name`, the `event` of `--progress json`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    name: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins."""

    name: ClassVar[str] = "run-started"
    run: int
    mirror: str
    archive: str


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """Where the run stands; sent a few times a second at most, from the journal's counts.

    `resolving` is True while Series or instance lists are still being asked for, so the totals still grow. Bytes are of
    this run; `size_bytes` is what the archive promised for all that is selected, 0 if it gave no sizes.
    """

    name: ClassVar[str] = "progress"
    series_selected: int
    series_done: int
    instances_selected: int
    instances_held: int
    instances_failed: int
    bytes_fetched: int
    bytes_selected: int
    in_flight: int
    resolving: bool


@dataclass(frozen=True, slots=True)
class Verifying(Event):
    """Where an audit stands: files looked at, of how many, their bytes, and problems found."""

    name: ClassVar[str] = "verifying"
    checked: int
    held: int
    bytes_checked: int
    problems: int


@dataclass(frozen=True, slots=True)
class Adopting(Event):
    """Where an adoption stands: instances found so far, those that were adopted, their bytes, and those refused."""

    name: ClassVar[str] = "adopting"
    found: int
    adopted: int
    bytes_adopted: int
    refused: int


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
    """The archive does not answer; the run waits and probes."""

    name: ClassVar[str] = "archive-down"
    message: str
    give_up_in_seconds: float


@dataclass(frozen=True, slots=True)
class ArchiveUp(Event):
    """The archive answers again."""

    name: ClassVar[str] = "archive-back"
    after_seconds: float


@dataclass(frozen=True, slots=True)
class InstanceFailed(Event):
    """An instance, or a whole Series (`sop_uid` and `key` None), ended as failed or quarantined.

    `key` is that of an entry of the archive whose SOP Instance UID is not known.
    """

    name: ClassVar[str] = "given-up"
    series_uid: str
    sop_uid: str | None
    error: str
    message: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something worth a line to the user, of no harm to the run."""

    name: ClassVar[str] = "note"
    message: str


Sink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """A sink that lets every event pass unseen."""
    del event
