"""`bulkdl export`: the journal of a mirror as a table."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from bulkdl.cli.options import file_option, mirror_argument, verb_options
from bulkdl.cli.runner import run
from bulkdl.cli.sections import command
from bulkdl.model.events import Event, Noted
from bulkdl.runtime.new_files import new_file, new_text_file
from bulkdl.verbs.export import UNREADABLE, ExportFormat, export_async


@command(
    "bulkdl export rider --table metadata --output metadata.csv",
    "bulkdl export rider --table instances --format parquet --output instances.parquet",
    "bulkdl export rider --table headers --keyword KVP,SliceThickness --output headers.csv",
)
@mirror_argument
@verb_options(export_async)
@file_option("--output", help="Write to FILE instead of standard output.")
def export(*, mirror: Path, options: dict[str, Any], output: Path | None) -> int:
    """Write the journal of the mirror at DIR as a table: its series, its instances, their metadata or headers.

    The table metadata has the columns of the NBIA Data Retriever's metadata.csv. The table headers has attributes of
    every file, by their keywords; files that cannot be read are named, and the command ends with exit code 1.
    """
    unreadable: list[str] = []

    def tell(event: Event) -> None:
        if isinstance(event, Noted) and event.message.startswith(UNREADABLE):
            unreadable.append(event.message)
        if isinstance(event, Noted):
            click.echo(event.message, err=True)

    def write(file: Any) -> None:
        run(
            lambda stop: export_async(mirror, file, **options, sink=tell, stop=stop),
            when_interrupted="interrupted; the table is not complete",
            sink=tell,
        )

    is_binary = options.get("format") == ExportFormat.PARQUET
    if output is not None:
        with new_file(output) if is_binary else new_text_file(output) as file:
            write(file)
        return int(bool(unreadable))
    text: dict[str, Any] = {"mode": "w", "encoding": "utf-8", "newline": ""}
    with os.fdopen(os.dup(sys.stdout.fileno()), **({"mode": "wb"} if is_binary else text)) as file:
        write(file)
    return int(bool(unreadable))
