"""`verify`: a mirror against its journal, or the archive as well; `--repair` fetches again what is damaged."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from bulkdl.errors import InvalidInstance, JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, RunRow
from bulkdl.journal.thread import JournalThread
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import InstanceKey
from bulkdl.model.reports import Problem, ProblemKind, RunReport, VerifyReport
from bulkdl.model.settings import FetchSettings
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.auditing import Audit, audit
from bulkdl.verbs.common import open_mirror, require_mirror
from bulkdl.verbs.comparing import compare
from bulkdl.verbs.mirror import repairing


async def verify(
    mirror: Path,
    *,
    archive: ArchiveChoice,
    is_archive_chosen: bool = False,
    quick: bool = False,
    repair: bool = False,
    remote: bool = False,
    from_start: bool = False,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> VerifyReport:
    """Hold every file against the journal: its size, and unless `quick` its SHA-256; look for files that are foreign.

    An audit that was interrupted goes on where it stopped, unless `from_start`. With `remote` the archive is asked
    whether it holds the same. With `repair` what is damaged is moved to quarantine and fetched again, and nothing else
    is; foreign files, and what differs from the archive, are reported and never touched. The archive is the one of the
    last run, unless `is_archive_chosen`. Where `stop` was set the report is not the whole truth.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        As `mirror`, when repairing; ArchiveError, when the archive is to be asked.
    """
    path = require_mirror(mirror)
    files = MirrorFiles(mirror)
    settings = settings or FetchSettings()
    stop = stop or asyncio.Event()
    started = time.monotonic()
    compared: int | None = None
    differing: list[Problem] = []
    with Journal.open_readonly(path) as journal:
        last = journal.last_run()
        found = await audit(files, journal, quick=quick, from_start=from_start, sink=sink, stop=stop)
        if remote and not stop.is_set():
            choice = _choice(mirror, archive, last, is_chosen=is_archive_chosen)
            compared, differing = await compare(files, journal, choice, settings, sink=sink, stop=stop)
        counts = journal.counts(None)
    report = VerifyReport(
        mirror=str(files.root),
        series=counts.series,
        checked=found.checked,
        sound=found.checked - len(found.damaged),
        owed=counts.owed + counts.failed + counts.quarantined,
        bytes_checked=found.bytes_checked,
        seconds=time.monotonic() - started,
        problems=(*found.problems(), *differing),
        series_compared=compared,
    )
    if not repair or not found.damaged or stop.is_set():
        return report
    choice = _choice(mirror, archive, last, is_chosen=is_archive_chosen)
    async with open_mirror(mirror, "repair", private=settings.private) as (held, journal_thread):
        repaired = await _repair(found, held, journal_thread, choice, settings, sink, stop)
    return replace(report, repair=repaired, seconds=time.monotonic() - started)


def _choice(mirror: Path, archive: ArchiveChoice, last: RunRow | None, *, is_chosen: bool) -> ArchiveChoice:
    if is_chosen:
        return archive
    if last is None:
        raise JournalUnreadable(f"{mirror} has seen no run: there is no archive to ask")
    return replace(archive, name=last.archive_name)


async def _repair(
    found: Audit,
    files: MirrorFiles,
    journal_thread: JournalThread,
    archive: ArchiveChoice,
    settings: FetchSettings,
    sink: Sink,
    stop: asyncio.Event,
) -> RunReport:
    for held, kind in found.damaged:
        # First out of the way, then owed: a file that lies at its place would be adopted, damage and all.
        if kind is not ProblemKind.MISSING:
            await asyncio.to_thread(_put_aside, files, held, kind)
    async with repairing(files, journal_thread, archive, settings, sink, stop) as session:
        await journal_thread(
            Journal.owe, session.run, [InstanceKey(held.series_uid, held.sop_uid) for held, _ in found.damaged]
        )
        return await session.fetch_only(_work_of(found))


def _put_aside(files: MirrorFiles, held: HeldInstance, kind: ProblemKind) -> None:
    error = InvalidInstance(f"found {kind.value} by verify")
    details = {"journalled_sha256": held.sha256.hex() if held.sha256 else None, "message": str(error)}
    files.quarantine.keep(files.absolute(held.path), sop_uid=held.sop_uid, details=details)


def _work_of(found: Audit) -> list[SeriesWork]:
    works: list[SeriesWork] = []
    damaged = sorted((held for held, _ in found.damaged), key=attrgetter("series_id", "sop_uid"))
    for _, group in groupby(damaged, key=attrgetter("series_id")):
        owed = list(group)
        works.append(
            SeriesWork(
                series_uid=owed[0].series_uid,
                study_uid=None,
                folder=owed[0].path.rpartition("/")[0],
                entries=tuple(held.entry for held in owed),
                names=tuple(held.path.rpartition("/")[2] for held in owed),
                image_count=None,
            )
        )
    return works
