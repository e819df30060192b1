"""`bulkdl archives`: the known archives, and whether each answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import Exit
from bulkdl.cli.options import JSON_OPTION, ArchiveOptions, archive_options
from bulkdl.cli.output import document, width_of
from bulkdl.cli.runner import run, unless_stopped
from bulkdl.cli.sections import SectionedCommand
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.formatting import table
from bulkdl.model.text import one_line
from bulkdl.verbs.archives import ArchiveReport, CheckOutcome, archives_async, known_archives

_CHECKS: Final = ("name", "proxy", "tls", "api", "image")


_EXAMPLES: Final = (
    "bulkdl archives",
    "bulkdl archives --archive nlst --json",
)


@click.command(cls=SectionedCommand, examples=_EXAMPLES)
@click.option(*JSON_OPTION[0], **JSON_OPTION[1])
@archive_options
def archives(*, as_json: bool, archive: ArchiveOptions) -> int:
    """List the known archives, and whether each answers: name, proxy, TLS, API, and one image.

    With --archive only that one is tested, and the exit code is 0 if it answers, 3 if it refuses, 4 if it does not
    answer.
    """
    choices = (choose_archive(archive),) if archive.is_chosen else _all(archive)
    reports = run(
        lambda stop: unless_stopped(archives_async(*choices), stop),
        when_interrupted="interrupted before all archives were tested",
    )
    if as_json:
        print(document({"archives": [report.as_json() for report in reports]}))
    else:
        print(_text(reports))
    return _code(reports) if archive.is_chosen else Exit.OK


def _all(options: ArchiveOptions) -> tuple[ArchiveChoice, ...]:
    """All archives that have a name. A key or a login is sent to the default archive only."""
    others = replace(options, api_key=None, username=None, password_file=None, given=frozenset())
    return tuple(
        choose_archive(options if name == options.name else replace(others, name=name))
        for name in known_archives(options.profiles)
    )


def _code(reports: Sequence[ArchiveReport]) -> Exit:
    errors = {result.error for report in reports for result in report.results if result.error is not None}
    if errors & {"refused", "access-denied"}:
        return Exit.REFUSED
    return Exit.UNREACHABLE if errors else Exit.OK


def _text(reports: Sequence[ArchiveReport]) -> str:
    lines = [
        table(
            ("archive", "speaks", *_CHECKS, "address"),
            (_row(report) for report in reports),
            left=8,
            width=width_of(sys.stdout),
        )
    ]
    failed = [
        f"{report.name}: {result.check}: {result.message}"
        for report in reports
        for result in report.results
        if result.outcome is CheckOutcome.FAILED
    ]
    return "\n".join([*lines, *(["", *map(one_line, failed)] if failed else [])])


def _row(report: ArchiveReport) -> tuple[str, ...]:
    found = {result.check: result.outcome for result in report.results}
    outcomes = (found.get(check, CheckOutcome.SKIPPED) for check in _CHECKS)
    return (
        report.name,
        report.kind,
        *("-" if each is CheckOutcome.SKIPPED else each.value for each in outcomes),
        report.url,
    )
