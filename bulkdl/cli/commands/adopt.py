"""`bulkdl adopt`: take files that another program downloaded into a mirror."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from bulkdl.cli.credentials import choose_archive_of_new
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    archive_options,
    fetching,
    output_options,
    verb_options,
)
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import SectionedCommand
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.adopt import adopt_async

_EXAMPLES: Final = (
    "bulkdl adopt Downloads/manifest-1234 --to rider --by copy",
    "bulkdl adopt rider --rebuild",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
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
    """Take the instances below FOLDER into a mirror: validated, hashed and journalled, and not downloaded again.

    FOLDER may come from the NBIA Data Retriever, tcia_utils, the IDC's tools, or any other program; zips are read too.
    If DIR is FOLDER itself, files are moved to their places. Nothing is overwritten. Files that are not DICOM, invalid
    or duplicates stay in place. `bulkdl resume DIR` or `bulkdl mirror` download what the adopted Series lack.
    """
    choice = choose_archive_of_new(options.get("to") or folder, archive)
    return run_verb(
        lambda sink, stop: adopt_async(folder, **options, archive=choice, settings=settings, sink=sink, stop=stop),
        output,
        when_interrupted="interrupted; what was adopted is kept; repeat the command to continue",
    )
