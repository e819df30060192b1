"""A state says how far the work is, also at its begin and at its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkdl.model.events import Adopting, Noted, Progress, Verifying, Working
from bulkdl.model.work_states import WorkStates
from tests.support.clocks import HandMovedClock, progress


@pytest.mark.parametrize(
    ("held", "left", "percent"),
    [(1, 20_000_000, "0%"), (1, 60_000, "99%"), (1, 1, "99%"), (1999, 0, "99%"), (2000, 0, "100%")],
)
def test_a_share_is_rounded_down_so_that_only_what_is_whole_is_whole(held: int, left: int, percent: str) -> None:
    state = WorkStates(HandMovedClock()).of(progress(held, left=left))
    assert state is not None
    assert state.percent == percent


def test_without_sizes_the_share_is_that_of_instances() -> None:
    state = WorkStates(HandMovedClock()).of(progress(500, failed=500))
    assert state is not None
    assert (state.percent, state.amount) == ("50%", "0 B downloaded")


def test_unfinished_instances_count_by_the_share_that_has_arrived() -> None:
    state = WorkStates(HandMovedClock()).of(replace(progress(500), instances_arriving=250.5))
    assert state is not None
    assert state.share == 750.5 / 2000


@pytest.mark.parametrize(
    ("event", "left"),
    [(progress(1, left=5), "28 s left"), (progress(1), "about 28 s left")],
    ids=["of-known-sizes", "a-guess"],
)
def test_a_remaining_time_that_is_a_guess_says_so(event: Progress, left: str) -> None:
    state = WorkStates(HandMovedClock()).of(event)
    assert state is not None
    assert state.left == left


@pytest.mark.parametrize(("seconds", "left"), [(0.0, "0.1 s left"), (2.34, "2.3 s left"), (9.96, "10 s left")])
def test_the_last_seconds_are_shown_with_their_tenths(seconds: float, left: str) -> None:
    state = WorkStates(HandMovedClock()).of(replace(progress(1, left=5), seconds_left=seconds))
    assert state is not None
    assert state.left == left


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


def test_a_verification_counts_bytes_where_files_are_read() -> None:
    clock = HandMovedClock()
    states = WorkStates(clock)
    clock.now += 2
    state = states.of(Verifying(1, 4, 30_000_000, 2, 120_000_000))
    assert str(state) == ("25%, verifying, 30.0 MB of 120.0 MB, 15.0 MB/s, 6.0 s left, 2 problems, 1 of 4 files")


@pytest.mark.parametrize(("files", "percent"), [(3, "99%"), (4, "100%")])
def test_a_verification_is_complete_with_its_last_file(files: int, percent: str) -> None:
    state = WorkStates(HandMovedClock()).of(Verifying(files, 4, 120_000_000, 0, 120_000_000))
    assert state is not None
    assert state.percent == percent


def test_an_event_without_counts_has_no_state() -> None:
    assert WorkStates(HandMovedClock()).of(Noted("x")) is None


def test_a_task_that_counts_no_bytes_has_no_rate() -> None:
    state = WorkStates(lambda: 0.0).of(Working("relayout", 3, 12, "series"))
    assert (str(state), state and state.share) == ("25%, relayout, 3 of 12 series", 0.25)
    assert str(WorkStates(lambda: 0.0).of(Working("prune", 3, 0, "files"))) == "prune, 3 files"
