"""The selections of a run: they become Series in the journal, those that annotations refer to as well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.archive.routed import source_of
from bulkdl.errors import NotFound, SelectionError
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, SelectionRow
from bulkdl.model.events import Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports.base import Failure
from bulkdl.model.selection import Selection
from bulkdl.resolve.resolution import Earlier, Resolution, check_found, resolve
from bulkdl.runtime.tasks import Stage
from bulkdl.store.layout import Layout
from bulkdl.store.space import check_fits, measure
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, place_series
from bulkdl.verbs.runs.collection_descriptions import CollectionsToDescribe
from bulkdl.verbs.runs.run_reporter import RunReporter

if TYPE_CHECKING:
    from bulkdl.resolve.annotations import AnnotationClosure
    from bulkdl.resolve.denied_series import DeniedSeries
    from bulkdl.verbs.locks.changes import LockedChanges

_WITHDRAWN: Final = "the archive does not have this series any more; the mirror keeps its files until they are pruned"


@dataclass(slots=True)
class RunSelections:
    """Resolves selections, and records their Series while they are found.

    `recorded` is the state of this stage; the run ends it. `denied` and `locked` are set by `sync`.
    """

    mirror: OpenMirror
    run: Run
    client: Archive
    coordinator: Coordinator
    descriptions: CollectionsToDescribe
    reporter: RunReporter
    recorded: Stage = field(default_factory=Stage)
    denied: DeniedSeries | None = None
    locked: LockedChanges | None = None
    _closures: list[tuple[AnnotationClosure, Run, Layout]] = field(default_factory=list)
    _unanswered: set[int | None] = field(default_factory=set)  # selections of which a question failed

    @property
    def have_references(self) -> bool:
        """Whether what is downloaded may refer to further Series of a selection."""
        return bool(self._closures)

    async def resolve(self, selection: Selection, layout: Layout, *, run: Run | None = None) -> bool:
        """Record the Series of `selection`, as those of `run`; return whether every question was answered.

        Raises SelectionError: there are none; DiskFull.
        """
        run = run or self.run
        found = Resolution()
        closure = self._closure(selection, run, layout) if selection.with_annotations else None
        moved = await self._record_found(selection, layout, run, found, closure)
        for text in found.notes():
            self.reporter.note(text)
        if moved:
            self._say_moved(moved)
        if found.release is not None:
            await self.mirror.journal(Journal.note_catalogue, run, found.release)
        if not found.series and not found.failed and selection.since is None:
            self.reporter.empty.append(run)
        try:
            failures = await check_found(selection, found, self.client)
        except SelectionError as error:
            self.reporter.fail(error.code, str(error))
            raise
        for failure in failures:
            if failure.series and not await self._is_withdrawn(failure):
                await self.mirror.journal(
                    Journal.record_series_failure,
                    run,
                    SeriesUid(failure.series),
                    error=failure.error,
                    message=failure.message,
                    attempts=failure.attempts,
                )
            else:
                message = _WITHDRAWN if failure.series else failure.message
                self.reporter.failures.append(replace(failure, message=message))
        if found.failed:
            self._unanswered.add(run.selection_id)
        elif closure is None:
            await self.mirror.journal(Journal.end_resolving, run)
        await check_space(self.mirror, self.run)
        return not (found.failed or (closure is not None and closure.failures))

    def _closure(self, selection: Selection, run: Run, layout: Layout) -> AnnotationClosure:
        """What finds the annotations of a selection, in this round and the next ones."""
        from bulkdl.resolve.annotations import AnnotationClosure  # noqa: PLC0415 - late: most selections are without
        from bulkdl.verbs.mirrors.held_references import HeldReferences  # noqa: PLC0415 - the same

        closure = AnnotationClosure(self.client, HeldReferences(self.mirror.files.root), peeks=True)
        closure.limits, closure.denied = Selection(denied_licenses=selection.denied_licenses), self.denied
        self._closures.append((closure, run, layout))
        return closure

    async def _record_found(
        self, selection: Selection, layout: Layout, run: Run, found: Resolution, closure: AnnotationClosure | None
    ) -> list[Series]:
        """Record the Series of a selection as they are found; those that moved."""
        moved: list[Series] = []
        kept, position = frozenset[SeriesUid](), None
        if selection.is_shortlisted:
            kept, position = await self.mirror.journal(Journal.selected, run.selection_id), 1
        earlier = Earlier(kept, self._places_of, self.denied)
        async with aclosing(resolve(selection, self.client, found, earlier=earlier, closure=closure)) as batches:
            async for batch in batches:
                self.coordinator.limit_bytes = found.hard_limit_bytes if run is self.run else None
                if self.locked is not None:
                    batch = await self.locked.keep(batch)  # noqa: PLW2901 - what it takes the place of is not used
                self.reporter.sources.update(filter(None, (source_of(self.client, series) for series in batch.series)))
                self.reporter.withdrawn += sum(series.remark is not None for series in batch.series)
                moved += await self.mirror.journal(record_series, run, batch, layout, first_position=position)
                await self.descriptions.add(batch.series, self.mirror.journal)
                position = position + len(batch.series) if position is not None else None
                if self.denied is None:  # else nothing is listed before the end
                    self.recorded.more()
        return moved

    async def _places_of(self, uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, tuple[str, str]]:
        return await self.mirror.journal(Journal.places_of, uids)

    def _say_moved(self, moved: list[Series]) -> None:
        first = moved[0]
        which = (
            f"{len(moved):,} series, {first.series_uid} of {first.collection} / {first.patient_id} the first of them,"
        )
        self.reporter.context.sink(
            Noted(f"the archive has {which} under another collection or patient now; their files stay where they are")
        )

    async def resolve_rest(self, rows: Sequence[SelectionRow], layout: Layout) -> None:
        """Resolve the selections of earlier runs. One that finds nothing is a failure in the report, and forgotten."""
        for row in rows:
            with suppress(SelectionError):
                await self.resolve(row.selection, layout, run=replace(self.run, selection_id=row.id))

    async def _is_withdrawn(self, failure: Failure) -> bool:
        """Whether `sync` treats a Series that was not found as withdrawn, because the mirror has files of it."""
        if self.reporter.changes is None or failure.error != NotFound.code:
            return False
        row = await self.mirror.journal(Journal.find_series, SeriesUid(failure.series))
        return row is not None and row.held + row.withdrawn > 0

    async def follow_references(self) -> bool:
        """Record the Series that belong to selections with annotations by what is held now; whether there are any."""
        is_new = False
        for closure, run, layout in self._closures:
            async with aclosing(closure.extend()) as batches:
                async for batch in batches:
                    await self.mirror.journal(record_series, run, batch, layout)
                    await self.descriptions.add(batch.series, self.mirror.journal)
                    is_new = True
        return is_new

    async def end_references(self) -> None:
        """Say what the annotations brought; only now their selections are resolved."""
        for closure, run, _ in self._closures:
            for text in closure.notes():
                self.reporter.note(text)
            for error in closure.failures:
                self.reporter.fail(error.code, f"the annotations of the selection are not all known: {error}")
            if not closure.failures and run.selection_id not in self._unanswered:
                await self.mirror.journal(Journal.end_resolving, run)

    def may_list(self, series: Series) -> bool:
        """Where licences are denied, the archive first has to say which Series have them."""
        return self.denied is None or (self.recorded.has_ended and self.denied.may_list(series))

    async def may_fetch(self, series_uid: SeriesUid) -> bool:
        """As `may_list`, for what is downloaded."""
        return self.denied is None or (self.recorded.has_ended and await self.denied.may_fetch(series_uid))


async def check_space(mirror: OpenMirror, run: Run) -> None:
    """Raises DiskFull: what the run still owes does not fit on the disk of the mirror."""
    counts = await mirror.journal(Journal.counts, run)
    owed_bytes = max(0, counts.promised_bytes - counts.held_bytes)
    owed_files = max(counts.owed, counts.promised_instances - counts.held)
    check_fits(await asyncio.to_thread(measure, mirror.files.root), owed_bytes, owed_files)


def record_series(journal: Journal, /, run: Run, batch: FoundSeries, layout: Layout, **options: Any) -> list[Series]:
    """Record Series with their folders; those that moved. Runs on the journal's thread, as `Journal.record_series`."""
    now = datetime.now(UTC)
    moved = journal.record_series(run, place_series(journal, batch.series, layout), now=now, **options)
    journal.record_descriptions(run, batch.descriptions, now=now)
    return moved
