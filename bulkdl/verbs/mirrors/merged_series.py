"""Join one Series of another mirror: which of its files come, where they lie, and what is recorded.

A file is put in place, synced, and then recorded. So after a crash a file may lie in place without a record: the next
call finds that it has the bytes of the other mirror, and records it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bulkdl.dicom.header import Header, read_header
from bulkdl.errors import InstanceError
from bulkdl.fetch.digests import digests_of_file
from bulkdl.journal.journal import Journal
from bulkdl.journal.merging import JoinedIds, KnownInstance, KnownSeries
from bulkdl.journal.schema import OWED, UNBOUND
from bulkdl.model.ids import SopInstanceUid, default_file_name
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Refusal
from bulkdl.resolve.first_header import completed
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportMode, bring
from bulkdl.store.layout import InstanceNumbers, Layout, special_name
from bulkdl.store.partials import partial_name
from bulkdl.store.safe_names import fold
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, place_series

_MOST_NAMED: Final = 1_000


@dataclass(slots=True)
class _Plan:
    """What becomes of the instances of a Series: `bring` have a file to bring, `record` are recorded as they are.

    `done` are those that need not stay in the other mirror.
    """

    bring: list[KnownInstance] = field(default_factory=list)
    record: list[KnownInstance] = field(default_factory=list)
    done: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SeriesJoiner:
    """Joins Series of the mirror of `source` to `target`. The numbers are those of instances, but `bytes_brought`."""

    target: OpenMirror
    source: MirrorFiles
    layout: Layout
    by: ImportMode
    brought: int = 0
    already: int = 0
    conflicts: int = 0
    missing: int = 0
    linked: int = 0
    copied: int = 0
    bytes_brought: int = 0
    problems: list[Refusal] = field(default_factory=list)

    async def join(self, known: KnownSeries, ids: JoinedIds) -> list[str]:
        """Join a Series; returns the rows that the target has recorded, with their files."""
        uid = known.series.series_uid
        here = await self.target.journal(Journal.known_instances, uid)
        plan = await asyncio.to_thread(self._decide, known, here)
        folder = await self._folder(known) if known.folder is not None else None
        placed = await asyncio.to_thread(self._bring, known, plan, folder or "", here)
        await self.target.journal(Journal.join_series, known, folder, [*plan.record, *placed], ids)
        return [*plan.done, *(each.sop_uid for each in (*plan.record, *placed))]

    def path_of(self, known: KnownSeries, each: KnownInstance) -> str:
        """Where the file of an instance is in the other mirror."""
        return f"{known.folder}/{each.name or default_file_name(each.sop_uid)}"

    def _decide(self, known: KnownSeries, here: Mapping[str, KnownInstance]) -> _Plan:
        plan = _Plan()
        for each in known.instances:
            ours = here.get(each.sop_uid)
            if not each.in_place:
                if ours is None:
                    plan.record.append(replace(each, name=self._name_of_owed(known.series, each)))
                else:
                    plan.done.append(each.sop_uid)
            elif ours is not None and ours.in_place:
                if ours.is_same(each):
                    self.already += 1
                    plan.done.append(each.sop_uid)
                else:
                    self.conflicts += 1
                    message = f"the mirror has other bytes of instance {each.sop_uid}; both stay where they are"
                    self._refuse(self.path_of(known, each), "conflict", message)
            elif self._is_there(known, each):
                plan.bring.append(each)
            else:
                self.missing += 1
                message = f"instance {each.sop_uid} is missing or truncated; it is owed now: resume downloads it"
                self._refuse(self.path_of(known, each), "missing", message)
                plan.record.append(replace(_owed(each), name=each.name if known.series.kind is not None else None))
        return plan

    def _name_of_owed(self, series: Series, each: KnownInstance) -> str | None:
        if series.kind is not None:
            return each.name
        is_usual = self.layout.file is None and each.sop_uid < UNBOUND
        return special_name(each.sop_uid) if is_usual else None

    def _is_there(self, known: KnownSeries, each: KnownInstance) -> bool:
        try:
            return self.source.absolute(self.path_of(known, each)).lstat().st_size == each.size_bytes
        except (FileNotFoundError, NotADirectoryError):
            return False

    async def _folder(self, known: KnownSeries) -> str:
        series = known.series
        if unknown := self.layout.unknown(series):
            header = await asyncio.to_thread(self._any_header, known)
            series = completed(series, header, unknown)
        [(_, folder)] = await self.target.journal(place_series, [series], self.layout)
        return folder

    def _any_header(self, known: KnownSeries) -> Header | None:
        paths = (self.source.absolute(self.path_of(known, each)) for each in known.instances if each.in_place)
        return next(filter(None, map(_header, paths)), None)

    def _bring(
        self, known: KnownSeries, plan: _Plan, folder: str, here: Mapping[str, KnownInstance]
    ) -> list[KnownInstance]:
        """Put files in place, durably; returns their instances as they are here. Raises DiskError."""
        taken = {fold(each.name or default_file_name(each.sop_uid)) for each in here.values() if each.in_place}
        jobs: list[tuple[KnownInstance, CommitJob]] = []
        for each in plan.bring:
            source = self.source.absolute(self.path_of(known, each))
            name, is_there = self._name(known, each, folder, taken)
            if name is None:
                self.conflicts += 1
                message = f"another file is in the place of instance {each.sop_uid} in {folder}; both stay"
                self._refuse(self.path_of(known, each), "in-the-way", message)
                continue
            taken.add(fold(name))
            job = CommitJob(f"{folder}/{name}")
            if not is_there:
                job.partial = partial_name(known.series.series_uid, each.sop_uid)
                place = self.target.files.partials.path(job.partial)
                is_link = bring(source, place, may_link=self.by is not ImportMode.COPY)
                self.linked += is_link
                self.copied += not is_link
                self.bytes_brought += each.size_bytes or 0
            jobs.append((each, job))
        commit(self.target.files, [job for _, job in jobs])
        if errors := [job.error for _, job in jobs if job.error is not None]:
            raise errors[0]
        self.brought += len(jobs)
        return [_placed(each, job) for each, job in jobs]

    def _name(self, known: KnownSeries, each: KnownInstance, folder: str, taken: set[str]) -> tuple[str | None, bool]:
        """The first file name that is free, or at which the file lies already, and whether it does; or None."""
        source = self.source.absolute(self.path_of(known, each))
        for name in self._candidates(known.series, each, source):
            if fold(name) in taken:
                continue
            place = self.target.files.absolute(f"{folder}/{name}")
            if not place.exists():
                return name, False
            if place.samefile(source) or digests_of_file(place).sha256 == each.sha256:
                return name, True
        return None, False

    def _candidates(self, series: Series, each: KnownInstance, source: Path) -> Sequence[str]:
        if series.kind is not None and each.name is not None:
            return (each.name,)
        reads = self.layout.reads_header or each.sop_uid > UNBOUND
        header = _header(source) if reads else None
        sop_uid = header.sop_uid if header is not None else SopInstanceUid(each.sop_uid.removeprefix(UNBOUND))
        numbers = InstanceNumbers(sop_uid, each.key)
        if header is not None:
            numbers = replace(numbers, number=header.instance_number, acquisition=header.acquisition_number)
        candidates = list(self.layout.file_names(series, numbers))
        if self.layout.file is None and each.sop_uid < UNBOUND:
            return candidates[:1]
        present = each.name or default_file_name(each.sop_uid)
        return [present, *candidates] if present in candidates else candidates

    def _refuse(self, path: str, error: str, message: str) -> None:
        if len(self.problems) < _MOST_NAMED:
            self.problems.append(Refusal(str(self.source.root / path), error, message))


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except (InstanceError, OSError):
        return None


def _owed(each: KnownInstance) -> KnownInstance:
    nothing: dict[str, None] = dict.fromkeys(
        ("name", "size_bytes", "md5", "sha256", "mtime_ns", "transfer_syntax_uid", "notes")
    )
    return replace(each, state=OWED, **nothing)  # type: ignore[arg-type] # all of them may be None


def _placed(each: KnownInstance, job: CommitJob) -> KnownInstance:
    name = (job.path or "").rpartition("/")[2]
    return replace(each, name=None if name == default_file_name(each.sop_uid) else name, mtime_ns=job.mtime_ns)
