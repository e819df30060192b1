"""One run on a mirror: it resolves, lists and downloads side by side, and reports at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.errors import BulkdlError, Interrupted
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.fetch.lost_files import find_lost
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run
from bulkdl.model.completed_series import CompletedHandler, CompletedSeries
from bulkdl.model.events import Noted, RunContext, RunStarted
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceState, Outcome, SeriesWork
from bulkdl.model.records import Entry, InstanceKey, Series
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.resolve.first_header import completed, read_first_header
from bulkdl.resolve.listing import ListSteps, list_instances
from bulkdl.runtime.disk import shortage_errors
from bulkdl.runtime.tasks import Stage, Tasks, run_pool, together
from bulkdl.store.layout import Layout, special_name
from bulkdl.verbs.connections.open_archive import OpenArchive
from bulkdl.verbs.mirrors.counted_names import CountedNames
from bulkdl.verbs.mirrors.open_mirror import OpenMirror
from bulkdl.verbs.runs.adopted_files import AdoptedFiles
from bulkdl.verbs.runs.agreements import agreement_of, require_agreement
from bulkdl.verbs.runs.collection_descriptions import CollectionsToDescribe
from bulkdl.verbs.runs.run_reporter import RunReporter
from bulkdl.verbs.runs.run_selections import RunSelections, check_space, record_series

_WITH_SIDE_FILES: Final = frozenset({"mirror", "resume", "sync"})
_COUNTING: Final = frozenset({*_WITH_SIDE_FILES, "repair"})  # no other part uses the files meanwhile

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
    begun = MirrorRun(mirror, run, archive.client, coordinator, context)
    begun.writes_side_files = verb in _WITH_SIDE_FILES
    if verb in _COUNTING:
        begun.names = await CountedNames.of(mirror, context.sink, context.stop)
    return begun


@dataclass(slots=True)
class MirrorRun:
    """One run: the stages resolve (`selections`), list and download run side by side.

    `names` are those of a layout that counts the files of a Series, and `locks` the lock files that the mirror is
    compared with at the end.
    """

    mirror: OpenMirror
    run: Run
    client: Archive
    coordinator: Coordinator
    context: RunContext
    writes_side_files: bool = False
    names: CountedNames | None = None
    _listed: Stage = field(default_factory=Stage)
    locks: tuple[Path, ...] = ()
    descriptions: CollectionsToDescribe = field(init=False)
    adopted: AdoptedFiles = field(init=False)
    reporter: RunReporter = field(init=False)
    selections: RunSelections = field(init=False)

    def __post_init__(self) -> None:
        self.descriptions = CollectionsToDescribe(self.run, self.context)
        self.adopted = AdoptedFiles(self.mirror, self.run, self.client, self.context.sink)
        self.reporter = RunReporter(self.mirror, self.run, self.client.url, self.coordinator, self.context)
        self.selections = RunSelections(
            self.mirror, self.run, self.client, self.coordinator, self.descriptions, self.reporter
        )

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
        while not self.context.stop.is_set() and self.selections.have_references:
            if not await self.selections.follow_references():
                await self.selections.end_references()
                return
            self.selections.recorded, self._listed = Stage(), Stage()
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
            upstream=self.selections.recorded,
            downstream=self._listed,
            steps=ListSteps(compare_alone, self._complete, self.selections.may_list),
        )
        self.coordinator.may_fetch = self.selections.may_fetch if self.selections.denied is not None else None

        async def resolve_and_describe() -> None:
            await self._stage(resolving, self.selections.recorded)
            await self.descriptions.ask(self.client, self.mirror.journal)

        stages = resolve_and_describe(), self._stage(listing, self._listed)
        await together(*stages, self.coordinator.fetch(self._listed))

    async def _compare_completed(self) -> None:
        """Compare adopted files that have no checksum by the size of their Series, which are complete now."""
        undecided = self.adopted.take_undecided()
        for series_uid in undecided:
            async with self._paths_in_use():
                await self.adopted.compare(series_uid)
        if undecided:
            await self.coordinator.fetch(self._listed)

    async def add(self, series: Series, layout: Layout, *, lost: Sequence[SopInstanceUid] = ()) -> None:
        """Record a Series while the run is carried out, and owe what failed or is lost of it again."""
        await self.mirror.journal(record_series, self.run, FoundSeries((series,)), layout, again=True)
        await self.mirror.journal(Journal.list_whole, series.series_uid)
        if lost:
            keys = [InstanceKey(series.series_uid, sop_uid) for sop_uid in lost]
            await self.mirror.journal(Journal.owe, self.run, keys)
        self.selections.recorded.more()
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
        self.selections.recorded.end()
        self.reporter.wanted = sum(len(work.entries) for work in works)
        return await self._to_the_end(self.coordinator.fetch(self.selections.recorded, works))

    async def _to_the_end(self, work: Awaitable[None]) -> RunReport:
        started = time.monotonic()
        try:
            try:
                with shortage_errors():
                    await self._attended(work)
                    for text in self.selections.denied.notes() if self.selections.denied is not None else ():
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

        has_changed = self.coordinator.recorder.outcomes.total() > 0
        await write_side_files(self.mirror, self.context.sink, has_changed=has_changed)

    async def _attended(self, work: Awaitable[None]) -> None:
        """Do the work, and pass each Series that it completes to the handler, until all calls have ended."""
        handler = self.context.completed
        if handler is None and self.names is None:
            await work
            return
        completed = asyncio.Queue[SeriesUid | None]()
        self.coordinator.recorder.completed = completed.put_nowait
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

        found = await LockHolder(self.mirror, self.run, self.client, self.selections.may_list).hold_to(self.locks)
        self.reporter.failures += found.failures
        self.coordinator.recorder.outcomes[Outcome.FETCHED] -= found.fetched
        self.coordinator.recorder.outcomes[Outcome.QUARANTINED] += found.fetched
        for text in found.notes():
            self.reporter.note(text)

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
            again = "downloading again" if self.selections.denied is None else "downloading again what is not denied"
            self.context.sink(Noted(f"{which} missing or truncated in the mirror; {again}"))
            await check_space(self.mirror, self.run)

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


def _record_instance(
    journal: Journal, run: Run, series: Series, entry: Entry, layout: Layout, lost: Sequence[SopInstanceUid]
) -> bool:
    """In one go, so that the Series is never seen unlisted: it would be downloaded whole."""
    record_series(journal, run, FoundSeries((series,)), layout, again=True)
    journal.record_part(run, series.series_uid, entry, special_name(entry.sop_uid) if entry.sop_uid else None)
    journal.owe(run, [InstanceKey(series.series_uid, sop_uid) for sop_uid in lost])
    return any(
        each.key == entry.key and each.state is InstanceState.OWED for each in journal.entries(series.series_uid)
    )
