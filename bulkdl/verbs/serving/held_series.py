"""The Series that a cache holds: which of them are whole and in use, and which make room.

With a limit of bytes, the Series that were used least recently are removed: from the journal, then from the catalogue,
then from the disk. A Series that is being sent or downloaded stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import is_changed
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Series
from bulkdl.runtime.tally import Tally
from bulkdl.server.catalogue import Catalogue, ServedFile
from bulkdl.server.catalogue.holdings import Holdings
from bulkdl.server.supply import Wanted
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

_MOST_KNOWN: Final = 100_000
_PAGE: Final = 100


@dataclass(slots=True, kw_only=True)
class HeldSeries:
    """The files of a cache, by Series. `most_bytes` limits their bytes.

    `released` is called when a Series is not in use any more, and others may have to be removed.
    """

    mirror: OpenMirror
    catalogue: Catalogue
    most_bytes: int | None
    released: Callable[[], None]
    _in_use: Tally[str] = field(default_factory=Tally)
    _used: dict[str, float] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _leaving: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def holdings(self) -> Holdings:
        """What of the archive is in the mirror."""
        return Holdings(self.catalogue, self.mirror.files.root)

    def find(self, series_uid: str) -> Series | None:
        """A Series as the archive describes it. Blocking."""
        return next(self.catalogue.series(series_uid=series_uid), None)

    def is_known(self, series_uid: str) -> bool:
        """Whether a Series is whole, and its files were looked at in this process."""
        return series_uid in self._known

    def know(self, series_uid: str) -> None:
        """Remember that a Series is whole, and that its files were looked at."""
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(series_uid)

    def is_whole(self, series_uid: str) -> bool:
        """Whether all files of a Series are here. Blocking."""
        return series_uid in self._known or self.holdings.is_whole(series_uid)

    @asynccontextmanager
    async def keeping(self, series_uid: str) -> AsyncIterator[None]:
        """Remove nothing of a Series until the block ends."""
        self._in_use[series_uid] += 1
        try:
            yield
        finally:
            self._release(series_uid)

    def _release(self, series_uid: str) -> None:
        self._used[series_uid] = time.time()
        self._in_use.take(series_uid)
        if self.most_bytes is not None or len(self._used) > _MOST_KNOWN:
            self.released()  # so that there is a look at the limit

    async def find_lost(self, series_uid: str) -> tuple[SopInstanceUid, ...] | None:
        """The instances whose files are missing or have another size; None if the Series is whole."""
        async with self._leaving:  # a Series that is leaving now is not whole any more
            return await asyncio.to_thread(self._look_for_lost, series_uid)

    def _look_for_lost(self, series_uid: str) -> tuple[SopInstanceUid, ...] | None:
        is_whole = self.holdings.is_whole(series_uid)
        lost = [SopInstanceUid(file.sop_uid) for file in self.catalogue.files(series_uid) if not _is_there(file)]
        if lost:
            self.holdings.lose(series_uid, lost)
        return None if is_whole and not lost else tuple(lost)

    def look_for_one(self, series_uid: str, wanted: Wanted) -> tuple[bool, tuple[SopInstanceUid, ...]]:
        """Whether a wanted instance of a Series in part is here; if not, its UID where its file is lost. Blocking."""
        if isinstance(wanted, str):
            found = self.catalogue.file_of(series_uid, wanted)
        else:
            found = next((file for file in self.catalogue.files(series_uid) if wanted(file.sop_uid)), None)
        if found is None or _is_there(found):
            return found is not None, ()
        lost = (SopInstanceUid(found.sop_uid),)
        self.holdings.lose(series_uid, lost)
        return False, lost

    async def make_room(self, more_bytes: int, needed: Container[str]) -> None:
        """Remove the Series that were used least recently, until the files and `more_bytes` are within the limit.

        Those that are in use or `needed` stay.
        """
        if self._used:
            await self.note_use()
        if self.most_bytes is None:
            return
        async with self._leaving:
            over = await asyncio.to_thread(self.holdings.size_bytes) + more_bytes - self.most_bytes
            after = (-1, "")
            while over > 0 and (page := await asyncio.to_thread(self.holdings.least_used, after, _PAGE)):
                for used_at, series_uid, size_bytes in page:
                    after = used_at, series_uid
                    if over > 0 and series_uid not in self._in_use and series_uid not in needed:
                        await self._remove(series_uid)
                        over -= size_bytes

    async def remove_outdated(self) -> None:
        """Remove the Series that the archive describes otherwise than when they were downloaded."""
        for series_uid in await asyncio.to_thread(self._outdated):
            await self._remove(series_uid)

    def _outdated(self) -> list[str]:
        found: list[str] = []
        after = (-1, "")
        with Journal.open_readonly(self.mirror.files.journal_path) as journal:
            while page := self.holdings.least_used(after, _PAGE):
                for used_at, series_uid, _ in page:
                    after = used_at, series_uid
                    now, row = self.find(series_uid), journal.find_series(SeriesUid(series_uid))
                    if now is not None and row is not None and _is_outdated(row.series, now):
                        found.append(series_uid)
        return found

    async def note_use(self) -> None:
        """Note when Series were used last."""
        used, self._used = self._used, {}
        await asyncio.to_thread(self.holdings.note_use, used)

    async def _remove(self, series_uid: str) -> None:
        self._known.discard(series_uid)
        root = self.mirror.files.root
        files = await asyncio.to_thread(self.catalogue.files, series_uid)
        await self.mirror.journal(Journal.forget_series, SeriesUid(series_uid))
        await asyncio.to_thread(self.holdings.remove, series_uid)
        await asyncio.to_thread(self.mirror.files.remove, [file.path.relative_to(root).as_posix() for file in files])


def _is_there(file: ServedFile) -> bool:
    try:
        return file.path.lstat().st_size == file.size_bytes
    except OSError:
        return False


def _is_outdated(before: Series, now: Series) -> bool:
    return is_changed(before, now) or before.location != now.location
