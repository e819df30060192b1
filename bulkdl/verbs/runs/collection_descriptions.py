"""Ask the archive what it says of the Collections of a run, and record it: at most one request for each, once.

`serve` answers with it, and the texts beside the files of a mirror are made from it. A run does not fail without it:
the next one asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import AccessDenied, ArchiveError, Interrupted, NotFound, RequestRejected
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Run
from bulkdl.journal.thread import JournalThread
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.events import Noted, RunContext
from bulkdl.model.records import Series

_SECONDS: Final = 60.0  # for one Collection; everything else may be finished by then
_MOST_COLLECTIONS: Final = 1_000  # of one run: an archive may name a Collection for each Series


@dataclass(slots=True)
class CollectionsToDescribe:
    """The Collections of a run of which the archive was not asked yet, each with its Patient if only one needs it.

    With `again` it is asked of all.
    """

    run: Run
    context: RunContext
    again: bool = False
    _waiting: dict[str, str | None] = field(default_factory=dict)

    async def add(self, batch: Sequence[Series], journal: JournalThread) -> None:
        """Add the Collections of recorded Series."""
        for series in batch if self.again else await journal(_undescribed, batch):
            if series.collection in self._waiting:
                if self._waiting[series.collection] != series.patient_id:
                    self._waiting[series.collection] = None
            elif series.collection and len(self._waiting) < _MOST_COLLECTIONS:
                self._waiting[series.collection] = series.patient_id or None

    async def ask(self, archive: Archive, journal: JournalThread) -> None:
        """Ask the archive, and record its answers; what it does not answer is announced.

        A run that only goes on with what is owed asks nothing where nothing is owed: it needs no archive.
        """
        if self.run.selection_id is None:  # Series of earlier runs, too
            counts = await journal(Journal.counts, None)
            if not (self._waiting or counts.owed or counts.series_unlisted):
                return
            known = await journal(Journal.undescribed, self.run, limit=_MOST_COLLECTIONS)
            self._waiting |= {name: None for name in known if name not in self._waiting}
        failure = None
        unanswered: list[str] = []
        for collection, patient_id in self._waiting.items():
            try:
                async with asyncio.timeout(min(_SECONDS, self.context.settings.give_up_after_seconds or _SECONDS)):
                    await self._ask_for(collection, patient_id, archive, journal)
            except Interrupted:
                return
            except (ArchiveError, TimeoutError) as error:
                failure = error
                unanswered.append(collection)
                if isinstance(error, TimeoutError):
                    break
        if failure is not None:
            which = f"collection {unanswered[0]}" if len(unanswered) == 1 else f"{len(unanswered):,} collections"
            why = str(failure) or "it did not answer in time"
            self.context.sink(
                Noted(f"the archive did not describe {which}: {why}; the next mirror or sync requests it again")
            )

    async def _ask_for(self, collection: str, patient_id: str | None, archive: Archive, journal: JournalThread) -> None:
        async def take(found: Descriptions) -> None:
            await journal(Journal.record_descriptions, self.run, found, now=datetime.now(UTC))

        with suppress(AccessDenied, NotFound, RequestRejected):  # the archive does not have that, which is an answer
            await archive.describe(collection, take, patient_id=patient_id)
        await journal(Journal.end_describing, self.run, collection, now=datetime.now(UTC))


def _undescribed(journal: Journal, batch: Sequence[Series]) -> list[Series]:
    """One Series of each Study of which the archive was not asked."""
    by_study = {(series.collection, series.patient_id, series.study_uid): series for series in batch}
    return [series for series in by_study.values() if not journal.is_described(series)]
