"""`adopt`: take a folder that another program filled into a mirror, without fetching what is there already.

The folders of the NBIA Data Retriever (classic and descriptive), of tcia_utils (one for each Series, or its zip), of
the IDC's tools, and any others will do: an instance is known by its head alone. Only the Collection is not in every
head. It is taken from what the caller says, from a table such as the Retriever's metadata.csv, from the head (CTP's
private block), or from the folder above the one named after the Patient, in this order.

Every instance is validated and hashed, put in its place in the mirror, synced, and journalled, in this order; a file
that is moved is removed where it was last of all. So nothing is lost whatever happens, and adopting again goes on. That
an adopted Series is whole is for the archive to say: `mirror` and `resume` ask it, and fetch what is missing.
"""

from __future__ import annotations

import asyncio
import csv
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Annotated, Final, Unpack

from bulkdl.dicom.header import Header, read_header
from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import BundleError, InstanceError, JournalUnreadable, SelectionError
from bulkdl.fetch.digests import Digests, digests_of, digests_of_file
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace, Run
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.context import RunContext
from bulkdl.model.events import Adopting, RunStarted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.options import Option
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.records import InstanceKey, Series
from bulkdl.model.reports import AdoptReport, Refusal, RunOutcome
from bulkdl.model.states import Outcome
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.bundles import BundleReader, EntryData, EntryEnded, EntryStarted
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportMode, SourceFile, bring, remove_taken, source_files
from bulkdl.store.layout import Layout, instance_name, parse_layout, special_name
from bulkdl.store.lock import MirrorLock
from bulkdl.store.partials import partial_name
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.common import NewLayout, OpenMirror, RunOptions, context_of, now, open_mirror, place_series
from bulkdl.verbs.reach import archive_terms, choose_archive
from bulkdl.verbs.signatures import Paths

_BATCH: Final = 200
_BATCH_BYTES: Final = 64 << 20
_AT_ONCE: Final = 4
_READ_BYTES: Final = 1 << 20
_ZIP: Final = b"PK\x03\x04"
_REFUSALS_NAMED: Final = 1_000
_LARGEST_TABLE_BYTES: Final = 256 << 20
_ANNOUNCE_SECONDS: Final = 0.25

_SERIES_COLUMNS: Final = ("Series UID", "SeriesInstanceUID", "Series Instance UID", "Series ID", "series_uid")
_COLLECTION_COLUMNS: Final = ("Collection", "Collection Name", "collection", "collection_id")


class AdoptOptions(RunOptions, total=False):
    """The options of `adopt`. `archive` is where `resume` will download from; `settings` give the validation level."""

    to: Annotated[Paths | None, Option(keyword="to", metavar="DIR", help="The mirror (default: FOLDER).", read=Path)]
    by: Annotated[
        ImportMode,
        Option(
            keyword="by",
            help="How files get into DIR. Across file systems a link becomes a copy.",
            read=ImportMode,
            shown_default=ImportMode.LINK.value,
        ),
    ]
    collection: Annotated[
        str | None, Option(keyword="collection", metavar="NAME", help="The Collection of all adopted instances.")
    ]
    layout: NewLayout
    rebuild: Annotated[bool, Option(keyword="rebuild", help="Set an unreadable journal aside first.")]


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
    return found


async def _adopt(mirror: OpenMirror, source: Path, layout: Layout | None, options: AdoptOptions) -> AdoptReport:
    started = time.monotonic()
    context = context_of(options)
    name, url = await _archive_of(mirror, options.get("archive"))
    settled = await mirror.settle_layout(layout)
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
    adopting = _Adopting(
        mirror=mirror,
        run=run,
        layout=settled,
        source=source,
        by=ImportMode.MOVE if source == root or root in source.parents else by,
        collection=collection,
        context=context,
    )
    outcome = RunOutcome.FAILED
    try:
        outcome = await adopting.carry_out()
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
    return choice.name, archive_terms(choice.name, choice.profiles).url or choice.name


def _set_journal_aside(mirror: Path) -> None:
    """Rename a journal that cannot be read, and what SQLite keeps beside it. One that can be read stays."""
    files = MirrorFiles(mirror)
    if not files.journal_path.exists():
        return
    with MirrorLock(files.root, "adopt"):
        try:
            with Journal.open_readonly(files.journal_path) as journal:
                journal.check()
        except JournalUnreadable:
            stem = files.journal_path.name
            number = next(n for n in range(1, 10_000) if not list(files.journal_path.parent.glob(f"unreadable-{n}.*")))
            for path in sorted(files.journal_path.parent.glob(f"{stem}*")):
                path.rename(path.with_name(f"unreadable-{number}.{path.name}"))


@dataclass(slots=True)
class _Candidate:
    """An instance that was found: a file, or `content` out of a zip. `found` is where, for people."""

    found: str
    header: Header
    size_bytes: int
    path: Path | None = None
    content: bytes | None = None
    digests: Digests | None = None
    verdict: ValidationResult | None = None

    @property
    def key(self) -> InstanceKey:
        return InstanceKey(self.header.series_uid, self.header.sop_uid)


@dataclass(slots=True, kw_only=True)
class _Adopting:
    """One adoption at work."""

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
    others: int = 0
    bytes_adopted: int = 0
    series: set[SeriesUid] = field(default_factory=set)
    problems: list[Refusal] = field(default_factory=list)
    _collections: dict[str, str] = field(default_factory=dict)
    _placing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _announced: float = 0.0
    _counting: Lock = field(default_factory=Lock)  # files are looked at in several threads

    async def carry_out(self) -> RunOutcome:
        self._collections = await asyncio.to_thread(_collections_in_tables, self.source)
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
            others=self.others,
            bytes_adopted=self.bytes_adopted,
            bytes_mirror=bytes_mirror,
            seconds=seconds,
            problems=tuple(self.problems[:_REFUSALS_NAMED]),
        )

    # --- finding ------------------------------------------------------------------------------------------------------

    async def _batches(self) -> AsyncIterator[list[_Candidate]]:
        candidates = self._candidates()
        while not self.context.stop.is_set() and (batch := await asyncio.to_thread(_next_batch, candidates)):
            yield batch

    def _candidates(self) -> Iterator[_Candidate]:
        for stranger in source_files(self.source, but=self.mirror.files.root):
            if self.context.stop.is_set():
                return
            try:
                with stranger.path.open("rb") as file:
                    head = file.read(HEAD_BYTES)
            except OSError as error:
                self._refuse(stranger.shown, "unreadable", error.strerror or str(error))
                continue
            if is_dicom(head) and stranger.path.name.upper() != "DICOMDIR":
                if (candidate := self._looked_at(stranger.shown, stranger.path, stranger.size_bytes)) is not None:
                    candidate.path = stranger.path
                    yield candidate
            elif head.startswith(_ZIP):
                yield from self._unpacked(stranger)
            else:
                self.others += 1

    def _looked_at(self, shown: str, source: Path | bytes, size_bytes: int) -> _Candidate | None:
        try:
            return _Candidate(shown, read_header(source), size_bytes)
        except InstanceError as error:
            self._refuse(shown, error.code, str(error))
            return None

    def _unpacked(self, stranger: SourceFile) -> Iterator[_Candidate]:
        """The instances in a zip; other entries are no business of ours. The zip stays where it is."""
        reader = BundleReader()
        name, content = "", bytearray()
        try:
            with stranger.path.open("rb") as file:
                while True:
                    chunk = file.read(_READ_BYTES)
                    for event in reader.feed(chunk) if chunk else reader.close():
                        match event:
                            case EntryStarted():
                                name, content = event.name, bytearray()
                            case EntryData():
                                content += event.data
                            case EntryEnded() if is_dicom(content):
                                entry = f"{stranger.shown}: {name}"
                                candidate = self._looked_at(entry, bytes(content), len(content))
                                if candidate is not None:
                                    candidate.content = bytes(content)
                                    yield candidate
                            case _:
                                pass
                    if not chunk:
                        return
        except (BundleError, OSError) as error:
            self._refuse(stranger.shown, BundleError.code, f"the zip is not whole: {error}")

    # --- taking in ----------------------------------------------------------------------------------------------------

    async def _take(self, batch: list[_Candidate]) -> None:
        held = await self.mirror.journal(_held, [candidate.key for candidate in batch])
        fresh = [candidate for candidate in batch if not self._is_held(candidate, held.get(candidate.key))]
        sound = await asyncio.to_thread(self._sound, fresh)
        async with self._placing:
            placed = await asyncio.to_thread(
                self._place, sound, await self.mirror.journal(place_series, self._series_of(sound), self.layout)
            )
            if placed:
                await self._journal(placed)
        if time.monotonic() - self._announced >= _ANNOUNCE_SECONDS:
            self._announce()

    def _is_held(self, candidate: _Candidate, held: HeldPlace | None) -> bool:
        if held is None:
            return False
        is_itself = candidate.path == self.mirror.files.absolute(held.path)
        if is_itself and held.run_id == self.run.id:
            return True  # moved here a moment ago, and counted then
        if is_itself or held.size_bytes == candidate.size_bytes:
            self._count_already()
        else:
            self._refuse(candidate.found, "conflict", f"the mirror holds another file of this instance, {held.path}")
        return True

    def _sound(self, batch: list[_Candidate]) -> list[_Candidate]:
        sound = []
        for candidate in batch:
            source = candidate.content if candidate.content is not None else candidate.path
            assert source is not None  # noqa: S101 - one of the two is set
            try:
                candidate.verdict = validate(source, level=self.context.settings.validation)
                candidate.digests = digests_of(source) if isinstance(source, bytes) else digests_of_file(source)
            except (InstanceError, OSError) as error:
                self._refuse(candidate.found, getattr(error, "code", "unreadable"), str(error))
            else:
                sound.append(candidate)
        return sound

    def _series_of(self, batch: list[_Candidate]) -> list[Series]:
        firsts = {candidate.header.series_uid: candidate for candidate in reversed(batch)}
        return [_series(first.header, self._collection_of(first)) for first in firsts.values()]

    def _collection_of(self, candidate: _Candidate) -> str:
        header = candidate.header
        told = self.collection or self._collections.get(header.series_uid) or header.collection
        return told or _collection_by_folder(candidate.found, header.patient_id)

    def _place(
        self, batch: list[_Candidate], folders: list[tuple[Series, str]]
    ) -> tuple[list[tuple[Series, str]], list[_Candidate]] | None:
        """Put the batch in its places, synced."""
        by_series = {series.series_uid: folder for series, folder in folders}
        placed: dict[str, _Candidate] = {}
        jobs: list[CommitJob] = []
        for candidate in batch:
            assert candidate.digests is not None  # noqa: S101 - it is sound
            path = f"{by_series[candidate.header.series_uid]}/{instance_name(candidate.header.sop_uid)}"
            before = placed[path].digests if path in placed else self._lying(path)
            if before is None:
                jobs.append(self._job(candidate, path))
            elif before.sha256 != candidate.digests.sha256:
                self._refuse(candidate.found, "conflict", f"another file of this instance lies at {path} already")
                continue
            if path in placed:
                self._count_already()
            else:
                placed[path] = candidate
                if before is not None:
                    jobs.append(CommitJob(path))
        commit(self.mirror.files, jobs)
        if errors := [job.error for job in jobs if job.error is not None]:
            raise errors[0]
        return (folders, list(placed.values())) if placed else None

    def _lying(self, path: str) -> Digests | None:
        """What lies at `path`, unknown to the journal."""
        absolute = self.mirror.files.absolute(path)
        with suppress(FileNotFoundError, NotADirectoryError):
            return digests_of_file(absolute)
        return None

    def _job(self, candidate: _Candidate, path: str) -> CommitJob:
        name = partial_name(candidate.header.series_uid, candidate.header.sop_uid)
        if candidate.content is None:
            assert candidate.path is not None  # noqa: S101 - it is no entry of a zip
            bring(candidate.path, self.mirror.files.partials.path(name), may_link=self.by is not ImportMode.COPY)
        return CommitJob(path, name, candidate.content)

    async def _journal(self, placed: tuple[list[tuple[Series, str]], list[_Candidate]]) -> None:
        folders, batch = placed
        by_series = {series.series_uid: folder for series, folder in folders}
        outcomes, names = [], []
        for candidate in batch:
            sop_uid = candidate.header.sop_uid
            place = self.mirror.files.absolute(f"{by_series[candidate.header.series_uid]}/{instance_name(sop_uid)}")
            outcomes.append(_outcome(candidate, place.stat().st_mtime_ns))
            names.append(special_name(sop_uid))
        await self.mirror.journal(Journal.record_found, self.run, folders, outcomes, names, now=now())
        self.series.update(outcome.series_uid for outcome in outcomes)
        self.adopted += len(batch)
        self.bytes_adopted += sum(outcome.size_bytes for outcome in outcomes)
        if self.by is ImportMode.MOVE:
            await asyncio.to_thread(self._clear, batch, by_series)

    def _clear(self, batch: list[_Candidate], by_series: dict[SeriesUid, str]) -> None:
        """Remove what was moved where it was, now that the journal has it."""
        for candidate in batch:
            place = self.mirror.files.absolute(
                f"{by_series[candidate.header.series_uid]}/{instance_name(candidate.header.sop_uid)}"
            )
            if candidate.path is not None and candidate.path != place:
                remove_taken(candidate.path, self.source)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _refuse(self, found: str, error: str, message: str) -> None:
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


def _next_batch(candidates: Iterator[_Candidate]) -> list[_Candidate]:
    """The next batch; empty at the end. Blocking."""
    batch: list[_Candidate] = []
    size_bytes = 0
    for candidate in candidates:
        batch.append(candidate)
        size_bytes += candidate.size_bytes
        if len(batch) >= _BATCH or size_bytes >= _BATCH_BYTES:
            break
    return batch


def _held(journal: Journal, keys: list[InstanceKey]) -> dict[InstanceKey, HeldPlace]:
    """What of these the journal calls held, and where; runs on the journal's thread."""
    return {key: place for key in keys if (place := journal.find_held(key)) is not None}


def _series(header: Header, collection: str) -> Series:
    """What the head of one instance tells of its Series."""
    return Series(
        series_uid=header.series_uid,
        study_uid=header.study_uid,
        patient_id=header.patient_id or "",
        collection=collection,
        modality=header.modality,
        body_part=header.body_part,
        manufacturer=header.manufacturer,
        model=header.model,
        software_versions=header.software_versions,
        protocol=header.protocol,
        description=header.series_description,
        series_number=header.series_number,
        series_date=header.series_date,
        study_description=header.study_description,
        study_date=header.study_date,
    )


def _outcome(candidate: _Candidate, mtime_ns: int) -> InstanceOutcome:
    digests, verdict = candidate.digests, candidate.verdict
    assert digests is not None  # noqa: S101 - it is sound
    return InstanceOutcome(
        series_uid=candidate.header.series_uid,
        key=candidate.header.sop_uid,
        sop_uid=candidate.header.sop_uid,
        outcome=Outcome.REUSED,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=mtime_ns,
        transfer_syntax_uid=verdict.transfer_syntax_uid if verdict else None,
        notes=verdict.notes if verdict else (),
    )


def _collection_by_folder(found: str, patient_id: str | None) -> str:
    """The name of the folder above the one that is named after the Patient; empty where there is none."""
    folders = found.split("/")[:-1]
    if patient_id in folders[1:]:
        return folders[folders.index(patient_id, 1) - 1]
    return ""


def _collections_in_tables(folder: Path) -> dict[str, str]:
    """Collections by Series, of the tables in `folder` and in the folders right below it. Blocking."""
    found: dict[str, str] = {}
    for path in sorted([*folder.glob("*.csv"), *folder.glob("*/*.csv")]):
        with suppress(OSError, csv.Error, UnicodeDecodeError):
            if path.is_file() and path.stat().st_size <= _LARGEST_TABLE_BYTES:
                found.update(_collections_in(path))
    return found


def _collections_in(path: Path) -> Iterator[tuple[str, str]]:
    # The Retriever does not quote, so a text with a comma shifts what stands behind it: never the first two columns.
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        head = [name.strip() for name in next(rows, [])]
        series = next((head.index(name) for name in _SERIES_COLUMNS if name in head), None)
        collection = next((head.index(name) for name in _COLLECTION_COLUMNS if name in head), None)
        if series is None or collection is None:
            return
        for row in rows:
            if len(row) > max(series, collection) and row[collection].strip():
                yield row[series].strip(), row[collection].strip()
