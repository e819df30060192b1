"""`plan`: what a mirror of a selection would take. Asks the archive, downloads nothing, writes nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bulkdl.archive.http import ArchiveClient, connect
from bulkdl.errors import SelectionError
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.journal.journal import Journal
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.reports import CollectionStatus, Failure, PlanReport, SeriesCounts
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve import explain_nothing, resolve
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.space import measure
from bulkdl.verbs.common import find_archive


@dataclass(slots=True)
class _Tally:
    series: int = 0
    complete: int = 0
    instances: int = 0
    held: int = 0
    size_bytes: int = 0
    held_bytes: int = 0


@dataclass(slots=True)
class _Sums:
    """Sums of what the archive says, by Collection; a Series counts once."""

    by_collection: defaultdict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    series_uids: dict[SeriesUid, None] = field(default_factory=dict)
    is_exact: bool = True


async def plan(
    selection: Selection,
    *,
    archive: ArchiveChoice,
    to: Path | None = None,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> PlanReport:
    """Resolve `selection` and add up what the archive says of it, against what the mirror at `to` holds already.

    Sizes come with the Series where the archive gives them, else by getSeriesSize, one request a Series; `exact` is
    False where it does not say. Free space is that of `to`, or of the working folder.

    Raises:
        UserError: the selection or the archive's name is wrong, or nothing was found.
        ArchiveError: the archive refused, or could not be reached.
    """
    selection.check()
    settings = settings or FetchSettings()
    async with find_archive(archive) as profile:
        worker_settings = WorkerSettings(
            profile=profile,
            access=archive.access,
            root=to or Path(),
            fetch=settings,
            ceiling=settings.concurrency or DEFAULT_CEILING,
        )
        retrier = make_retrier(worker_settings, sink, stop or asyncio.Event())
        async with connect(profile, retrier, access=archive.access, note=lambda text: sink(Noted(text))) as client:
            return await _plan(selection, client, to)


async def _plan(selection: Selection, client: ArchiveClient, to: Path | None) -> PlanReport:
    sums = _Sums()
    wanted = dict(selection.instances)
    journal_path = to / JOURNAL if to is not None else None
    journal = Journal.open_readonly(journal_path) if journal_path is not None and journal_path.exists() else None

    async def take(batch: list[Series]) -> None:
        for series in batch:
            if series.series_uid in sums.series_uids:
                continue
            sums.series_uids[series.series_uid] = None
            await _add(sums, series, client, journal, wanted)

    try:
        found = await resolve(selection, client, take)
    finally:
        if journal is not None:
            journal.close()
    failures = tuple(found.failures())
    if not found.series and found.broken:
        raise found.broken[0][1]
    if not found.series and selection.since is None and not any(failure.series for failure in failures):
        raise SelectionError(await explain_nothing(selection, found.unanswered, client))
    return _report(sums, failures, client, to)


async def _add(
    sums: _Sums,
    series: Series,
    client: ArchiveClient,
    journal: Journal | None,
    wanted: Mapping[SeriesUid, Sequence[str]],
) -> None:
    count, size_bytes = series.image_count, series.size_bytes
    if count is None or size_bytes is None:
        told = await client.size(series.series_uid)
        count, size_bytes = told.image_count or count, told.size_bytes or size_bytes
    if series.series_uid in wanted and count:
        chosen = len(wanted[series.series_uid])
        size_bytes = round((size_bytes or 0) * chosen / count)
        count = chosen
        sums.is_exact = False
    if count is None or size_bytes is None:
        sums.is_exact = False
    tally = sums.by_collection[series.collection]
    tally.series += 1
    tally.instances += count or 0
    tally.size_bytes += size_bytes or 0
    if journal is not None and (row := journal.find_series(series.series_uid)) is not None:
        tally.held += row.held
        tally.held_bytes += row.held_bytes
        tally.complete += bool(row.held) and row.held >= (count or 0)


def _report(sums: _Sums, failures: tuple[Failure, ...], client: ArchiveClient, to: Path | None) -> PlanReport:
    tallies = sums.by_collection.values()
    owed = sum(max(0, tally.instances - tally.held) for tally in tallies)
    to_list = sum(tally.series - tally.complete for tally in tallies)
    return PlanReport(
        archive=client.profile.url,
        mirror=str(to.resolve()) if to is not None else None,
        series=SeriesCounts(
            selected=len(sums.series_uids) + len(failures),
            complete=sum(tally.complete for tally in tallies),
            failed=len(failures),
        ),
        instances_selected=sum(tally.instances for tally in tallies),
        instances_held=sum(tally.held for tally in tallies),
        bytes_selected=sum(tally.size_bytes for tally in tallies),
        bytes_held=sum(tally.held_bytes for tally in tallies),
        bytes_free=measure(to or Path()).free_bytes,
        exact=sums.is_exact,
        requests=owed + to_list,
        collections=tuple(
            CollectionStatus(
                collection=name,
                series=tally.series,
                instances=tally.instances,
                held=tally.held,
                owed=max(0, tally.instances - tally.held),
                failed=0,
                quarantined=0,
                size_bytes=tally.size_bytes,
            )
            for name, tally in sorted(sums.by_collection.items())
        ),
        failures=failures,
        series_uids=tuple(sums.series_uids),
    )
