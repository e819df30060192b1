"""`bulkdl doctor`: what a report of a problem needs."""

import os
import sys
from typing import Any

from bulkdl.cli.config import default_path
from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import for_report
from bulkdl.cli.options import ArchiveOptions, archive_options, verb_options
from bulkdl.cli.runner import print_report, run_until_stopped
from bulkdl.cli.sections import command, json_option
from bulkdl.model.reports.doctor import Check
from bulkdl.runtime.terminal import width_of
from bulkdl.verbs.doctor import doctor_async


@command("bulkdl doctor", "bulkdl doctor --offline", "bulkdl doctor --archive nlst --json")
@verb_options(doctor_async)
@json_option
@archive_options
def doctor(*, options: dict[str, Any], as_json: bool, archive: ArchiveOptions) -> int:
    """Show versions, extras, decoders, configuration, cache, disk and network: what a report of a problem needs.

    No secret is shown: of environment variables only the names. The exit code is 1 if a check failed; an extra
    that is not installed is not a failure.
    """
    checks = doctor_async(archive=choose_archive(archive), further=_configuration(archive), **options)
    report = run_until_stopped(checks, "interrupted before all checks were made")
    print_report(report, as_json=as_json)
    if (complaint := report.complaint()) is not None:
        print(f"bulkdl: {complaint}", file=sys.stderr)
    return for_report(report)


def _configuration(archive: ArchiveOptions) -> list[Check]:
    """The configuration was read before the command began; an invalid one has ended it."""
    path = default_path()
    names = sorted(name for name in os.environ if name.startswith("BULKDL_") or name.upper().endswith("_PROXY"))
    width = width_of(sys.stdout)
    return [
        Check("configuration", "default file", f"{path}{'' if path.is_file() else ': not there'}"),
        Check("configuration", "profiles", ", ".join(archive.profiles) or "none"),
        Check("configuration", "archive", archive.name),
        Check("configuration", "variables", ", ".join(names) or "none"),
        Check("configuration", "terminal", f"{width} columns" if width else "not a terminal"),
    ]
