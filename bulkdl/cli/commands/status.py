"""`bulkdl status`: what a mirror holds and owes, from its journal alone."""

import sys
import time
from pathlib import Path
from typing import Final

import click

from bulkdl.cli.options import mirror_argument
from bulkdl.cli.runner import print_report
from bulkdl.cli.sections import command, json_option
from bulkdl.verbs.status import read_status

_REFRESH_SECONDS: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[J"  # move to the corner and erase from there; every terminal supports this


@command("bulkdl status rider", "bulkdl status rider --watch")
@mirror_argument
@click.option("--watch", is_flag=True, help="Refresh every two seconds until Ctrl-C.")
@json_option
def status(*, mirror: Path, watch: bool, as_json: bool) -> int:
    """Show what the mirror at DIR holds and owes, by Collection and by failure."""
    if watch and as_json:
        raise click.UsageError("--watch and --json cannot be combined: --json prints one document and ends")
    if not watch:
        print_report(read_status(mirror), as_json=as_json)
        return 0
    before = _CLEAR if sys.stdout.isatty() else ""
    try:
        while True:
            print(before, end="")
            print_report(read_status(mirror), as_json=False)
            print(flush=True)
            time.sleep(_REFRESH_SECONDS)
    except KeyboardInterrupt:  # the usual end of --watch
        return 0
