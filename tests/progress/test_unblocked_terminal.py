"""A terminal that stops reading stops nothing, and gets what is important once it reads again."""

from __future__ import annotations

import io
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from typing import TextIO

from bulkdl.model.events import Noted
from bulkdl.progress.bars import Bars
from bulkdl.progress.unblocked_terminal import UnblockedTerminal
from tests.support.clocks import HandMovedClock, Terminal, progress


@contextmanager
def terminal() -> Iterator[tuple[FileIO, TextIO]]:
    """The screen, and the terminal that shows on it."""
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w") as stream:
        yield screen, stream


def until(screen: FileIO, text: bytes) -> bytes:
    """What is shown until `text` is."""
    shown = b""
    while text not in shown:
        shown += screen.read(65536)
    return shown


def test_a_bar_does_not_wait_for_a_terminal_that_is_stopped() -> None:
    with terminal() as (screen, stream):
        bars = Bars(stream, HandMovedClock())
        bars.show(progress(1))
        termios.tcflow(stream.fileno(), termios.TCOOFF)  # what Ctrl-S does
        for held in range(2, 2000):
            bars.show(progress(held))
        bars.show(Noted("important"))
        termios.tcflow(stream.fileno(), termios.TCOON)
        bars.show(progress(2000))
        shown = until(screen, b"2,000 of 2,000")
        assert b"important" in shown
        assert shown.count(b"of 2,000 instances") < 10
        bars.close()


def test_a_screen_that_does_not_read_gets_everything_later() -> None:
    with terminal() as (screen, stream):
        unblocked = UnblockedTerminal(stream)
        for _ in range(100):
            unblocked.write("x" * 10_000)
            unblocked.flush()
        unblocked.write("the end")
        count = 0
        while unblocked.is_stuck:
            count += len(screen.read(65536))
        assert 0 < count < 1_000_007
        assert until(screen, b"end").endswith(b"xthe end")
        unblocked.close()


def test_what_cannot_be_opened_as_a_terminal_is_written_to_directly() -> None:
    stream = Terminal()
    unblocked = UnblockedTerminal(stream)
    unblocked.write("text")
    unblocked.flush()
    assert (stream.getvalue(), unblocked.is_stuck, unblocked.isatty()) == ("text", False, True)
    unblocked.close()


def test_characters_that_the_terminal_does_not_have_are_escaped() -> None:
    with terminal() as (screen, stream):
        latin = io.TextIOWrapper(io.FileIO(stream.fileno(), "w", closefd=False), encoding="ascii")
        unblocked = UnblockedTerminal(latin)
        unblocked.write("a…")
        unblocked.close()
        assert screen.read(100) == b"a\\u2026"
