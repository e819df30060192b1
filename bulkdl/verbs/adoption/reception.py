"""Take instances that clients store at a server into its mirror: validated, hashed, put in place, and journalled.

The mirror is that of this process alone. The instances of a request are committed as a group: their bytes and names are
synced before the journal has them, so a kill leaves no instance half stored. The file of an instance is never replaced:
the same bytes again are stored already, other bytes are refused.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from bulkdl.archive.dicomweb.store_answers import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH,
    DUPLICATE,
    OUT_OF_RESOURCES,
    PROCESSING_FAILURE,
)
from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import BulkdlError, InstanceError
from bulkdl.fetch.digests import digests_of_file
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace, Run
from bulkdl.model.access import CLIENTS
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import InstanceKey, Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.settings import ValidationLevel
from bulkdl.runtime.disk import is_file
from bulkdl.runtime.tasks import in_thread
from bulkdl.server.reception import ReceivedInstance
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import Layout
from bulkdl.store.partials import Partials
from bulkdl.verbs.adoption.batch import Examination, Examined, FileKind, Finding, examine
from bulkdl.verbs.adoption.places import choose_places, look_up, outcome_of, series_of
from bulkdl.verbs.adoption.sources import Candidate, SourceItem, candidate_of
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

COLLECTION: Final = "RECEIVED"
"""The Collection of instances that name none, where the caller names none either."""
_OTHER_STUDY: Final = DOES_NOT_MATCH + 1  # Microsoft's code for an instance of another Study than the address has


class _ReceivedPart(NamedTuple):
    """A part of a request: its partial file, and what the header says, None where it has none."""

    name: str
    header: Header | None
    candidate: Candidate | None
    reason: int | None


@dataclass(slots=True)
class MirrorReception:
    """See `server.reception.Reception`. `archive` is the name and the address for its run.

    `changed` is set when instances were stored.
    """

    mirror: OpenMirror
    layout: Layout
    collection: str
    archive: tuple[str, str]
    changed: asyncio.Event
    stored: int = 0
    bytes_stored: int = 0
    _run: Run | None = None
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _inflating: asyncio.Lock = field(default_factory=asyncio.Lock)  # one data set at a time is inflated
    _numbers: count[int] = field(default_factory=count)

    @property
    def partials(self) -> Partials:
        """See `Reception.partials`."""
        return self.mirror.files.partials

    def next_name(self) -> str:
        """See `Reception.next_name`."""
        return f"{os.getpid()}-{next(self._numbers)}.received"

    async def settle(
        self, names: Sequence[str], *, study_uid: str | None, hidden: frozenset[str]
    ) -> list[ReceivedInstance]:
        """See `Reception.settle`."""
        paths = tuple(self.partials.path_text(name) for name in names)
        findings: list[Finding] = []
        for path in paths:  # one at a time: a server that is stopped does not wait for all
            question = Examination((path,), ValidationLevel.STRUCTURE, with_md5=True, with_headers=True)
            (finding,) = await in_thread(examine, question)
            if finding is FileKind.INFLATING:
                async with self._inflating:
                    (finding,) = await in_thread(examine, replace(question, may_inflate=True))
            findings.append(finding)
        pairs = zip(names, paths, findings, strict=True)
        parts = await in_thread(lambda: [_part(*each, study_uid) for each in pairs])
        async with self._settling:
            reasons = await self._take([part for part in parts if part.candidate is not None], hidden)
        return [_received(part, reasons.get(part.name, part.reason)) for part in parts]

    async def _take(self, parts: Sequence[_ReceivedPart], hidden: frozenset[str]) -> dict[str, int | None]:
        """Commit and journal what can be stored; the reason for each part that cannot, None for the others."""
        reasons: dict[str, int | None] = {part.name: None for part in parts}
        candidates = [part.candidate for part in parts if part.candidate is not None]
        if not candidates:
            return reasons
        headers = {part.header.series_uid: part.header for part in reversed(parts) if part.header is not None}
        series = [series_of(header, header.collection or self.collection) for header in headers.values()]
        keys = [candidate.key for candidate in candidates]
        held, folders, places = await self.mirror.journal(look_up, keys, series, self.layout)
        recorded = await self.mirror.journal(_recorded, series)
        for name, header, candidate in ((part.name, part.header, part.candidate) for part in parts):
            if header is None or candidate is None:
                continue
            known = recorded[header.series_uid]
            top = places[header.series_uid].folder.partition("/")[0]  # the catalogue takes it if there is no Collection
            if (known.collection or top).upper() in hidden:
                reasons[name] = PROCESSING_FAILURE  # which says nothing of what is hidden
            elif candidate.key not in held and not _belongs(header, known):
                reasons[name] = DOES_NOT_MATCH
        fresh = [each for each in candidates if reasons[each.item.found] is None]
        await in_thread(choose_places, fresh, places, held, self.layout, self.mirror.files)
        found, jobs = await in_thread(_compared, self.mirror.files, fresh, held)
        reasons |= found
        self._run = await self.mirror.journal(self._store, jobs, folders)
        self.changed.set()
        reasons |= {each.item.found: OUT_OF_RESOURCES for each, job in jobs if job.error is not None}
        return reasons

    def _store(
        self, journal: Journal, jobs: Sequence[tuple[Candidate, CommitJob]], folders: Sequence[tuple[Series, str]]
    ) -> Run | None:
        """Commit and journal, on the thread of the journal, which ends what it has begun; return the run.

        The run of this reception begins with the first instance.
        """
        _commit(self.mirror.files, jobs)
        stored = [candidate for candidate, job in jobs if job.error is None]
        if not stored:
            return self._run
        now, (name, url) = datetime.now(UTC), self.archive
        named = {candidate.key.series_uid for candidate in stored}
        taken = [(series, folder) for series, folder in folders if series.series_uid in named]
        outcomes = [outcome_of(candidate) for candidate in stored]
        names = [outcome.name for outcome in outcomes]
        try:
            run = self._run or journal.begin_run(
                verb="serve",
                archive_name=name,
                archive_url=url,
                selection=None,
                settings={"accept_store": True},
                now=now,
            )
            journal.record_found(run, taken, outcomes, names, now=now, are_received=True)
        except BulkdlError:
            _take_back(journal, self.mirror.files, jobs)
            raise
        self.stored += len(stored)
        self.bytes_stored += sum(candidate.digests.size_bytes for candidate in stored)
        return run

    async def end(self) -> None:
        """End the run, if there is one."""
        if self._run is not None:
            counts = {"instances": {"adopted": self.stored}, "bytes": {"adopted": self.bytes_stored}}
            run, now = self._run, datetime.now(UTC)
            await self.mirror.journal(Journal.end_run, run.id, outcome=RunOutcome.COMPLETE, counts=counts, now=now)


def _take_back(journal: Journal, files: MirrorFiles, jobs: Sequence[tuple[Candidate, CommitJob]]) -> None:
    """Remove the files that were put in place, and that the journal does not have because it could not be written."""
    placed = [candidate for candidate, job in jobs if job.partial is not None and job.error is None]
    with suppress(BulkdlError):  # those that stay are taken when they are stored again, as after a kill
        held = journal.find_all_held([candidate.key for candidate in placed])
        files.remove(candidate.place for candidate in placed if candidate.key not in held)


@asynccontextmanager
async def open_reception(
    mirror: OpenMirror, collection: str | None, changed: asyncio.Event
) -> AsyncIterator[MirrorReception]:
    """Take instances into an open mirror until the block ends. `changed` is set whenever some were stored.

    The run has the archive of the last one. A new mirror is of no archive, and no archive is asked for what it lacks.
    """
    layout = await mirror.settle_layout()
    last = await mirror.journal(Journal.last_run)
    named = (last.archive_name, last.archive_url) if last is not None else (CLIENTS, "")
    reception = MirrorReception(mirror, layout, collection or COLLECTION, named, changed)
    try:
        yield reception
    finally:
        await reception.end()


def _recorded(journal: Journal, series: Collection[Series]) -> dict[SeriesUid, Series]:
    """Each Series as the journal has it, or a new one as its header says. Runs on the journal's thread."""
    rows = ((each, journal.find_series(each.series_uid)) for each in series)
    return {each.series_uid: row.series if row is not None else each for each, row in rows}


def _belongs(header: Header, series: Series) -> bool:
    """Whether an instance is of the Study and the Patient of its Series, under which it is found (PS3.3 §A.1.2)."""
    is_of_study = series.study_uid is None or header.study_uid == series.study_uid
    return is_of_study and series.patient_id in {"", header.patient_id}


def _part(name: str, path: str, finding: Finding, study_uid: str | None) -> _ReceivedPart:
    """What a part is, and why it cannot be stored, without a look at the mirror."""
    if not isinstance(finding, Examined) or (header := finding.header) is None:
        return _ReceivedPart(name, _header_of(path), None, CANNOT_UNDERSTAND)
    if header.study_uid is None or header.sop_class_uid is None:
        return _ReceivedPart(name, header, None, DOES_NOT_MATCH)
    if study_uid is not None and header.study_uid != study_uid:
        return _ReceivedPart(name, header, None, _OTHER_STUDY)
    return _ReceivedPart(name, header, candidate_of(SourceItem(name, path, finding.size_bytes), finding), None)


def _header_of(path: str) -> Header | None:
    """The header of a file that is not valid, None if it does not identify an instance."""
    with suppress(InstanceError, OSError):
        return read_header(Path(path))
    return None


def _received(part: _ReceivedPart, reason: int | None) -> ReceivedInstance:
    if (header := part.header) is None:
        return ReceivedInstance(reason)
    return ReceivedInstance(reason, header.sop_uid, header.sop_class_uid, header.series_uid, header.study_uid)


def _compared(
    files: MirrorFiles, candidates: Iterable[Candidate], held: dict[InstanceKey, HeldPlace]
) -> tuple[dict[str, int | None], list[tuple[Candidate, CommitJob]]]:
    """Compare candidates with the files at their places: what is refused, and what is to be committed. Blocking.

    A file that lies at its place with the same bytes and that the journal does not have, as after a kill, is committed
    where it lies.
    """
    reasons: dict[str, int | None] = {}
    jobs: dict[str, tuple[Candidate, CommitJob]] = {}
    for candidate in candidates:
        name, place = candidate.item.found, candidate.place
        if (other := jobs.get(candidate.place_key)) is not None:
            is_same = other[0].digests.sha256 == candidate.digests.sha256
            reasons[name] = None if is_same else DUPLICATE
            continue
        path = files.absolute(place)
        if not os.path.lexists(path):
            jobs[candidate.place_key] = candidate, CommitJob(place, name)
        elif not is_file(path) or digests_of_file(path, with_md5=False).sha256 != candidate.digests.sha256:
            reasons[name] = DUPLICATE
        elif candidate.key not in held:
            jobs[candidate.place_key] = candidate, CommitJob(place)
    return reasons, list(jobs.values())


def _commit(files: MirrorFiles, jobs: Sequence[tuple[Candidate, CommitJob]]) -> None:
    """Sync partial files and put them in place. Blocking. A job that fails has its error.

    Raises:
        DiskError: nothing was put in place.
    """
    files.partials.sync([job.partial for _, job in jobs if job.partial is not None])
    commit(files, [job for _, job in jobs])
    for candidate, job in jobs:
        candidate.mtime_ns = job.mtime_ns
        if job.error is not None and not isinstance(job.error, BulkdlError):
            raise job.error
