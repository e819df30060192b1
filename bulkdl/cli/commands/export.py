"""`bulkdl export`: the journal of a mirror as a table."""

import os
import sys
from pathlib import Path

import click

from bulkdl.cli.options import file_option, mirror_argument
from bulkdl.cli.sections import command
from bulkdl.runtime.disk import disk_errors
from bulkdl.verbs.export import ExportFormat, ExportTable
from bulkdl.verbs.export import export as write_table


@command(
    "bulkdl export rider --table metadata --output metadata.csv", "bulkdl export rider --table instances --format jsonl"
)
@mirror_argument
@click.option(
    "--table",
    type=click.Choice([each.value for each in ExportTable]),
    default=ExportTable.SERIES.value,
    show_default=True,
    help="What the rows are.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([each.value for each in ExportFormat]),
    default=ExportFormat.CSV.value,
    show_default=True,
    help="CSV, or JSON Lines.",
)
@file_option("--output", "Write to FILE instead of standard output.")
def export(*, mirror: Path, table: str, form: str, output: Path | None) -> int:
    """Write the journal of the mirror at DIR as a table: its series, its instances, or their metadata.

    The table metadata has the columns of the NBIA Data Retriever's metadata.csv.
    """
    if output is None:
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="") as file:
            write_table(mirror, file, table=table, format=form)
        return 0
    with disk_errors("write", output), output.open("w", encoding="utf-8", newline="") as file:
        write_table(mirror, file, table=table, format=form)
    return 0
