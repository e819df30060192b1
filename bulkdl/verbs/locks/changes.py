"""What an archive has changed of the Series of lock files: reported by `sync`, and not followed.

A mirror that was made from a lock is to have the instances of the lock, and these bytes of them. So `sync` downloads
nothing new of such a Series, puts no file of it aside, and marks none as withdrawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Self

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.errors import RequestFailed
from bulkdl.fetch.adopted import find_differing
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, is_changed
from bulkdl.journal.thread import JournalThread
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series
from bulkdl.model.reports.run import Changes
from bulkdl.verbs.locks.files import open_lock

_MOST_NAMED: Final = 20


@dataclass(slots=True)
class LockedChanges:
    """The Series of lock files that are held, and those that the archive has changed since."""

    journal: JournalThread
    client: Archive
    series: frozenset[SeriesUid]
    _changed: dict[SeriesUid, Series] = field(default_factory=dict)
    _withdrawn: dict[SeriesUid, None] = field(default_factory=dict)

    @classmethod
    async def of(cls, locks: Sequence[Path], journal: JournalThread, client: Archive) -> Self | None:
        """What the lock files name; None without one. Raises ManifestError."""
        return cls(journal, client, await asyncio.to_thread(_series_of, locks)) if locks else None

    async def keep(self, batch: FoundSeries) -> FoundSeries:
        """The batch, with what the journal has of each Series of a lock that is held, so that it is not listed anew."""
        return replace(batch, series=tuple([await self._kept(series) for series in batch.series]))

    async def _kept(self, series: Series) -> Series:
        if series.series_uid not in self.series:
            return series
        row = await self.journal(Journal.find_series, series.series_uid)
        if row is None or not row.held or not is_changed(row.series, series):
            return series
        self._changed[series.series_uid] = series
        return row.series

    def withdraw(self, gone: Sequence[SeriesUid]) -> list[SeriesUid]:
        """Those of some Series that no lock names; the others are reported as withdrawn."""
        self._withdrawn |= dict.fromkeys(uid for uid in gone if uid in self.series)
        return [uid for uid in gone if uid not in self.series]

    async def compare(self, changes: Changes) -> list[str]:
        """Count what the archive has changed, and say it, a line for each Series. Their lists are asked for."""
        lines = [f"the archive has withdrawn series {uid} of the lock; its files are kept" for uid in self._withdrawn]
        changes.withdrawn_series += len(self._withdrawn)
        for series in self._changed.values():
            changes.changed_series += 1
            what = await self._what_changed(series, changes)
            lines.append(
                f"the archive has changed series {series.series_uid} of the lock: {what}; the locked files are kept"
            )
        more = len(lines) - _MOST_NAMED
        return [*lines[:_MOST_NAMED], *([f"and {more:,} more series of the lock"] if more > 0 else [])]

    async def _what_changed(self, series: Series, changes: Changes) -> str:
        held = await self.journal(Journal.held_of_series, series.series_uid)
        try:
            entries = {_identity(each.key): each for each in (await self.client.list(series)).entries}
        except RequestFailed as error:
            return f"the changes are not known ({error})"
        here = {_identity(each.entry.key): each for each in held}
        replaced, gone = list[str](), [str(each.sop_uid) for key, each in here.items() if key not in entries]
        new = len(entries.keys() - here.keys())
        if series.location is not None:  # in a bucket a new version has another key
            replaced, gone, new = gone[:new], gone[new:], new - len(gone[:new])
        else:
            same = [(each, entries[key]) for key, each in here.items() if key in entries]
            replaced = await self._replaced(series, same, is_whole=not gone and not new)
        changes.replaced_instances += len(replaced)
        changes.withdrawn_instances += len(gone)
        return ", ".join(_parts(replaced, gone, new)) or "its record only"

    async def _replaced(
        self, series: Series, pairs: Sequence[tuple[HeldInstance, Entry]], *, is_whole: bool
    ) -> list[str]:
        """The instances of which the archive has other bytes, as far as it states that."""
        row = await self.journal(Journal.find_series, series.series_uid)
        if row is None:
            return []
        row = replace(row, series=series, is_in_part=row.is_in_part and not is_whole)
        now = [replace(held, entry=entry) for held, entry in pairs]
        differing, _ = await find_differing(row, now, self.client)
        return [each.sop_uid for each in differing]


def _identity(key: str) -> str:
    """What of a key stays when a Series of a bucket gets a new version: the name of the object."""
    return key.rpartition("/")[2]


def _parts(replaced: Sequence[str], gone: Sequence[str], new: int) -> Iterator[str]:
    for uids, what in ((replaced, "replaced"), (gone, "withdrawn")):
        if uids:
            yield f"{counted(len(uids), 'instance')} {what} ({uids[0]}{', …' if len(uids) > 1 else ''})"
    if new:
        yield f"{counted(new, 'instance')} added, which the lock does not have"


def _series_of(locks: Sequence[Path]) -> frozenset[SeriesUid]:
    uids = set[SeriesUid]()
    for path in locks:
        with open_lock(path) as (_, groups):
            uids.update(series.series_uid for series, _ in groups)
    return frozenset(uids)
