"""`bulkdl manifest`: show, convert, compare and make manifests."""

import asyncio
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.exit_codes import for_report
from bulkdl.cli.options import VerbCall, fetch_options, file_option, mirror_argument, running, selection_options
from bulkdl.cli.runner import print_report, run, shown, unless_stopped
from bulkdl.cli.sections import GroupWithExamples, command, json_option
from bulkdl.model.access import DEFAULT_ARCHIVE
from bulkdl.model.reports.manifest import ManifestWritten
from bulkdl.model.selection import Selection
from bulkdl.model.text import one_line
from bulkdl.verbs import manifest as verbs
from bulkdl.verbs.manifest_diff import manifest_diff
from bulkdl.verbs.manifest_lock import manifest_lock_async, mirror_to_lock
from bulkdl.verbs.manifests.files import format_of_file, is_compressed_name, new_manifest_file
from bulkdl.verbs.select import read_content

_FILE: Final = click.argument("file", metavar="FILE")
_WRITES: Final = "Write to FILE instead of standard output."
_OUTPUT: Final = file_option("--output", help=_WRITES)
_SKIP: Final = click.option("--skip-bad-lines", is_flag=True, help="Skip and count invalid lines.")
_FORMATS: Final = [each.value for each in verbs.ManifestFormat]
_FORMAT: Final = click.option(
    "--format", "form", type=click.Choice([*_FORMATS, "lock"]), required=True, help="The form to write."
)


@click.group(
    cls=GroupWithExamples,
    invoke_without_command=True,
    examples=("bulkdl manifest show cohort.xlsx", "bulkdl manifest diff a.csv b.tcia"),
)
@click.pass_context
def manifest(ctx: click.Context) -> None:
    """Show, convert, compare and make manifests."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command("bulkdl manifest show cohort.xlsx")
@_FILE
@_SKIP
@json_option
def show(*, file: str, skip_bad_lines: bool, as_json: bool) -> int:
    """Show what the manifest FILE lists, and the sizes and counts that it states; - is standard input."""
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
    return _write(output, lambda out: converted(file=out), as_json=as_json, is_lock=form == "lock")


@command("bulkdl manifest from-mirror rider --output rider.csv", "bulkdl manifest from-mirror rider --format tcia")
@mirror_argument
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="The form to write; the default is that of --output, or csv."
)
@_OUTPUT
@json_option
def from_mirror(*, mirror: Path, form: str | None, output: Path | None, as_json: bool) -> int:
    """Write a manifest of what the mirror at DIR holds."""
    form = form or (format_of_file(output) if output is not None else verbs.ManifestFormat.CSV)
    return _write(output, lambda out: verbs.manifest_from_mirror(mirror, out, format=form), as_json=as_json)


@command(
    "bulkdl manifest lock rider --output rider.lock",
    "bulkdl manifest lock cohort.tcia --archive idc --output cohort.lock.zst",
    "bulkdl manifest lock --collection RIDER-Lung-CT --mirror rider --output rider.lock",
)
@running(manifest_lock_async, selection_options, fetch_options)
@file_option("--output", "file", help=f"{_WRITES} A name that ends in .zst is written compressed.")
def lock(call: VerbCall, selection: Selection, *, file: Path | None) -> int:
    """Write a lock: each instance of a mirror, or of what an archive has, with its size and checksums.

    If DATA_SET is the folder of a mirror, the lock has the SHA-256 of every file that it holds. For a manifest or
    another selection, the archive is asked for lists, sizes and MD5 checksums; nothing is downloaded.

    bulkdl mirror --manifest rebuilds the mirror from the lock; bulkdl verify --against compares a copy with it.
    """
    choice = choose_archive(call.archive) if mirror_to_lock(selection) is None else DEFAULT_ARCHIVE

    def write(out: TextIO) -> ManifestWritten:
        with shown(call.output) as sink:

            async def locked(stop: asyncio.Event) -> ManifestWritten:
                locking = manifest_lock_async(selection, out, **call.options, archive=choice, sink=sink, stop=stop)
                return await unless_stopped(locking, stop)

            return run(locked, when_interrupted="interrupted; no lock was written", sink=sink)

    return _write(file, write, as_json=call.output.as_json, is_lock=True)


@command("bulkdl manifest diff old.csv new.tcia")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@json_option
def diff(*, first: str, second: str, as_json: bool) -> int:
    """Compare what the manifests A and B name and state; - is standard input. The exit code is 1 if they differ."""
    if first == second == "-":
        raise click.UsageError("standard input can be one of the two manifests, not both")
    report = manifest_diff(*(each if each != "-" else _input(each)[1] or b"" for each in (first, second)))
    print_report(report, as_json=as_json)
    return for_report(report)


for _each in (show, convert, from_mirror, lock, diff):
    manifest.add_command(_each)


def _input(file: str) -> tuple[str, bytes | Callable[[], BinaryIO] | None]:
    """The name of a manifest in messages, and its content, or what opens it, if that is standard input."""
    name = "standard input"
    return (name, read_content(name, sys.stdin.buffer)) if file == "-" else (file, None)


def _write(
    output: Path | None, write: Callable[[TextIO], ManifestWritten], *, as_json: bool, is_lock: bool = False
) -> int:
    """Write to `output`, or to standard output; notes go to standard error."""
    if output is not None and is_compressed_name(output) and not is_lock:
        raise click.UsageError("only a lock is written compressed: leave out .zst")
    if output is None:
        if as_json:
            raise click.UsageError("--json needs --output: standard output has the one or the other")
        with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", newline="") as file:
            report = write(file)
    else:
        with new_manifest_file(output) as file:
            report = write(file)
    for note in report.notes:
        print(one_line(note), file=sys.stderr)
    if output is not None:
        print_report(report, as_json=as_json)
    if (complaint := report.complaint()) is not None:
        print(f"bulkdl: {one_line(complaint)}", file=sys.stderr)
    return for_report(report)
