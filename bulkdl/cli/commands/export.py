"""`bulkdl export`: the journal of a mirror as a table."""

import os
import sys
from pathlib import Path
from typing import Any

from bulkdl.cli.options import file_option, mirror_argument, verb_options
from bulkdl.cli.sections import command
from bulkdl.runtime.disk import disk_errors
from bulkdl.verbs.export import ExportFormat
from bulkdl.verbs.export import export as write_table


@command(
    "bulkdl export rider --table metadata --output metadata.csv",
    "bulkdl export rider --table instances --format parquet --output instances.parquet",
)
@mirror_argument
@verb_options(write_table)
@file_option("--output", help="Write to FILE instead of standard output.")
def export(*, mirror: Path, options: dict[str, Any], output: Path | None) -> int:
    """Write the journal of the mirror at DIR as a table: its series, its instances, or their metadata.

    The table metadata has the columns of the NBIA Data Retriever's metadata.csv.
    """
    text: dict[str, Any] = {"mode": "w", "encoding": "utf-8", "newline": ""}
    opened = {"mode": "wb"} if options.get("format") == ExportFormat.PARQUET else text
    if output is None:
        with os.fdopen(os.dup(sys.stdout.fileno()), **opened) as file:
            write_table(mirror, file, **options)
        return 0
    with disk_errors("write", output), output.open(**opened) as file:
        write_table(mirror, file, **options)
    return 0
