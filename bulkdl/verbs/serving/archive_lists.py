"""What the archive behind a cache lists of Series that are not held: asked once for however many ask, and kept a while.

The list of a bucket does not have the SOP Instance UIDs of its objects: they are read from the heads of the files.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final
from weakref import WeakValueDictionary

from bulkdl.archive.base import Archive
from bulkdl.model.records import Entry, Series
from bulkdl.resolve.listing import list_until_complete
from bulkdl.resolve.object_heads import FIRST_BYTES, all_identified, identified_until

_MOST_ENTRIES: Final = 100_000  # of all lists that are kept, but for the last one
_MOST_HEADS: Final = 10_000
_LEAST_RATIO: Final = 4  # of the bytes of a Series to those of its heads


class ArchiveLists:
    """The lists of one archive. They stay as they are until they are forgotten."""

    def __init__(self, client: Archive) -> None:
        self._client = client
        self._known: OrderedDict[str, tuple[Entry, ...]] = OrderedDict()
        self._count = 0
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def have_uids(self) -> bool:
        """Whether the SOP Instance UIDs of a Series can be known without downloading it."""
        able = self._client.capabilities
        return able.lists_sop_uids or able.ranges

    async def sop_uids(self, series: Series) -> tuple[str, ...] | None:
        """The SOP Instance UIDs of a Series; None where it is better to download it than to read its heads.

        Raises:
            ArchiveError: the archive does not list them, or does not send a head.
        """
        entries = await self.identified(series)
        return None if entries is None else tuple(entry.sop_uid for entry in entries if entry.sop_uid is not None)

    async def identified(self, series: Series) -> tuple[Entry, ...] | None:
        """The entries of a Series, each with its SOP Instance UID as far as its head has one; None as `sop_uids`.

        Raises:
            ArchiveError: as `sop_uids`.
        """
        async with self._lock(series):  # of many who ask for one Series, one asks the archive
            entries = await self._entries(series)
            if any(entry.sop_uid is None for entry in entries):
                if not _are_heads_cheap(entries):
                    return None
                entries = self._keep(series, await all_identified(self._client, series, entries))
        return entries

    async def find(self, series: Series, is_wanted: Callable[[str], bool]) -> Entry | None:
        """The entry whose SOP Instance UID `is_wanted`, None if the Series does not have it. Reads heads up to it.

        Raises:
            ArchiveError: as `sop_uids`.
        """
        async with self._lock(series):
            entries = await self._entries(series)
            if (found := _first(entries, is_wanted)) is None and any(entry.sop_uid is None for entry in entries):
                entries = self._keep(series, await identified_until(self._client, series, entries, is_wanted))
                found = _first(entries, is_wanted)
        return found

    def forget(self, series_uid: str) -> None:
        """Ask again for the list of a Series when it is needed again."""
        self._count -= len(self._known.pop(series_uid, ()))

    def _lock(self, series: Series) -> asyncio.Lock:
        return self._locks.setdefault(series.series_uid, asyncio.Lock())

    async def _entries(self, series: Series) -> tuple[Entry, ...]:
        if (known := self._known.get(series.series_uid)) is not None:
            self._known.move_to_end(series.series_uid)
            return known
        entries, *_ = await list_until_complete(series, self._client)
        return self._keep(series, entries)

    def _keep(self, series: Series, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        self.forget(series.series_uid)
        if not entries:
            return entries
        self._known[series.series_uid] = entries
        self._count += len(entries)
        while self._count > _MOST_ENTRIES and len(self._known) > 1:
            self.forget(next(iter(self._known)))
        return entries


def _first(entries: Sequence[Entry], is_wanted: Callable[[str], bool]) -> Entry | None:
    return next((entry for entry in entries if entry.sop_uid is not None and is_wanted(entry.sop_uid)), None)


def _are_heads_cheap(entries: Sequence[Entry]) -> bool:
    """Whether the heads of files are few, and a small part of their bytes."""
    sizes = [entry.size_bytes or 0 for entry in entries]
    return len(sizes) <= _MOST_HEADS and sum(sizes) > _LEAST_RATIO * FIRST_BYTES * len(sizes)
