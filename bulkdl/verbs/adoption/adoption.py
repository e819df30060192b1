"""One run of `adopt`: files are examined, get a place in the mirror, and are recorded, batch by batch."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bulkdl.dicom.header import Header
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace, Run
from bulkdl.model.events import Adopting, RunContext
from bulkdl.model.records import Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.importing import ImportMode
from bulkdl.store.layout import Layout
from bulkdl.verbs.adoption.counts import AdoptCounts
from bulkdl.verbs.adoption.examiner import Examiner
from bulkdl.verbs.adoption.placer import Placer
from bulkdl.verbs.adoption.places import choose_places, look_up, outcome_of, series_of
from bulkdl.verbs.adoption.processes import AdoptProcesses
from bulkdl.verbs.adoption.sources import (
    Candidate,
    SourceItem,
    batches_of,
    collection_by_folder,
    collections_in_tables,
    items_below,
    items_of_zip,
)
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

_ANNOUNCE_SECONDS: Final = 0.25


@dataclass(slots=True)
class Adoption:
    """One run of `adopt`: the files below `source` get into `mirror`, in places of `layout`.

    `collection` overrides every other source of the Collection. `holds_files`: the mirror held files before this run.
    """

    mirror: OpenMirror
    run: Run
    layout: Layout
    source: Path
    by: ImportMode
    collection: str | None
    context: RunContext
    with_md5: bool
    holds_files: bool
    counts: AdoptCounts = field(default_factory=AdoptCounts)
    _processes: AdoptProcesses = field(default_factory=AdoptProcesses)
    _collections: dict[str, str] = field(default_factory=dict)
    _choosing: asyncio.Condition = field(default_factory=asyncio.Condition)
    _claimed: set[str] = field(default_factory=set)  # the places of batches that are not in the journal yet
    _announced: float = 0.0
    _examiner: Examiner = field(init=False)
    _placer: Placer = field(init=False)

    def __post_init__(self) -> None:
        self._placer = Placer(self.mirror.files, self.source, self.by, self._processes, self.counts)
        self._examiner = Examiner(
            mirror=self.mirror,
            processes=self._processes,
            counts=self.counts,
            level=self.context.settings.validation,
            with_md5=self.with_md5,
            with_headers=self.layout.reads_header,
            holds_files=self.holds_files,
            is_held=self._is_held,
        )

    async def carry_out(self) -> RunOutcome:
        """Adopt everything, or until the run is to stop.

        Raises:
            DiskError, JournalError: the mirror cannot be written.
        """
        self._collections = await asyncio.to_thread(collections_in_tables, self.source)
        files = items_below(self.source, self.mirror.files.root, self.context.stop.is_set)
        async with self._examiner.decoders, self._processes:
            at_once = 2 * self._processes.at_once + 1  # while the journal has one, there is one for each process
            await run_pool(self._batches(files), self._take, workers=at_once, name="adopt")
        self._announce()
        if self.context.stop.is_set():
            return RunOutcome.INTERRUPTED
        return RunOutcome.PARTIAL if self.counts.refused else RunOutcome.COMPLETE

    async def _batches(self, items: Iterator[SourceItem]) -> AsyncIterator[list[SourceItem]]:
        batches = batches_of(items)
        while not self.context.stop.is_set() and (batch := await asyncio.to_thread(next, batches, None)):
            yield batch

    async def _take(self, batch: list[SourceItem]) -> None:
        zips: list[SourceItem] = []
        if valid := await self._examiner.valid(batch, zips):
            await self._settle(valid)
        if time.monotonic() - self._announced >= _ANNOUNCE_SECONDS:
            self._announce()
        for zipped in zips:
            async for entries in self._batches(items_of_zip(zipped, self.counts.reject)):
                await self._take(entries)

    async def _settle(self, valid: list[Candidate]) -> None:
        """Put valid instances in place, and record them. Two batches never work on the same place at a time."""
        async with self._choosing:
            folders, fresh = await self._choose(valid)
            while not self._claimed.isdisjoint(places := {candidate.place_key for candidate in fresh}):
                await self._choosing.wait()
                folders, fresh = await self._choose(fresh)  # what the other batch has adopted is held now
            self._claimed |= places
        try:
            if placed := await self._placer.place(fresh):
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
        held, folders, places = await self.mirror.journal(look_up, keys, series, self.layout)
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
            self.counts.add_already()
            if self.by is ImportMode.MOVE and not is_itself and isinstance(item.source, str):
                self._placer.remove_second_name(Path(item.source), held.path)
        elif held.run_id == self.run.id and item.size_bytes > held.size_bytes:
            return False  # of two valid files of one run the longer one is the whole one
        else:
            self.counts.reject(item.found, "conflict", f"the mirror holds another file of this instance, {held.path}")
        return True

    def _series(self, found: str, header: Header) -> Series:
        known = self.collection or self._collections.get(header.series_uid) or header.collection
        return series_of(header, known or collection_by_folder(found, header.patient_id))

    async def _journal(self, folders: list[tuple[Series, str]], batch: list[Candidate]) -> None:
        outcomes = [outcome_of(candidate) for candidate in batch]
        names = [outcome.name for outcome in outcomes]
        await self.mirror.journal(Journal.record_found, self.run, folders, outcomes, names, now=datetime.now(UTC))
        self.counts.add_adopted(outcomes)
        if self.by is ImportMode.MOVE:
            await asyncio.to_thread(self._placer.clear, batch)

    def _announce(self) -> None:
        self._announced = time.monotonic()
        counts = self.counts
        self.context.sink(Adopting(counts.found, counts.adopted, counts.bytes_adopted, counts.refused))
