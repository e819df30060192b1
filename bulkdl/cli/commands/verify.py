"""`bulkdl verify`: compare a mirror with its journal, and repair it on request."""

from __future__ import annotations

import asyncio
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
from bulkdl.errors import Interrupted
from bulkdl.model.events import Sink
from bulkdl.model.formatting import command
from bulkdl.model.reports import VerifyReport
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.verify import verify_async

_EXAMPLES: Final = (
    "bulkdl verify rider",
    "bulkdl verify rider --quick",
    "bulkdl verify rider --repair --remote",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
@click.argument("mirror", metavar="DIR", type=click.Path(path_type=Path))
@verb_options(verify_async)
@yes_option
@fetch_options
@archive_options
@output_options
def verify(
    *,
    mirror: Path,
    options: dict[str, Any],
    yes: bool,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Compare every file of the mirror at DIR with its journal: missing, truncated, altered, foreign.

    A verification that was interrupted within the last week continues where it stopped.

    --repair and --remote use the archive of the mirror's last run, unless --archive names another one that has the same
    data. Fetching options that are not given are those of the last `bulkdl mirror`.
    """
    confirm_rate(settings, yes=yes)
    options |= {"settings": settings, "given": given_settings()}
    choice = choose_archive_of(mirror, archive)

    async def verify_whole(sink: Sink, stop: asyncio.Event) -> VerifyReport:
        report = await verify_async(mirror, **options, archive=choice, sink=sink, stop=stop)
        if stop.is_set() and report.repair is None:
            raise Interrupted("a verification that was interrupted covers only a part")
        return report

    flags = (name for name in ("quick", "repair", "remote") if options.get(name))
    again = command("verify", *(f"--{name}" for name in flags), str(mirror))
    return run_verb(
        verify_whole, output, when_interrupted=f"interrupted before all files were verified; to continue: {again}"
    )
