"""Progress shows what a person or a program needs, and never affects the run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.model.events import ArchiveDown, Event, Retrying, RunStarted
from bulkdl.progress.display import ProgressMode, display, notebook_display
from tests.support.clocks import HandMovedClock, Terminal, progress

STARTED = RunStarted(3, "/data/m", "https://archive.test/")
DOWN = ArchiveDown("no route", 900)
RETRYING = Retrying("1.2", "server-error", "500", 1, 0.5)


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        del text
        raise BrokenPipeError


def shown(mode: ProgressMode, stream: io.StringIO, *events: Event) -> str:
    with display(mode, stream, clock=HandMovedClock()) as sink:
        for event in events:
            sink(event)
    return stream.getvalue()


def test_none_leaves_standard_error_empty() -> None:
    assert shown(ProgressMode.NONE, Terminal(), STARTED, progress(1), DOWN) == ""


@pytest.mark.parametrize("mode", [ProgressMode.AUTO, ProgressMode.BARS])
def test_bars_are_drawn_on_a_terminal_and_nowhere_else(mode: ProgressMode) -> None:
    assert "1,500 of 2,000 instances" in shown(mode, Terminal(), progress(1500))
    assert shown(mode, io.StringIO(), progress(1500)) == ""


@pytest.mark.parametrize("mode", [ProgressMode.PLAIN, ProgressMode.JSON, ProgressMode.BARS])
def test_a_run_outlives_its_display(mode: ProgressMode) -> None:
    """`bulkdl mirror … 2>&1 | head` must not end a mirror half-way."""

    class GoneTerminal(Gone):
        def isatty(self) -> bool:
            return mode is ProgressMode.BARS

    shown(mode, GoneTerminal(), STARTED, progress(1))


def test_a_notebook_gets_one_line() -> None:
    """The output of a cell moves back to the start of a line, and never up: a second line would pile up."""
    stream = io.StringIO()
    with notebook_display(stream) as sink:
        for held in (500, 1500):
            sink(progress(held, left=15_000_000))
    assert "25%" in stream.getvalue()
    assert "5.0 MB of 20.0 MB, 2.0 MB/s, 28 s left" in stream.getvalue()
    assert "\x1b[A" not in stream.getvalue()


def test_a_log_file_gets_every_event_whatever_the_terminal_shows(tmp_path: Path) -> None:
    log = tmp_path / "bulkdl.log"
    for _ in range(2):
        with display(ProgressMode.NONE, io.StringIO(), log_file=log) as sink:
            for event in (STARTED, progress(1), RETRYING):
                sink(event)
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events == ["run-started", "progress", "retrying"] * 2


def test_a_log_file_that_cannot_be_written_is_an_error_before_the_run(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match="nothing was begun"),
        display(ProgressMode.NONE, io.StringIO(), log_file=tmp_path),
    ):
        raise AssertionError


def test_a_log_file_on_a_full_disk_ends_with_a_word_and_the_run_goes_on() -> None:
    stream = io.StringIO()
    with display(ProgressMode.PLAIN, stream, log_file=Path("/dev/full"), clock=HandMovedClock()) as sink:
        for event in (STARTED, DOWN):
            sink(event)
    assert stream.getvalue().count("the log /dev/full ends here: No space left on device") == 1
    assert "the archive does not answer" in stream.getvalue()


def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    text = shown(ProgressMode.BARS, Terminal(), STARTED, progress(1500), DOWN)
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert "\r" not in text


def test_retries_are_lines_for_those_who_ask() -> None:
    for is_verbose in (True, False):
        for stream in (io.StringIO(), Terminal()):
            with display(ProgressMode.AUTO, stream, is_verbose=is_verbose) as sink:
                sink(RETRYING)
            assert ("attempt 1 failed, retry in 0.5 s: 1.2: 500" in stream.getvalue()) == is_verbose
