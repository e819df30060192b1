"""`bulkdl describe`: the parameters and results of an endpoint."""

import json
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import document
from bulkdl.cli.options import ArchiveOptions, archive_options
from bulkdl.cli.runner import run_until_stopped
from bulkdl.cli.sections import command, json_option
from bulkdl.model.formatting import table
from bulkdl.model.text import one_line
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.describe import describe_async

_LISTS: Final = (
    ("Parameters", "queryParameters", {"name": "name", "required": "", "type": "type", "description": "means"}),
    ("Returns", "attributes", {"name": "name", "dicomTag": "tag", "type": "type", "description": "means"}),
)
_INDENT: Final = "  "


@command("bulkdl describe getSeries", "bulkdl describe getPatient --archive nbia-v1 --json")
@click.argument("endpoint")
@json_option
@archive_options
def describe(*, endpoint: str, as_json: bool, archive: ArchiveOptions) -> int:
    """Describe ENDPOINT of the archive: parameters, formats, returned attributes with their DICOM tags.

    The description of a TCIA v3 archive is requested from it; that of others is part of bulkdl.
    """
    describing = describe_async(endpoint, archive=choose_archive(archive))
    found = run_until_stopped(describing, "interrupted before the archive answered")
    if found.unavailable is not None:
        reason = f"the archive's own description is unavailable ({found.unavailable}); this one comes with bulkdl"
        print(f"bulkdl: {one_line(reason)}", file=sys.stderr)
    print(document(dict(found.document)) if as_json else _text(found.document))
    return 0


def _text(described: Mapping[str, Any]) -> str:
    """The document as text; a document with other keys is shown unchanged."""
    parts = [(title, described.get(key) or [], columns) for title, key, columns in _LISTS]
    are_tables = all(isinstance(rows, list) and all(isinstance(row, dict) for row in rows) for _, rows, _ in parts)
    if "name" not in described or not are_tables:
        return json.dumps(described, indent=2, ensure_ascii=False)
    formats = ", ".join(str(name).lower() for name in described.get("returnTypes") or ())
    lines = [one_line(f"{described['name']}: {described.get('description', '')}")]
    lines += [f"Formats: {one_line(formats)}"] if formats else []
    for title, rows, columns in parts:
        if rows:
            lines += ["", f"{title}:", textwrap.indent(_table(rows, columns), _INDENT)]
    return "\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    def cell(key: str, value: object) -> str:
        if key == "required":
            return "required" if value is True else ""
        return "" if value in {None, "NA"} else str(value)

    shown = [key for key in columns if any(row.get(key) for row in rows)]
    cells = ([cell(key, row.get(key)) for key in shown] for row in rows)
    width = width_of(sys.stdout)
    return table([columns[key] for key in shown], cells, left=len(shown), width=width and width - len(_INDENT))
