"""`bulkdl verify`: audit a mirror, and mend it where asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from bulkdl.cli.credentials import choose_archive_of
from bulkdl.cli.exit_codes import for_verify
from bulkdl.cli.formatting import command
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    SectionedCommand,
    archive_options,
    fetch_options,
    output_options,
)
from bulkdl.cli.output import document, verify_complaint, verify_text
from bulkdl.cli.verbs import finish, run_verb
from bulkdl.errors import Interrupted
from bulkdl.model.events import Sink
from bulkdl.model.reports import VerifyReport
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.verify import verify as verify_verb


@click.command(cls=SectionedCommand)
@click.argument("mirror", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--quick", is_flag=True, help="Compare sizes only; read no file.")
@click.option("--repair", is_flag=True, help="Fetch again what is damaged.")
@click.option("--remote", is_flag=True, help="Ask the archive, too, whether it holds the same.")
@click.option("--from-start", is_flag=True, help="Begin anew, where an interrupted audit could go on.")
@fetch_options
@archive_options
@output_options
def verify(
    *,
    mirror: Path,
    quick: bool,
    repair: bool,
    remote: bool,
    from_start: bool,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Audit every file of the mirror at DIR against its journal: missing, truncated, altered, foreign.

    An audit that was interrupted goes on where it stopped, if that is not longer than a week ago.

    Repairs, and the answers to --remote, come from the archive that the mirror came from, unless --archive names
    another that holds the same.
    """
    choice = choose_archive_of(mirror, archive)
    flags = (("--quick", quick), ("--repair", repair), ("--remote", remote))
    words = ("verify", *(flag for flag, is_set in flags if is_set), str(mirror))

    async def audit(sink: Sink, stop: asyncio.Event) -> VerifyReport:
        report = await verify_verb(
            mirror,
            quick=quick,
            repair=repair,
            remote=remote,
            from_start=from_start,
            archive=choice,
            is_archive_chosen=archive.is_chosen,
            settings=settings,
            sink=sink,
            stop=stop,
        )
        if stop.is_set() and report.repair is None:
            raise Interrupted("an audit that was cut short says nothing of the rest")
        return report

    report = run_verb(
        audit,
        output,
        when_interrupted=f"interrupted before every file was looked at; go on with: {command(*words)}",
    )
    text = document(report.as_json()) if output.as_json else verify_text(report)
    return finish(text, verify_complaint(report), for_verify(report))
