"""Progress as lines: for logs, and as JSON for programs."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final, TextIO

from bulkdl.model.events import ArchiveDown, ArchiveUp, Event, InstanceFailed, Noted, Retrying, RunStarted
from bulkdl.model.formatting import duration
from bulkdl.model.text import one_line
from bulkdl.model.work_states import Clock, WorkStates

Today = Callable[[], datetime]

_LINE_SECONDS: Final = 5.0
_OUTAGE_SECONDS: Final = 60.0  # between two lines while the archive does not answer
_FAILURES_SHOWN: Final = 5  # of each error


def now() -> datetime:
    """This moment in UTC."""
    return datetime.now(UTC)


class Display:
    """Shows nothing; the base of those that show something. `is_verbose` shows each retry, too."""

    is_verbose = False

    def __init__(self, stream: TextIO, clock: Clock, today: Today = now) -> None:
        self._stream = stream
        self._clock = clock
        self._today = today

    def show(self, event: Event) -> None:
        """Show an event. Raises OSError: the reader is gone."""
        del event

    def close(self) -> None:
        """Leave the stream as others expect it."""
        return

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


class JsonLines(Display):
    """One JSON object per line: the event, its name and its time."""

    def show(self, event: Event) -> None:
        """See Display."""
        time_now = self._today().isoformat(timespec="milliseconds")
        self._line(json.dumps({"event": event.name, "time": time_now, **asdict(event)}))


class FailureLines:
    """The lines that name failed instances: the first ones of each error, and then one that says so."""

    def __init__(self) -> None:
        self._shown: Counter[str] = Counter()

    def of(self, event: Event) -> str | None:
        """The line for an event; None for one that needs no line."""
        if not isinstance(event, InstanceFailed):
            return None
        self._shown[event.error] += 1
        if self._shown[event.error] <= _FAILURES_SHOWN:
            which = event.sop_uid or event.key or f"series {event.series_uid}"
            return one_line(f"failed: {which}: {event.message}")
        if self._shown[event.error] == _FAILURES_SHOWN + 1:
            return f"more instances fail with {event.error}: from here on they are only counted"
        return None


class PlainLines(Display):
    """A line with the time every few seconds, and one for each event that a person should see."""

    def __init__(self, stream: TextIO, clock: Clock, today: Today = now) -> None:
        super().__init__(stream, clock, today)
        self._states = WorkStates(clock)
        self._failures = FailureLines()
        self._last = clock()
        self._down_since: float | None = None

    def show(self, event: Event) -> None:
        """See Display."""
        self._note_outage(event)
        if (state := self._states.of(event)) is not None:
            pause = _LINE_SECONDS if self._down_since is None else _OUTAGE_SECONDS
            if self._clock() - self._last >= pause:
                self._last = self._clock()
                self._log(self._waiting(self._down_since) if self._down_since is not None else str(state))
        elif (text := announcement(event, retries=self.is_verbose) or self._failures.of(event)) is not None:
            self._log(text)

    def _note_outage(self, event: Event) -> None:
        if isinstance(event, ArchiveDown) and self._down_since is None:
            self._down_since = self._last = self._clock()
        elif isinstance(event, ArchiveUp):
            self._down_since = None

    def _waiting(self, since: float) -> str:
        return f"the archive has not answered for {duration(self._clock() - since)}"

    def _log(self, text: str) -> None:
        self._line(f"{self._today():%Y-%m-%dT%H:%M:%SZ} {text}")


def announcement(event: Event, *, retries: bool = False) -> str | None:
    """The line to show for an event; None for an event that only changes counts, as retries do unless asked for."""
    match event:
        case RunStarted():
            way = f"{event.mirror} to {event.archive}" if event.sends else f"{event.archive} into {event.mirror}"
            return one_line(f"run {event.run}: from {way}")
        case ArchiveDown():
            limit = duration(event.give_up_in_seconds)
            return one_line(f"the archive does not answer ({event.message}); waiting for up to {limit}")
        case ArchiveUp():
            return f"the archive answers again after {duration(event.after_seconds)}"
        case Noted():
            return one_line(event.message)
        case Retrying() if retries:
            wait = duration(event.wait_seconds)
            return one_line(f"attempt {event.attempt} failed, retry in {wait}: {event.what}: {event.message}")
        case _:
            return None
