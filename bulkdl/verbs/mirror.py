"""`mirror`: download what is selected into a folder."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.events import RunContext, Sink, ignore
from bulkdl.model.options import Option
from bulkdl.model.reports.run import RunReport
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.store.layout import parse_layout
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Given, Paths
from bulkdl.verbs.connections.data_commons import choose_commons
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.mirrors.folders import refuse_inside_mirror
from bulkdl.verbs.mirrors.open_mirror import OpenMirror, open_mirror
from bulkdl.verbs.runs.mirror_run import begin_run
from bulkdl.verbs.runs.options import (
    DownloadOptions,
    NewLayout,
    OnSeries,
    OnSeriesAtOnce,
    OnSeriesTimeout,
    context_of,
    with_command,
)
from bulkdl.verbs.select import Wanted, choose_selection
from bulkdl.verbs.selections.data_set_names import resolve_data_sets
from bulkdl.verbs.selections.named_instances import find_series_of_instances


async def mirror_async(
    selection: Wanted = None,
    *,
    to: Annotated[Paths, Option("to", "The folder of the mirror.", "DIR", read=Path)],
    layout: NewLayout = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    on_series: OnSeries = None,
    on_series_at_once: OnSeriesAtOnce = None,
    on_series_timeout: OnSeriesTimeout = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> RunReport:
    """Download what is selected into the mirror at `to`; an interrupted mirror continues.

    Give data sets by name, or criteria, or a `Selection`: `bulkdl.mirror("TCGA-GBM", modality="MR", to="gbm")`.
    `archive` is a profile, an address, or the result of `reach`. `sink` receives the events, in the thread that works.
    When `stop` is set, the run ends within seconds as interrupted, and everything finished is in the journal.
    Instances that fail are in the report; they are not raised. `on_series` is a command, as text or as words, that
    runs for each Series that this run completes; see `mirroring` for a loop in Python.

    Raises:
        UserError: the selection, the layout or the archive's name is invalid, or nothing was found.
        ArchiveError: the archive refused, or could not be reached; what was finished is kept.
        DiskError, MirrorLocked, JournalError: the mirror cannot be used.
    """
    context = context_of({"settings": settings, "sink": sink, "stop": stop})
    commands: DownloadOptions = {
        "on_series": on_series,
        "on_series_at_once": on_series_at_once,
        "on_series_timeout": on_series_timeout,
    }
    context = with_command(context, commands)
    wanted = choose_selection(selection, criteria, sink)
    return await mirror_selection(wanted, Path(to), layout, choose_archive(archive), context)


async def mirror_selection(
    wanted: Selection, to: Path, layout: str | None, archive: ArchiveChoice, context: RunContext
) -> RunReport:
    """See `mirror_async`."""
    archive = replace(choose_commons(wanted, archive, context.sink), supporting=wanted.with_supporting_data)
    chosen = parse_layout(layout) if layout is not None else None
    await asyncio.to_thread(refuse_inside_mirror, to)
    async with (
        open_archive(archive, context) as source,
        open_mirror(to, "mirror", private=context.settings.private) as opened,
    ):
        wanted = await resolve_data_sets(wanted, source.client, context.sink)
        wanted = await find_series_of_instances(wanted, source.client, context.sink)
        if wanted.locks and not source.client.capabilities.lists_sop_uids:
            wanted = replace(wanted, instances=())  # whole Series, then; what the lock does not have is a note
        locks = await _keep_locks(wanted, opened)
        settled = await opened.settle_layout(chosen, context.sink)
        run = await begin_run("mirror", opened, source, context, wanted)
        run.locks = locks
        return await run.carry_out(lambda: run.selections.resolve(wanted, settled))


async def _keep_locks(wanted: Selection, mirror: OpenMirror) -> tuple[Path, ...]:
    if not wanted.locks:
        return ()
    from bulkdl.verbs.locks.files import keep_locks  # noqa: PLC0415 - late: most mirrors are made without a lock

    return await asyncio.to_thread(keep_locks, mirror.files.root, wanted.locks, private=mirror.files.is_private)


mirror = blocking(mirror_async)
