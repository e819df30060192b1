"""`verify`: every file of a mirror against its journal, and `--repair`: what is damaged fetched again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final

from bulkdl.errors import JournalUnreadable, Unsound
from bulkdl.fetch.sealing import digests_of_file
from bulkdl.flow.pool import run_pool
from bulkdl.journal.desk import JournalDesk
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance
from bulkdl.model.events import Sink, Verifying, ignore
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import InstanceKey
from bulkdl.model.reports import Problem, ProblemKind, RunReport, VerifyReport
from bulkdl.model.settings import FetchSettings
from bulkdl.operations.common import ArchiveChoice, open_mirror, require_mirror
from bulkdl.operations.mirror import repairing
from bulkdl.store.files import Found, FoundKind, MirrorFiles

_PAGE: Final = 500
_AT_ONCE: Final = 4
_ANNOUNCE_SECONDS: Final = 0.25


@dataclass(slots=True)
class _Audit:
    """What an audit has found so far."""

    checked: int = 0
    bytes_checked: int = 0
    damaged: list[tuple[HeldInstance, ProblemKind]] = field(default_factory=list)
    foreign: list[Problem] = field(default_factory=list)

    def problems(self) -> tuple[Problem, ...]:
        found = [Problem(held.path, kind, held.sop_uid) for held, kind in self.damaged]
        return tuple(sorted([*found, *self.foreign], key=attrgetter("path")))


async def verify(
    mirror: Path,
    *,
    archive: ArchiveChoice,
    is_archive_chosen: bool = False,
    quick: bool = False,
    repair: bool = False,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> VerifyReport:
    """Hold every file against the journal: its size, and unless `quick` its SHA-256; look for files that are foreign.

    With `repair` what is damaged is moved to quarantine and fetched again, and nothing else is; foreign files are
    reported and never touched. The archive is the one of the last run, unless `is_archive_chosen`.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        As `mirror`, when repairing.
    """
    path = require_mirror(mirror)
    files = MirrorFiles(mirror)
    stop = stop or asyncio.Event()
    started = time.monotonic()
    with Journal.open_readonly(path) as journal:
        audit = await _audit(files, journal, quick=quick, sink=sink, stop=stop)
        counts = journal.counts(None)
    report = VerifyReport(
        mirror=str(files.root),
        series=counts.series,
        checked=audit.checked,
        sound=audit.checked - len(audit.damaged),
        owed=counts.owed + counts.failed + counts.quarantined,
        bytes_checked=audit.bytes_checked,
        seconds=time.monotonic() - started,
        problems=audit.problems(),
    )
    if not repair or not audit.damaged or stop.is_set():
        return report
    settings = settings or FetchSettings()
    async with open_mirror(mirror, "repair", private=settings.private) as (held, desk):
        repaired = await _repair(audit, held, desk, archive, settings, sink, stop, is_chosen=is_archive_chosen)
    return replace(report, repair=repaired, seconds=time.monotonic() - started)


async def _audit(files: MirrorFiles, journal: Journal, *, quick: bool, sink: Sink, stop: asyncio.Event) -> _Audit:
    audit = _Audit()
    total = journal.counts(None).held
    announced = 0.0

    async def held() -> AsyncIterator[HeldInstance]:
        after: tuple[int, str] | None = None
        while not stop.is_set() and (page := journal.held(after=after, limit=_PAGE)):
            for instance in page:
                yield instance
            after = (page[-1].series_id, page[-1].sop_uid)

    async def look(instance: HeldInstance) -> None:
        nonlocal announced
        problem = await asyncio.to_thread(_examine, files, instance, quick=quick)
        audit.checked += 1
        audit.bytes_checked += instance.size_bytes
        if problem is not None:
            audit.damaged.append((instance, problem))
        if time.monotonic() - announced >= _ANNOUNCE_SECONDS:
            announced = time.monotonic()
            sink(Verifying(audit.checked, total, audit.bytes_checked, len(audit.damaged)))

    await run_pool(held(), look, workers=_AT_ONCE, name="verify")
    if not stop.is_set():
        audit.foreign.extend(_foreign(files, journal))
    sink(Verifying(audit.checked, total, audit.bytes_checked, len(audit.damaged) + len(audit.foreign)))
    return audit


def _examine(files: MirrorFiles, instance: HeldInstance, *, quick: bool) -> ProblemKind | None:
    path = files.absolute(instance.path)
    try:
        size_bytes = path.lstat().st_size
        if size_bytes < instance.size_bytes:
            return ProblemKind.TRUNCATED
        if size_bytes > instance.size_bytes or path.is_symlink():
            return ProblemKind.ALTERED
        if not quick and digests_of_file(path).sha256 != instance.sha256:
            return ProblemKind.ALTERED
    except FileNotFoundError:
        return ProblemKind.MISSING
    except OSError:
        return ProblemKind.UNREADABLE
    return None


def _foreign(files: MirrorFiles, journal: Journal) -> Iterator[Problem]:
    """Files that the journal knows nothing of, folder by folder. One that is owed is no stranger: it gets adopted."""
    for folder, here in groupby(files.walk(), key=lambda found: found.path.rpartition("/")[0]):
        series_uid = journal.series_in_folder(folder)
        known: set[str] = set()
        after = ""
        while series_uid is not None and (page := journal.instances(series_uid, after=after, limit=_PAGE)):
            known.update(row.path for row in page)
            after = page[-1].sop_uid
        for found in here:
            if found.path not in known:
                yield Problem(_shown(found), _kind(found))


def _kind(found: Found) -> ProblemKind:
    return ProblemKind.UNREADABLE if found.kind is FoundKind.UNREADABLE else ProblemKind.FOREIGN


def _shown(found: Found) -> str:
    return found.path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


async def _repair(
    audit: _Audit,
    files: MirrorFiles,
    desk: JournalDesk,
    archive: ArchiveChoice,
    settings: FetchSettings,
    sink: Sink,
    stop: asyncio.Event,
    *,
    is_chosen: bool,
) -> RunReport:
    last = await desk(Journal.last_run)
    if last is None:
        raise JournalUnreadable(f"{files.root} has seen no run: there is no archive to repair it from")
    choice = archive if is_chosen else replace(archive, name=last.archive_name)
    for held, kind in audit.damaged:
        # First out of the way, then owed: a file that lies at its place would be adopted, damage and all.
        if kind is not ProblemKind.MISSING:
            await asyncio.to_thread(_put_aside, files, held, kind)
    async with repairing(files, desk, choice, settings, sink, stop) as session:
        await desk(Journal.owe, session.run, [InstanceKey(held.series_uid, held.sop_uid) for held, _ in audit.damaged])
        return await session.fetch_only(_work_of(audit))


def _put_aside(files: MirrorFiles, held: HeldInstance, kind: ProblemKind) -> None:
    error = Unsound(f"found {kind.value} by verify")
    details = {"journalled_sha256": held.sha256.hex() if held.sha256 else None, "message": str(error)}
    files.quarantine(files.absolute(held.path), sop_uid=held.sop_uid, details=details)


def _work_of(audit: _Audit) -> list[SeriesWork]:
    works: list[SeriesWork] = []
    damaged = sorted((held for held, _ in audit.damaged), key=attrgetter("series_id", "sop_uid"))
    for _, group in groupby(damaged, key=attrgetter("series_id")):
        owed = list(group)
        works.append(
            SeriesWork(
                series_uid=owed[0].series_uid,
                study_uid=None,
                folder=owed[0].path.rpartition("/")[0],
                sop_uids=tuple(held.sop_uid for held in owed),
                names=tuple(held.path.rpartition("/")[2] for held in owed),
                image_count=None,
            )
        )
    return works
