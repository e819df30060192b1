"""Open a mirror for work by this process alone; find the layout of a mirror and the folders of its Series."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bulkdl.errors import JournalUnreadable
from bulkdl.journal.journal import Journal
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.records import Series
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import DEFAULT_LAYOUT, Layout, parse_layout
from bulkdl.store.lock import MirrorLock


@dataclass(frozen=True, slots=True)
class OpenMirror:
    """A mirror opened for work by this process alone."""

    files: MirrorFiles
    journal: JournalThread

    async def settle_layout(self, layout: Layout | None = None) -> Layout:
        """The layout of the mirror; `layout`, or the default one, where it has none yet."""
        template = layout.template if layout is not None else None
        return parse_layout(await self.journal(Journal.settle_layout, template, DEFAULT_LAYOUT.template))


@asynccontextmanager
async def open_mirror(root: Path, verb: str, *, private: bool = False) -> AsyncIterator[OpenMirror]:
    """Open a mirror, or make it, and lock it until the block ends.

    Raises:
        MirrorLocked: another process works on it.
        DiskError, JournalError: it cannot be used.
    """
    files = MirrorFiles(root, private=private)
    files.prepare()
    with MirrorLock(files.root, verb, private=private):
        files.partials.discard_stale()
        async with open_journal_thread(files.journal_path) as journal:
            yield OpenMirror(files, journal)


def require_mirror(root: Path) -> Path:
    """The path of the journal of an existing mirror.

    Raises:
        JournalUnreadable: there is none.
    """
    path = root / JOURNAL
    if not path.is_file():
        raise JournalUnreadable(f"{root} is not a mirror: it has no {JOURNAL}")
    return path


def place_series(journal: Journal, batch: Sequence[Series], layout: Layout) -> list[tuple[Series, str]]:
    """Each Series with its folder: the one that it has, or a new one by the layout. Runs on the journal's thread."""
    placed = []
    for series in batch:
        known = journal.find_series(series.series_uid)
        folder = known.folder if known is not None else None
        placed.append((series, folder or layout.folder(series, taken=journal.is_taken)))
    return placed


def now() -> datetime:
    """The current time, in UTC."""
    return datetime.now(UTC)
