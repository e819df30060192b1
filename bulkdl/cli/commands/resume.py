"""`bulkdl resume`: go on with what a mirror still owes."""

from __future__ import annotations

from pathlib import Path

import click

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    SectionedCommand,
    archive_options,
    fetch_options,
    output_options,
)
from bulkdl.cli.output import interrupted
from bulkdl.cli.runner import finish_run, run_verb
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.process import prepare_process
from bulkdl.verbs.resume import resume_async


@click.command(cls=SectionedCommand)
@click.argument("mirror", metavar="DIR", type=click.Path(path_type=Path))
@fetch_options
@archive_options
@output_options
def resume(*, mirror: Path, settings: FetchSettings, archive: ArchiveOptions, output: OutputOptions) -> int:
    """Go on with everything that the mirror at DIR still owes, without resolving again.

    The archive is the one that the mirror came from, unless --archive names another that holds the same.
    """
    choice = choose_archive_of(mirror, archive)
    prepare_process(choice)
    report = run_verb(
        lambda sink, stop: resume_async(mirror, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted=interrupted(str(mirror)),
    )
    return finish_run(report, output)
