"""`bulkdl adopt`: take a folder that another program filled into a mirror."""

from __future__ import annotations

from pathlib import Path

import click

from bulkdl.cli.credentials import cache_folder
from bulkdl.cli.exit_codes import for_adoption
from bulkdl.cli.options import (
    ArchiveOptions,
    OutputOptions,
    SectionedCommand,
    archive_options,
    fetching,
    output_options,
)
from bulkdl.cli.output import adopt_complaint, adopt_text, document
from bulkdl.cli.verbs import finish, run_verb
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.settings import FetchSettings
from bulkdl.store.importing import ImportMode
from bulkdl.verbs.adopt import Adoption
from bulkdl.verbs.adopt import adopt as adopt_verb


@click.command(cls=SectionedCommand)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--to", metavar="DIR", type=click.Path(path_type=Path), help="The mirror; without it, FOLDER itself becomes one."
)
@click.option(
    "--by",
    type=click.Choice([each.value for each in ImportMode]),
    default=ImportMode.LINK.value,
    show_default=True,
    help="How files get into DIR. Across file systems a link becomes a copy.",
)
@click.option("--collection", metavar="NAME", help="The Collection of all that is adopted.")
@click.option("--layout", metavar="TEMPLATE|NAME", help="Where instances lie in a new mirror.")
@click.option("--rebuild", is_flag=True, help="Set a journal that cannot be read aside first.")
@fetching(FetchSettings, "validation")
@archive_options
@output_options
def adopt(
    *,
    folder: Path,
    to: Path | None,
    by: str,
    collection: str | None,
    layout: str | None,
    rebuild: bool,
    settings: FetchSettings,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """Take the instances below FOLDER into a mirror: validated, hashed, journalled, and not fetched again.

    FOLDER may be one of the NBIA Data Retriever, tcia_utils, the IDC's tools, or any other; zips are looked into.
    Within FOLDER itself files are moved to their places. Nothing is ever overwritten; what is no DICOM, unsound or
    there twice stays where it is. What the adopted Series lack is fetched by `bulkdl resume DIR` or `bulkdl mirror`.
    """
    adoption = Adoption(
        source=folder,
        to=to or folder,
        by=ImportMode(by),
        collection=collection,
        layout=layout,
        validation=settings.validation,
        rebuild=rebuild,
    )
    choice = ArchiveChoice(name=archive.name, profiles=archive.profiles, cache=cache_folder())
    report = run_verb(
        lambda sink, stop: adopt_verb(
            adoption, archive=choice, is_archive_chosen=archive.is_chosen, sink=sink, stop=stop
        ),
        output,
        when_interrupted="interrupted; what was adopted is kept; the same command goes on",
    )
    text = document(report.as_json()) if output.as_json else adopt_text(report)
    return finish(text, adopt_complaint(report), for_adoption(report))
