"""`bulkdl resume`: download what a mirror still owes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from bulkdl.cli.consent import confirm_rate, yes_option
from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetch_options,
    given_settings,
    output_options,
    verb_options,
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
@verb_options(resume_async)
@yes_option
@fetch_options
@archive_options
@output_options
def resume(
    *,
    mirror: Path,
    options: dict[str, Any],
    yes: bool,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Download everything that the mirror at DIR still owes, without resolving again.

    The archive is that of the mirror's last run, unless --archive names another one that has the same data. Fetching
    options that are not given are those of the last `bulkdl mirror`.
    """
    confirm_rate(settings, yes=yes)
    options |= {"settings": settings, "given": given_settings()}
    choice = choose_archive_of(mirror, archive)
    prepare_process(choice)
    return run_verb(
        lambda sink, stop: resume_async(mirror, **options, archive=choice, sink=sink, stop=stop),
        output,
        when_interrupted=interrupted(str(mirror)),
    )
