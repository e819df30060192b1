"""`sync_plan`: say what `sync` would do, without doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Unpack

from bulkdl.archive.base import Archive
from bulkdl.errors import RequestFailed, UnexpectedAnswer
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SelectionRow, SeriesRow, is_changed
from bulkdl.model.events import Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Failure
from bulkdl.model.reports.run import Changes
from bulkdl.model.reports.sync import SyncPlan
from bulkdl.model.selection import Selection
from bulkdl.resolve.annotations import AnnotationClosure
from bulkdl.resolve.denied_series import DeniedSeries
from bulkdl.resolve.resolution import Earlier, Resolution, resolve
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.mirrors.held_references import HeldReferences
from bulkdl.verbs.runs.options import kept_context
from bulkdl.verbs.sync import (
    SyncOptions,
    denied_series,
    find_present,
    not_repeated,
    older_index,
    repeated_selections,
    too_many,
)


async def sync_plan_async(mirror: Paths, **options: Unpack[SyncOptions]) -> SyncPlan:
    """Say what `sync` would do. Asks the archive for Series, and writes nothing.

    What `sync` would not mark is not counted, and is among the failures. Instances that were replaced or withdrawn
    within a Series are not counted: only a list of the Series shows them. Raises as `sync_async`.
    """
    root = Path(mirror)
    context = await asyncio.to_thread(kept_context, root, options)
    with Journal.open_readonly(require_mirror(root)) as journal:
        all_rows = journal.selections()
        archive, rows = repeated_selections(journal.last_run(), all_rows, options, root)
        async with open_archive(archive, context) as source:
            comparing = _Comparing(root, journal, source.client, options.get("max_delete"))
            comparing.denied = denied_series(options, comparing.find)
            for row in rows:
                await comparing.take(row)
            denied = comparing.denied.notes() if comparing.denied is not None else ()
            notes = (*not_repeated(all_rows, rows), *denied)
            for text in notes:
                context.sink(Noted(text))
            failures = tuple(comparing.failures)
            return SyncPlan(str(mirror), source.client.url, comparing.changes(), failures, notes)


sync_plan = blocking(sync_plan_async)


@dataclass(slots=True)
class _Comparing:
    """Compares what the archive has of each selection with the journal. A Series counts once."""

    root: Path
    journal: Journal
    client: Archive
    max_delete: int | None
    denied: DeniedSeries | None = None
    failures: list[Failure] = field(default_factory=list)
    new: set[SeriesUid] = field(default_factory=set)
    changed: set[SeriesUid] = field(default_factory=set)
    withdrawn: set[SeriesUid] = field(default_factory=set)

    async def find(self, series_uid: SeriesUid) -> SeriesRow | None:
        """What the journal has of a Series."""
        return self.journal.find_series(series_uid)

    def changes(self) -> Changes:
        return Changes(new_series=len(self.new), changed_series=len(self.changed), withdrawn_series=len(self.withdrawn))

    async def take(self, row: SelectionRow) -> None:
        """Compare one selection."""
        found, seen, closure = Resolution(), set[SeriesUid](), None
        if row.selection.with_annotations:
            limits = Selection(denied_licenses=row.selection.denied_licenses)
            closure = AnnotationClosure(self.client, HeldReferences(self.root), limits=limits, denied=self.denied)
        kept = self.journal.selected(row.id) if row.selection.is_shortlisted else ()
        earlier = Earlier(kept, self._places_of, self.denied)
        async with aclosing(resolve(row.selection, self.client, found, earlier=earlier, closure=closure)) as batches:
            async for batch in batches:
                seen.update(series.series_uid for series in batch.series)
                self._compare(batch.series)
        found.follow(closure)
        self.failures += found.failures()
        if found.series and not found.failed:
            await self._find_withdrawn(row, seen, found.release)

    async def _places_of(self, uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, tuple[str, str]]:
        return self.journal.places_of(uids)

    def _compare(self, batch: Sequence[Series]) -> None:
        for series in batch:
            row = self.journal.find_series(series.series_uid)
            if row is None:
                self.new.add(series.series_uid)
            elif row.held > 0 and (is_changed(row.series, series) or self.journal.is_uncompared(series.series_uid)):
                self.changed.add(series.series_uid)

    async def _find_withdrawn(self, row: SelectionRow, seen: Collection[SeriesUid], release: str | None) -> None:
        held = {uid: found.held for uid in self.journal.linked(row.id) if (found := self.journal.find_series(uid))}
        vanished = {uid: files for uid, files in held.items() if uid not in seen}
        if not vanished:
            return
        doubt = older_index(release, self.journal.catalogues())
        if why := doubt or too_many(vanished, sum(held.values()), self.max_delete):
            self.failures.append(Failure("", None, UnexpectedAnswer.code, why, 1))
            return
        try:
            there = await find_present(list(vanished), self.client)
        except RequestFailed as error:
            self.failures.append(Failure("", None, error.code, str(error), error.attempts))
            return
        self.withdrawn |= vanished.keys() - there
