"""`bulkdl query`: call one endpoint of an archive; print its response unchanged or as a table."""

import sys

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import ArchiveOptions, Parsed, archive_options
from bulkdl.cli.runner import run_until_stopped
from bulkdl.cli.sections import command
from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.events import Event, Noted
from bulkdl.model.formatting import fit_columns, table
from bulkdl.model.text import one_line
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.connect import query_body
from bulkdl.verbs.connections.endpoints import Endpoint, answers_with_file, answers_with_rows, endpoints, find, rows_of


def _parse_pair(text: str) -> tuple[str, str]:
    """The key and the value of `KEY=VALUE`; the value may be empty and may contain `=`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"{text!r} is not of the form KEY=VALUE")
    return key, value


@command(
    "bulkdl query getSeries Collection=TCGA-GBM Modality=MR --format table",
    "bulkdl query --list",
    "bulkdl query getImage SeriesInstanceUID=1.2.3 > series.zip",
)
@click.argument("endpoint", required=False)
@click.argument("parameters", metavar="[KEY=VALUE]...", nargs=-1, type=Parsed("pair", _parse_pair))
@click.option(
    "--format",
    "answer_format",
    type=click.Choice(["table", "csv", "json", "xml", "html"]),
    help="The format to request; the response is printed unchanged, or as a table. "
    "The default is that of the archive, mostly json.",
)
@click.option("--list", "only_list", is_flag=True, help="List the endpoints and their parameters.")
@archive_options
def query(
    *,
    endpoint: str | None,
    parameters: tuple[tuple[str, str], ...],
    answer_format: str | None,
    only_list: bool,
    archive: ArchiveOptions,
) -> int:
    """Call ENDPOINT of the archive with the given parameters and print the response.

    The name of the endpoint may be written in any case.
    """
    choice = choose_archive(archive)
    if only_list:
        rows = (
            (entry.name, entry.description, ", ".join(parameter.name for parameter in entry.parameters))
            for entry in endpoints(choice)
        )
        print(table(("endpoint", "answers with", "parameters"), rows, left=3, width=width_of(sys.stdout)))
        return 0
    if endpoint is None:
        raise click.UsageError("no endpoint is given; --list shows all", click.get_current_context())
    asked = find(endpoint, choice)
    words = [*parameters, *_format_words(asked, answer_format)]
    if answers_with_file(asked) and sys.stdout.isatty():
        raise click.UsageError("the response is not text: write it to a file, with > FILE", click.get_current_context())
    asking = query_body(endpoint, words, archive=choice, sink=_say)
    body = run_until_stopped(asking, "interrupted before the archive answered")
    shown = _drawn(asked, body) if answer_format == "table" else body
    sys.stdout.flush()
    sys.stdout.buffer.write(shown)
    if sys.stdout.isatty() and not shown.endswith(b"\n"):
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()
    return 0


def _say(event: Event) -> None:
    if isinstance(event, Noted):
        print(f"bulkdl: {event.message}", file=sys.stderr)


def _format_words(endpoint: Endpoint, wanted: str | None) -> list[tuple[str, str]]:
    """The parameter that requests a format, if one is wanted and the endpoint has such a parameter."""
    if wanted is None:
        return []
    offered = [name.removesuffix("-DOWNLOAD").lower() for name in endpoint.formats]
    if wanted == "table":
        if not answers_with_rows(endpoint):
            raise click.UsageError(f"{endpoint.name} does not answer with a table", click.get_current_context())
        wanted = "json" if "json" in offered or not offered else offered[0]
    elif wanted not in offered:
        formats = f"only in {', '.join(offered)}" if offered else "in one format only; leave out --format"
        raise click.UsageError(f"{endpoint.name} answers {formats}", click.get_current_context())
    return [("format", wanted)] if endpoint.has_format else []


def _drawn(endpoint: Endpoint, body: bytes) -> bytes:
    """The rows of a response as a table: the non-empty columns of the endpoint, then columns that it does not list."""
    try:
        rows = rows_of(body)
    except ValueError as error:
        raise UnexpectedAnswer(f"{endpoint.name} answered {error}") from error
    if not rows:
        return b"nothing was found\n"
    filled = dict.fromkeys(name for row in rows for name, value in row.items() if value is not None and value != "")
    names = sorted(filled, key=[*(each.name for each in endpoint.attributes if each.name in filled), *filled].index)
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    if (width := width_of(sys.stdout)) is not None:
        count = len(names)
        names, cells = fit_columns(names, cells, width)
        if len(names) < count:
            hint = "more columns do not fit the terminal; --format csv has all"
            print(f"{count - len(names):,} {hint}", file=sys.stderr)
    return f"{table(names, cells, left=len(names))}\n".encode(errors="backslashreplace")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return one_line(str(value))
