"""The states of an instance in the journal, and the ways between them.

owed ──► held ──► withdrawn   (and back, if the archive offers it again)
 ▲ │      │
 │ ├──► failed        (given up for this run; owed again in the next)
 │ └──► quarantined   (the file is invalid; owed again in the next)
 └────────┘           (verify --repair found it damaged)
"""

from enum import StrEnum


class InstanceState(StrEnum):
    """The state of one instance between two runs."""

    OWED = "owed"
    HELD = "held"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    WITHDRAWN = "withdrawn"


class Outcome(StrEnum):
    """How one instance ended a run."""

    FETCHED = "fetched"
    REUSED = "reused"
    FAILED = "failed"
    QUARANTINED = "quarantined"


STATE_AFTER: dict[Outcome, InstanceState] = {
    Outcome.FETCHED: InstanceState.HELD,
    Outcome.REUSED: InstanceState.HELD,
    Outcome.FAILED: InstanceState.FAILED,
    Outcome.QUARANTINED: InstanceState.QUARANTINED,
}
