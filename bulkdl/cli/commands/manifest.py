"""`bulkdl manifest`: show, convert, compare and make manifests."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TextIO

import click

from bulkdl.cli.exit_codes import for_report
from bulkdl.cli.options import file_option, mirror_argument
from bulkdl.cli.runner import print_report
from bulkdl.cli.sections import GroupWithExamples, command, json_option
from bulkdl.model.reports import ManifestWritten
from bulkdl.model.text import one_line
from bulkdl.verbs import manifest as verbs
from bulkdl.verbs.manifest_lock import manifest_lock

_FILE: Final = click.argument("file", metavar="FILE")
_OUTPUT: Final = file_option("--output", "Write to FILE instead of standard output.")
_SKIP: Final = click.option("--skip-bad-lines", is_flag=True, help="Skip and count invalid lines.")
_FORMATS: Final = [each.value for each in verbs.ManifestFormat]
_FORMAT: Final = click.option(
    "--format", "form", type=click.Choice([*_FORMATS, "lock"]), required=True, help="The form to write."
)


@click.group(cls=GroupWithExamples, examples=("bulkdl manifest show cohort.xlsx", "bulkdl manifest diff a.csv b.tcia"))
def manifest() -> None:
    """Show, convert, compare and make manifests."""


@command("bulkdl manifest show cohort.xlsx")
@_FILE
@_SKIP
@json_option
def show(*, file: str, skip_bad_lines: bool, as_json: bool) -> int:
    """Say what the manifest FILE names, and what it states of that; - is standard input."""
    name, content = _input(file)
    report = verbs.manifest_show(name, content=content, skip_bad_lines=skip_bad_lines)
    print_report(report, as_json=as_json)
    return for_report(report)


@command("bulkdl manifest convert digest.xlsx --format tcia --output cohort.tcia")
@_FILE
@_FORMAT
@_OUTPUT
@_SKIP
@json_option
def convert(*, file: str, form: str, output: Path | None, skip_bad_lines: bool, as_json: bool) -> int:
    """Write the manifest FILE, of any known form, in another one; - is standard input."""
    name, content = _input(file)
    converted = partial(verbs.manifest_convert, name, format=form, content=content, skip_bad_lines=skip_bad_lines)
    return _write(output, lambda out: converted(file=out), as_json=as_json)


@command("bulkdl manifest from-mirror rider --output rider.csv", "bulkdl manifest from-mirror rider --format tcia")
@mirror_argument
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="The form to write; the default is that of --output, or csv."
)
@_OUTPUT
@json_option
def from_mirror(*, mirror: Path, form: str | None, output: Path | None, as_json: bool) -> int:
    """Write a manifest of what the mirror at DIR holds."""
    form = form or (verbs.format_of_file(output) if output is not None else verbs.ManifestFormat.CSV)
    return _write(output, lambda out: verbs.manifest_from_mirror(mirror, out, format=form), as_json=as_json)


@command("bulkdl manifest lock rider --output rider.lock")
@mirror_argument
@_OUTPUT
@json_option
def lock(*, mirror: Path, output: Path | None, as_json: bool) -> int:
    """Write a lock of what the mirror at DIR holds: each instance with its size and checksums.

    With bulkdl mirror --manifest, anyone can rebuild the mirror from it, and with bulkdl verify --against prove a copy.
    """
    return _write(output, lambda out: manifest_lock(mirror, out), as_json=as_json)


@command("bulkdl manifest diff old.csv new.tcia")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@json_option
def diff(*, first: str, second: str, as_json: bool) -> int:
    """Compare what the manifests A and B name and state. The exit code is 1 if they differ."""
    report = verbs.manifest_diff(first, second)
    print_report(report, as_json=as_json)
    return for_report(report)


for _each in (show, convert, from_mirror, lock, diff):
    manifest.add_command(_each)


def _input(file: str) -> tuple[str, bytes | None]:
    """The name of a manifest in messages, and its content if that is standard input."""
    return ("standard input", sys.stdin.buffer.read()) if file == "-" else (file, None)


def _write(output: Path | None, write: Callable[[TextIO], ManifestWritten], *, as_json: bool) -> int:
    """Write to `output`, or to standard output; notes go to standard error."""
    if output is None:
        if as_json:
            raise click.UsageError("--json needs --output: standard output has the one or the other")
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="") as file:
            report = write(file)
    else:
        with verbs.new_file(output) as file:
            report = write(file)
    for note in report.notes:
        print(one_line(note), file=sys.stderr)
    if output is not None:
        print_report(report, as_json=as_json)
    return for_report(report)
