"""Progress shows what a person or a program needs, and never affects the run."""

from __future__ import annotations

import io
import json
import os
import sys
import termios
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from bulkdl.cli.progress import ProgressMode, display
from bulkdl.model.events import (
    ArchiveDown,
    ArchiveUp,
    InstanceFailed,
    Noted,
    Progress,
    Retrying,
    RunEnded,
    RunStarted,
    Verifying,
)

STARTED = RunStarted(3, "/data/m", "https://archive.test/")
DOWN = ArchiveDown("no route", 900)
BACK = ArchiveUp(75)
RETRYING = Retrying("1.2", "server-error", "500", 1, 0.5)
GIVEN_UP = InstanceFailed("1.2", "1.2.3", "unsound", "cut")
ENDED = RunEnded({"outcome": "complete"})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        del text
        raise BrokenPipeError


class HandMovedClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def progress(held: int, *, size_bytes: int = 0, failed: int = 0, retries: int = 0, resolving: bool = False) -> Progress:
    return Progress(
        series_selected=4,
        series_done=1,
        instances_selected=2000,
        instances_held=held,
        instances_failed=failed,
        bytes_fetched=size_bytes,
        bytes_selected=0,
        retries=retries,
        in_flight=8,
        limit=16,
        resolving=resolving,
    )


def test_plain_gives_a_line_every_five_seconds_and_no_more() -> None:
    stream, clock = io.StringIO(), HandMovedClock()
    with display(ProgressMode.PLAIN, stream, clock=clock) as sink:
        for _ in range(40):
            clock.now += 0.25
            sink(progress(1500, size_bytes=int((clock.now - 100) * 2_000_000), failed=2, resolving=True))
    assert stream.getvalue().splitlines() == [
        "1 of 4 series, 1,500 of 2,000 instances, 10.0 MB fetched, 2.0 MB/s, 2 failed, still resolving",
        "1 of 4 series, 1,500 of 2,000 instances, 20.0 MB fetched, 2.0 MB/s, 2 failed, still resolving",
    ]


def test_plain_counts_retries_and_does_not_list_them() -> None:
    stream, clock = io.StringIO(), HandMovedClock()
    with display(ProgressMode.PLAIN, stream, clock=clock) as sink:
        sink(RETRYING)
        sink(RETRYING)
        sink(GIVEN_UP)
        clock.now += 5
        sink(progress(3, retries=2))
    assert stream.getvalue().endswith("2 retries\n")
    assert stream.getvalue().count("\n") == 1


def test_plain_shows_important_events_at_once() -> None:
    stream = io.StringIO()
    with display(ProgressMode.PLAIN, stream, clock=HandMovedClock()) as sink:
        for event in (STARTED, DOWN, BACK, Noted("with\nbreaks")):
            sink(event)
    assert stream.getvalue().splitlines() == [
        "run 3: from https://archive.test/ into /data/m",
        "the archive does not answer (no route); waiting for up to 15 min 0 s",
        "the archive answers again after 1 min 15 s",
        "with breaks",
    ]


def test_plain_shows_a_verification() -> None:
    stream, clock = io.StringIO(), HandMovedClock()
    with display(ProgressMode.PLAIN, stream, clock=clock) as sink:
        clock.now += 5
        sink(Verifying(500, 2000, 50_000_000, 1))
    assert stream.getvalue() == "500 of 2,000 files, 10.0 MB/s, 1 problems\n"


def test_json_gives_every_event_as_one_object_a_line() -> None:
    stream = io.StringIO()
    events = [STARTED, progress(1), RETRYING, DOWN, BACK, GIVEN_UP, Noted("x"), Verifying(1, 2, 3, 0), ENDED]
    with display(ProgressMode.JSON, stream) as sink:
        for event in events:
            sink(event)
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [entry["event"] for entry in objects] == [event.name for event in events]
    times = [datetime.fromisoformat(entry.pop("time")) for entry in objects]
    assert times == sorted(times)
    assert {time.utcoffset() for time in times} == {timedelta()}
    assert objects[-1] == {"event": "run-ended", "document": {"outcome": "complete"}}
    assert objects[0] == {
        "event": "run-started",
        "run": 3,
        "mirror": "/data/m",
        "archive": "https://archive.test/",
    }


def test_json_has_the_keys_of_the_contract() -> None:
    stream, clock = io.StringIO(), HandMovedClock()
    with display(ProgressMode.JSON, stream, clock=clock) as sink:
        for held in (0, 100, 200):
            sink(progress(held, size_bytes=held * 1000, resolving=held == 200))
            clock.now += 2
        sink(progress(400, size_bytes=400_000, failed=100))
    objects = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert set(objects[-1]) == {
        *("event", "time", "series_selected", "series_done", "instances_selected", "instances_held"),
        *("instances_failed", "bytes_fetched", "bytes_selected", "bytes_per_second", "seconds_left", "retries"),
        *("bytes_left", "in_flight", "limit", "resolving"),
    }
    assert [(entry["bytes_per_second"], entry["seconds_left"]) for entry in objects] == [
        (0, None),
        (50_000, 38.0),
        (50_000, None),
        (66_667, 22.5),
    ]


def test_the_time_that_is_left_follows_from_bytes_where_sizes_are_known() -> None:
    """The last instances may be a thousand times larger than the first: by their number the time would be wrong."""
    stream, clock = io.StringIO(), HandMovedClock()
    with display(ProgressMode.JSON, stream, clock=clock) as sink:
        for second in range(4):
            sink(replace(progress(1990, size_bytes=second * 500_000), bytes_left=10_000_000 - second * 500_000))
            clock.now += 1
    last = json.loads(stream.getvalue().splitlines()[-1])
    assert (last["bytes_per_second"], last["seconds_left"]) == (500_000, 17.0)


def test_none_leaves_standard_error_empty() -> None:
    stream = Terminal()
    with display(ProgressMode.NONE, stream) as sink:
        for event in (STARTED, progress(1), DOWN):
            sink(event)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("mode", [ProgressMode.AUTO, ProgressMode.BARS])
def test_bars_are_drawn_on_a_terminal_and_nowhere_else(mode: ProgressMode) -> None:
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with display(mode, stream, clock=HandMovedClock()) as sink:
            sink(progress(1500, failed=2, resolving=True))
    assert "resolving, 1/4 series" in terminal.getvalue()
    assert "1500/2000 instances" in terminal.getvalue()
    assert "2 failed" in terminal.getvalue()
    assert pipe.getvalue() == ""


def test_bars_give_way_to_what_is_announced() -> None:
    stream = Terminal()
    with display(ProgressMode.BARS, stream, clock=HandMovedClock()) as sink:
        sink(progress(1))
        sink(DOWN)
    assert "the archive does not answer" in stream.getvalue()


def test_an_audit_and_its_repairs_have_a_bar_each() -> None:
    stream = Terminal()
    with display(ProgressMode.BARS, stream, clock=HandMovedClock()) as sink:
        sink(Verifying(2000, 2000, 50_000_000, 1))
        sink(progress(1))
    assert "2000/2000 files" in stream.getvalue()
    assert "1/2000 instances" in stream.getvalue()


@pytest.mark.parametrize(("rows", "columns", "shown"), [(0, 0, 80), (24, 60, 60)])
def test_a_bar_is_as_wide_as_its_terminal_even_where_that_says_0(
    rows: int, columns: int, shown: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = os.openpty()
    termios.tcsetwinsize(follower, (rows, columns))
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)  # tqdm measures no other stream
        with display(ProgressMode.BARS, terminal, clock=HandMovedClock()) as sink:
            sink(progress(1500))
        terminal.flush()
        drawn = ""
        while not drawn.endswith("\n"):  # one read may return a part of it
            drawn += screen.read(10_000).decode(errors="replace")
    assert max(len(line.strip()) for line in drawn.split("\r")) == shown


@pytest.mark.parametrize("mode", [ProgressMode.PLAIN, ProgressMode.JSON, ProgressMode.BARS])
def test_a_run_outlives_its_display(mode: ProgressMode) -> None:
    """`bulkdl mirror … 2>&1 | head` must not end a mirror half-way."""

    class GoneTerminal(Gone):
        def isatty(self) -> bool:
            return mode is ProgressMode.BARS

    with display(mode, GoneTerminal(), clock=HandMovedClock()) as sink:
        sink(STARTED)
        sink(progress(1))
