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
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Unpack

from bulkdl.dicom.header import Header
from bulkdl.errors import ConfigurationError, InstanceError, JournalUnreadable, SelectionError
from bulkdl.fetch.digests import Digests, digests_of_file, digests_of_source
from bulkdl.fetch.lost_files import move_away
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace, Run
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Adopting, RunContext, RunStarted
from bulkdl.model.ids import SeriesUid, default_file_name
from bulkdl.model.options import Option
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import InstanceKey, Series
from bulkdl.model.reports.adopt import AdoptReport
from bulkdl.model.reports.base import Refusal, RunOutcome
from bulkdl.model.settings import ValidationLevel
from bulkdl.model.text import storable
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob, ImportMode, bring, remove_taken
from bulkdl.store.layout import Layout, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.store.partials import partial_name
from bulkdl.verbs.adoption.batch import Examination, Examined, FileKind, Import, Refused, examine
from bulkdl.verbs.adoption.places import SeriesPlaces, choose_places, places_of
from bulkdl.verbs.adoption.processes import AdoptProcesses
from bulkdl.verbs.adoption.sources import (
    Candidate,
    SourceItem,
    batches_of,
    candidate_of,
    collection_by_folder,
    collections_in_tables,
    items_below,
    items_of_zip,
)
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.reach import archive_terms, choose_archive
from bulkdl.verbs.mirrors.counted_names import CountedNames
from bulkdl.verbs.mirrors.folders import mirror_around
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror, place_series
from bulkdl.verbs.runs.options import NewLayout, RunOptions, context_of
from bulkdl.verbs.runs.side_texts import renew_side_files

_REFUSALS_NAMED: Final = 1_000
_ANNOUNCE_SECONDS: Final = 0.25


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
    adopting = _Adopting(mirror, run, settled, source, by, collection, context, with_md5, holds_files=before.held > 0)
    outcome = RunOutcome.FAILED
    try:
        outcome = await adopting.carry_out()
        if (names := await CountedNames.of(mirror, context.sink, context.stop)) is not None:
            await names.name_rest()
    except asyncio.CancelledError:
        outcome = RunOutcome.INTERRUPTED
        raise
    finally:
        counts = await mirror.journal(Journal.counts, None)
        report = adopting.report(outcome, counts.held_bytes, time.monotonic() - started)
        document = report.as_json()
        document.pop("problems")
        await mirror.journal(Journal.end_run, run.id, outcome=outcome, counts=document, now=datetime.now(UTC))
    if adopting.adopted:
        await renew_side_files(mirror, context.sink)
    return report


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


@dataclass(slots=True)
class _Adopting:
    mirror: OpenMirror
    run: Run
    layout: Layout
    source: Path
    by: ImportMode
    collection: str | None
    context: RunContext
    with_md5: bool
    holds_files: bool  # before this run
    adopted: int = 0
    already: int = 0
    refused: int = 0
    others: int = 0  # neither DICOM files nor zips
    bytes_adopted: int = 0
    series: set[SeriesUid] = field(default_factory=set)
    problems: list[Refusal] = field(default_factory=list)
    not_decoded: int = 0
    _processes: AdoptProcesses = field(default_factory=AdoptProcesses)
    _decoders: Decoders = field(default_factory=Decoders)
    _collections: dict[str, str] = field(default_factory=dict)
    _inflating: asyncio.Lock = field(default_factory=asyncio.Lock)  # one data set at a time is inflated
    _choosing: asyncio.Condition = field(default_factory=asyncio.Condition)
    _claimed: set[str] = field(default_factory=set)  # the places of batches that are not in the journal yet
    _partials: Iterator[int] = field(default_factory=count)
    _announced: float = 0.0
    _counting: Lock = field(default_factory=Lock)  # several threads count

    async def carry_out(self) -> RunOutcome:
        self._collections = await asyncio.to_thread(collections_in_tables, self.source)
        files = items_below(self.source, self.mirror.files.root, self.context.stop.is_set)
        async with self._decoders, self._processes:
            at_once = 2 * self._processes.at_once + 1  # while the journal has one, there is one for each process
            await run_pool(self._batches(files), self._take, workers=at_once, name="adopt")
        self._announce()
        if self.context.stop.is_set():
            return RunOutcome.INTERRUPTED
        return RunOutcome.PARTIAL if self.refused else RunOutcome.COMPLETE

    def report(self, outcome: RunOutcome, bytes_mirror: int, seconds: float) -> AdoptReport:
        return AdoptReport(
            mirror=str(self.mirror.files.root),
            source=str(self.source),
            run=self.run.id,
            outcome=outcome,
            series=len(self.series),
            found=self.adopted + self.already + self.refused,
            adopted=self.adopted,
            already=self.already,
            refused=self.refused,
            others=self.others,
            bytes_adopted=self.bytes_adopted,
            bytes_mirror=bytes_mirror,
            seconds=seconds,
            not_decoded=self.not_decoded,
            problems=tuple(self.problems),
        )

    async def _batches(self, items: Iterator[SourceItem]) -> AsyncIterator[list[SourceItem]]:
        batches = batches_of(items)
        while not self.context.stop.is_set() and (batch := await asyncio.to_thread(next, batches, None)):
            yield batch

    async def _take(self, batch: list[SourceItem]) -> None:
        zips: list[SourceItem] = []
        if valid := await self._valid(batch, zips):
            await self._settle(valid)
        if time.monotonic() - self._announced >= _ANNOUNCE_SECONDS:
            self._announce()
        for zipped in zips:
            async for entries in self._batches(items_of_zip(zipped, self._reject)):
                await self._take(entries)

    async def _valid(self, items: list[SourceItem], zips: list[SourceItem]) -> list[Candidate]:
        """The valid instances among the items. Adds to `zips` those that are zips."""
        level = self.context.settings.validation
        by_decoders = level is ValidationLevel.PIXELS
        if self.holds_files or by_decoders:
            identified = await self._examine(items, zips, level=None)
            headers = [(item, header) for item, header in identified if isinstance(header, Header)]
            keys = [InstanceKey(header.series_uid, header.sop_uid) for _, header in headers]
            held = await self.mirror.journal(Journal.find_all_held, keys)
            fresh = [pair for pair, key in zip(headers, keys, strict=True) if not self._is_held(pair[0], held.get(key))]
            if by_decoders:
                return await self._decode(fresh)
            items = [item for item, _ in fresh]
        examined = await self._examine(items, zips, level=level)
        return [candidate_of(item, found) for item, found in examined if isinstance(found, Examined)]

    async def _examine(
        self, items: list[SourceItem], zips: list[SourceItem], *, level: ValidationLevel | None
    ) -> list[tuple[SourceItem, Header | Examined]]:
        question = Examination(
            tuple(item.source for item in items), level, self.with_md5, with_headers=self.layout.reads_header
        )
        good = []
        for item, finding in zip(items, await self._processes.examine(question), strict=True):
            if finding is FileKind.INFLATING:
                async with self._inflating:
                    alone = replace(question, sources=(item.source,), may_inflate=True)
                    (finding,) = await asyncio.to_thread(examine, alone)  # noqa: PLW2901 - the same, once it may
            if isinstance(finding, Refused):
                self._reject(item.found, finding.error, finding.message)
            elif finding is FileKind.ZIP:
                zips.append(item)
            elif isinstance(finding, FileKind):
                self.others += 1
            else:
                good.append((item, finding))
        return good

    async def _decode(self, identified: list[tuple[SourceItem, Header]]) -> list[Candidate]:
        """Validate in processes of decoders, because a decoder may crash."""
        valid = []
        for item, header in identified:
            source = item.source if isinstance(item.source, bytes) else Path(item.source)
            try:
                found = await self._decoders.validate(source, None)
                digests = await asyncio.to_thread(digests_of_source, source, with_md5=self.with_md5)
            except (InstanceError, OSError) as error:
                self._reject(item.found, getattr(error, "code", "unreadable"), str(error))
            else:
                key = InstanceKey(found.series_uid, found.sop_uid)
                valid.append(Candidate(item, key, digests, found.transfer_syntax_uid, found.notes, header))
        return valid

    async def _settle(self, valid: list[Candidate]) -> None:
        """Put valid instances in place, and record them. Two batches never work on the same place at a time."""
        async with self._choosing:
            folders, fresh = await self._choose(valid)
            while not self._claimed.isdisjoint(places := {candidate.place_key for candidate in fresh}):
                await self._choosing.wait()
                folders, fresh = await self._choose(fresh)  # what the other batch has adopted is held now
            self._claimed |= places
        try:
            if placed := await self._place(fresh):
                await self._journal(folders, placed)
        finally:
            async with self._choosing:
                self._claimed -= places
                self._choosing.notify_all()

    async def _choose(self, valid: list[Candidate]) -> tuple[list[tuple[Series, str]], list[Candidate]]:
        """The folders of the Series of the candidates, and those that are not held, each with its place."""
        headers = {each.key.series_uid: each for each in reversed(valid) if each.header is not None}
        series = [
            self._series(first.item.found, first.header) for first in headers.values() if first.header is not None
        ]
        keys = [candidate.key for candidate in valid]
        held, folders, places = await self.mirror.journal(_look_up, keys, series, self.layout)
        fresh = [candidate for candidate in valid if not self._is_held(candidate.item, held.get(candidate.key))]
        for candidate in fresh:
            candidate.replaces = candidate.key in held
        if self.layout.file is None:
            choose_places(fresh, places, held, self.layout, self.mirror.files)
        else:  # it looks at files
            await asyncio.to_thread(choose_places, fresh, places, held, self.layout, self.mirror.files)
        return folders, fresh

    def _is_held(self, item: SourceItem, held: HeldPlace | None) -> bool:
        if held is None:
            return False
        is_itself = item.source == str(self.mirror.files.absolute(held.path))
        if is_itself and held.run_id == self.run.id:
            return True  # this run moved it here, and has counted it
        if is_itself or held.size_bytes == item.size_bytes:
            self._count_already()
            if self.by is ImportMode.MOVE and not is_itself and isinstance(item.source, str):
                self._remove_second_name(item, held)
        elif held.run_id == self.run.id and item.size_bytes > held.size_bytes:
            return False  # of two valid files of one run the longer one is the whole one
        else:
            self._reject(item.found, "conflict", f"the mirror holds another file of this instance, {held.path}")
        return True

    def _remove_second_name(self, item: SourceItem, held: HeldPlace) -> None:
        """Remove a file that was moved by a run that was killed before it could remove it."""
        source, place = Path(str(item.source)), self.mirror.files.absolute(held.path)
        with suppress(OSError):
            if os.path.samestat(source.lstat(), place.lstat()):
                remove_taken(source, self.source)

    def _series(self, found: str, header: Header) -> Series:
        known = self.collection or self._collections.get(header.series_uid) or header.collection
        values: dict[str, Any] = {each.name: getattr(header, each.name, None) for each in fields(Series)}
        values |= {
            "patient_id": header.patient_id or "",
            "collection": known or collection_by_folder(found, header.patient_id),
            "description": header.series_description,
        }
        return Series(**values)

    async def _place(self, batch: list[Candidate]) -> list[Candidate]:
        """Commit the batch to its places; return those that are new.

        Files of which each has a place to itself are imported together. All others are compared with what is there.
        """
        times = Counter(candidate.place for candidate in batch)
        alone = [each for each in batch if times[each.place] == 1 and isinstance(each.item.source, str)]
        jobs = tuple(ImportJob(str(each.item.source), self._partial(), each.place) for each in alone)
        files, may_link = self.mirror.files, self.by is not ImportMode.COPY
        mtimes = (
            await self._processes.import_files(Import(files.root, files.is_private, jobs, may_link)) if jobs else []
        )
        placed = []
        for candidate, mtime_ns in zip(alone, mtimes, strict=True):
            if mtime_ns is not None:
                candidate.mtime_ns = mtime_ns
                placed.append(candidate)
        done = {candidate.place for candidate in placed}
        if rest := [candidate for candidate in batch if candidate.place not in done]:
            placed += await asyncio.to_thread(self._place_singly, rest)
        return placed

    def _partial(self) -> str:
        """A name that no other process gives, not even one that a killed run has left."""
        return f"{os.getpid()}-{next(self._partials)}.part"

    def _place_singly(self, batch: list[Candidate]) -> list[Candidate]:
        """The same for files whose places other files have, in the mirror or in the batch, and for entries of zips."""
        placed: dict[str, Candidate] = {}
        jobs: list[CommitJob] = []
        for candidate in batch:
            path, digests, found = candidate.place, candidate.digests, candidate.item.found
            before = placed[path].digests if path in placed else self._existing(path)
            if before is None:
                jobs.append(self._job(candidate))
            elif before.sha256 != digests.sha256:
                shorter = placed.pop(path, None)
                if digests.size_bytes <= before.size_bytes or not (shorter or candidate.replaces):
                    self._reject(found, "conflict", f"another file of this instance is already at {path}")
                    placed |= {path: shorter} if shorter else {}
                    continue
                self._reject(
                    shorter.item.found if shorter else path,
                    "conflict",
                    f"a longer file of this instance is now at {path}",
                )
                if shorter is None:
                    move_away(self.mirror.files, path, candidate.key.sop_uid, "a longer file of it was adopted")
                    self._count_adopted(-1)
                jobs = [*(job for job in jobs if job.path != path), self._job(candidate)]
                before = None
            if path in placed:
                self._count_already()
            else:
                placed[path] = candidate
                if before is not None:
                    jobs.append(CommitJob(path))
        commit(self.mirror.files, jobs)
        if errors := [job.error for job in jobs if job.error is not None]:
            raise errors[0]
        for candidate in placed.values():
            candidate.mtime_ns = self.mirror.files.mtime_ns(candidate.place)
        return list(placed.values())

    def _existing(self, path: str) -> Digests | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return digests_of_file(self.mirror.files.absolute(path))
        return None

    def _job(self, candidate: Candidate) -> CommitJob:
        name, source = partial_name(candidate.key.series_uid, candidate.key.sop_uid), candidate.item.source
        if isinstance(source, bytes):
            return CommitJob(candidate.place, name, source)
        bring(Path(source), self.mirror.files.partials.path(name), may_link=self.by is not ImportMode.COPY)
        return CommitJob(candidate.place, name)

    async def _journal(self, folders: list[tuple[Series, str]], batch: list[Candidate]) -> None:
        outcomes = [_outcome(candidate) for candidate in batch]
        names = [outcome.name for outcome in outcomes]
        await self.mirror.journal(Journal.record_found, self.run, folders, outcomes, names, now=datetime.now(UTC))
        self.series.update(outcome.series_uid for outcome in outcomes)
        self._count_adopted(len(batch))
        self.not_decoded += sum(outcome.is_not_decoded for outcome in outcomes)
        self.bytes_adopted += sum(outcome.size_bytes for outcome in outcomes)
        if self.by is ImportMode.MOVE:
            await asyncio.to_thread(self._clear, batch)

    def _clear(self, batch: list[Candidate]) -> None:
        """Remove moved files from their old places, now that the journal has them."""
        for candidate in batch:
            source = candidate.item.source
            if isinstance(source, str) and source != str(self.mirror.files.absolute(candidate.place)):
                remove_taken(Path(source), self.source)

    def _reject(self, found: str, error: str, message: str) -> None:
        with self._counting:
            self.refused += 1
            if len(self.problems) < _REFUSALS_NAMED:
                self.problems.append(Refusal(found, error, message))

    def _count_adopted(self, more: int) -> None:
        with self._counting:
            self.adopted += more

    def _count_already(self) -> None:
        with self._counting:
            self.already += 1

    def _announce(self) -> None:
        self._announced = time.monotonic()
        self.context.sink(
            Adopting(self.adopted + self.already + self.refused, self.adopted, self.bytes_adopted, self.refused)
        )


def _outcome(candidate: Candidate) -> InstanceOutcome:
    sop_uid, digests = candidate.key.sop_uid, candidate.digests
    name = candidate.place.rpartition("/")[2]
    return InstanceOutcome(
        series_uid=candidate.key.series_uid,
        key=sop_uid,
        sop_uid=sop_uid,
        outcome=Outcome.REUSED,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=candidate.mtime_ns,
        transfer_syntax_uid=candidate.transfer_syntax_uid,
        sop_class_uid=candidate.header.sop_class_uid if candidate.header is not None else None,
        notes=candidate.notes,
        name=name if name != default_file_name(sop_uid) else None,
    )


def _look_up(
    journal: Journal, keys: list[InstanceKey], series: list[Series], layout: Layout
) -> tuple[dict[InstanceKey, HeldPlace], list[tuple[Series, str]], dict[SeriesUid, SeriesPlaces]]:
    """Which instances are held, and the folders and places of Series. Runs on the journal's thread."""
    folders = place_series(journal, series, layout)
    return journal.find_all_held(keys), folders, places_of(journal, folders, layout)
