"""`bulkdl mirror`: the main job."""

from __future__ import annotations

import sys
from typing import Any

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    SectionedCommand,
    archive_options,
    fetch_options,
    output_options,
    selection_options,
    verb_options,
)
from bulkdl.cli.output import interrupted
from bulkdl.cli.runner import finish_run, run_verb
from bulkdl.errors import Interrupted
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.process import prepare_process


@click.command(cls=SectionedCommand)
@verb_options(mirror_async)
@click.option("--yes", is_flag=True, help="Do not ask before a whole archive is mirrored.")
@selection_options
@fetch_options
@archive_options
@output_options
def mirror(
    *,
    options: dict[str, Any],
    yes: bool,
    selection: Selection,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Bring what is selected into the mirror at DIR.

    Run again with the same arguments, it goes on where it stopped, and fetches only what is missing.
    """
    choice = choose_archive(archive)
    if selection.everything and not yes and sys.stdin.isatty():
        question = f"Mirror the whole archive {archive.name} into {options['to']}?"
        if not click.confirm(question, err=True):
            raise Interrupted("nothing was done")
    prepare_process(choice)
    report = run_verb(
        lambda sink, stop: mirror_async(selection, **options, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted=interrupted(str(options["to"])),
    )
    return finish_run(report, output)
