"""The states of an instance in the journal, and the moves allowed between them.

owed ──► held ──► withdrawn
 ▲ │      │
 │ ├──► failed        (given up for this run; owed again in the next)
 │ └──► quarantined   (what came was unsound; owed again in the next)
 └────────┘           (verify --repair found it damaged)
"""

from __future__ import annotations

from enum import StrEnum


class InstanceState(StrEnum):
    """Where one instance stands between two runs."""

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

_MOVES: dict[InstanceState, frozenset[InstanceState]] = {
    InstanceState.OWED: frozenset({InstanceState.HELD, InstanceState.FAILED, InstanceState.QUARANTINED}),
    InstanceState.HELD: frozenset({InstanceState.OWED, InstanceState.WITHDRAWN}),
    InstanceState.FAILED: frozenset({InstanceState.OWED}),
    InstanceState.QUARANTINED: frozenset({InstanceState.OWED}),
    InstanceState.WITHDRAWN: frozenset({InstanceState.OWED, InstanceState.HELD}),
}


def may_become(before: InstanceState, after: InstanceState) -> bool:
    """Whether an instance in state `before` may be put into state `after`."""
    return after in _MOVES[before]
