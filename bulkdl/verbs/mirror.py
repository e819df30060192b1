"""`mirror` and `resume`: bring what is selected, or still owed, into a folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from bulkdl.archive.http import ArchiveClient, connect
from bulkdl.archive.profiles import Profile
from bulkdl.errors import BulkdlError, Interrupted, JournalUnreadable, SelectionError
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, Run, RunRow
from bulkdl.journal.thread import JournalThread
from bulkdl.model.access import Access, ArchiveChoice
from bulkdl.model.context import RunContext
from bulkdl.model.events import Noted, RunStarted, Sink, ignore
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import Series
from bulkdl.model.reports import Failure, InstanceCounts, RunOutcome, RunReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.model.states import Outcome
from bulkdl.resolve import Resolution, explain_nothing, list_instances, resolve
from bulkdl.runtime.tasks import Stage, together
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import DEFAULT_LAYOUT, Layout, parse_layout
from bulkdl.store.space import check_fits, measure
from bulkdl.verbs.common import FAILURES_TOLD, find_archive, now, open_mirror, require_mirror

__all__ = ["mirror", "resume"]


async def mirror(
    selection: Selection,
    to: Path,
    *,
    archive: ArchiveChoice,
    settings: FetchSettings | None = None,
    layout: str | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> RunReport:
    """Bring all that `selection` finds in the archive into the mirror at `to`, and report.

    Safe to repeat: what is held is not fetched again, what was interrupted goes on. When `stop` is set the run ends
    within seconds, as interrupted; all that was finished is journalled.

    Raises:
        UserError: the selection, the layout or the archive's name is wrong, or nothing at all was found.
        ArchiveError: the archive refused, or could not be reached; what was finished is kept.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    selection.check()
    chosen = parse_layout(layout) if layout is not None else None
    settings = settings or FetchSettings()
    async with (
        find_archive(archive) as profile,
        open_mirror(to, "mirror", private=settings.private) as (files, journal_thread),
        _running(files, journal_thread, profile, archive.access, settings, "mirror", selection, sink, stop) as session,
    ):
        placing = await journal_thread(
            Journal.settle_layout, chosen.template if chosen else None, DEFAULT_LAYOUT.template
        )
        return await session.carry_out(lambda: session.resolve(selection, parse_layout(placing)))


async def resume(
    mirror: Path,
    *,
    archive: ArchiveChoice,
    is_archive_chosen: bool = False,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> RunReport:
    """Go on with everything that the journal of a mirror still owes, without resolving again.

    The archive is the one of the last run, unless `is_archive_chosen` says that `archive` names another that holds the
    same. A selection whose resolving was interrupted is resolved to its end.

    Raises:
        As `mirror`; `JournalUnreadable` where there is no mirror.
    """
    require_mirror(mirror)
    settings = settings or FetchSettings()
    async with open_mirror(mirror, "resume", private=settings.private) as (files, journal_thread):
        last = await journal_thread(Journal.last_run)
        if last is None:
            raise JournalUnreadable(f"{mirror} has seen no run that could be resumed; use bulkdl mirror")
        choice = archive if is_archive_chosen else _same_archive(archive, last)
        rows = await journal_thread(Journal.selections)
        unresolved = [row for row in rows if not row.is_resolved]
        async with (
            find_archive(choice) as profile,
            _running(files, journal_thread, profile, choice.access, settings, "resume", None, sink, stop) as session,
        ):
            await journal_thread(Journal.owe_again, session.run)
            placing = parse_layout(await journal_thread(Journal.settle_layout, None, DEFAULT_LAYOUT.template))

            async def finish_resolving() -> None:
                for row in unresolved:
                    await session.resolve(row.selection, placing, run=replace(session.run, selection_id=row.id))

            return await session.carry_out(finish_resolving)


def _same_archive(choice: ArchiveChoice, last: RunRow) -> ArchiveChoice:
    return ArchiveChoice(name=last.archive_name, profiles=choice.profiles, access=choice.access, cache=choice.cache)


@asynccontextmanager
async def repairing(
    files: MirrorFiles,
    journal_thread: JournalThread,
    archive: ArchiveChoice,
    settings: FetchSettings,
    sink: Sink,
    stop: asyncio.Event,
) -> AsyncIterator[Session]:
    """A run that mends an open mirror; see `Session.fetch_only`."""
    async with (
        find_archive(archive) as profile,
        _running(files, journal_thread, profile, archive.access, settings, "repair", None, sink, stop) as session,
    ):
        yield session


@asynccontextmanager
async def _running(
    files: MirrorFiles,
    journal_thread: JournalThread,
    profile: Profile,
    access: Access,
    settings: FetchSettings,
    verb: str,
    selection: Selection | None,
    sink: Sink,
    stop: asyncio.Event | None,
) -> AsyncIterator[Session]:
    """A run on a mirror, from its first line in the journal to its last."""
    stop = stop or asyncio.Event()
    worker_settings = WorkerSettings(
        profile=profile,
        access=access,
        root=files.root,
        fetch=settings,
        ceiling=settings.concurrency or DEFAULT_CEILING,
        rate_limit_bytes=settings.rate_limit_bytes,
    )
    run = await journal_thread(
        Journal.begin_run,
        verb=verb,
        archive_name=profile.name,
        archive_url=profile.url,
        selection=selection,
        settings=asdict(settings),
        now=now(),
    )
    sink(RunStarted(run.id, str(files.root), profile.url))
    retrier = make_retrier(worker_settings, sink, stop)
    async with connect(profile, retrier, access=access, note=lambda text: sink(Noted(text))) as client:
        coordinator = Coordinator(journal_thread, run, worker_settings, client, RunContext(settings, sink, stop))
        yield Session(files, journal_thread, run, profile, client, coordinator, settings, sink, stop)


@dataclass(slots=True)
class Session:
    """One run at work: resolving, listing and fetching side by side, and the report at the end."""

    files: MirrorFiles
    journal_thread: JournalThread
    run: Run
    profile: Profile
    client: ArchiveClient
    coordinator: Coordinator
    settings: FetchSettings
    sink: Sink
    stop: asyncio.Event
    _resolved: Stage = field(default_factory=Stage)
    _unfound: list[Failure] = field(default_factory=list)  # what is no Series of the journal's
    _only: int | None = None
    _was_cut_short: bool = False

    async def carry_out(self, resolving: Callable[[], Awaitable[None]]) -> RunReport:
        """Run all stages to their end, and report. The journal learns how it ended whatever happens.

        Raises:
            BulkdlError: what stopped the run. `Interrupted` is none: it makes an interrupted run.
        """
        listed = Stage()
        return await self._to_the_end(
            together(
                self._stage(resolving(), self._resolved),
                self._stage(self._list(self._resolved, listed), listed),
                self.coordinator.fetch(listed),
            )
        )

    async def fetch_only(self, works: list[SeriesWork]) -> RunReport:
        """Fetch these and nothing else, and report on them alone.

        Raises:
            BulkdlError: what stopped the run.
        """
        self._resolved.end()
        self._only = sum(len(work.entries) for work in works)
        return await self._to_the_end(self.coordinator.fetch(self._resolved, works))

    async def _to_the_end(self, work: Awaitable[None]) -> RunReport:
        started = time.monotonic()
        try:
            try:
                await work
            except Interrupted:
                self.stop.set()
            outcome = await self._judge()
        except asyncio.CancelledError:
            await self._report(RunOutcome.INTERRUPTED, time.monotonic() - started)
            raise
        except BulkdlError as error:
            report = await self._report(RunOutcome.FAILED, time.monotonic() - started)
            error.report = report.as_json()
            raise
        return await self._report(outcome, time.monotonic() - started)

    async def resolve(self, selection: Selection, layout: Layout, *, run: Run | None = None) -> None:
        """Put the Series of `selection` into the journal, as those of `run`.

        Raises:
            SelectionError: the archive has none.
            DiskFull: they do not fit.
        """
        run = run or self.run

        async def take(batch: list[Series]) -> None:
            await self.journal_thread(_record_series, run, batch, layout)
            self._resolved.more()

        found = await resolve(selection, self.client, take)
        await self._report_unfound(selection, found, run)
        if not found.broken:
            await self.journal_thread(Journal.end_resolving, run)
        await self._check_space()

    async def _report_unfound(self, selection: Selection, found: Resolution, run: Run) -> None:
        failures = found.failures()
        if not found.series and found.broken:
            raise found.broken[0][1]
        if not found.series and selection.since is None and not any(failure.series for failure in failures):
            raise SelectionError(await explain_nothing(selection, found.unanswered, self.client))
        self._unfound += [failure for failure in failures if not failure.series]
        for failure in failures:
            if failure.series:
                await self.journal_thread(
                    Journal.record_series_failure,
                    run,
                    SeriesUid(failure.series),
                    error=failure.error,
                    message=failure.message,
                    attempts=failure.attempts,
                )

    async def _check_space(self) -> None:
        counts = await self.journal_thread(Journal.counts, self.run)
        owed_bytes = max(0, counts.promised_bytes - counts.held_bytes)
        owed_files = max(counts.owed, counts.promised_instances - counts.held)
        check_fits(await asyncio.to_thread(measure, self.files.root), owed_bytes, owed_files)

    async def _stage(self, stage: Awaitable[None], downstream: Stage) -> None:
        """Run a stage, and tell the next one when it has ended; told to stop, it simply ends."""
        try:
            await stage
        except Interrupted:
            self._was_cut_short = True
        downstream.end()

    async def _list(self, resolved: Stage, listed: Stage) -> None:
        await list_instances(self.journal_thread, self.run, self.client, upstream=resolved, downstream=listed)

    async def _judge(self) -> RunOutcome:
        if self._only is not None:
            return self._judge_repairs(self._only)
        counts = await self.journal_thread(Journal.counts, self.run)
        if self.stop.is_set() and (counts.owed or counts.series_unlisted or self._was_cut_short):
            return RunOutcome.INTERRUPTED
        if counts.series_failed or counts.failed or counts.quarantined or self._unfound:
            return RunOutcome.PARTIAL
        return RunOutcome.COMPLETE

    def _judge_repairs(self, wanted: int) -> RunOutcome:
        outcomes = self.coordinator.outcomes
        if outcomes.total() < wanted:
            return RunOutcome.INTERRUPTED
        mended = outcomes[Outcome.FETCHED] + outcomes[Outcome.REUSED]
        return RunOutcome.COMPLETE if mended == wanted else RunOutcome.PARTIAL

    def _instances(self, counts: Counts, fetched: int) -> InstanceCounts:
        if self._only is not None:
            outcomes = self.coordinator.outcomes
            return InstanceCounts(
                selected=self._only,
                fetched=fetched,
                reused=outcomes[Outcome.REUSED],
                failed=outcomes[Outcome.FAILED],
                quarantined=outcomes[Outcome.QUARANTINED],
            )
        return InstanceCounts(
            selected=counts.instances_selected,
            fetched=fetched,
            reused=max(0, counts.held - fetched),
            failed=counts.failed,
            quarantined=counts.quarantined,
        )

    async def _report(self, outcome: RunOutcome, seconds: float) -> RunReport:
        counts = await self.journal_thread(Journal.counts, self.run)
        whole = counts if self.run.selection_id is None else await self.journal_thread(Journal.counts, None)
        fetched = self.coordinator.outcomes[Outcome.FETCHED]
        traffic = self.coordinator.traffic()
        failures = await self.journal_thread(Journal.failures, self.run, limit=FAILURES_TOLD)
        total = sum((await self.journal_thread(Journal.failures_by_error, self.run)).values())
        report = RunReport(
            mirror=str(self.files.root),
            archive=self.profile.url,
            run=self.run.id,
            outcome=outcome,
            series=counts.series,
            instances=self._instances(counts, fetched),
            bytes_fetched=self.coordinator.bytes_fetched,
            bytes_mirror=whole.held_bytes,
            requests=traffic.requests,
            retries=traffic.retries,
            seconds=seconds,
            failures=(*failures, *self._unfound[:FAILURES_TOLD]),
            failures_left_out=max(0, total - len(failures)),
        )
        document = report.as_json()
        document.pop("failures")
        await self.journal_thread(Journal.end_run, self.run.id, outcome=outcome, counts=document, now=now())
        return report


def _record_series(journal: Journal, run: Run, batch: list[Series], layout: Layout) -> None:
    """Note Series with the folders that the layout gives them; runs on the journal's thread."""
    placed = []
    for series in batch:
        known = journal.find_series(series.series_uid)
        folder = known.folder if known is not None else None
        placed.append((series, folder or layout.folder(series, taken=journal.is_taken)))
    journal.record_series(run, placed, now=now())
