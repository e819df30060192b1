"""`bulkdl archives`: the known archives, and whether each answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import Exit
from bulkdl.cli.options import ArchiveOptions, archive_options
from bulkdl.cli.output import document, width_of
from bulkdl.cli.runner import run_until_stopped
from bulkdl.cli.sections import command, json_option
from bulkdl.model.formatting import table
from bulkdl.model.text import one_line
from bulkdl.verbs.archives import ArchiveReport, CheckOutcome, archives_async, known_archives

_CHECKS: Final = ("name", "proxy", "tls", "api", "image")


@command("bulkdl archives", "bulkdl archives --archive nlst --json")
@json_option
@archive_options
def archives(*, as_json: bool, archive: ArchiveOptions) -> int:
    """List the known archives, and whether each answers: name, proxy, TLS, API, and one image.

    With --archive only that one is tested, and the exit code is 0 if it answers, 3 if it refuses, 4 if it does not
    answer.
    """
    names = (archive.name,) if archive.is_chosen else known_archives(archive.profiles)
    # A key or a login is sent to the default archive only.
    others = replace(archive, api_key=None, username=None, password_file=None, given=frozenset())
    choices = [choose_archive(archive if name == archive.name else replace(others, name=name)) for name in names]
    reports = run_until_stopped(archives_async(*choices), "interrupted before all archives were tested")
    print(document({"archives": [report.as_json() for report in reports]}) if as_json else _text(reports))
    errors = {result.error for report in reports for result in report.results if result.error is not None}
    if not archive.is_chosen or not errors:
        return Exit.OK
    return Exit.REFUSED if errors & {"refused", "access-denied"} else Exit.UNREACHABLE


def _text(reports: Sequence[ArchiveReport]) -> str:
    heads = ("archive", "speaks", *_CHECKS, "address")
    shown = table(heads, map(_row, reports), left=len(heads), width=width_of(sys.stdout))
    failed = [
        one_line(f"{report.name}: {result.check}: {result.message}")
        for report in reports
        for result in report.results
        if result.outcome is CheckOutcome.FAILED
    ]
    return "\n".join([shown, *(["", *failed] if failed else [])])


def _row(report: ArchiveReport) -> tuple[str, ...]:
    found = {result.check: result.outcome for result in report.results if result.outcome is not CheckOutcome.SKIPPED}
    return report.name, report.kind, *(found.get(check, "-") for check in _CHECKS), report.url
