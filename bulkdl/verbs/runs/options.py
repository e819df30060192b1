"""The options of verbs on a mirror, and the context of a run that they describe."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, TypeAlias, TypedDict

from bulkdl.dicom.without_numpy import require_decoders
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.completed_series import parse_command
from bulkdl.model.events import Noted, RunContext, Sink, ignore
from bulkdl.model.options import Option, as_words
from bulkdl.model.quantities import parse_count, parse_duration
from bulkdl.model.settings import FetchSettings, ValidationLevel, go_on_with
from bulkdl.verbs.mirrors.folders import require_mirror

NewLayout: TypeAlias = Annotated[
    str | None, Option("layout", "The layout of the files in a new mirror; a mirror keeps its layout.", "TEMPLATE|NAME")
]

# It is not kept for `resume` and `sync`: a mirror that somebody else has made must not make them run a command.
OnSeries: TypeAlias = Annotated[
    str | Sequence[str] | None,
    Option(
        "on_series",
        "Run COMMAND, without a shell, for each series that this run completes; its standard input is JSON about it.",
        "COMMAND",
        read=parse_command,
    ),
]
OnSeriesAtOnce: TypeAlias = Annotated[
    int | None,
    Option("on_series_at_once", "The most commands of --on-series at a time; the default is 2.", "N", read=parse_count),
]
OnSeriesTimeout: TypeAlias = Annotated[
    float | None,
    Option(
        "on_series_timeout",
        "End a command of --on-series after this long, as failed; the default is 1h.",
        "DURATION",
        read=parse_duration,
    ),
]


class RunOptions(TypedDict, total=False):
    """What every verb on an existing mirror takes.

    `archive` is that of the mirror's last run unless it is given. `given` names the fields of `settings` that count,
    all if it is left out; the others are those of its last `mirror` run. `sink` receives the events, in the thread that
    works. When `stop` is set, the verb ends within seconds.
    """

    archive: str | ArchiveChoice | None
    settings: FetchSettings | None
    given: Collection[str]
    sink: Sink
    stop: asyncio.Event | None


class DownloadOptions(RunOptions, total=False):
    """What every verb on an existing mirror takes that downloads what it owes."""

    on_series: OnSeries
    on_series_at_once: OnSeriesAtOnce
    on_series_timeout: OnSeriesTimeout


def context_of(options: RunOptions) -> RunContext:
    """The context that the options of a verb describe. Raises ConfigurationError: they need what is not installed."""
    settings, stop = options.get("settings") or FetchSettings(), options.get("stop") or asyncio.Event()
    if settings.validation is ValidationLevel.PIXELS:
        require_decoders()
    return RunContext(settings, options.get("sink", ignore), stop)


def with_command(context: RunContext, options: DownloadOptions) -> RunContext:
    """The context, with the command of `options` for each Series that the run completes, if there is one.

    Raises:
        ConfigurationError: it is not a command, or does not exist.
    """
    if (command := options.get("on_series")) is None:
        return context
    from bulkdl.verbs.runs.series_commands import (  # noqa: PLC0415 - late: most runs are without
        SeriesCommandOptions,
        on_series_handler,
    )

    chosen = SeriesCommandOptions(command, options.get("on_series_at_once"), options.get("on_series_timeout"))
    handler = on_series_handler(chosen, stop=context.stop, sink=context.sink)
    return replace(context, completed=handler)


def kept_context(root: Path, options: RunOptions) -> RunContext:
    """The context of a verb that goes on with the options of the mirror's last `mirror` run, and says so. Blocking."""
    context = context_of(options)
    is_whole = options.get("settings") is not None and "given" not in options
    with Journal.open_readonly(require_mirror(root)) as journal:
        last = journal.last_settings("mirror")
    if last is None or is_whole:
        return context
    settings, names = go_on_with(last[1], context.settings, options.get("given", ()))
    if names:
        context.sink(Noted(f"as in run {last[0]}: {', '.join(as_words(settings, names))}"))
    if settings.validation is ValidationLevel.PIXELS:
        require_decoders()
    return replace(context, settings=settings)
