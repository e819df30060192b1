"""`bulkdl sync`: bring a mirror to what the archive has now."""

import asyncio
from pathlib import Path

import click

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import VerbCall, fetch_options, given_settings, mirror_argument, running
from bulkdl.cli.runner import confirm_rate, consenting, run_verb, unless_stopped, yes_option
from bulkdl.cli.sections import command
from bulkdl.model.events import Sink
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.phrases import interrupted, sync_again
from bulkdl.model.reports.run import RunReport
from bulkdl.model.reports.sync import SyncPlan
from bulkdl.verbs.prune import prune_async
from bulkdl.verbs.runs.prepared_process import prepared_process
from bulkdl.verbs.sync import sync_async
from bulkdl.verbs.sync_plan import sync_plan_async


@command(
    "bulkdl sync rider",
    "bulkdl sync rider --dry-run",
    "bulkdl sync rider --prune --max-delete 1000",
    "bulkdl sync rider --deny-license 'CC BY-NC*'",
)
@mirror_argument
@click.option("--dry-run", is_flag=True, help="Show which series are new, changed or withdrawn; change nothing.")
@click.option("--prune", is_flag=True, help="Remove the files of what was withdrawn or replaced.")
@running(sync_async, yes_option, fetch_options)
def sync(call: VerbCall, mirror: Path, *, dry_run: bool, prune: bool, yes: bool) -> int:
    """Repeat the selections of the mirror at DIR: download what is new or changed, mark what was withdrawn.

    Withdrawn files stay in their places. Files that the archive has replaced are kept in DIR/.bulkdl/superseded.
    --prune removes both. Nothing is marked if the archive fails, or lists less than half of what it listed.
    """
    confirm_rate(call.settings, yes=yes)
    choice = choose_archive_of(mirror, call.archive)
    if choice is not None:
        choice = consenting(choice, mirror, yes=yes)
    options = {**call.options, "given": given_settings(), "archive": choice}
    max_delete = options["max_delete"]

    async def sync_and_prune(sink: Sink, stop: asyncio.Event) -> RunReport | SyncPlan:
        if dry_run:
            return await unless_stopped(sync_plan_async(mirror, **options, sink=sink, stop=stop), stop)
        report = await sync_async(mirror, **options, sink=sink, stop=stop)
        if prune and report.changes is not None and report.outcome in {RunOutcome.COMPLETE, RunOutcome.PARTIAL}:
            report.changes.removed_files = await prune_async(mirror, max_delete=max_delete, sink=sink, stop=stop)
        return report

    return run_verb(
        sync_and_prune,
        call.output,
        when_interrupted=when_interrupted(mirror, dry_run=dry_run, prune=prune),
        prepare=lambda: prepared_process(options["archive"], call.settings),
    )


def when_interrupted(mirror: Path, *, dry_run: bool, prune: bool) -> str:
    """What to say of a command that was interrupted."""
    if dry_run:
        return "interrupted; nothing was changed"
    return interrupted(sync_again(str(mirror), *(["--prune"] if prune else [])))
