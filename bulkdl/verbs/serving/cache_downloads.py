"""The downloads of a cache: runs on its mirror, made of the same parts as those of `mirror`.

Each run begins with the first Series that is needed, and ends when none was for some seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bulkdl.errors import ArchiveError, BulkdlError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import EntryRow, SeriesRow
from bulkdl.model.events import RunContext
from bulkdl.model.ids import SeriesUid, default_file_name
from bulkdl.model.outcomes import STATE_AFTER, InstanceOutcome, InstanceState
from bulkdl.runtime.tasks import first_set
from bulkdl.server.catalogue.holdings import HeldFile
from bulkdl.server.responses import Unavailable
from bulkdl.store.layout import Layout
from bulkdl.verbs.connections.open_archive import OpenArchive
from bulkdl.verbs.mirrors.open_mirror import OpenMirror
from bulkdl.verbs.runs.mirror_run import MirrorRun, begin_run
from bulkdl.verbs.serving.archive_lists import ArchiveLists
from bulkdl.verbs.serving.demands import Demand, Demands, InstanceDemand
from bulkdl.verbs.serving.held_series import HeldSeries
from bulkdl.verbs.serving.outages import unavailable

_IDLE_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True)
class CacheDownloads:
    """Downloads what is demanded, enters it in the catalogue, and ends the demands."""

    mirror: OpenMirror
    archive: OpenArchive
    layout: Layout
    context: RunContext
    demands: Demands
    held: HeldSeries
    lists: ArchiveLists

    async def work(self) -> None:
        """Download what is needed, until this is cancelled or the context is stopped."""
        while not self.context.stop.is_set():
            self.demands.new.clear()
            try:
                await self.held.make_room(0, self.demands.whole)
                if self.demands.waiting:
                    await self._run()
            except BulkdlError as error:
                self._fail_all(error)
            if not self.demands.waiting:
                await first_set(self.demands.new, self.context.stop)

    async def _run(self) -> None:
        """One run on the mirror: it downloads what is needed, until nothing was for some seconds."""
        run = await begin_run("serve", self.mirror, self.archive, self.context)
        run.coordinator.recorder.recorded = self._on_recorded
        if release := (await asyncio.to_thread(self.held.holdings.source)).get("release"):
            await self.mirror.journal(Journal.note_catalogue, run.run, release)
        await run.carry_out(lambda: self._feed(run), self._on_listed, looks_at_disk=False)
        if self.demands.are_open:  # what the run could not record
            self._fail_all(ArchiveError("the download has ended"))

    async def _feed(self, run: MirrorRun) -> None:
        while not self.context.stop.is_set():
            self.demands.new.clear()
            while self.demands.waiting:
                demand = self.demands.waiting.pop(0)
                await (self._begin(run, demand) if isinstance(demand, Demand) else self._begin_one(run, demand))
            await self.held.make_room(0, self.demands.whole)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self.demands.are_open else _IDLE_SECONDS):
                    await first_set(self.demands.new, self.context.stop)
            if not self.demands.are_open and not self.demands.new.is_set():
                return

    async def _begin(self, run: MirrorRun, demand: Demand) -> None:
        found = await asyncio.to_thread(self.held.find, demand.series_uid)
        if found is None:
            self._fail(demand, Unavailable("the archive does not have this series any more"))
            return
        await self.held.make_room(found.size_bytes or 0, self.demands.whole)
        await run.add(found, self.layout, lost=demand.lost)
        row = await self.mirror.journal(Journal.find_series, demand.series_uid)
        if row is not None and row.is_listed:
            await self._take_list(demand, row)

    async def _begin_one(self, run: MirrorRun, demand: InstanceDemand) -> None:
        found = await asyncio.to_thread(self.held.find, demand.series_uid)
        if found is None:
            self._end_one(demand, Unavailable("the archive does not have this series any more"))
            return
        await self.held.make_room(demand.entry.size_bytes or 0, self.demands.whole)
        if not await run.add_instance(found, demand.entry, self.layout, lost=demand.lost):
            self._end_one(demand)

    def _end_one(self, demand: InstanceDemand, failure: Unavailable | None = None) -> None:
        self.demands.single.pop((demand.series_uid, demand.entry.key), None)
        if failure is not None:
            self.lists.forget(demand.series_uid)
        self.demands.new.set()
        demand.end(failure)

    async def _on_listed(self, series_uid: SeriesUid, keys: frozenset[str] | None) -> None:
        del keys  # those of a list that is not complete count, too
        row = await self.mirror.journal(Journal.find_series, series_uid)
        if row is not None and (demand := self.demands.whole.get(series_uid)) is not None:
            await self._take_list(demand, row)

    async def _take_list(self, demand: Demand, row: SeriesRow) -> None:
        entries = await self.mirror.journal(Journal.entries, demand.series_uid)
        if not entries:
            if row.error is not None:
                self._fail(demand, unavailable(row.error, row.message or row.error))
            return
        demand.folder = row.folder or ""
        demand.entries = frozenset(entry.key for entry in entries)
        if all(entry.sop_uid is not None for entry in entries):
            demand.listed = frozenset(entry.sop_uid or "" for entry in entries)
        # A file that the journal has a moment before the catalogue has not arrived: `_on_recorded` comes with it.
        files = await asyncio.to_thread(self.held.catalogue.files, demand.series_uid)
        entered = {file.path.name for file in files}
        for entry in entries:
            if entry.state is not InstanceState.HELD or entry.name in entered:
                self._take_entry(demand, entry)
        await self._settle(demand)

    def _take_entry(self, demand: Demand, entry: EntryRow) -> None:
        if entry.state is InstanceState.HELD:
            demand.took(entry.key, entry.sop_uid or "", entry.name or "")
        elif entry.error is not None and entry.key not in demand.arrived:
            demand.failures[entry.key] = unavailable(entry.error, entry.message or entry.error)

    async def _on_recorded(self, outcomes: Sequence[InstanceOutcome]) -> None:
        by_series: dict[SeriesUid, list[InstanceOutcome]] = {}
        for outcome in outcomes:
            by_series.setdefault(outcome.series_uid, []).append(outcome)
        for series_uid, group in by_series.items():
            held = [one for one in group if STATE_AFTER[one.outcome] is InstanceState.HELD]
            if held:
                await self._enter(series_uid, held)
            for one in group:
                if (single := self.demands.single.get((series_uid, one.key))) is not None:
                    self._end_one(single, None if one in held else _failure_of(one))
            if (demand := self.demands.whole.get(series_uid)) is not None:
                for one in group:
                    if one in held:
                        demand.took(one.key, one.sop_uid or "", _name_of(one))
                    else:
                        demand.failures[one.key] = _failure_of(one)
                await self._settle(demand)

    async def _enter(self, series_uid: SeriesUid, held: Sequence[InstanceOutcome]) -> None:
        """Enter files in the catalogue."""
        demand = self.demands.whole.get(series_uid)
        folder = demand.folder if demand is not None else None
        if folder is None:
            row = await self.mirror.journal(Journal.find_series, series_uid)
            folder = (row.folder if row is not None else None) or ""
        files = [HeldFile(one.sop_uid or "", _name_of(one), one.size_bytes, one.mtime_ns, one.md5) for one in held]
        await asyncio.to_thread(self.held.holdings.enter, series_uid, folder, files)

    async def _settle(self, demand: Demand) -> None:
        """Wake who waits for a demand; it ends when all its entries have arrived or failed."""
        if has_ended := demand.is_over:
            self.demands.whole.pop(demand.series_uid, None)
            if demand.failure is None:
                await asyncio.to_thread(self.held.holdings.complete, demand.series_uid)
            self.demands.new.set()
        demand.notify(has_ended=has_ended)

    def _fail(self, demand: Demand, error: Unavailable) -> None:
        demand.error = error
        self.demands.whole.pop(demand.series_uid, None)
        self.demands.new.set()
        demand.notify(has_ended=True)

    def _fail_all(self, error: BulkdlError) -> None:
        self.demands.waiting.clear()
        for demand in list(self.demands.whole.values()):
            self._fail(demand, unavailable(error.code, str(error)))
        for single in list(self.demands.single.values()):
            self._end_one(single, unavailable(error.code, str(error)))


def _failure_of(outcome: InstanceOutcome) -> Unavailable:
    return unavailable(outcome.error or "", outcome.message or outcome.error or "")


def _name_of(held: InstanceOutcome) -> str:
    return held.name or default_file_name(held.sop_uid or "")
