"""`bulkdl ls`: the data sets of an archive, the patients of one, the series of a patient."""

import asyncio
import csv
import json
import sys
from enum import StrEnum
from typing import Any

import click

from bulkdl.cli.completing import complete_data_sets
from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import ArchiveOptions, OutputOptions, archive_options, output_options, verb_options
from bulkdl.cli.runner import run_verb, unless_stopped
from bulkdl.cli.sections import command
from bulkdl.model.events import Sink
from bulkdl.model.listings import listing_rows
from bulkdl.model.reports.ls import LsReport
from bulkdl.verbs.ls import ls_async


class ListingFormat(StrEnum):
    """The choices of `--format`."""

    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


@command(
    "bulkdl ls", "bulkdl ls --search 'lung ct'", "bulkdl ls RIDER-Lung-CT", "bulkdl ls RIDER-Lung-CT RIDER-1129164940"
)
@click.argument("data_set", required=False, shell_complete=complete_data_sets)
@click.argument("patient", required=False)
@verb_options(ls_async)
@click.option(
    "--format",
    "listing_format",
    type=click.Choice([each.value for each in ListingFormat]),
    default=ListingFormat.TABLE.value,
    show_default=True,
    help="A table for people, or rows as CSV or JSON Lines.",
)
@archive_options
@output_options
def ls(
    *,
    data_set: str | None,
    patient: str | None,
    options: dict[str, Any],
    listing_format: str,
    archive: ArchiveOptions,
    output: OutputOptions,
) -> int:
    """List the data sets; of a DATA_SET its patients and where its files are; of a PATIENT the studies and series.

    A DATA_SET is a collection or an analysis result, its DOI or its page at TCIA, a patient, or the UID of a study or
    series. Sizes are those of the archive. What the archive, DataCite and the Collection Manager of TCIA say is kept
    for a day, and used without a network, too.
    """
    if output.as_json and listing_format != ListingFormat.TABLE:
        raise click.UsageError("--json and --format cannot be combined: --json prints one document")
    choice = choose_archive(archive)

    async def list_until_stopped(sink: Sink, stop: asyncio.Event) -> LsReport:
        listing = ls_async(data_set, patient, **options, archive=choice, sink=sink, stop=stop)
        return await unless_stopped(listing, stop)

    show = None if listing_format == ListingFormat.TABLE else lambda report: _write_rows(report, listing_format)
    return run_verb(list_until_stopped, output, when_interrupted="interrupted; nothing is listed", show=show)


def _write_rows(report: LsReport, listing_format: str) -> None:
    writer: csv.DictWriter[str] | None = None
    for row in listing_rows(report):
        if listing_format == ListingFormat.JSONL:
            print(json.dumps(row, ensure_ascii=False))
            continue
        if writer is None:
            writer = csv.DictWriter(sys.stdout, row)
            writer.writeheader()
        writer.writerow({name: _guarded(value) for name, value in row.items()})
    sys.stdout.flush()


def _guarded(value: Any) -> Any:
    """A cell with an apostrophe before what a spreadsheet would execute."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "@")) else value
