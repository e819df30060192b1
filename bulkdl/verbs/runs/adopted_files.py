"""The adopted files of a mirror against what the archive of a run has: those with other bytes are downloaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bulkdl.archive.base import Archive
from bulkdl.fetch.adopted import find_differing
from bulkdl.fetch.lost_files import move_away
from bulkdl.fetch.md5s import with_md5s
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, Run
from bulkdl.model.events import Noted, Sink
from bulkdl.model.ids import SeriesUid
from bulkdl.verbs.mirrors.open_mirror import OpenMirror
from bulkdl.verbs.mirrors.replaced_files import replace_files


@dataclass(slots=True)
class AdoptedFiles:
    """Compares the adopted files of Series, and owes the instances of those that differ again."""

    mirror: OpenMirror
    run: Run
    client: Archive
    sink: Sink
    _undecided: list[SeriesUid] = field(default_factory=list)

    async def compare(self, series_uid: SeriesUid, keys: frozenset[str] | None = None) -> None:
        """Owe again what was adopted for a Series and is not what the archive has."""
        del keys
        await self.complete_md5s(series_uid)
        adopted = await self.mirror.journal(Journal.adopted, series_uid)
        row = await self.mirror.journal(Journal.find_series, series_uid) if adopted else None
        if row is None:
            return
        differing, is_open = await find_differing(row, adopted, self.client)
        self._undecided += [series_uid] if is_open else []
        await self.replace(series_uid, differing)

    def take_undecided(self) -> list[SeriesUid]:
        """The Series whose files have no checksum to compare: their size counts when they are complete."""
        taken, self._undecided = self._undecided, []
        return taken

    async def replace(self, series_uid: SeriesUid, differing: Sequence[HeldInstance]) -> None:
        """Move adopted files of a Series to quarantine, and owe their instances again."""
        message = "the archive has other bytes than the adopted file"

        def quarantine(held: HeldInstance) -> None:
            move_away(self.mirror.files, held.path, held.sop_uid, message)

        differing = await self.mirror.journal(replace_files, self.run, differing, quarantine)
        if not differing:
            return
        which = f"{len(differing):,} adopted files of series {series_uid}"
        self.sink(Noted(f"{which} are not what the archive has; downloading them"))

    async def complete_md5s(self, series_uid: SeriesUid) -> None:
        """Compute the MD5s that an archive without checksums gave no reason to compute: this one has MD5s."""
        if not self.client.capabilities.knows_md5s:
            return
        held = await self.mirror.journal(Journal.held_without_md5, series_uid)
        computed = await asyncio.to_thread(with_md5s, held, self.mirror.files) if held else []
        if md5s := {one.sop_uid: one.md5 for one in computed if one.md5 is not None}:
            await self.mirror.journal(Journal.record_md5s, series_uid, md5s)
