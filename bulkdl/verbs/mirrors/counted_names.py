"""Name the files of a mirror whose layout counts them in their Series: `nbia-classic` and `nbia-descriptive`.

A number is known when all files of a Series are there. Until then they are named by their SOP Instance UIDs; then they
are renamed in steps that the next run finishes after a crash. A Series that changes later is counted anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final, Self

from bulkdl.journal.journal import Journal
from bulkdl.model.events import Noted, Sink
from bulkdl.model.ids import SeriesUid
from bulkdl.store.layout import Layout
from bulkdl.verbs.mirrors.moves import Moves
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

_PAGE: Final = 100
_MOST_TOLD: Final = 20


@dataclass(slots=True)
class CountedNames:
    """Names the files of Series in one mirror.

    `alone` is held while files are renamed: who has read their paths and is about to use them takes it, too.
    """

    mirror: OpenMirror
    layout: Layout
    sink: Sink
    stop: asyncio.Event
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    _told: int = 0

    @classmethod
    async def of(cls, mirror: OpenMirror, sink: Sink, stop: asyncio.Event) -> Self | None:
        """What names the files of a mirror; None if its layout does not count them."""
        layout = await mirror.settle_layout()
        return cls(mirror, layout, sink, stop) if layout.is_counted else None

    async def name_complete(self, series_uid: SeriesUid) -> None:
        """Name the files of a Series if all its instances are held. Raises DiskError."""
        async with self.alone:
            if await self.mirror.journal(Journal.is_complete, series_uid):
                await self._name(series_uid)

    async def name_rest(self) -> None:
        """Name all files that have no number yet: those of Series of which instances failed. Raises DiskError."""
        after = ""
        while not self.stop.is_set() and (page := await self._page(after)):
            for series_uid in page:
                async with self.alone:
                    await self._name(series_uid)
            after = page[-1]

    async def _page(self, after: str) -> list[SeriesUid]:
        return await self.mirror.journal(Journal.uncounted_series, after=after, limit=_PAGE)

    async def _name(self, series_uid: SeriesUid) -> None:
        refusal = await Moves(self.mirror.files, self.mirror.journal).rename(series_uid, self.layout)
        if refusal is not None and self._told < _MOST_TOLD:
            self._told += 1
            self.sink(Noted(f"{refusal.path}: {refusal.message}"))
