"""`bulkdl archives`: the known archives, and whether each answers."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import Exit, document
from bulkdl.cli.options import ArchiveOptions, archive_options
from bulkdl.cli.runner import run_until_stopped
from bulkdl.cli.sections import command, json_option
from bulkdl.model.access import IDC
from bulkdl.model.events import Event, Noted
from bulkdl.model.formatting import table
from bulkdl.model.text import one_line
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.archives import ArchiveReport, CheckOutcome, archives_async, known_archives, update_index_async

_CHECKS: Final = ("name", "proxy", "tls", "api", "image")


@command("bulkdl archives", "bulkdl archives --archive nlst --json", "bulkdl archives --update-index")
@click.option("--update-index", is_flag=True, help="Download the current index of the Imaging Data Commons.")
@json_option
@archive_options
def archives(*, as_json: bool, update_index: bool, archive: ArchiveOptions) -> int:
    """List the known archives, and whether each answers: name, proxy, TLS, API, and one image.

    With --archive only that one is tested, and the exit code is 0 if it answers, 3 if it refuses, 4 if it does not
    answer.
    """
    if update_index:
        return _update(archive, as_json=as_json)
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


def _update(options: ArchiveOptions, *, as_json: bool) -> int:
    def show(event: Event) -> None:
        if isinstance(event, Noted):
            print(one_line(event.message), file=sys.stderr)

    choice = choose_archive(options if options.is_chosen else replace(options, name=IDC))
    release = run_until_stopped(update_index_async(choice, sink=show), "interrupted; the earlier index remains")
    print(document({"release": release}) if as_json else one_line(release))
    return Exit.OK


def _text(reports: Sequence[ArchiveReport]) -> str:
    heads = ("archive", "kind", *_CHECKS, "address")
    shown = table(heads, map(_row, reports), left=len(heads), width=width_of(sys.stdout))
    failed = [
        one_line(f"{report.name}: {result.check}: {result.message}")
        for report in reports
        for result in report.results
        if result.outcome is CheckOutcome.FAILED
    ]
    releases = [one_line(f"{report.name}: {report.release}") for report in reports if report.release]
    notes = [*releases, *failed]
    return "\n".join([shown, *(["", *notes] if notes else [])])


def _row(report: ArchiveReport) -> tuple[str, ...]:
    found = {result.check: result.outcome for result in report.results if result.outcome is not CheckOutcome.SKIPPED}
    return report.name, report.kind, *(found.get(check, "-") for check in _CHECKS), report.url
