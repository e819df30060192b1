"""The retry decision: after a failure retry, give up the instance, or stop the run. One pure function.

Waits are exponential with full jitter (a uniform draw up to the cap of the attempt), so that many workers that failed
together do not retry together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bulkdl import errors

BASE_SECONDS: Final = 0.5
CAP_SECONDS: Final = 60.0
# An archive may ask for a day; bulkdl retries after an hour.
MOST_RETRY_AFTER_SECONDS: Final = 3600.0

_FINAL: Final = (
    errors.AccessDenied,
    errors.NotFound,
    errors.RequestRejected,
    errors.InvalidAtSource,
    errors.WrongAtSource,
)


class NextStep(Enum):
    """What to do next."""

    RETRY = auto()
    GIVE_UP = auto()
    STOP = auto()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, and after how many seconds."""

    next_step: NextStep
    wait_seconds: float = 0.0


def decide(error: errors.BulkdlError, attempt: int, *, max_attempts: int, chance: Callable[[], float]) -> Decision:
    """Decide what follows the failure of attempt number `attempt` (the first is 1).

    `chance` returns a number from 0 to 1. Errors that a repetition cannot fix give up the instance at once, among
    them denied access to it; a refused login, and a disk that cannot be written, stop the run.
    """
    if not isinstance(error, (errors.RequestFailed, errors.InstanceError, errors.BundleError)):
        return Decision(NextStep.STOP)
    if isinstance(error, _FINAL) or attempt >= max_attempts:
        return Decision(NextStep.GIVE_UP)
    wait = backoff_seconds(attempt, chance=chance)
    if isinstance(error, errors.RequestFailed) and error.retry_after_seconds is not None:
        wait = max(wait, min(error.retry_after_seconds, MOST_RETRY_AFTER_SECONDS))
    return Decision(NextStep.RETRY, wait)


def backoff_seconds(attempt: int, *, chance: Callable[[], float]) -> float:
    """The wait after attempt number `attempt` failed: up to 0.5 s, 1 s, 2 s, … 60 s."""
    return chance() * min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempt - 1, 16))
