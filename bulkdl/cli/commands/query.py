"""`bulkdl query`: one endpoint of an archive, its answer as it comes."""

from __future__ import annotations

import sys

import click

from bulkdl.archive.endpoints import Answer
from bulkdl.cli import parsing
from bulkdl.cli.options import ArchiveOptions, Parsed, SectionedCommand, archive_options
from bulkdl.cli.reach import choose_archive
from bulkdl.cli.running import run, unless_stopped
from bulkdl.cli.words import table
from bulkdl.operations.common import ArchiveChoice
from bulkdl.operations.query import endpoints
from bulkdl.operations.query import query as query_verb


@click.command(cls=SectionedCommand)
@click.argument("endpoint", required=False)
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1, type=Parsed("pair", parsing.parse_pair))
@click.option(
    "--format",
    "answer_format",
    type=click.Choice(["json", "csv", "xml", "html"]),
    default="json",
    show_default=True,
    help="What to ask the archive for; its answer is passed on unchanged.",
)
@click.option("--list", "only_list", is_flag=True, help="List the endpoints and their parameters.")
@archive_options
def query(
    *,
    endpoint: str | None,
    parameters: tuple[tuple[str, str], ...],
    answer_format: str,
    only_list: bool,
    archive: ArchiveOptions,
) -> int:
    """Call ENDPOINT of the archive, in any case, with the parameters given; print its answer.

    For example: bulkdl query getSeries Collection=TCGA-GBM Modality=MR
    """
    choice = choose_archive(archive)
    if only_list:
        print(_listing(choice))
        return 0
    if endpoint is None:
        raise click.UsageError("no endpoint is given; --list names them", click.get_current_context())
    asked = dict(parameters)
    if len(asked) < len(parameters):
        raise click.UsageError("a parameter is given twice", click.get_current_context())
    if answer_format != "json":  # which every archive sends unasked
        asked["format"] = answer_format
    if _is_binary(endpoint, choice) and sys.stdout.isatty():
        raise click.UsageError("the answer is no text: send it to a file, with > FILE", click.get_current_context())
    answer = run(
        lambda stop: unless_stopped(query_verb(endpoint, asked, archive=choice), stop),
        when_interrupted="interrupted before the archive had answered",
    )
    sys.stdout.flush()
    sys.stdout.buffer.write(answer.body)
    if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return 0


def _listing(choice: ArchiveChoice) -> str:
    rows = (
        (entry.name, entry.description, ", ".join(parameter.name for parameter in entry.parameters))
        for entry in endpoints(choice)
    )
    return table(("endpoint", "answers with", "parameters"), rows, left=3)


def _is_binary(endpoint: str, choice: ArchiveChoice) -> bool:
    binary = {entry.name.casefold() for entry in endpoints(choice) if entry.answer in {Answer.INSTANCE, Answer.BUNDLE}}
    return endpoint.casefold() in binary
