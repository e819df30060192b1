"""`prune`: remove the files of a mirror that its archive has withdrawn or replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from bulkdl.errors import Interrupted, MirrorUnwritable
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.quantities import human_bytes
from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.calls.announcer import Announcer
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror
from bulkdl.verbs.mirrors.open_mirror import open_mirror
from bulkdl.verbs.runs.recorded_run import recorded_run
from bulkdl.verbs.runs.side_texts import renew_side_files
from bulkdl.verbs.runs.unfinished_work import has_open_prune

_REMOVED_AT_ONCE: Final = 500


async def prune_async(
    mirror: Paths, *, max_delete: int | None = None, sink: Sink = ignore, stop: asyncio.Event | None = None
) -> int:
    """Remove the files of a mirror that were withdrawn or superseded, after a note to `sink`; returns their number.

    Raises:
        MirrorUnwritable: they are more than `max_delete`; none was removed.
        MirrorLocked, DiskError, JournalError: the mirror cannot be used.
        Interrupted: `stop` was set. The next call removes the rest.
    """
    async with open_mirror(require_mirror(Path(mirror)).parents[1], "prune") as opened:
        count, size_bytes = await opened.journal(Journal.withdrawn_total)
        superseded, superseded_bytes = await asyncio.to_thread(opened.files.superseded)
        total = count + superseded
        if total == 0 and not await opened.journal(has_open_prune):
            return 0
        text = f"{count:,} withdrawn and {superseded:,} superseded files, {human_bytes(size_bytes + superseded_bytes)}"
        if max_delete is not None and total > max_delete:
            raise MirrorUnwritable(f"there are {text}, more than --max-delete {max_delete}: none was removed")
        if total:
            sink(Noted(f"removing {text}"))
        async with recorded_run(opened, "prune", {"max_delete": max_delete}) as run:
            announcer = Announcer(sink, "prune", total, "files")
            removed = 0
            while page := await opened.journal(Journal.withdrawn_files, limit=_REMOVED_AT_ONCE):
                if stop is not None and stop.is_set():
                    run.outcome, run.counts = RunOutcome.INTERRUPTED, {"changes": {"removed_files": removed}}
                    raise Interrupted(f"{removed:,} of {total:,} files were removed")
                await asyncio.to_thread(opened.files.remove, [each.path for each in page])
                await opened.journal(Journal.forget, page)
                announcer.step(len(page))
                removed += len(page)
            await asyncio.to_thread(opened.files.remove_superseded)
            if superseded:
                announcer.step(superseded)
            run.outcome, run.counts = RunOutcome.COMPLETE, {"changes": {"removed_files": total}}
        await renew_side_files(opened, sink)
        return total


prune = blocking(prune_async)
