"""`adopt`: take files that another program downloaded into a mirror, without downloading them again.

Folders of the NBIA Data Retriever (classic and descriptive), of tcia_utils (one per Series, or its zip), of the IDC's
tools and of any other program can be adopted: the header identifies an instance. Only the Collection is not in every
header. It comes from the option, from a table such as the Retriever's metadata.csv, from the header (CTP's private
block), or from the folder above the one with the name of the Patient, in this order.

Every instance is validated and hashed, put in place, synced and journalled, in this order; a file that is moved is
removed from its old place last. So nothing is lost if it is interrupted, and adopting again continues. Only the archive
knows whether an adopted Series is complete: `mirror` and `resume` ask it, and download what is missing.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Unpack

from bulkdl.errors import ConfigurationError, JournalUnreadable, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import RunStarted
from bulkdl.model.options import Option
from bulkdl.model.reports.adopt import AdoptReport
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.text import storable
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportMode
from bulkdl.store.layout import Layout, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.adoption.adoption import Adoption
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.reach import archive_terms, choose_archive
from bulkdl.verbs.mirrors.counted_names import CountedNames
from bulkdl.verbs.mirrors.folders import mirror_around
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.runs.options import NewLayout, RunOptions, context_of
from bulkdl.verbs.runs.side_texts import renew_side_files


class AdoptOptions(RunOptions, total=False):
    """The options of `adopt`. `archive` is where `resume` will download from; `settings` give the validation level."""

    to: Annotated[Paths | None, Option("to", "The mirror (default: FOLDER).", "DIR", read=Path)]
    by: Annotated[
        ImportMode,
        Option(
            "by",
            "How files get into DIR. Across file systems a link becomes a copy.",
            read=ImportMode,
            shown_default="link",
        ),
    ]
    collection: Annotated[str | None, Option("collection", "The collection of all adopted instances.", "NAME")]
    layout: NewLayout
    rebuild: Annotated[bool, Option("rebuild", "Set an unreadable journal aside first.")]


async def adopt_async(folder: Paths, **options: Unpack[AdoptOptions]) -> AdoptReport:
    """Take the valid instances below `folder` into the mirror at `to`. No archive is asked.

    `collection` overrides every other source of the Collection; `layout` is for a new mirror. Within the mirror itself
    files are always moved to their places. With `rebuild` an unreadable journal is set aside first, so that the files
    of a mirror can be adopted again. Safe to repeat. When `stop` is set, it ends within seconds, as interrupted.

    Raises:
        UserError: there is no such folder; the layout or the archive's name is invalid.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    source, to = await asyncio.to_thread(_find_folder, folder), Path(options.get("to") or folder)
    layout = options.get("layout")
    chosen = parse_layout(layout) if layout is not None else None
    if options.get("rebuild"):
        await asyncio.to_thread(_set_journal_aside, to)
    async with open_mirror(to, "adopt") as mirror:
        return await _adopt(mirror, source, chosen, options)


adopt = blocking(adopt_async)


def _find_folder(folder: Paths) -> Path:
    found = Path(folder).resolve()
    if not found.is_dir():
        raise SelectionError(f"there is no folder {folder}")
    if BOOKKEEPING in found.parts and (mirror := mirror_around(found)) is not None:
        raise SelectionError(f"{folder} belongs to the mirror {mirror} itself; its files are not adopted")
    return found


async def _adopt(mirror: OpenMirror, source: Path, layout: Layout | None, options: AdoptOptions) -> AdoptReport:
    started = time.monotonic()
    context = context_of(options)
    name, url, with_md5 = await _archive_of(mirror, options.get("archive"))
    settled = await mirror.settle_layout(layout, context.sink)
    by, collection = ImportMode(options.get("by", ImportMode.LINK)), options.get("collection")
    run = await mirror.journal(
        Journal.begin_run,
        verb="adopt",
        archive_name=name,
        archive_url=url,
        selection=None,
        settings={"source": storable(str(source)), "by": by.value, "collection": collection},
        now=datetime.now(UTC),
    )
    root = mirror.files.root
    context.sink(RunStarted(run.id, str(root), str(source)))
    by = ImportMode.MOVE if source == root or root in source.parents else by
    before = await mirror.journal(Journal.counts, None)
    adoption = Adoption(mirror, run, settled, source, by, collection, context, with_md5, holds_files=before.held > 0)
    outcome = RunOutcome.FAILED
    try:
        outcome = await adoption.carry_out()
        if (names := await CountedNames.of(mirror, context.sink, context.stop)) is not None:
            await names.name_rest()
    except asyncio.CancelledError:
        outcome = RunOutcome.INTERRUPTED
        raise
    finally:
        counts = await mirror.journal(Journal.counts, None)
        report = _report(adoption, outcome, counts.held_bytes, time.monotonic() - started)
        document = report.as_json()
        document.pop("problems")
        await mirror.journal(Journal.end_run, run.id, outcome=outcome, counts=document, now=datetime.now(UTC))
    if adoption.counts.adopted:
        await renew_side_files(mirror, context.sink)
    return report


def _report(adoption: Adoption, outcome: RunOutcome, bytes_mirror: int, seconds: float) -> AdoptReport:
    counts = adoption.counts
    return AdoptReport(
        mirror=str(adoption.mirror.files.root),
        source=str(adoption.source),
        run=adoption.run.id,
        outcome=outcome,
        series=len(counts.series),
        found=counts.found,
        adopted=counts.adopted,
        already=counts.already,
        refused=counts.refused,
        others=counts.others,
        bytes_adopted=counts.bytes_adopted,
        bytes_mirror=bytes_mirror,
        seconds=seconds,
        not_decoded=counts.not_decoded,
        problems=tuple(counts.problems),
    )


async def _archive_of(mirror: OpenMirror, archive: str | ArchiveChoice | None) -> tuple[str, str, bool]:
    """The name and the address of the archive, and whether it or another one of the mirror may have MD5s."""
    names = [name for name, _ in await mirror.journal(Journal.archives)]
    last = await mirror.journal(Journal.last_run)
    if last is not None and archive is None:
        return last.archive_name, last.archive_url, any(map(_knows_md5s, names))
    choice = choose_archive(archive)
    terms = archive_terms(choice.name, choice.profiles, forms=choice.forms)
    return choice.name, terms.url or choice.name, terms.knows_md5s or any(map(_knows_md5s, names))


def _knows_md5s(name: str) -> bool:
    try:
        return archive_terms(name, {}).knows_md5s
    except ConfigurationError:  # it is not known
        return True


def _set_journal_aside(mirror: Path) -> None:
    """Rename a journal that cannot be read, and the files that SQLite keeps beside it. A readable one stays."""
    files = MirrorFiles(mirror)
    if not files.journal_path.exists():
        return
    with lock_mirror(files.root, "adopt"):
        try:
            with Journal.open_readonly(files.journal_path) as journal:
                journal.check()
        except JournalUnreadable:
            stem = files.journal_path.name
            number = next(n for n in range(1, 10_000) if not list(files.journal_path.parent.glob(f"unreadable-{n}.*")))
            for path in sorted(files.journal_path.parent.glob(f"{stem}*")):
                path.rename(path.with_name(f"unreadable-{number}.{path.name}"))
