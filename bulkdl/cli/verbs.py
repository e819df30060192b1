"""What the commands that run a verb have in common: a display, a loop, a report on standard output, an exit code."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bulkdl.cli import output, running
from bulkdl.cli.exit_codes import Exit, for_run
from bulkdl.cli.options import OutputOptions
from bulkdl.cli.progress import display
from bulkdl.errors import BulkdlError
from bulkdl.model.events import Sink
from bulkdl.model.reports import RunReport
from bulkdl.model.text import one_line
from bulkdl.runtime.processes import tune_process

Report = TypeVar("Report")

_STOPPING: Final = "stopping: finishing what is in flight; Ctrl-C again stops at once"


def run_verb(
    action: Callable[[Sink, asyncio.Event], Awaitable[Report]], options: OutputOptions, *, when_interrupted: str
) -> Report:
    """Run `action(sink, stop)` on a loop of its own, with its progress shown; its report.

    Raises:
        BulkdlError: what the action raised. With `--json` its document was printed first.
    """
    tune_process()
    try:
        with display(options.progress, sys.stderr) as sink:
            return running.run(
                lambda stop: action(sink, stop), when_interrupted=when_interrupted, notice=_STOPPING, sink=sink
            )
    except BulkdlError as error:
        if options.as_json:
            print(output.error_document(error))
        raise


def finish(text: str, complaint: str | None, code: Exit) -> int:
    """Print the result, and one line on standard error where something is wrong; the exit code."""
    print(text, flush=True)
    if complaint is not None:
        print(f"bulkdl: {one_line(complaint)}", file=sys.stderr, flush=True)
    return code


def finish_run(report: RunReport, options: OutputOptions) -> int:
    """Print what a run brought; the exit code."""
    text = output.document(report.as_json()) if options.as_json else output.run_text(report)
    return finish(text, output.run_complaint(report), for_run(report))
