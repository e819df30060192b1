"""Sinks that show a run on standard error: bars, plain lines, JSON lines, or nothing.

If the reader of standard error goes away, the display ends and the run continues.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple, TextIO

from bulkdl.cli.sections import width_of
from bulkdl.model.events import Adopting, ArchiveDown, ArchiveUp, Event, Noted, Progress, RunStarted, Sink, Verifying
from bulkdl.model.formatting import duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.text import one_line

Clock = Callable[[], float]

_PLAIN_SECONDS: Final = 5.0
_SPEED_SECONDS: Final = 10.0
# Some terminals report 0 columns and 0 rows, and tqdm then draws nothing. One bar needs one row.
_COLUMNS: Final = 80
_ROWS: Final = 20
_BAR: Final = "{desc}{percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]"


class ProgressMode(StrEnum):
    """The choices of `--progress`."""

    AUTO = "auto"
    BARS = "bars"
    PLAIN = "plain"
    JSON = "json"
    NONE = "none"


@contextmanager
def display(mode: ProgressMode, stream: TextIO, *, clock: Clock = time.monotonic) -> Iterator[Sink]:
    """A sink that shows events on `stream` as `mode` says, until the block ends. Bars need a terminal."""
    kinds: dict[ProgressMode, type[_Display]] = {ProgressMode.NONE: _Display, ProgressMode.JSON: _JsonLines}
    lively = _Bars if mode is not ProgressMode.PLAIN and stream.isatty() else _PlainLines
    shown = kinds.get(mode, lively)(stream, clock)
    is_watched = True

    def sink(event: Event) -> None:
        nonlocal is_watched
        if is_watched:
            try:
                shown.show(event)
            except OSError:
                is_watched = False

    try:
        yield sink
    finally:
        if is_watched:
            with suppress(OSError):
                shown.close()


class _Stage(NamedTuple):
    """How far a run, a verification or an adoption is. In `line`, `{speed}` stands for the speed."""

    title: str
    done: int
    total: int
    unit: str
    size_bytes: int
    complaint: str
    line: str


class _Display:
    """Shows nothing; the base of those that do."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._speed = _Speed(clock)

    def show(self, event: Event) -> None:
        del event

    def close(self) -> None:
        return

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class _JsonLines(_Display):
    """One JSON object per line: the event, its name, the time, and for progress the speed and the remaining time."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream, clock)
        self._instances = _Speed(clock)

    def show(self, event: Event) -> None:
        time_now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._line(json.dumps({"event": event.name, "time": time_now, **asdict(event), **self._speeds(event)}))

    def _speeds(self, event: Event) -> dict[str, float | None]:
        if not isinstance(event, Progress):
            return {}
        self._speed.add(event.bytes_fetched)
        self._instances.add(event.instances_held)
        left = event.instances_selected - event.instances_held - event.instances_failed
        per_second = self._instances.per_second()
        if event.bytes_left is not None and left:  # instances of one run differ in size a thousand times
            left, per_second = event.bytes_left, self._speed.per_second()
        is_known = per_second > 0 and not event.resolving
        return {
            "bytes_per_second": round(self._speed.per_second()),
            "seconds_left": round(left / per_second, 1) if is_known else None,
        }


class _PlainLines(_Display):
    """A line every few seconds, and one for each event that a person should see."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        super().__init__(stream, clock)
        self._last = clock()

    def show(self, event: Event) -> None:
        if (stage := _stage(event)) is not None:
            self._speed.add(stage.size_bytes)
            if self._clock() - self._last >= _PLAIN_SECONDS:
                self._last = self._clock()
                self._line(stage.line.format(speed=self._speed.text()))
        elif (text := announcement(event)) is not None:
            self._line(text)


class _Bars(_Display):
    """A bar for what is in progress: a verification, an adoption or a run.

    It appears with the first counts, so that a run that never begins shows none.
    """

    _bar: Any = None  # of tqdm
    _of: type[Event] | None = None

    def show(self, event: Event) -> None:
        from tqdm import tqdm  # noqa: PLC0415 - only bars need it, and it costs 25 ms

        if (stage := _stage(event)) is not None:
            if self._bar is None or self._of is not type(event):
                self.close()
                self._of = type(event)
                self._speed = _Speed(self._clock)
                self._bar = tqdm(
                    None,
                    stage.title,
                    stage.total or None,
                    file=self._stream,
                    initial=stage.done,
                    bar_format=_BAR,
                    unit=stage.unit,
                    ncols=width_of(self._stream) or _COLUMNS,
                    nrows=_ROWS,
                )
            self._draw(self._bar, stage)
        elif (text := announcement(event)) is not None:
            tqdm.write(text, file=self._stream)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _draw(self, bar: Any, stage: _Stage) -> None:
        self._speed.add(stage.size_bytes)
        bar.ncols = width_of(self._stream) or _COLUMNS
        bar.total = stage.total or None
        bar.n = stage.done
        bar.set_description_str(stage.title, refresh=False)
        bar.set_postfix_str(", ".join(filter(None, (self._speed.text(), stage.complaint))), refresh=False)
        bar.refresh()


class _Speed:
    """How fast a total grows: per second, over the last seconds."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque([(clock(), 0)])

    def add(self, total: int) -> None:
        now = self._clock()
        self._seen.append((now, total))
        while len(self._seen) > 2 and now - self._seen[1][0] >= _SPEED_SECONDS:  # noqa: PLR2004 - a difference needs two
            self._seen.popleft()

    def per_second(self) -> float:
        (first, before), (last, after) = self._seen[0], self._seen[-1]
        return (after - before) / (last - first) if last > first else 0.0

    def text(self) -> str:
        return f"{human_bytes(round(self.per_second()))}/s"


def _stage(event: Event) -> _Stage | None:
    match event:
        case Progress():
            failed = _count(event.instances_failed, "failed")
            words = (
                f"{event.series_done:,} of {event.series_selected:,} series",
                f"{event.instances_held:,} of {event.instances_selected:,} instances",
                f"{human_bytes(event.bytes_fetched)} fetched",
                "{speed}",
                failed,
                _count(event.retries, "retries"),
                "still resolving" if event.resolving else "",
            )
            title = f"{'resolving, ' if event.resolving else ''}{event.series_done:,}/{event.series_selected:,} series "
            counts = event.instances_held, event.instances_selected, "instances", event.bytes_fetched
            return _Stage(title, *counts, failed, ", ".join(filter(None, words)))
        case Verifying():
            line = f"{event.checked:,} of {event.held:,} files, {{speed}}, {event.problems:,} problems"
            problems = _count(event.problems, "problems")
            return _Stage("verifying ", event.checked, event.held, "files", event.bytes_checked, problems, line)
        case Adopting():
            rejected = _count(event.refused, "rejected")
            line = f"{event.adopted:,} of {event.found:,} instances adopted, {{speed}}{rejected and f', {rejected}'}"
            return _Stage("adopting ", event.adopted, event.found, "instances", event.bytes_adopted, rejected, line)
        case _:
            return None


def _count(count: int, word: str) -> str:
    return f"{count:,} {word}" if count else ""


def announcement(event: Event) -> str | None:
    """The line to show for an event; None for an event that only changes counts."""
    match event:
        case RunStarted():
            return one_line(f"run {event.run}: from {event.archive} into {event.mirror}")
        case ArchiveDown():
            limit = duration(event.give_up_in_seconds)
            return one_line(f"the archive does not answer ({event.message}); waiting for up to {limit}")
        case ArchiveUp():
            return f"the archive answers again after {duration(event.after_seconds)}"
        case Noted():
            return one_line(event.message)
        case _:
            return None
