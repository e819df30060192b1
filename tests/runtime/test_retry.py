from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import (
    AccessDenied,
    ArchiveRefused,
    ArchiveUnreachable,
    BulkdlError,
    BundleError,
    ChecksumMismatch,
    ConnectionLost,
    DiskFull,
    Interrupted,
    InvalidAtSource,
    InvalidInstance,
    JournalError,
    MirrorUnwritable,
    NotFound,
    RequestFailed,
    RequestRejected,
    ServerFailed,
    ShortBody,
    TimedOut,
    TooManyRequests,
    UnexpectedAnswer,
    WrongObject,
)
from bulkdl.runtime.retry import CAP_SECONDS, MOST_RETRY_AFTER_SECONDS, NextStep, backoff_seconds, decide

MENDED_BY_REPEATING = [
    ConnectionLost("x"),
    TimedOut("x"),
    ShortBody("x"),
    ServerFailed("x", status=500),
    TooManyRequests("x", status=429),
    UnexpectedAnswer("x"),
    InvalidInstance("x"),
    WrongObject("x"),
    ChecksumMismatch("x"),
    BundleError("x"),
]
NEVER_MENDED = [
    AccessDenied("x", status=401),
    NotFound("x", status=404),
    RequestRejected("x", status=400),
    InvalidAtSource("x"),
]
STOPS_THE_RUN = [
    ArchiveRefused("x"),
    DiskFull("x"),
    MirrorUnwritable("x"),
    ArchiveUnreachable("x"),
    Interrupted("x"),
    JournalError("x"),
]


def name(error: BulkdlError) -> str:
    return error.code


def certain() -> float:
    return 1.0


@pytest.mark.parametrize("error", MENDED_BY_REPEATING, ids=name)
def test_temporary_failures_are_retried(error: BulkdlError) -> None:
    assert decide(error, 1, max_attempts=2, chance=certain).next_step is NextStep.RETRY


@pytest.mark.parametrize("error", MENDED_BY_REPEATING, ids=name)
def test_the_last_attempt_is_the_last(error: BulkdlError) -> None:
    assert decide(error, 2, max_attempts=2, chance=certain).next_step is NextStep.GIVE_UP


@pytest.mark.parametrize("error", NEVER_MENDED, ids=name)
def test_permanent_failures_give_up_at_once(error: BulkdlError) -> None:
    assert decide(error, 1, max_attempts=8, chance=certain).next_step is NextStep.GIVE_UP


@pytest.mark.parametrize("error", STOPS_THE_RUN, ids=name)
@pytest.mark.parametrize("attempt", [1, 8])
def test_failures_that_concern_every_instance_stop_the_run(error: BulkdlError, attempt: int) -> None:
    assert decide(error, attempt, max_attempts=8, chance=certain).next_step is NextStep.STOP


def test_waits_double_up_to_a_minute() -> None:
    waits = [backoff_seconds(attempt, chance=certain) for attempt in range(1, 10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, CAP_SECONDS, CAP_SECONDS]


@given(attempt=st.integers(1, 10**6), chance=st.floats(0, 1))
def test_a_wait_is_between_zero_and_its_cap(attempt: int, chance: float) -> None:
    wait = backoff_seconds(attempt, chance=lambda: chance)
    assert 0 <= wait <= CAP_SECONDS
    assert wait == chance * backoff_seconds(attempt, chance=certain)


@given(asked=st.floats(0, 1e9), chance=st.floats(0, 1))
def test_retry_after_is_respected_up_to_an_hour(asked: float, chance: float) -> None:
    error = TooManyRequests("x", status=429, retry_after_seconds=asked)
    decision = decide(error, 1, max_attempts=8, chance=lambda: chance)
    heeded = min(asked, MOST_RETRY_AFTER_SECONDS)
    assert heeded <= decision.wait_seconds <= max(heeded, 0.5)


def test_a_short_retry_after_does_not_shorten_the_wait() -> None:
    error = TooManyRequests("x", status=429, retry_after_seconds=1)
    assert decide(error, 5, max_attempts=8, chance=certain).wait_seconds == 8


def test_every_failure_of_a_request_has_a_decision() -> None:
    for kind in RequestFailed.__subclasses__():
        decision = decide(kind("x"), 1, max_attempts=8, chance=certain)
        assert (decision.wait_seconds > 0) == (decision.next_step is NextStep.RETRY)
