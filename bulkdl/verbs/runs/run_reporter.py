"""What a run says: its notes and failures as they come, its outcome and its report at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bulkdl.errors import AccessDenied, ArchiveRefused, DiskError
from bulkdl.fetch.coordinator import Coordinator
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, Run
from bulkdl.model.events import Noted, RunContext
from bulkdl.model.outcomes import Outcome
from bulkdl.model.reports.base import Failure, InstanceCounts, RunOutcome
from bulkdl.model.reports.run import Changes, RunReport
from bulkdl.store.space import measure
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

_FAILURES_NAMED: Final = 1_000  # in a report; the journal has all of them


@dataclass(slots=True)
class RunReporter:
    """Collects what the journal has not: notes, and `failures` that concern no Series that was found.

    `changes` are those of `sync`, `wanted` is the number of instances of a run that only repairs. `was_cut_short`: a
    stage was interrupted. `sources` counts the Series by the part of a routed archive that they come from, `withdrawn`
    those that the archive found and calls withdrawn. The selections of `empty` found nothing; they are forgotten.
    """

    mirror: OpenMirror
    run: Run
    archive_url: str
    coordinator: Coordinator
    context: RunContext
    changes: Changes | None = None
    wanted: int | None = None
    was_cut_short: bool = False
    failures: list[Failure] = field(default_factory=list)
    sources: Counter[str] = field(default_factory=Counter)
    withdrawn: int = 0
    empty: list[Run] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something at once, and in the report."""
        self._notes.append(text)
        self.context.sink(Noted(text))

    def fail(self, error: str, message: str) -> None:
        """Report a failure that concerns no Series."""
        self.failures.append(Failure("", None, error, message, 1))

    async def judge(self) -> RunOutcome:
        """How the run has ended. Raises ArchiveRefused: nothing is held, and everything was refused."""
        if self.wanted is not None:
            ended = self.coordinator.recorder.outcomes
            if ended.total() < self.wanted:
                return RunOutcome.INTERRUPTED
            is_repaired = ended[Outcome.FETCHED] + ended[Outcome.REUSED] == self.wanted
            return RunOutcome.COMPLETE if is_repaired else RunOutcome.PARTIAL
        counts = await self.mirror.journal(Journal.counts, self.run)
        if self.context.stop.is_set() and (counts.owed or counts.series_unlisted or self.was_cut_short):
            return RunOutcome.INTERRUPTED
        if counts.series_failed or counts.failed or counts.quarantined or self.failures:
            await self._check_refused(counts)
            return RunOutcome.PARTIAL
        return RunOutcome.COMPLETE

    async def _check_refused(self, counts: Counts) -> None:
        """Raises ArchiveRefused: nothing is held, and everything was refused."""
        codes = {*(await self.mirror.journal(Journal.failures_by_error, self.run)), *(f.error for f in self.failures)}
        if not counts.held and codes == {AccessDenied.code}:
            failures = [*self.failures, *await self.mirror.journal(Journal.failures, self.run, limit=1)]
            raise ArchiveRefused(f"everything was refused: {failures[0].message}")

    async def _instances(self, counts: Counts) -> InstanceCounts:
        ended = self.coordinator.recorder.outcomes
        fetched = ended[Outcome.FETCHED]
        if self.wanted is not None:
            selected, reused = self.wanted, ended[Outcome.REUSED]
            failed, quarantined = ended[Outcome.FAILED], ended[Outcome.QUARANTINED]
        else:
            selected, reused = counts.instances_selected, max(0, counts.held - fetched)
            failed, quarantined = counts.failed, counts.quarantined
        by_run = self.run.id if self.wanted is not None else None
        not_decoded = await self.mirror.journal(Journal.not_decoded, self.run, by_run=by_run)
        return InstanceCounts(selected, fetched, reused, failed, quarantined, not_decoded)

    async def report(self, outcome: RunOutcome, seconds: float) -> RunReport:
        """End the run in the journal, and report it."""
        journal = self.mirror.journal
        counts = await journal(Journal.counts, self.run)
        whole = counts if self.run.selection_id is None else await journal(Journal.counts, None)
        traffic = self.coordinator.traffic()
        failures = await journal(Journal.failures, self.run, limit=_FAILURES_NAMED)
        total = sum((await journal(Journal.failures_by_error, self.run)).values())
        report = RunReport(
            mirror=str(self.mirror.files.root),
            archive=self.archive_url,
            run=self.run.id,
            outcome=outcome,
            series=counts.series,
            instances=await self._instances(counts),
            bytes_fetched=self.coordinator.recorder.bytes_fetched,
            bytes_mirror=whole.held_bytes,
            requests=traffic.requests,
            retries=traffic.retries,
            seconds=seconds,
            failures=(*failures, *self.failures[:_FAILURES_NAMED]),
            failures_left_out=max(0, total - len(failures)),
            changes=self.changes,
            notes=tuple(self._notes),
            sources=self.sources,
            withdrawn=self.withdrawn,
            collections=tuple(await journal(Journal.collections, self.run)),
            peak_bytes_per_second=round(self.coordinator.meter.rate.peak),
            bytes_free=await self._bytes_free(),
        )
        document = report.as_json()
        document.pop("failures")
        document["unanswered"] = [failure.message for failure in self.failures[:_FAILURES_NAMED]]
        await journal(Journal.end_run, self.run.id, outcome=outcome, counts=document, now=datetime.now(UTC))
        for run in self.empty:
            await journal(Journal.forget_selection, run)
        return report

    async def _bytes_free(self) -> int | None:
        with suppress(DiskError):  # a report is not worth an error
            return (await asyncio.to_thread(measure, self.mirror.files.root)).free_bytes
        return None
