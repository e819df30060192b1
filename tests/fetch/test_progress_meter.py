"""The remaining time is true, and the bar moves with every byte: 52 tiny and 10 large instances over a fake clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import pytest

from bulkdl.fetch.arrivals import Arrival, total
from bulkdl.fetch.progress_meter import ProgressMeter, Recorded
from bulkdl.fetch.worker import Traffic
from bulkdl.journal.rows import Counts
from bulkdl.model.work_states import WorkState, WorkStates
from bulkdl.progress.bars import bar_text
from tests.support.clocks import HandMovedClock

TINY: Final = [[5_000] * 13] * 4
LARGE: Final = [[2_200_000] * 5] * 2
ORDERS: Final = {"tiny-first": [*TINY, *LARGE], "large-first": [*LARGE, *TINY]}
BYTES_PER_SECOND: Final = 500_000
_TICK_SECONDS: Final = 0.25


@dataclass
class Line:
    """Downloads over a line of `BYTES_PER_SECOND`, which up to `parallel` requests share evenly."""

    series: list[list[int]]
    parallel: int
    sized: bool
    held: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.waiting = [(number, size) for number, sizes in enumerate(self.series) for size in sizes]
        self.count, self.total_bytes = len(self.waiting), sum(map(sum, self.series))
        self.held = [0] * len(self.series)
        self.at_work: dict[Arrival, tuple[int, int]] = {}

    @property
    def recorded(self) -> Recorded:
        sizes = (self.held[number] * self.series[number][0] for number in range(len(self.series)))
        return Recorded(sum(sizes), sum(self.held))

    def go(self, size_bytes: int) -> None:
        """Let so many bytes arrive."""
        while size_bytes > 0 and (self.waiting or self.at_work):
            while self.waiting and len(self.at_work) < self.parallel:
                number, size = self.waiting.pop(0)
                self.at_work[Arrival(size)] = number, size
            least = min(size - arrival.unfinished.size_bytes for arrival, (_, size) in self.at_work.items())
            each = max(1, min(least, size_bytes // len(self.at_work)))
            for arrival, (number, size) in list(self.at_work.items()):
                arrival.add(each)
                size_bytes -= each
                if arrival.unfinished.size_bytes == size:
                    del self.at_work[arrival]
                    self.held[number] += 1

    def counts(self) -> Counts:
        """What the journal says."""
        owed = [len(sizes) - held for sizes, held in zip(self.series, self.held, strict=True)]
        is_unlike = [bool(rest) and not held for rest, held in zip(owed, self.held, strict=True)]
        known = zip(owed, self.series, is_unlike, strict=True)
        return Counts(
            series_selected=len(self.series),
            owed=sum(owed),
            held=sum(self.held),
            held_bytes=self.recorded.bytes_fetched,
            promised_instances=self.count,
            promised_bytes=self.total_bytes if self.sized else 0,
            series_unsized=0 if self.sized else len(self.series),
            likely_bytes=sum(rest * sizes[0] for rest, sizes, unlike in known if not unlike),
            instances_unlike=sum(rest for rest, unlike in zip(owed, is_unlike, strict=True) if unlike),
        )


def course(line: Line) -> Iterator[tuple[float, float, WorkState]]:
    """The seconds so far and those that it really takes from there, and what is shown, four times a second."""
    clock = HandMovedClock()
    meter, states, begin = ProgressMeter(clock), WorkStates(clock), clock.now
    duration = line.total_bytes / BYTES_PER_SECOND
    while (elapsed := clock.now + _TICK_SECONDS - begin) < duration:
        clock.now += _TICK_SECONDS
        line.go(int(BYTES_PER_SECOND * _TICK_SECONDS))
        unfinished = total(line.at_work)
        traffic = Traffic(0, 0, len(line.at_work), line.parallel, *unfinished)
        event = meter.progress(line.counts(), line.recorded, line.recorded, traffic, resolving=False)
        state = states.of(event)
        assert state is not None
        yield elapsed, duration - elapsed, state


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parallel", [1, 8, 64])
def test_the_remaining_time_is_within_a_fifth_of_the_truth_from_a_third_on(order: str, parallel: int) -> None:
    shown = [
        (left, state.seconds_left, state.left)
        for elapsed, left, state in course(Line(ORDERS[order], parallel, sized=True))
        if elapsed >= left / 2
    ]
    assert len(shown) > 100
    for left, seconds_left, text in shown:
        assert seconds_left == pytest.approx(left, rel=0.2)
        assert text.endswith(" s left")


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("parallel", [1, 8, 64])
def test_the_bar_never_stands_still_while_bytes_come(order: str, parallel: int, *, sized: bool) -> None:
    states = [state for _, _, state in course(Line(ORDERS[order], parallel, sized=sized))]
    done = [state.done for state in states]
    assert all(before < after for before, after in pairwise(done))
    assert all(state.done < state.total for state in states)
    bars = [bar_text(state, 80) for state in states]
    assert all(before != after for before, after in pairwise(bars))


@pytest.mark.parametrize("parallel", [8, 64])
def test_without_sizes_the_time_follows_from_what_is_held_and_under_way_and_is_called_a_guess(parallel: int) -> None:
    line = Line(ORDERS["tiny-first"], parallel, sized=False)
    for elapsed, left, state in course(line):
        if elapsed >= left / 2 and all(line.held):
            assert state.seconds_left == pytest.approx(left, rel=0.2)
        assert state.left.startswith("about ") or not state.left


def test_what_the_journal_counted_later_is_not_counted_twice() -> None:
    """Counts of a large journal are some seconds old: what was recorded since has arrived all the same."""
    meter = ProgressMeter(HandMovedClock())
    counts = Counts(series_selected=1, owed=4, held=6, held_bytes=600, promised_instances=10, promised_bytes=1000)
    event = meter.progress(counts, Recorded(600, 6), Recorded(800, 8), Traffic(unfinished_bytes=50), resolving=False)
    assert (event.bytes_fetched, event.bytes_left, event.instances_arriving) == (850, 150, 2)


def test_counts_do_not_fall_while_a_body_is_received_again() -> None:
    meter = ProgressMeter(HandMovedClock())
    counts = Counts(series_selected=1, owed=1, promised_instances=1, promised_bytes=100)
    arrived = [90, 0, 40, 95]
    events = [
        meter.progress(counts, Recorded(), Recorded(), Traffic(0, 0, 1, 1, size, size / 100), resolving=False)
        for size in arrived
    ]
    assert [event.bytes_fetched for event in events] == [90, 90, 90, 95]
    assert [event.instances_arriving for event in events] == [0.9, 0.9, 0.9, 0.95]


def test_the_rest_is_not_known_while_the_list_grows_or_before_anything_is_held() -> None:
    clock = HandMovedClock()
    meter = ProgressMeter(clock)
    sized = Counts(series_selected=1, owed=1, promised_instances=1, promised_bytes=1000)
    unsized = Counts(series_selected=1, owed=1, promised_instances=1, series_unsized=1, instances_unlike=1)
    clock.now += 1
    traffic = Traffic(unfinished_bytes=100)
    assert meter.progress(sized, Recorded(), Recorded(), traffic, resolving=True).seconds_left is None
    assert meter.progress(sized, Recorded(), Recorded(), traffic, resolving=False).seconds_left == 9
    assert meter.progress(unsized, Recorded(), Recorded(), traffic, resolving=False).seconds_left is None
