"""`bulkdl serve`: mirrors, folders of DICOM files or the demonstration collections, as an archive."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from bulkdl.cli.credentials import choose_archive
from bulkdl.cli.options import ArchiveOptions, archive_options, file_option, verb_options
from bulkdl.cli.runner import run_until_stopped
from bulkdl.cli.sections import command
from bulkdl.errors import Interrupted
from bulkdl.model import formatting
from bulkdl.model.events import ArchiveDown, ArchiveUp, Event, Noted
from bulkdl.model.quantities import human_bytes
from bulkdl.model.text import one_line
from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.processes import tune_process
from bulkdl.verbs.serve import AccessRecord, Served, hashed_password, serve_async

_SHOWN: Final = 5
_FIELDS: Final = {"patient_id": "patient", "study_uid": "study"}


def _print_hash(ctx: click.Context, param: click.Parameter, is_asked: bool) -> None:  # noqa: FBT001 - click's form
    del param
    if is_asked and not ctx.resilient_parsing:
        print(hashed_password(_new_password(ctx)), flush=True)
        ctx.exit()


def _new_password(ctx: click.Context) -> str:
    """A password that is typed twice, or the first line of standard input where that is not a terminal."""
    if sys.stdin.isatty():
        typed: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return typed
    if not (line := sys.stdin.readline().rstrip("\r\n")):
        raise click.UsageError("standard input has no password", ctx)
    return line


@command(
    "bulkdl serve rider",
    "bulkdl serve --demo --port 0",
    "bulkdl serve rider --users-file users.toml --access-log access.jsonl",
    "bulkdl serve --archive idc --cache /data/idc --cache-size 500GB",
    "bulkdl serve /data/received --accept-store --users-file users.toml --host 0.0.0.0",
)
@click.argument("paths", metavar="PATH...", nargs=-1, type=click.Path(path_type=Path))
@verb_options(serve_async)
@archive_options
@file_option("--access-log", help="Append one JSON line for each request.")
@file_option(
    "--scan-log", help="Write one JSON line for each file that is not served, and for files that contradict each other."
)
@click.option(
    "--hash-password",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_hash,
    help="Read a password, print its hash for a users file, and end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the address, and what is served and what is not, as JSON.")
def serve(
    *,
    paths: tuple[Path, ...],
    options: dict[str, Any],
    archive: ArchiveOptions,
    access_log: Path | None,
    scan_log: Path | None,
    as_json: bool,
) -> int:
    """Serve mirrors or plain folders of DICOM files through the APIs of TCIA, until Ctrl-C.

    With --archive and --cache, serve a whole archive: what a client asks for is downloaded into the mirror at DIR, and
    served from there from then on.

    The address is printed on standard output as soon as the server answers. The APIs are TCIA v3
    (/services/v3/TCIA/query), NBIA v1, v2, v4 and Advanced (/nbia-api/services), DICOMweb (/dicom-web), and an S3
    bucket (s3://bulkdl/, by anonymous requests in path style). A browser gets pages of what is
    served, with pictures, a search and every endpoint: bulkdl help portal.

    A users file is TOML:

    \b
      token_seconds = 7200
      [restricted]
      collections = ["SECRET-LUNG"]
      [users.alice]
      password = "…"
      collections = ["SECRET-LUNG"]

    The password is plain text, or what --hash-password prints. The guest account, nbia_guest, has no password and sees
    what is not restricted.

    Quirks: empty-token, no-content-length, sizes-as-strings, single-object, escaped-slashes, short-zip.
    """  # noqa: D301 - the backspace tells click not to wrap these lines
    ctx = click.get_current_context()
    if options.get("demo") and (paths or options.get("collection")):
        raise click.UsageError("--demo has its own files and cannot be combined with PATH or --collection", ctx)
    if archive.is_chosen and (options.get("demo") or paths or options.get("collection")):
        raise click.UsageError("--archive cannot be combined with PATH, --demo or --collection", ctx)
    if archive.is_chosen != (options.get("cache") is not None):
        raise click.UsageError("--archive and --cache DIR belong together: a whole archive is served by a cache", ctx)
    if not (options.get("demo") or paths or archive.is_chosen):
        raise click.UsageError("nothing to serve: name a mirror or a folder, or use --demo or --archive", ctx)
    options["archive"] = choose_archive(archive) if archive.is_chosen else None

    tune_process()

    async def serve_until_stopped(log: Callable[[AccessRecord], None] | None) -> None:
        async with serve_async(*paths, **options, access_log=log, sink=_say_event) as served:
            if scan_log is not None:
                found = asdict(served.report)
                with disk_errors("write", scan_log), scan_log.open("w", encoding="utf-8") as lines:
                    for one in (*found["unservable"], *found["conflicts"], *found["contradictions"]):
                        lines.write(json.dumps(one, default=str) + "\n")
            _announce(served, as_json=as_json)
            await asyncio.Event().wait()

    with _logging(access_log) if access_log is not None else nullcontext() as log:
        try:
            run_until_stopped(serve_until_stopped(log), "stopped")
        except Interrupted:
            return 0  # the usual end of a server
    raise AssertionError("it serves until it is interrupted")


def _say_event(event: Event) -> None:
    """Say what happens to the archive of a cache."""
    line = None
    if isinstance(event, Noted):
        line = event.message
    elif isinstance(event, ArchiveDown):
        line = f"the archive does not answer: {event.message}; what the cache holds is served"
    elif isinstance(event, ArchiveUp):
        line = "the archive answers again"
    if line is not None:
        print(one_line(line), file=sys.stderr, flush=True)


def _announce(served: Served, *, as_json: bool) -> None:
    document = {"url": served.url, **asdict(served.report)}
    print(json.dumps(document, default=str) if as_json else served.url, flush=True)
    totals, report = served.report.totals, served.report
    counts = f"{totals.instances:,} instances in {totals.series:,} series of {totals.patients:,} patients"
    size = human_bytes(totals.size_bytes) if totals.size_bytes or not totals.instances else "size unknown"
    say = [f"serving {counts}, {size}", *_about_storing(served)]
    if report.duplicates:
        say.append(f"{report.duplicates:,} files are copies of others")
    if report.conflicts:
        others = sum(len(conflict.others) for conflict in report.conflicts)
        say.append(f"{_files(others)} not served, because another file has the same SOP Instance UID:")
        pairs = ((one.chosen, other) for one in report.conflicts for other in one.others)
        say += _first(f"  {other} (served: {chosen})" for chosen, other in pairs)
    if report.contradictions:
        say.append(f"series whose files name several patients or studies: {len(report.contradictions):,}")
        say += _first(
            f"  {one.series_uid}: {one.other} has another {_FIELDS[one.field]} than {one.chosen}, which is used"
            for one in report.contradictions
        )
    if report.unservable_by_reason:
        say.append(f"{_files(sum(report.unservable_by_reason.values()))} not servable:")
        examples = {one.kind: one for one in reversed(report.unservable)}
        for kind, one in sorted(examples.items(), key=lambda found: -report.unservable_by_reason[found[0]])[:_SHOWN]:
            say.append(f"  {report.unservable_by_reason[kind]:,}: {one.reason}, such as {one.path}")
    if served.unmatched:
        say.append(f"restricted collections that are not served (misspelt?): {', '.join(served.unmatched)}")
    if served.missing:
        say.append(served.missing)
    say.append(f"to look at it, open {served.url} in a browser")
    say.append(f"to use it: {formatting.command('plan', '--archive', served.url, '--everything')}; Ctrl-C stops it")
    for line in say:
        print(one_line(line), file=sys.stderr, flush=True)


def _about_storing(served: Served) -> Iterable[str]:
    if served.stores_at is not None:
        yield f"instances that clients store at {served.stores_at} get into the mirror"
    elif not served.report.totals.instances:
        yield "nothing is served: no DICOM file was found, and clients will find no collection"


def _files(count: int) -> str:
    return f"{count:,} {'file is' if count == 1 else 'files are'}"


def _first(lines: Iterable[str]) -> list[str]:
    shown = list(lines)
    more = len(shown) - _SHOWN
    return [*shown[:_SHOWN], *([f"  and {more:,} more; --json and --scan-log name all"] if more > 0 else [])]


@contextmanager
def _logging(path: Path) -> Iterator[Callable[[AccessRecord], None]]:
    """A function that appends each request to the file at `path`. A full disk ends the log, not the server."""
    with disk_errors("write", path):
        lines = path.open("a", encoding="utf-8", buffering=1)
    is_open = True

    def log(record: AccessRecord) -> None:
        nonlocal is_open
        if not is_open:
            return
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": record.method,
            "path": record.path_qs,
            "status": record.status,
            "bytes": record.bytes_sent,
            "seconds": round(record.seconds, 6),
            "note": record.note,
        }
        try:
            lines.write(json.dumps(entry) + "\n")
        except OSError as error:
            is_open = False
            print(f"the access log ends here: {error.strerror or error}", file=sys.stderr, flush=True)

    try:
        yield log
    finally:
        with suppress(OSError):
            lines.close()
