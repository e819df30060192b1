"""`plan`: what a mirror of a selection needs. Asks the archive, downloads nothing, writes nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final

from bulkdl.archive.base import Archive
from bulkdl.archive.profiles import Profile
from bulkdl.journal.journal import Journal
from bulkdl.manifest.tcia import compose
from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.model.ids import SeriesUid
from bulkdl.model.options import Option
from bulkdl.model.records import Series
from bulkdl.model.reports import CollectionStatus, Failure, PlanReport, SeriesCounts
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve import Resolution, resolve
from bulkdl.runtime.disk import JOURNAL, disk_errors
from bulkdl.store.space import measure
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.common import FIRST_ANSWER_SECONDS, check_found, make_context, open_archive
from bulkdl.verbs.data_sets import resolve_data_sets
from bulkdl.verbs.reach import choose_archive
from bulkdl.verbs.select import Wanted, choose_selection
from bulkdl.verbs.signatures import Given, Paths

_RUNS_MEASURED: Final = 20


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
    """Sums of the archive's numbers, by Collection; a Series counts once."""

    by_collection: defaultdict[str, _Tally] = field(default_factory=lambda: defaultdict(_Tally))
    series_uids: dict[SeriesUid, None] = field(default_factory=dict)
    is_exact: bool = True


async def plan_async(
    selection: Wanted = None,
    *,
    to: Annotated[Paths | None, Option("to", "The mirror to compare with.", "DIR", read=Path)] = None,
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE,
    settings: FetchSettings | None = None,
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
    **criteria: Given,
) -> PlanReport:
    """Say what a mirror of the selection needs, less what the mirror at `to` already has. Downloads nothing.

    Sizes come with the Series where the archive sends them, else from getSeriesSize, one request per Series; `exact` is
    False where it sends none. Free space is that of `to`, or of the working folder. The expected time follows from
    the runs with this archive that the mirror at `to` remembers.

    Raises:
        UserError: the selection or the archive's name is invalid, or nothing was found.
        ArchiveError: the archive refused, or could not be reached.
    """
    wanted = choose_selection(selection, criteria, sink)
    root = Path(to) if to is not None else None
    context = make_context(settings, sink, stop)
    async with open_archive(choose_archive(archive), context, first_answer_seconds=FIRST_ANSWER_SECONDS) as source:
        wanted = await resolve_data_sets(wanted, source.client, sink)
        journal_path = root / JOURNAL if root is not None else None
        if journal_path is None or not journal_path.exists():
            return await _plan(wanted, source.client, root, None)
        with Journal.open_readonly(journal_path) as journal:
            report = await _plan(wanted, source.client, root, journal)
            return replace(report, seconds_expected=_seconds_expected(report, journal, source.profile))


async def _plan(selection: Selection, client: Archive, to: Path | None, journal: Journal | None) -> PlanReport:
    sums = _Sums()
    wanted = dict(selection.instances)

    found = Resolution()
    async with aclosing(resolve(selection, client, found)) as batches:
        async for batch in batches:
            for series in batch:
                if series.series_uid not in sums.series_uids:
                    sums.series_uids[series.series_uid] = None
                    await _add(sums, series, client, journal, wanted)
    return _report(sums, tuple(await check_found(selection, found, client)), client, to)


plan = blocking(plan_async)


def _seconds_expected(report: PlanReport, journal: Journal, profile: Profile) -> float | None:
    """How long the rest takes at the speed of the mirror's latest runs with this archive; None if there was none.

    A run is limited by bytes or, where instances are small, by their number: the slower of the two counts.
    """
    instances = size_bytes = seconds = 0.0
    for counts in journal.counts_of_runs(profile.name, profile.url, limit=_RUNS_MEASURED):
        with suppress(KeyError, TypeError):  # of an earlier version, or of a verb that downloads nothing
            if fetched := counts["instances"]["fetched"]:
                instances += fetched
                size_bytes += counts["bytes"]["fetched"]
                seconds += counts["seconds"]
    owed = report.instances_selected - report.instances_held
    if not instances or not size_bytes:
        return 0.0 if report.exact and not owed else None
    owed_bytes = max(0, report.bytes_selected - report.bytes_held) if owed else 0
    return round(seconds * max(owed / instances, owed_bytes / size_bytes), 1)


def save_manifest(report: PlanReport, path: Path) -> None:
    """Write the Series of a plan to `path`, as a `.tcia` manifest. Blocking. Raises DiskError: it cannot be written."""
    text = compose(report.series_uids, archive=report.archive, name="manifest-bulkdl.tcia")
    with disk_errors("write", path):
        path.write_text(text, encoding="utf-8")


async def _add(
    sums: _Sums,
    series: Series,
    client: Archive,
    journal: Journal | None,
    wanted: Mapping[SeriesUid, Sequence[str]],
) -> None:
    count, size_bytes = series.image_count, series.size_bytes
    if count is None or size_bytes is None:
        asked = await client.size(series.series_uid)
        count, size_bytes = asked.image_count or count, asked.size_bytes or size_bytes
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


def _report(sums: _Sums, failures: tuple[Failure, ...], client: Archive, to: Path | None) -> PlanReport:
    tallies = sums.by_collection.values()
    owed = sum(max(0, tally.instances - tally.held) for tally in tallies)
    to_list = sum(tally.series - tally.complete for tally in tallies)
    return PlanReport(
        archive=client.url,
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
