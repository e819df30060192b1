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
from collections.abc import AsyncIterator
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Final, Unpack

from bulkdl.dicom.header import Header
from bulkdl.dicom.validation import validate
from bulkdl.errors import InstanceError, JournalUnreadable, SelectionError
from bulkdl.fetch.committer import source_may_inflate
from bulkdl.fetch.digests import Digests, digests_of, digests_of_file
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
from bulkdl.runtime.disk import BOOKKEEPING
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportMode, bring, remove_taken
from bulkdl.store.layout import Layout, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.store.partials import partial_name
from bulkdl.verbs import common
from bulkdl.verbs.adopt_places import choose_places, places_of
from bulkdl.verbs.adopt_sources import Candidate, CandidateFinder, collection_by_folder, collections_in_tables
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.common import NewLayout, OpenMirror, RunOptions, now
from bulkdl.verbs.counted_names import CountedNames
from bulkdl.verbs.reach import archive_terms, choose_archive
from bulkdl.verbs.signatures import Paths

_AT_ONCE: Final = 4
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
    async with common.open_mirror(to, "adopt") as mirror:
        return await _adopt(mirror, source, chosen, options)


adopt = blocking(adopt_async)


def _find_folder(folder: Paths) -> Path:
    found = Path(folder).resolve()
    if not found.is_dir():
        raise SelectionError(f"there is no folder {folder}")
    if BOOKKEEPING in found.parts and (mirror := common.mirror_around(found)) is not None:
        raise SelectionError(f"{folder} belongs to the mirror {mirror} itself; its files are not adopted")
    return found


async def _adopt(mirror: OpenMirror, source: Path, layout: Layout | None, options: AdoptOptions) -> AdoptReport:
    started = time.monotonic()
    context = common.context_of(options)
    name, url = await _archive_of(mirror, options.get("archive"))
    settled = await mirror.settle_layout(layout, context.sink)
    by, collection = ImportMode(options.get("by", ImportMode.LINK)), options.get("collection")
    run = await mirror.journal(
        Journal.begin_run,
        verb="adopt",
        archive_name=name,
        archive_url=url,
        selection=None,
        settings={"source": str(source), "by": by.value, "collection": collection},
        now=now(),
    )
    root = mirror.files.root
    context.sink(RunStarted(run.id, str(root), str(source)))
    by = ImportMode.MOVE if source == root or root in source.parents else by
    adopting = _Adopting(mirror, run, settled, source, by, collection, context)
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
        await mirror.journal(Journal.end_run, run.id, outcome=outcome, counts=document, now=now())
    return report


async def _archive_of(mirror: OpenMirror, archive: str | ArchiveChoice | None) -> tuple[str, str]:
    last = await mirror.journal(Journal.last_run)
    if last is not None and archive is None:
        return last.archive_name, last.archive_url
    choice = choose_archive(archive)
    return choice.name, archive_terms(choice.name, choice.profiles, forms=choice.forms).url or choice.name


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
    adopted: int = 0
    already: int = 0
    refused: int = 0
    bytes_adopted: int = 0
    series: set[SeriesUid] = field(default_factory=set)
    problems: list[Refusal] = field(default_factory=list)
    not_decoded: int = 0
    _finder: CandidateFinder = field(init=False)
    _decoders: Decoders = field(default_factory=Decoders)
    _collections: dict[str, str] = field(default_factory=dict)
    _placing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _inflating: Lock = field(default_factory=Lock)  # one data set at a time is inflated
    _announced: float = 0.0
    _counting: Lock = field(default_factory=Lock)  # several threads validate files

    def __post_init__(self) -> None:
        root, stop = self.mirror.files.root, self.context.stop
        self._finder = CandidateFinder(self.source, root, self._reject, stop.is_set)

    async def carry_out(self) -> RunOutcome:
        self._collections = await asyncio.to_thread(collections_in_tables, self.source)
        async with self._decoders:
            await run_pool(self._batches(), self._take, workers=_AT_ONCE, name="adopt")
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
            others=self._finder.others,
            bytes_adopted=self.bytes_adopted,
            bytes_mirror=bytes_mirror,
            seconds=seconds,
            not_decoded=self.not_decoded,
            problems=tuple(self.problems),
        )

    async def _batches(self) -> AsyncIterator[list[Candidate]]:
        batches = self._finder.batches()
        while not self.context.stop.is_set() and (batch := await asyncio.to_thread(next, batches, None)):
            yield batch

    async def _take(self, batch: list[Candidate]) -> None:
        held = await self.mirror.journal(_held, [candidate.key for candidate in batch])
        fresh = [candidate for candidate in batch if not self._is_held(candidate, held.get(candidate.key))]
        if self.context.settings.validation is ValidationLevel.PIXELS:
            fresh = await self._decode(fresh)
        valid = await asyncio.to_thread(self._validate, fresh)
        async with self._placing:
            held = await self.mirror.journal(_held, [candidate.key for candidate in valid])  # other batches since
            firsts = {candidate.header.series_uid: candidate for candidate in reversed(valid)}
            series = [self._series(first.found, first.header) for first in firsts.values()]
            folders = await self.mirror.journal(common.place_series, series, self.layout)
            places = await self.mirror.journal(places_of, folders, self.layout)
            for candidate in valid:
                candidate.replaces = candidate.key in held and held[candidate.key].run_id == self.run.id
            await asyncio.to_thread(choose_places, valid, places, held, self.layout, self.mirror.files)
            if placed := await asyncio.to_thread(self._place, valid):
                await self._journal(folders, placed)
        if time.monotonic() - self._announced >= _ANNOUNCE_SECONDS:
            self._announce()

    def _is_held(self, candidate: Candidate, held: HeldPlace | None) -> bool:
        if held is None:
            return False
        is_itself = candidate.source == self.mirror.files.absolute(held.path)
        if is_itself and held.run_id == self.run.id:
            return True  # this run moved it here, and has counted it
        if is_itself or held.size_bytes == candidate.size_bytes:
            self._count_already()
        elif held.run_id == self.run.id and candidate.size_bytes > held.size_bytes:
            return False  # of two valid files of one run the longer one is the whole one
        else:
            self._reject(candidate.found, "conflict", f"the mirror holds another file of this instance, {held.path}")
        return True

    def _validate(self, batch: list[Candidate]) -> list[Candidate]:
        valid, level = [], self.context.settings.validation
        for candidate in batch:
            source = candidate.source
            try:
                if level is not ValidationLevel.PIXELS:  # that was done before
                    with self._inflating if source_may_inflate(source) else nullcontext():
                        candidate.validation = validate(source, level=level)
                candidate.digests = digests_of(source) if isinstance(source, bytes) else digests_of_file(source)
            except (InstanceError, OSError) as error:
                self._reject(candidate.found, getattr(error, "code", "unreadable"), str(error))
            else:
                valid.append(candidate)
        return valid

    async def _decode(self, batch: list[Candidate]) -> list[Candidate]:
        """Validate in other processes, because a decoder may crash."""
        valid = []
        for candidate in batch:
            try:
                candidate.validation = await self._decoders.validate(candidate.source, None)
            except InstanceError as error:
                self._reject(candidate.found, error.code, str(error))
            else:
                valid.append(candidate)
        return valid

    def _series(self, found: str, header: Header) -> Series:
        known = self.collection or self._collections.get(header.series_uid) or header.collection
        values: dict[str, Any] = {each.name: getattr(header, each.name, None) for each in fields(Series)}
        values |= {
            "patient_id": header.patient_id or "",
            "collection": known or collection_by_folder(found, header.patient_id),
            "description": header.series_description,
        }
        return Series(**values)

    def _place(self, batch: list[Candidate]) -> list[Candidate]:
        """Commit the batch to its places; return those that are new."""
        placed: dict[str, Candidate] = {}
        jobs: list[CommitJob] = []
        for candidate in batch:
            path = candidate.place
            before = placed[path].digests if path in placed else self._existing(path)
            if before is None:
                jobs.append(self._job(candidate))
            elif before.sha256 != candidate.digests.sha256:
                shorter = placed.pop(path, None)
                if candidate.size_bytes <= before.size_bytes or not (shorter or candidate.replaces):
                    self._reject(candidate.found, "conflict", f"another file of this instance is already at {path}")
                    placed |= {path: shorter} if shorter else {}
                    continue
                found = shorter.found if shorter else path
                self._reject(found, "conflict", f"a longer file of this instance is now at {path}")
                if shorter is None:
                    move_away(self.mirror.files, path, candidate.header.sop_uid, "a longer file of it was adopted")
                    self.adopted -= 1
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
        return list(placed.values())

    def _existing(self, path: str) -> Digests | None:
        with suppress(FileNotFoundError, NotADirectoryError):
            return digests_of_file(self.mirror.files.absolute(path))
        return None

    def _job(self, candidate: Candidate) -> CommitJob:
        name, source = partial_name(candidate.header.series_uid, candidate.header.sop_uid), candidate.source
        if isinstance(source, bytes):
            return CommitJob(candidate.place, name, source)
        bring(source, self.mirror.files.partials.path(name), may_link=self.by is not ImportMode.COPY)
        return CommitJob(candidate.place, name)

    async def _journal(self, folders: list[tuple[Series, str]], batch: list[Candidate]) -> None:
        named = [candidate.place.rpartition("/")[2] for candidate in batch]
        names = [
            name if name != default_file_name(candidate.header.sop_uid) else None
            for candidate, name in zip(batch, named, strict=True)
        ]
        outcomes = [
            InstanceOutcome(
                series_uid=candidate.header.series_uid,
                key=candidate.header.sop_uid,
                sop_uid=candidate.header.sop_uid,
                outcome=Outcome.REUSED,
                mtime_ns=self.mirror.files.mtime_ns(candidate.place),
                transfer_syntax_uid=candidate.validation.transfer_syntax_uid,
                notes=candidate.validation.notes,
                name=name,
                **asdict(candidate.digests),
            )
            for candidate, name in zip(batch, names, strict=True)
        ]
        await self.mirror.journal(Journal.record_found, self.run, folders, outcomes, names, now=now())
        self.series.update(outcome.series_uid for outcome in outcomes)
        self.adopted += len(batch)
        self.not_decoded += sum(outcome.is_not_decoded for outcome in outcomes)
        self.bytes_adopted += sum(outcome.size_bytes for outcome in outcomes)
        if self.by is ImportMode.MOVE:
            await asyncio.to_thread(self._clear, batch)

    def _clear(self, batch: list[Candidate]) -> None:
        """Remove moved files from their old places, now that the journal has them."""
        for candidate in batch:
            if isinstance(candidate.source, Path) and candidate.source != self.mirror.files.absolute(candidate.place):
                remove_taken(candidate.source, self.source)

    def _reject(self, found: str, error: str, message: str) -> None:
        with self._counting:
            self.refused += 1
            if len(self.problems) < _REFUSALS_NAMED:
                self.problems.append(Refusal(found, error, message))

    def _count_already(self) -> None:
        with self._counting:
            self.already += 1

    def _announce(self) -> None:
        self._announced = time.monotonic()
        self.context.sink(
            Adopting(self.adopted + self.already + self.refused, self.adopted, self.bytes_adopted, self.refused)
        )


def _held(journal: Journal, keys: list[InstanceKey]) -> dict[InstanceKey, HeldPlace]:
    """Those that the journal calls held, and where. Runs on the journal's thread."""
    return {key: place for key in keys if (place := journal.find_held(key)) is not None}
