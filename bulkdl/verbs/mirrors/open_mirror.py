"""A mirror that is opened for work: locked by this process alone, with its journal and its layout."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bulkdl.journal.journal import Journal
from bulkdl.journal.thread import JournalThread, open_journal_thread
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.formatting import command
from bulkdl.model.records import Series
from bulkdl.runtime.disk import shortage_errors
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import DEFAULT_LAYOUT, FORMER_LAYOUTS, Layout, layout_name, parse_layout
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.verbs.mirrors.folders import refuse_inside_mirror
from bulkdl.verbs.mirrors.moves import Moves


@dataclass(frozen=True, slots=True)
class OpenMirror:
    """A mirror opened for work by this process alone."""

    files: MirrorFiles
    journal: JournalThread

    async def settle_layout(self, layout: Layout | None = None, sink: Sink = ignore) -> Layout:
        """The layout of the mirror; `layout`, or the default one, where it has none yet.

        A mirror that was made when the name of `layout` stood for another template keeps that one; a note says so.
        """
        template = layout.template if layout is not None else None
        known = await self.journal(Journal.layout)
        if template is not None and known is not None and known != template:
            name = layout_name(template)
            if FORMER_LAYOUTS.get(name) == known:
                how = command("relayout", str(self.files.root), "--layout", name)
                old = known.rpartition("/")[2]
                sink(Noted(f"the mirror keeps the names of an earlier {name}, {old}; to change them, run {how}"))
                template = known
        return parse_layout(await self.journal(Journal.settle_layout, template, DEFAULT_LAYOUT.template))


@asynccontextmanager
async def open_mirror(
    root: Path, verb: str, *, private: bool = False, finishes: bool = True
) -> AsyncIterator[OpenMirror]:
    """Open a mirror, or make it, and lock it until the block ends. Raises MirrorLocked, DiskError, JournalError.

    A relayout that was interrupted is finished first, unless the caller does that.
    """
    await asyncio.to_thread(refuse_inside_mirror, root)
    files = MirrorFiles(root, private=private)
    files.prepare()
    with shortage_errors(), lock_mirror(files.root, verb, private=files.is_private):
        files.partials.discard_stale()
        async with open_journal_thread(files.journal_path) as journal:
            opened = OpenMirror(files, journal)
            if finishes:
                await _finish_relayout(opened)
            yield opened
        files.partials.discard_stale()  # of a worker process that died


async def _finish_relayout(mirror: OpenMirror) -> None:
    moves = Moves(mirror.files, mirror.journal)
    await moves.finish()
    if (template := await mirror.journal(Journal.unfinished_relayout)) is not None:
        await moves.rearrange(parse_layout(template))


def place_series(journal: Journal, batch: Sequence[Series], layout: Layout) -> list[tuple[Series, str]]:
    """Each Series with its folder: the one that it has, or a new one by the layout. Runs on the journal's thread."""
    placed = []
    for series in batch:
        known = journal.find_series(series.series_uid)
        folder = known.folder if known is not None else None
        placed.append((series, folder or layout.folder(series, taken=journal.is_taken)))
    return placed
