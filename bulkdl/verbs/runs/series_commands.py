"""`--on-series`: run a command for each Series that a run completes.

Failures of the command are noted, and are not failures of the mirror.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from typing import Final, NamedTuple

from bulkdl.errors import ConfigurationError, MirrorUnwritable
from bulkdl.model.completed_series import CompletedHandler, CompletedSeries, parse_command
from bulkdl.model.events import Noted, Sink
from bulkdl.model.formatting import duration
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.processes import CommandEnd, run_command

_TOLD: Final = 20
_SHOWN_CHARACTERS: Final = 300

AT_ONCE: Final = 2
"""How many commands run at a time by default."""

TIMEOUT_SECONDS: Final = 3600.0
"""How long a command may take by default."""


class SeriesCommandOptions(NamedTuple):
    """What `--on-series` runs: a command as words or as one text of them, how many at a time, and how long each."""

    command: str | Sequence[str]
    at_once: int | None = None
    timeout_seconds: float | None = None


def on_series_handler(options: SeriesCommandOptions, *, stop: asyncio.Event, sink: Sink) -> CompletedHandler:
    """What runs the command for each completed Series.

    Raises:
        ConfigurationError: it is not a command, or does not exist.
    """
    command = options.command
    try:
        words = parse_command(command) if isinstance(command, str) else tuple(command)
    except ValueError as error:
        raise ConfigurationError(f"--on-series: {error}") from error
    if not words or shutil.which(words[0]) is None:
        raise ConfigurationError(f"--on-series: there is no command {words[0] if words else ''!r} that could be run")
    commands = _SeriesCommands(words, options.timeout_seconds or TIMEOUT_SECONDS, stop, sink)
    return CompletedHandler(commands.run, options.at_once or AT_ONCE, commands.notes)


class _SeriesCommands:
    """Runs the command, with the JSON of a Series on its standard input, and counts what failed."""

    def __init__(self, words: tuple[str, ...], timeout_seconds: float, stop: asyncio.Event, sink: Sink) -> None:
        self._words = words
        self._timeout_seconds = timeout_seconds
        self._stop = stop
        self._sink = sink
        self._count = 0
        self._failed = 0

    async def run(self, completed: CompletedSeries) -> None:
        """Run the command for one Series."""
        if self._stop.is_set():
            return
        self._count += 1
        content = json.dumps(completed.as_json(), ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            ended = await run_command(self._words, content, stop=self._stop, timeout_seconds=self._timeout_seconds)
        except MirrorUnwritable as error:
            self._fail(completed, str(error))
            return
        if ended.status or ended.timed_out:
            said = shortened(one_line(ended.last_line), _SHOWN_CHARACTERS)
            what = self._what_failed(ended)
            self._fail(completed, f"{what}: {said}" if said else what)

    def _what_failed(self, ended: CommandEnd) -> str:
        if ended.timed_out:
            return f"ended, because it took longer than {duration(self._timeout_seconds)} (--on-series-timeout)"
        if self._stop.is_set():
            return "ended, because the run was stopped"
        return f"exit status {ended.status}" if ended.status > 0 else f"ended by signal {-ended.status}"

    def _fail(self, completed: CompletedSeries, why: str) -> None:
        self._failed += 1
        if self._failed <= _TOLD:
            self._sink(Noted(f"{self._words[0]} failed for series {completed.series.series_uid}: {why}"))

    def notes(self) -> tuple[str, ...]:
        """One line where commands failed."""
        if not self._failed:
            return ()
        return (f"the command of --on-series failed for {self._failed:,} of {self._count:,} series",)
