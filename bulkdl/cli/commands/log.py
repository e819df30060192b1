"""`bulkdl log`: the runs on a mirror, from its journal alone."""

from pathlib import Path

from bulkdl.cli.options import mirror_argument
from bulkdl.cli.runner import print_report
from bulkdl.cli.sections import command, json_option
from bulkdl.verbs.status import read_log


@command("bulkdl log rider", "bulkdl log rider --json")
@mirror_argument
@json_option
def log(*, mirror: Path, as_json: bool) -> int:
    """List the runs on the mirror at DIR, and what each of them changed."""
    print_report(read_log(mirror), as_json=as_json)
    return 0
