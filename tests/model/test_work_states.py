"""A state says how far the work is, also at its begin and at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkdl.model.events import Adopting, Noted, Verifying, Working
from bulkdl.model.work_states import WorkStates
from tests.support.clocks import HandMovedClock, progress


@pytest.mark.parametrize(("left", "percent"), [(20_000_000, "0%"), (60_000, "99%"), (1, "99%"), (0, "100%")])
def test_a_share_is_rounded_down_so_that_only_what_is_whole_is_whole(left: int, percent: str) -> None:
    state = WorkStates(HandMovedClock()).of(progress(1, left=left))
    assert state is not None
    assert state.percent == percent


def test_without_sizes_the_share_is_that_of_instances() -> None:
    state = WorkStates(HandMovedClock()).of(progress(500, failed=500))
    assert state is not None
    assert (state.percent, state.amount) == ("50%", "0 B downloaded")


@pytest.mark.parametrize("seconds", [None, 1e9])
def test_a_remaining_time_that_is_not_known_is_not_shown(seconds: float | None) -> None:
    state = WorkStates(HandMovedClock()).of(replace(progress(1, left=5), seconds_left=seconds))
    assert state is not None
    assert state.left == ""


def test_rates_of_verifications_and_adoptions_are_measured_apart() -> None:
    clock = HandMovedClock()
    states = WorkStates(clock)
    clock.now += 3
    verified = states.of(Verifying(3, 10, 3_000_000, 0))
    clock.now += 1
    states.of(Adopting(1, 5, 9_000, 0))
    clock.now += 1
    adopted = states.of(Adopting(2, 5, 9_500, 2))
    assert verified is not None
    assert adopted is not None
    assert (verified.rate, verified.left) == ("1.0 MB/s", "7.0 s left")
    assert (adopted.rate, adopted.problems) == ("500 B/s", "2 rejected")


def test_an_event_without_counts_has_no_state() -> None:
    assert WorkStates(HandMovedClock()).of(Noted("x")) is None


def test_a_task_that_counts_no_bytes_has_no_rate() -> None:
    state = WorkStates(lambda: 0.0).of(Working("relayout", 3, 12, "series"))
    assert (str(state), state and state.share) == ("25%, relayout, 3 of 12 series", 0.25)
    assert str(WorkStates(lambda: 0.0).of(Working("prune", 3, 0, "files"))) == "prune, 3 files"
