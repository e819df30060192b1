"""A bar moves with the bytes, fits its terminal, and gives way to what is announced."""

from __future__ import annotations

import os
import re
import sys
import termios
from dataclasses import replace

import pytest

from bulkdl.model.events import ArchiveDown, Event, InstanceFailed, Verifying
from bulkdl.model.work_states import WorkState, WorkStates
from bulkdl.progress.bars import Bars, bar_text, counts_text
from tests.support.clocks import HandMovedClock, Terminal, progress

FAILED = InstanceFailed("1.2", "1.2.3", "unsound", "cut")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def state_of(event: Event) -> WorkState:
    state = WorkStates(HandMovedClock()).of(event)
    assert state is not None
    return state


def drawn(*events: Event) -> str:
    stream = Terminal()
    bars = Bars(stream, HandMovedClock())
    for event in events:
        bars.show(event)
    bars.close()
    return stream.getvalue()


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, " 25% |{bar}| 5.0 MB of 20.0 MB, 2.0 MB/s, 28 s left"),
        (50, " 25% |{bar}| 5.0 MB of 20.0 MB, 28 s left"),
        (40, " 25% |{bar}| 28 s left"),
        (20, " 25% |{bar}| "),
    ],
)
def test_a_bar_keeps_its_cells_and_drops_texts_on_a_narrow_terminal(columns: int, shown: str) -> None:
    assert bar_text(state_of(progress(1500, left=15_000_000)), columns) == shown


def test_counts_are_dropped_whole_where_they_do_not_fit() -> None:
    state = state_of(progress(1500, left=15_000_000, retries=2))
    counts = "1 of 4 series, 1,500 of 2,000 instances, 2 retries, 8 of 16 in flight"
    assert counts_text(state, 120) == f"{counts}; TCGA-GBM"
    assert counts_text(state, 80) == counts
    assert counts_text(state, 40) == "1 of 4 series, 1,500 of 2,000 instances"
    assert counts_text(state, 20) == "1 of 4 series"


def test_a_bar_moves_while_bytes_of_unfinished_instances_arrive() -> None:
    shares = [bar_text(state_of(progress(1500, left=left)), 80)[:4] for left in (8_000_000, 6_000_000, 4_000_000)]
    assert shares == [" 60%", " 70%", " 80%"]


def test_names_with_braces_are_text() -> None:
    text = drawn(replace(progress(1, left=5), at_work=("{bar} {0}",), retries=0))
    assert "{bar} {0}" in text


def test_bars_give_way_to_what_is_announced_and_name_failures() -> None:
    text = drawn(progress(1, failed=1), ArchiveDown("no route", 900), FAILED)
    assert "the archive does not answer" in text
    assert "failed: 1.2.3: cut" in text


def test_a_verification_and_its_repairs_have_a_bar_each() -> None:
    text = drawn(Verifying(2000, 2000, 50_000_000, 1), progress(1))
    assert "2,000 of 2,000 files" in text
    assert "1 of 2,000 instances" in text


@pytest.mark.parametrize(
    ("environment", "is_coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_is_taken_away_on_request(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, is_coloured: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert bool(_COLOUR.search(drawn(progress(1, failed=1), FAILED))) == is_coloured


@pytest.mark.parametrize(("rows", "columns", "shown"), [(0, 0, 80), (24, 60, 60), (24, 40, 40)])
def test_a_bar_is_as_wide_as_its_terminal_even_where_that_says_0(
    rows: int, columns: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (rows, columns))
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)  # tqdm measures no other stream
        bars = Bars(terminal, HandMovedClock())
        bars.show(progress(1500, left=15_000_000, failed=2))
        bars.close()
        terminal.flush()
        text = ""
        while text.count("\n") < 3:  # one read may return a part of it
            text += screen.read(10_000).decode(errors="replace")
    lines = [_COLOUR.sub("", line).replace("\x1b[A", "").strip("\n") for line in re.split(r"[\r\n]", text)]
    assert max(map(len, lines)) == shown
