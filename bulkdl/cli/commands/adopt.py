"""`bulkdl adopt`: take files that another program downloaded into a mirror."""

from pathlib import Path

import click

from bulkdl.cli.credentials import choose_archive_of_new
from bulkdl.cli.options import VerbCall, fetching, running
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import command
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.adoption.processes import prepared_processes


@command("bulkdl adopt Downloads/manifest-1234 --to rider --by copy", "bulkdl adopt rider --rebuild")
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@running(adopt_async, fetching(FetchSettings, "validation"))
def adopt(call: VerbCall, folder: Path) -> int:
    """Take the instances below FOLDER into a mirror: validated, hashed and journalled, and not downloaded again.

    FOLDER may come from the NBIA Data Retriever, tcia_utils, the IDC's tools, or any other program; zips are read too.
    If DIR is FOLDER itself, files are moved to their places. Nothing is overwritten. Files that are not DICOM, invalid
    or duplicates stay in place. `bulkdl resume DIR` or `bulkdl mirror` download what the adopted series lack.
    """
    choice = choose_archive_of_new(call.options.get("to") or folder, call.archive)
    return run_verb(
        lambda sink, stop: adopt_async(folder, **call.options, archive=choice, sink=sink, stop=stop),
        call.output,
        when_interrupted="interrupted; what was adopted is kept; repeat the command to continue",
        prepare=prepared_processes,
    )
