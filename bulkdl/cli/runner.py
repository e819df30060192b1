"""Run one verb for a command: consent, progress, Ctrl-C and SIGTERM, the report on standard output, the exit code."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import click

from bulkdl.cli.exit_codes import Exit, document, error_values, for_report
from bulkdl.cli.options import OutputOptions
from bulkdl.cli.signals import SIGNALS, forget_signals, handle_signals
from bulkdl.errors import ArchiveRefused, BulkdlError, ConfigurationError, Interrupted
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, RunEnded, Sink, ignore
from bulkdl.model.reports.base import Report
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import one_line
from bulkdl.progress.display import ProgressMode, display
from bulkdl.runtime.disk import shortage_errors
from bulkdl.runtime.processes import tune_process
from bulkdl.runtime.tasks import running_alongside
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.runs.agreements import missing_agreement

Result = TypeVar("Result")
AnyReport = TypeVar("AnyReport", bound=Report)

yes_option: Final = click.option(
    "--yes",
    is_flag=True,
    help="Do not ask: confirm the terms of controlled data, a whole archive, or a very low rate.",
)

_SLOW_BYTES_PER_SECOND: Final = 1000.0
_STOPPING: Final = "stopping: finishing the requests in flight; Ctrl-C again stops at once"


def run_verb(
    action: Callable[[Sink, asyncio.Event], Awaitable[AnyReport]],
    options: OutputOptions,
    *,
    when_interrupted: str,
    prepare: Callable[[], AbstractContextManager[None]] = nullcontext,
    is_result: bool = False,
    show: Callable[[AnyReport], None] | None = None,
) -> Exit:
    """Run `action(sink, stop)` on a new event loop, show its progress, print its report; return the exit code.

    The run is in the block of `prepare`, which begins once the display has what it needs. `is_result`: the text is what
    was asked for, so --quiet prints it, too. `show` prints the report in place of its text.
    """
    tune_process()
    with shown(options) as sink:
        try:
            with prepare():
                report = run(lambda stop: action(sink, stop), when_interrupted=when_interrupted, sink=sink)
        except BulkdlError as error:
            sink(RunEnded(error_values(error)))
            raise
        sink(RunEnded(report.as_json()))
    if show is not None:
        show(report)
    elif options.as_json or is_result or not options.is_quiet:
        print_report(report, as_json=options.as_json)
    if (complaint := report.complaint()) is not None:
        print(f"bulkdl: {one_line(complaint)}", file=sys.stderr, flush=True)
    return for_report(report)


def shown(options: OutputOptions) -> AbstractContextManager[Sink]:
    """The sink that shows events as the output options say, until the block ends. DiskError: no log can be written."""
    mode = ProgressMode.NONE if options.is_quiet else options.progress
    return display(mode, sys.stderr, is_verbose=options.is_verbose, log_file=options.log_file)


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report as text, which fits the terminal if there is one, or as a JSON document."""
    print(document(report.as_json()) if as_json else report.as_text(width_of(sys.stdout)), flush=True)


def run(action: Callable[[asyncio.Event], Awaitable[Result]], *, when_interrupted: str, sink: Sink = ignore) -> Result:
    """Await `action(stop)` on a new event loop; return its result. Raises what it raises.

    The first signal sets `stop`, which is announced to `sink`; the action ends in order, and its result counts. The
    second one cancels the action: Interrupted says `when_interrupted`. After that, signals have their default effect.
    """
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    root = logging.getLogger()
    if not root.handlers:  # libraries must not log to standard error, tracebacks included
        root.addHandler(logging.NullHandler())
    try:
        with shortage_errors():  # the end of the loop starts a thread, too
            return asyncio.run(_supervised(action, sink))
    except (asyncio.CancelledError, KeyboardInterrupt, Interrupted) as error:
        raise Interrupted(when_interrupted) from error
    finally:
        for number, handler in before:  # the loop leaves the default handlers behind
            signal.signal(number, handler)


async def _supervised(action: Callable[[asyncio.Event], Awaitable[Result]], sink: Sink) -> Result:
    loop, task, stop = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def on_signal() -> None:
        if not stop.is_set():
            stop.set()
            sink(Noted(_STOPPING))
            return
        forget_signals(loop)
        if task is not None:
            task.cancel()

    handle_signals(loop, on_signal)
    return await action(stop)


def run_until_stopped(action: Awaitable[Result], when_interrupted: str) -> Result:
    """As `run`, for an action whose partial result is worthless."""
    return run(lambda stop: unless_stopped(action, stop), when_interrupted=when_interrupted)


async def unless_stopped(action: Awaitable[Result], stop: asyncio.Event) -> Result:
    """Await an action whose partial result is worthless. Raises Interrupted as soon as `stop` is set."""

    async def interrupt() -> None:
        await stop.wait()
        raise Interrupted("stopped")

    async with running_alongside(interrupt()):
        return await action
    raise AssertionError("the block above always leaves")


def confirm(question: str, *, yes: bool) -> None:
    """Return if the user agrees. Raises Interrupted: they refuse; ConfigurationError: there is no terminal."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} There is no terminal to ask at; to confirm it, add --yes")
    if not click.confirm(question, err=True):
        raise Interrupted("nothing was downloaded")


def consenting(
    choice: ArchiveChoice, mirror: Path | None, selection: Selection | None = None, *, yes: bool
) -> ArchiveChoice:
    """The choice with the agreement that the archive demands, if it does, and if `mirror` does not remember it.

    Raises ArchiveRefused: there is no terminal to ask at; Interrupted: the user refuses.
    """
    agreement = missing_agreement(choice, mirror, selection)
    if agreement is None:
        return choice
    if not yes and not sys.stdin.isatty():
        raise ArchiveRefused(agreement.refusal)
    if not yes and not click.confirm(agreement.question, err=True):
        raise Interrupted("nothing was downloaded")
    return replace(choice, agrees=True)


def confirm_rate(settings: FetchSettings, *, yes: bool) -> None:
    """Confirm a rate so low that its unit is probably missing."""
    rate = settings.rate_limit_bytes
    if rate is not None and rate < _SLOW_BYTES_PER_SECOND:
        confirm(f"Download at most {rate:g} bytes per second (not kB/s or MB/s)?", yes=yes)
