"""One run on a mirror: it resolves, lists and downloads side by side, and reports at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.archive.routed import source_of
from bulkdl.errors import BulkdlError, Interrupted, NotFound, SelectionError
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.fetch.first_header import completed, read_first_header
from bulkdl.fetch.lost_files import find_lost
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run, SelectionRow
from bulkdl.model.completed_series import CompletedHandler, CompletedSeries
from bulkdl.model.events import Noted, RunContext, RunStarted
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceState, Outcome, SeriesWork
from bulkdl.model.records import Entry, InstanceKey, Series
from bulkdl.model.reports.base import Failure, RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.resolve.listing import ListSteps, list_instances
from bulkdl.resolve.resolution import Earlier, Resolution, check_found, resolve
from bulkdl.runtime.disk import shortage_errors
from bulkdl.runtime.tasks import Stage, Tasks, run_pool, together
from bulkdl.store.layout import Layout, special_name
from bulkdl.store.space import check_fits, measure
from bulkdl.verbs.connections.open_archive import OpenArchive
from bulkdl.verbs.mirrors.counted_names import CountedNames
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, place_series
from bulkdl.verbs.runs.adopted_files import AdoptedFiles
from bulkdl.verbs.runs.agreements import agreement_of, require_agreement
from bulkdl.verbs.runs.collection_descriptions import CollectionsToDescribe
from bulkdl.verbs.runs.run_reporter import RunReporter

if TYPE_CHECKING:
    from bulkdl.resolve.annotations import AnnotationClosure
    from bulkdl.resolve.denied_series import DeniedSeries
    from bulkdl.verbs.locks.changes import LockedChanges

_WITH_SIDE_FILES: Final = frozenset({"mirror", "resume", "sync"})
_COUNTING: Final = frozenset({*_WITH_SIDE_FILES, "repair"})  # no other part uses the files meanwhile

_WITHDRAWN: Final = "the archive does not have this series any more; the mirror keeps its files until they are pruned"

Compare: TypeAlias = Callable[[SeriesUid, frozenset[str] | None], Awaitable[None]]


async def begin_run(
    verb: str, mirror: OpenMirror, archive: OpenArchive, context: RunContext, selection: Selection | None = None
) -> MirrorRun:
    """Begin a run in the journal. `MirrorRun.carry_out` or `fetch_only` ends it.

    Raises ArchiveRefused: the archive demands an agreement that was not given.
    """
    if mirror.files.is_private and not context.settings.private:
        context = replace(context, settings=replace(context.settings, private=True))
    profile = archive.settings.profile
    if (agreement := agreement_of(profile, archive.choice)) is not None:
        agrees = archive.choice.agrees
        await mirror.journal(require_agreement, agreement, datetime.now(UTC), agrees=agrees)
    run = await mirror.journal(
        Journal.begin_run,
        verb=verb,
        archive_name=profile.name,
        archive_url=profile.url,
        selection=selection,
        settings=asdict(context.settings),
        now=datetime.now(UTC),
    )
    context.sink(RunStarted(run.id, str(mirror.files.root), profile.url))
    settings = replace(archive.settings, root=mirror.files.root, fetch=context.settings, run_id=run.id)
    coordinator = Coordinator(mirror.journal, run, settings, archive.client, context)
    begun = MirrorRun(mirror, run, archive.client, coordinator, context, CollectionsToDescribe(run, context))
    begun.writes_side_files = verb in _WITH_SIDE_FILES
    if verb in _COUNTING:
        begun.names = await CountedNames.of(mirror, context.sink, context.stop)
    return begun


@dataclass(slots=True)
class MirrorRun:
    """One run: the stages resolve, list and download run side by side."""

    mirror: OpenMirror
    run: Run
    client: Archive
    coordinator: Coordinator
    context: RunContext
    descriptions: CollectionsToDescribe
    writes_side_files: bool = False
    names: CountedNames | None = None
    _resolved: Stage = field(default_factory=Stage)
    _listed: Stage = field(default_factory=Stage)
    locks: tuple[Path, ...] = ()  # the lock files that the mirror is compared with at the end
    locked: LockedChanges | None = None  # of `sync`
    denied: DeniedSeries | None = None  # of `sync`
    adopted: AdoptedFiles = field(init=False)
    reporter: RunReporter = field(init=False)
    _closures: list[tuple[AnnotationClosure, Run, Layout]] = field(default_factory=list)
    _unanswered: set[int | None] = field(default_factory=set)  # selections of which a question failed

    def __post_init__(self) -> None:
        self.adopted = AdoptedFiles(self.mirror, self.run, self.client, self.context.sink)
        self.reporter = RunReporter(self.mirror, self.run, self.client.url, self.coordinator, self.context)

    async def carry_out(
        self,
        resolving: Callable[[], Awaitable[object]],
        compare: Compare | None = None,
        *,
        looks_at_disk: bool = True,
    ) -> RunReport:
        """Run all stages to their end, and report. The journal records the outcome of a run that raises, too.

        `compare` is called for each Series that was listed, as `resolve.listing` says. Files that are missing on the
        disk are downloaded again, unless the caller looks for them itself.
        """

        async def resolve_and_look() -> None:
            await resolving()
            if looks_at_disk:
                async with self._paths_in_use():
                    await self._owe_lost_files()

        return await self._to_the_end(self._all_rounds(resolve_and_look(), compare or self.adopted.compare))

    async def _all_rounds(self, resolving: Coroutine[Any, Any, None], compare: Compare) -> None:
        """Resolve, list and download; and again, as long as what was downloaded refers to further Series."""
        await self._round(resolving, compare)
        await self._compare_completed()
        while not self.context.stop.is_set() and self._closures:
            if not await self._follow_references():
                await self._end_closures()
                return
            self._resolved, self._listed = Stage(), Stage()
            await self._round(asyncio.sleep(0), compare)

    def _paths_in_use(self) -> AbstractAsyncContextManager[object]:
        """While paths of files that were read are used, no file is renamed."""
        return self.names.alone if self.names is not None else nullcontext()

    async def _round(self, resolving: Coroutine[Any, Any, None], compare: Compare) -> None:
        async def compare_alone(series_uid: SeriesUid, keys: frozenset[str] | None) -> None:
            async with self._paths_in_use():
                await compare(series_uid, keys)

        listing = list_instances(
            self.mirror.journal,
            self.run,
            self.client,
            upstream=self._resolved,
            downstream=self._listed,
            steps=ListSteps(compare_alone, self._complete, self._may_list),
        )
        self.coordinator.may_fetch = self._may_fetch if self.denied is not None else None

        async def resolve_and_describe() -> None:
            await self._stage(resolving, self._resolved)
            await self.descriptions.ask(self.client, self.mirror.journal)

        stages = resolve_and_describe(), self._stage(listing, self._listed)
        await together(*stages, self.coordinator.fetch(self._listed))

    def _may_list(self, series: Series) -> bool:
        """Where licences are denied, the archive first has to say which Series have them."""
        return self.denied is None or (self._resolved.has_ended and self.denied.may_list(series))

    async def _may_fetch(self, series_uid: SeriesUid) -> bool:
        return self.denied is None or (self._resolved.has_ended and await self.denied.may_fetch(series_uid))

    async def _compare_completed(self) -> None:
        """Compare adopted files that have no checksum by the size of their Series, which are complete now."""
        undecided = self.adopted.take_undecided()
        for series_uid in undecided:
            async with self._paths_in_use():
                await self.adopted.compare(series_uid)
        if undecided:
            await self.coordinator.fetch(self._listed)

    async def _follow_references(self) -> bool:
        """Record the Series that belong to selections with annotations by what is held now; whether there are any."""
        is_new = False
        for closure, run, layout in self._closures:
            async with aclosing(closure.extend()) as batches:
                async for batch in batches:
                    await self.mirror.journal(_record_series, run, batch, layout)
                    await self.descriptions.add(batch.series, self.mirror.journal)
                    is_new = True
        return is_new

    async def _end_closures(self) -> None:
        """Say what the annotations brought; only now their selections are resolved."""
        for closure, run, _ in self._closures:
            for text in closure.notes():
                self.reporter.note(text)
            for error in closure.failures:
                self.reporter.fail(error.code, f"the annotations of the selection are not all known: {error}")
            if not closure.failures and run.selection_id not in self._unanswered:
                await self.mirror.journal(Journal.end_resolving, run)

    async def add(self, series: Series, layout: Layout, *, lost: Sequence[SopInstanceUid] = ()) -> None:
        """Record a Series while the run is carried out, and owe what failed or is lost of it again."""
        await self.mirror.journal(_record_series, self.run, FoundSeries((series,)), layout, again=True)
        await self.mirror.journal(Journal.list_whole, series.series_uid)
        if lost:
            keys = [InstanceKey(series.series_uid, sop_uid) for sop_uid in lost]
            await self.mirror.journal(Journal.owe, self.run, keys)
        self._resolved.more()
        self._listed.more()

    async def add_instance(
        self, series: Series, entry: Entry, layout: Layout, *, lost: Sequence[SopInstanceUid] = ()
    ) -> bool:
        """Record one instance of a Series that is not needed whole while the run is carried out.

        Returns whether it is owed now: not if it is held already, and not lost.
        """
        row = await self.mirror.journal(Journal.find_series, series.series_uid)
        if (unknown := layout.unknown(series)) and not (row is not None and row.held):
            series = completed(series, await read_first_header(self.client, series, entry), unknown)
        is_owed = await self.mirror.journal(_record_instance, self.run, series, entry, layout, lost)
        self._listed.more()
        return is_owed

    async def fetch_only(self, works: list[SeriesWork]) -> RunReport:
        """Download these instances only, and report on them."""
        self._resolved.end()
        self.reporter.wanted = sum(len(work.entries) for work in works)
        return await self._to_the_end(self.coordinator.fetch(self._resolved, works))

    async def _to_the_end(self, work: Awaitable[None]) -> RunReport:
        started = time.monotonic()
        try:
            try:
                with shortage_errors():
                    await self._attended(work)
                    for text in self.denied.notes() if self.denied is not None else ():
                        self.reporter.note(text)
                    await self._leave_out()
                    if self.names is not None:
                        await self.names.name_rest()
                    await self._hold_to_locks()
                    await self._write_side_files()
            except Interrupted:
                self.context.stop.set()
            outcome = await self.reporter.judge()
        except asyncio.CancelledError:
            await self.reporter.report(RunOutcome.INTERRUPTED, time.monotonic() - started)
            raise
        except BulkdlError as error:
            report = await self.reporter.report(RunOutcome.FAILED, time.monotonic() - started)
            error.report = report.as_json()
            raise
        return await self.reporter.report(outcome, time.monotonic() - started)

    async def _write_side_files(self) -> None:
        if self.context.settings.no_side_files or not self.writes_side_files or self.context.stop.is_set():
            return
        from bulkdl.verbs.runs.side_texts import write_side_files  # noqa: PLC0415 - late: a run has downloaded by now

        has_changed = self.coordinator.outcomes.total() > 0
        await write_side_files(self.mirror, self.context.sink, has_changed=has_changed)

    async def _attended(self, work: Awaitable[None]) -> None:
        """Do the work, and pass each Series that it completes to the handler, until all calls have ended."""
        handler = self.context.completed
        if handler is None and self.names is None:
            await work
            return
        completed = asyncio.Queue[SeriesUid | None]()
        self.coordinator.completed = completed.put_nowait
        async with Tasks() as tasks:
            tasks.join(self._handle(completed, handler), name="completed")
            await work
            completed.put_nowait(None)
        for text in handler.notes() if handler is not None else ():
            self.reporter.note(text)

    async def _handle(self, completed: asyncio.Queue[SeriesUid | None], handler: CompletedHandler | None) -> None:
        series = self._completed(completed)
        if handler is not None:
            await run_pool(series, handler.handle, workers=handler.at_once, name="on-series")
            return
        async for _ in series:
            pass

    async def _leave_out(self) -> None:
        """Forget the Series that a limit does not allow, because those before were larger than estimated."""
        if not (left_out := self.coordinator.left_out):
            return
        await self.mirror.journal(Journal.leave_out, self.run, left_out)
        which = f"{len(left_out):,} series, {left_out[0]} the first of them, are"
        self.reporter.note(f"the limit is reached, because series are larger than estimated: {which} left out")

    async def _completed(self, completed: asyncio.Queue[SeriesUid | None]) -> AsyncIterator[CompletedSeries]:
        while (series_uid := await completed.get()) is not None and not self.context.stop.is_set():
            if self.names is not None:
                await self.names.name_complete(series_uid)
            row = await self.mirror.journal(Journal.find_series, series_uid)
            if row is not None:
                root = self.mirror.files.root.absolute()
                yield CompletedSeries(
                    mirror=root,
                    run=self.run.id,
                    archive=self.client.url,
                    folder=root / (row.folder or ""),
                    series=row.series,
                    instances=row.held,
                    size_bytes=row.held_bytes,
                )

    async def _hold_to_locks(self) -> None:
        """Compare what the mirror holds with the lock files that it is made from."""
        if not self.locks or self.context.stop.is_set():
            return
        from bulkdl.verbs.locks.holder import LockHolder  # noqa: PLC0415 - late: most mirrors are made without a lock

        found = await LockHolder(self.mirror, self.run, self.client, self._may_list).hold_to(self.locks)
        self.reporter.failures += found.failures
        self.coordinator.outcomes[Outcome.FETCHED] -= found.fetched
        self.coordinator.outcomes[Outcome.QUARANTINED] += found.fetched
        for text in found.notes():
            self.reporter.note(text)

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
        await self._check_space()
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
                moved += await self.mirror.journal(_record_series, run, batch, layout, first_position=position)
                await self.descriptions.add(batch.series, self.mirror.journal)
                position = position + len(batch.series) if position is not None else None
                if self.denied is None:  # else nothing is listed before the end
                    self._resolved.more()
        return moved

    async def _places_of(self, uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, tuple[str, str]]:
        return await self.mirror.journal(Journal.places_of, uids)

    def _say_moved(self, moved: list[Series]) -> None:
        first = moved[0]
        which = (
            f"{len(moved):,} series, {first.series_uid} of {first.collection} / {first.patient_id} the first of them,"
        )
        self.context.sink(
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

    async def _owe_lost_files(self) -> None:
        """Owe again, and say, what the journal calls held and the disk does not have with its size."""
        files, count, first = self.mirror.files, 0, ""
        with await asyncio.to_thread(Journal.open_readonly, files.journal_path) as journal:
            lost_files = find_lost(files, journal, self.run, self.context.stop.is_set)
            while lost := await asyncio.to_thread(next, lost_files, None):
                await self.mirror.journal(Journal.owe, self.run, list(lost))
                count, first = count + len(lost), first or next(iter(lost.values()))
        if count:
            which = f"{first} is" if count == 1 else f"{count:,} files, {first} the first of them, are"
            again = "downloading again" if self.denied is None else "downloading again what is not denied"
            self.context.sink(Noted(f"{which} missing or truncated in the mirror; {again}"))
            await self._check_space()

    async def _check_space(self) -> None:
        counts = await self.mirror.journal(Journal.counts, self.run)
        owed_bytes = max(0, counts.promised_bytes - counts.held_bytes)
        owed_files = max(counts.owed, counts.promised_instances - counts.held)
        check_fits(await asyncio.to_thread(measure, self.mirror.files.root), owed_bytes, owed_files)

    async def _stage(self, stage: Awaitable[None], downstream: Stage) -> None:
        """Run a stage and end the next one's input after it. A stage that is interrupted ends without an error."""
        try:
            await stage
        except Interrupted:
            self.reporter.was_cut_short = True
        downstream.end()

    async def _complete(self, series: Series, entries: Sequence[Entry]) -> None:
        """Ask the first instance of a Series for what its folder is made of, if the archive did not say it."""
        layout = await self.mirror.settle_layout()
        row = await self.mirror.journal(Journal.find_series, series.series_uid)
        if (unknown := layout.unknown(series)) and not (row is not None and row.held):
            header = await read_first_header(self.client, series, entries[0])
            await self.mirror.journal(_complete_series, completed(series, header, unknown), layout)


def _complete_series(journal: Journal, series: Series, layout: Layout) -> None:
    journal.complete_series(series, layout.folder(series, taken=journal.is_taken), now=datetime.now(UTC))


def _record_series(journal: Journal, /, run: Run, batch: FoundSeries, layout: Layout, **options: Any) -> list[Series]:
    now = datetime.now(UTC)
    moved = journal.record_series(run, place_series(journal, batch.series, layout), now=now, **options)
    journal.record_descriptions(run, batch.descriptions, now=now)
    return moved


def _record_instance(
    journal: Journal, run: Run, series: Series, entry: Entry, layout: Layout, lost: Sequence[SopInstanceUid]
) -> bool:
    """In one go, so that the Series is never seen unlisted: it would be downloaded whole."""
    _record_series(journal, run, FoundSeries((series,)), layout, again=True)
    journal.record_part(run, series.series_uid, entry, special_name(entry.sop_uid) if entry.sop_uid else None)
    journal.owe(run, [InstanceKey(series.series_uid, sop_uid) for sop_uid in lost])
    return any(
        each.key == entry.key and each.state is InstanceState.OWED for each in journal.entries(series.series_uid)
    )
