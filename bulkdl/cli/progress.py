"""Sinks that show a run on standard error: bars, plain lines, JSON lines, or nothing.

If the reader of standard error goes away, the display ends and the run continues.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, TextIO

from bulkdl.cli.output import width_of
from bulkdl.model.events import (
    Adopting,
    ArchiveDown,
    ArchiveUp,
    Event,
    Noted,
    Progress,
    RunStarted,
    Sink,
    Verifying,
)
from bulkdl.model.formatting import duration
from bulkdl.model.quantities import human_bytes
from bulkdl.model.text import one_line

if TYPE_CHECKING:
    from tqdm import tqdm

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


class _Display(Protocol):
    def show(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextmanager
def display(mode: ProgressMode, stream: TextIO, *, clock: Clock = time.monotonic) -> Iterator[Sink]:
    """A sink that shows events on `stream` as `mode` says, until the block ends. Bars need a terminal."""
    shown: _Display
    match mode:
        case ProgressMode.NONE:
            shown = _Nothing()
        case ProgressMode.JSON:
            shown = _JsonLines(stream, clock)
        case ProgressMode.AUTO | ProgressMode.BARS if stream.isatty():
            shown = _Bars(stream, clock)
        case _:
            shown = _PlainLines(stream, clock)
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
            try:
                shown.close()
            except OSError:
                is_watched = False


class _Nothing:
    def show(self, event: Event) -> None:
        del event

    def close(self) -> None:
        return


class _JsonLines:
    """One JSON object per line: the event, its name, the time, and for progress the speed and the remaining time."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._bytes = _Speed(clock)
        self._instances = _Speed(clock)

    def show(self, event: Event) -> None:
        time_now = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = {"event": event.name, "time": time_now, **asdict(event), **self._speeds(event)}
        self._stream.write(json.dumps(values) + "\n")
        self._stream.flush()

    def _speeds(self, event: Event) -> dict[str, float | None]:
        if not isinstance(event, Progress):
            return {}
        self._bytes.add(event.bytes_fetched)
        self._instances.add(event.instances_held)
        left = event.instances_selected - event.instances_held - event.instances_failed
        per_second = self._instances.per_second()
        if event.bytes_left is not None and left:  # instances of one run differ in size a thousand times
            left, per_second = event.bytes_left, self._bytes.per_second()
        is_known = per_second > 0 and not event.resolving
        return {
            "bytes_per_second": round(self._bytes.per_second()),
            "seconds_left": round(left / per_second, 1) if is_known else None,
        }

    def close(self) -> None:
        return


class _PlainLines:
    """A line every few seconds, and one for each event that a person should see."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._speed = _Speed(clock)
        self._last = clock()

    def show(self, event: Event) -> None:
        if isinstance(event, Progress | Verifying | Adopting):
            self._speed.add(_bytes_of(event))
            if self._clock() - self._last >= _PLAIN_SECONDS:
                self._last = self._clock()
                self._line(self._describe_any(event))
        elif (text := announcement(event)) is not None:
            self._line(text)

    def close(self) -> None:
        return

    def _describe_any(self, event: Progress | Verifying | Adopting) -> str:
        match event:
            case Progress():
                return self._describe(event)
            case Verifying():
                return f"{event.checked:,} of {event.held:,} files, {self._speed.text()}, {event.problems:,} problems"
            case Adopting():
                rejected = f", {event.refused:,} rejected" if event.refused else ""
                return f"{event.adopted:,} of {event.found:,} instances adopted, {self._speed.text()}{rejected}"

    def _describe(self, now: Progress) -> str:
        words = [
            f"{now.series_done:,} of {now.series_selected:,} series",
            f"{now.instances_held:,} of {now.instances_selected:,} instances",
            f"{human_bytes(now.bytes_fetched)} fetched",
            self._speed.text(),
        ]
        if now.instances_failed:
            words.append(f"{now.instances_failed:,} failed")
        if now.retries:
            words.append(f"{now.retries:,} retries")
        if now.resolving:
            words.append("still resolving")
        return ", ".join(words)

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class _Bars:
    """A bar for what is in progress: a verification, an adoption or a run.

    It appears with the first counts, so that a run that never begins shows none.
    """

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._speed = _Speed(clock)
        self._bar: tqdm[NoReturn] | None = None
        self._stage: type[Event] | None = None

    def show(self, event: Event) -> None:
        if isinstance(event, Progress):
            stage = "resolving, " if event.resolving else ""
            self._draw(
                event,
                f"{stage}{event.series_done:,}/{event.series_selected:,} series ",
                (event.instances_held, event.instances_selected, "instances"),
                event.bytes_fetched,
                f"{event.instances_failed:,} failed" if event.instances_failed else "",
            )
        elif isinstance(event, Verifying):
            problems = f"{event.problems:,} problems" if event.problems else ""
            self._draw(event, "verifying ", (event.checked, event.held, "files"), event.bytes_checked, problems)
        elif isinstance(event, Adopting):
            rejected = f"{event.refused:,} rejected" if event.refused else ""
            self._draw(event, "adopting ", (event.adopted, event.found, "instances"), event.bytes_adopted, rejected)
        elif (text := announcement(event)) is not None:
            from tqdm import tqdm  # noqa: PLC0415 - only bars need it, and it costs 25 ms

            tqdm.write(text, file=self._stream)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _draw(self, event: Event, title: str, counts: tuple[int, int, str], size_bytes: int, complaint: str) -> None:
        done, total, _ = counts
        if self._bar is None or self._stage is not type(event):
            self.close()
            self._stage = type(event)
            self._speed = _Speed(self._clock)
            self._bar = _new_bar(self._stream, title, counts)
        bar = self._bar
        self._speed.add(size_bytes)
        bar.ncols = width_of(self._stream) or _COLUMNS
        bar.total = total or None
        bar.n = done
        bar.set_description_str(title, refresh=False)
        bar.set_postfix_str(", ".join(filter(None, (self._speed.text(), complaint))), refresh=False)
        bar.refresh()


def _new_bar(stream: TextIO, title: str, counts: tuple[int, int, str]) -> tqdm[NoReturn]:
    from tqdm import tqdm  # noqa: PLC0415 - only bars need it, and it costs 25 ms

    done, total, unit = counts
    columns = width_of(stream) or _COLUMNS
    return tqdm(
        None, title, total or None, file=stream, initial=done, bar_format=_BAR, unit=unit, ncols=columns, nrows=_ROWS
    )


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


def _bytes_of(event: Progress | Verifying | Adopting) -> int:
    match event:
        case Progress():
            return event.bytes_fetched
        case Verifying():
            return event.bytes_checked
        case Adopting():
            return event.bytes_adopted


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
