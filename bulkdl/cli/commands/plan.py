"""`bulkdl plan`: what a mirror of the selection needs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetch_options,
    output_options,
    selection_options,
    verb_options,
    words_refused,
)
from bulkdl.cli.runner import run_verb, unless_stopped
from bulkdl.cli.sections import SectionedCommand
from bulkdl.model.events import Sink
from bulkdl.model.reports import PlanReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.plan import plan_async, save_manifest

_EXAMPLES: Final = (
    "bulkdl plan --collection RIDER-Lung-CT",
    "bulkdl plan --manifest cohort.csv --to cohort --save series.tcia",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
@words_refused
@verb_options(plan_async)
@click.option(
    "--save",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the Series to FILE, as a .tcia manifest.",
)
@selection_options
@fetch_options
@archive_options
@output_options
def plan(
    *,
    options: dict[str, Any],
    save: Path | None,
    selection: Selection,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Resolve the selection and show what would be downloaded: series, instances, bytes, free disk."""
    choice = choose_archive(archive)

    async def plan_and_save(sink: Sink, stop: asyncio.Event) -> PlanReport:
        planning = plan_async(selection, **options, archive=choice, settings=settings, sink=sink, stop=stop)
        report = await unless_stopped(planning, stop)
        if save is not None:
            await asyncio.to_thread(save_manifest, report, save)
        return report

    return run_verb(plan_and_save, output, when_interrupted="interrupted; nothing was downloaded")
