"""`bulkdl status`: what a mirror holds and owes, from its journal alone."""

import os
import sys
import time
from pathlib import Path
from typing import Final

import click

from bulkdl.cli.options import mirror_argument
from bulkdl.cli.runner import print_report
from bulkdl.cli.sections import command, json_option
from bulkdl.model.text import fitted
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.status import read_status

_REFRESH_SECONDS: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[J"  # move to the corner and erase from there; every terminal supports this


@command("bulkdl status rider", "bulkdl status rider --watch")
@mirror_argument
@click.option("--watch", is_flag=True, help="Refresh every two seconds until Ctrl-C.")
@json_option
def status(*, mirror: Path, watch: bool, as_json: bool) -> int:
    """Show what the mirror at DIR holds and owes, by collection and by failure."""
    if watch and as_json:
        raise click.UsageError("--watch and --json cannot be combined: --json prints one document and ends")
    if not watch:
        print_report(read_status(mirror), as_json=as_json)
        return 0
    try:
        while True:
            text = read_status(mirror).as_text(width_of(sys.stdout))
            print(_screen(text) if sys.stdout.isatty() else f"{text}\n", flush=True)
            time.sleep(_REFRESH_SECONDS)
    except KeyboardInterrupt:  # the usual end of --watch
        return 0


def _screen(text: str) -> str:
    """The text as it fits the terminal, so that its head stays in sight."""
    columns, rows = os.get_terminal_size(sys.stdout.fileno())  # LINES and COLUMNS may be those of another terminal
    lines, most = text.splitlines(), max(2, rows - 1)
    if len(lines) > most:
        lines[most - 1 :] = [f"… {len(lines) - most + 1:,} more lines without --watch"]
    return _CLEAR + "\n".join(fitted(line, columns) for line in lines)
