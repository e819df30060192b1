"""`bulkdl resume`: download what a mirror still owes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetch_options,
    output_options,
)
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import SectionedCommand
from bulkdl.model.settings import FetchSettings
from bulkdl.model.summaries import interrupted
from bulkdl.verbs.process import prepare_process
from bulkdl.verbs.resume import resume_async

_EXAMPLES: Final = (
    "bulkdl resume rider",
    "bulkdl resume rider --rate-limit 20MB/s --workers 2",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
@click.argument("mirror", metavar="DIR", type=click.Path(path_type=Path))
@fetch_options
@archive_options
@output_options
def resume(*, mirror: Path, settings: FetchSettings, archive: ArchiveOptions, output: OutputOptions) -> int:
    """Download everything that the mirror at DIR still owes, without resolving again.

    The archive is that of the mirror's last run, unless --archive names another one that has the same data.
    """
    choice = choose_archive_of(mirror, archive)
    prepare_process(choice)
    return run_verb(
        lambda sink, stop: resume_async(mirror, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted=interrupted(str(mirror)),
    )
