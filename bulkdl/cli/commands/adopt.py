"""`bulkdl adopt`: take a folder that another program filled into a mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulkdl.cli.credentials import choose_archive_of_new
from bulkdl.cli.exit_codes import for_adoption
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    SectionedCommand,
    archive_options,
    fetching,
    output_options,
    verb_options,
)
from bulkdl.cli.output import adopt_complaint, adopt_text, document
from bulkdl.cli.runner import finish, run_verb
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.adopt import adopt_async


@click.command(cls=SectionedCommand)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@verb_options(adopt_async)
@fetching(FetchSettings, "validation")
@archive_options
@output_options
def adopt(
    *,
    folder: Path,
    options: dict[str, Any],
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Take the instances below FOLDER into a mirror: validated, hashed, journalled, and not fetched again.

    FOLDER may be one of the NBIA Data Retriever, tcia_utils, the IDC's tools, or any other; zips are looked into.
    Within FOLDER itself files are moved to their places. Nothing is ever overwritten; what is no DICOM, unsound or
    there twice stays where it is. What the adopted Series lack is fetched by `bulkdl resume DIR` or `bulkdl mirror`.
    """
    choice = choose_archive_of_new(options.get("to") or folder, archive)
    report = run_verb(
        lambda sink, stop: adopt_async(folder, **options, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted="interrupted; what was adopted is kept; repeat the command to continue",
    )
    text = document(report.as_json()) if output.as_json else adopt_text(report)
    return finish(text, adopt_complaint(report), for_adoption(report))
