"""`sync_plan`: what `sync` would find and do, without doing it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Unpack

from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import is_changed
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports import Changes, Failure, SyncPlan
from bulkdl.resolve import Resolution, resolve
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.common import RunOptions, kept_context, open_archive, require_mirror
from bulkdl.verbs.signatures import Paths
from bulkdl.verbs.sync import repeated_selections

__all__ = ["sync_plan", "sync_plan_async"]


async def sync_plan_async(mirror: Paths, **options: Unpack[RunOptions]) -> SyncPlan:
    """Say what `sync` would do. Asks the archive for Series, and writes nothing.

    Instances that were replaced or withdrawn within a Series are not counted: only a list of it tells.

    Raises:
        As `sync_async`.
    """
    root = Path(mirror)
    context = await asyncio.to_thread(kept_context, root, options)
    changes, failures = Changes(), list[Failure]()
    with Journal.open_readonly(require_mirror(root)) as journal:
        archive, rows = repeated_selections(journal.last_run(), journal.selections(), options, root)
        async with open_archive(archive, context) as source:
            for row in rows:
                found, seen = Resolution(), set[SeriesUid]()
                async with aclosing(resolve(row.selection, source.client, found)) as batches:
                    async for batch in batches:
                        seen.update(series.series_uid for series in batch)
                        _count(changes, batch, journal)
                failures += found.failures()
                if found.series and not found.failed:
                    changes.withdrawn_series += sum(uid not in seen for uid in journal.linked(row.id))
            return SyncPlan(str(mirror), source.client.url, changes, tuple(failures))


sync_plan = blocking(sync_plan_async)


def _count(changes: Changes, batch: Sequence[Series], journal: Journal) -> None:
    for series in batch:
        row = journal.find_series(series.series_uid)
        changes.new_series += row is None
        changes.changed_series += row is not None and row.held > 0 and is_changed(row.series, series)
