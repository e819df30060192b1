"""Record the outcomes of instances in the journal, in groups: a transaction for each would wait for the disk."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from bulkdl.fetch.progress_meter import Recorded
from bulkdl.fetch.work_in_hand import WorkInHand
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, Run
from bulkdl.journal.thread import JournalThread
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome

_GROUP: Final = 500  # outcomes that are recorded at once, without waiting for more


class Recorder:
    """Records what is added to it, and then takes it out of `in_hand`. `outcomes` counts the results.

    `recorded` gets what is journalled; what is added is recorded at once then, because somebody waits for it.
    `completed` gets each Series that holds all its instances from then on.
    """

    def __init__(self, journal_thread: JournalThread, run: Run, in_hand: WorkInHand) -> None:
        self._journal_thread = journal_thread
        self._run = run
        self._in_hand = in_hand
        self._waiting: list[InstanceOutcome] = []
        self._recording = asyncio.Lock()
        self.outcomes: Counter[Outcome] = Counter()
        self.bytes_fetched = 0
        self.recorded: Callable[[Sequence[InstanceOutcome]], Awaitable[None]] | None = None
        self.completed: Callable[[SeriesUid], None] | None = None
        self.is_last = False
        """Whether nothing is left to give out, so that the run ends with what is in hand."""

    async def add(self, outcomes: Sequence[InstanceOutcome]) -> None:
        """Record these outcomes, now or with later ones."""
        self._waiting += outcomes
        at_once = self.recorded is not None and not self._recording.locked()
        if at_once or len(self._waiting) >= _GROUP:
            await self.record()
        elif self.is_last:
            await self.record_last()

    async def record_last(self) -> None:
        """Record what was added if nothing else is in hand: the run would end with the next tick, and can now."""
        if self._waiting and len(self._waiting) >= len(self._in_hand):
            await self.record()

    async def record(self) -> None:
        """Record what was added, in one transaction, which ends even if the caller is cancelled."""
        await asyncio.shield(self._record())

    async def _record(self) -> None:
        async with self._recording:
            group, self._waiting = self._waiting, []
            if not group:
                return
            try:
                await self._journal_thread(Journal.record_outcomes, self._run, group)
            except BaseException:
                self._waiting[:0] = group  # for the last call, whose caller sees the error
                raise
            if self.recorded is not None:
                await self.recorded(group)
            self.outcomes.update(outcome.outcome for outcome in group)
            self.bytes_fetched += sum(one.size_bytes for one in group if one.outcome is Outcome.FETCHED)
            self._in_hand.end(group)
            if self.completed is not None:
                await self._announce_complete(dict.fromkeys(outcome.series_uid for outcome in group), self.completed)

    async def _announce_complete(self, series_uids: Iterable[SeriesUid], announce: Callable[[SeriesUid], None]) -> None:
        for series_uid in series_uids:
            if series_uid not in self._in_hand and await self._journal_thread(Journal.is_complete, series_uid):
                announce(series_uid)

    async def counts(self) -> tuple[Counts, Recorded]:
        """The totals of the journal, and what this run has recorded of what they count."""
        async with self._recording:  # so that both are of the same outcomes
            return await self._journal_thread(Journal.counts, self._run), self.total()

    def total(self) -> Recorded:
        """What this run has recorded."""
        return Recorded(self.bytes_fetched, self.outcomes.total())
