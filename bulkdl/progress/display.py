"""The sink that shows a run: bars, plain lines, JSON lines, or nothing.

If the reader of the stream goes away, the display ends and the run continues.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TextIO

from bulkdl.model.events import Event, Noted, Sink
from bulkdl.model.work_states import Clock
from bulkdl.progress.bars import Bars, NotebookBars
from bulkdl.progress.lines import Display, JsonLines, PlainLines
from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.terminal import can_redraw


class ProgressMode(StrEnum):
    """The choices of `--progress`."""

    AUTO = "auto"
    BARS = "bars"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


@contextmanager
def display(
    mode: ProgressMode,
    stream: TextIO,
    *,
    is_verbose: bool = False,
    log_file: Path | None = None,
    clock: Clock = time.monotonic,
) -> Iterator[Sink]:
    """A sink that shows events on `stream` as `mode` says, until the block ends. Bars need a terminal.

    `is_verbose` shows each retry, too. All events are appended to `log_file` as well. DiskError: it cannot be opened.
    """
    kinds: dict[ProgressMode, type[Display]] = {ProgressMode.NONE: Display, ProgressMode.JSON: JsonLines}
    lively = Bars if mode is not ProgressMode.PLAIN and can_redraw(stream) else PlainLines
    chosen = kinds.get(mode, lively)(stream, clock)
    chosen.is_verbose = is_verbose
    with _shown(chosen) as sink, _logged(log_file, clock, sink) as both:
        yield both


@contextmanager
def _logged(path: Path | None, clock: Clock, shown: Sink) -> Iterator[Sink]:
    """A sink that passes events on to `shown`, and appends them to a file. A full disk ends the log, not the run."""
    if path is None:
        yield shown
        return
    with disk_errors("open", path, kept="nothing was begun"):
        file = path.open("a", encoding="utf-8", errors="backslashreplace")

    def end(error: OSError) -> None:
        shown(Noted(f"the log {path} ends here: {error.strerror or error}"))

    try:
        with _shown(JsonLines(file, clock), when_lost=end) as log:
            yield _both(log, shown)
    finally:
        with suppress(OSError):  # what could not be written is still in its buffer
            file.close()


def _both(first: Sink, second: Sink) -> Sink:
    def sink(event: Event) -> None:
        first(event)
        second(event)

    return sink


@contextmanager
def notebook_display(stream: TextIO) -> Iterator[Sink]:
    """A sink that shows events as a bar below the cell of a notebook, until the block ends."""
    with _shown(NotebookBars(stream, time.monotonic)) as sink:
        yield sink


@contextmanager
def _shown(shown: Display, when_lost: Callable[[OSError], None] = lambda _: None) -> Iterator[Sink]:
    is_watched = True

    def sink(event: Event) -> None:
        nonlocal is_watched
        if is_watched:
            try:
                shown.show(event)
            except OSError as error:
                is_watched = False
                when_lost(error)

    try:
        yield sink
    finally:
        if is_watched:
            with suppress(OSError):
                shown.close()
