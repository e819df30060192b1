"""`bulkdl report`: one page of HTML on a mirror."""

from pathlib import Path
from typing import Any

import click

from bulkdl.cli.options import OutputOptions, mirror_argument, output_options, verb_options
from bulkdl.cli.runner import run_verb
from bulkdl.cli.sections import command
from bulkdl.verbs.report import report_async


@command("bulkdl report rider", "bulkdl report rider --output rider.html")
@mirror_argument
@verb_options(report_async)
@click.option(
    "--output",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default="bulkdl-report.html",
    show_default=True,
    help="Write the page to FILE.",
)
@output_options
def report(*, mirror: Path, options: dict[str, Any], page: Path, output: OutputOptions) -> int:
    """Write one page of HTML on the mirror at DIR: what it holds, how complete its series are, and its runs.

    The header of each held file is read, to find missing slices and Instance Numbers, mixed orientations and spacings,
    and references to instances that are not held. The page needs no network. Its plots need pygal:
    pip install 'bulkdl[report]'
    """
    return run_verb(
        lambda sink, stop: report_async(mirror, to=page, **options, sink=sink, stop=stop),
        output,
        when_interrupted="interrupted; no report is written",
    )
