"""Instances that are named by their SOP Instance UIDs alone: the Series that they belong to.

No archive finds the Series of an instance. The lists of the Series that the other criteria select show which one has
it; where lists have no SOP Instance UIDs, as those of buckets, the heads of the objects do.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import RequestFailed, SelectionError
from bulkdl.model.events import Noted, Sink
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.resolve.listing import list_until_complete
from bulkdl.resolve.object_heads import identified
from bulkdl.resolve.resolution import Resolution, resolve
from bulkdl.runtime.tasks import as_iterator, run_pool

_LISTS_AT_ONCE: Final = 32
_MOST_HEADS: Final = 20_000


async def find_series_of_instances(selection: Selection, archive: Archive, sink: Sink) -> Selection:
    """Replace the `sop_uids` of a selection by the Series that have them, narrowed to these instances.

    What no Series has stays in `sop_uids`: `resolve` reports it. One Series is not listed here: the run does it.

    Raises:
        SelectionError: nothing but instances is selected, or too many objects would have to be read.
        RequestFailed: a list failed, and not all instances are in the others.
    """
    if not selection.sop_uids:
        return selection
    selection.check()
    candidates = await _candidates(replace(selection, sop_uids=()), archive)
    if not candidates:
        return replace(selection, sop_uids=())  # which `resolve` does not find either, and says so
    if len(candidates) == 1:
        found = dict.fromkeys(selection.sop_uids, candidates[0].series_uid)
    else:
        sink(Noted(f"looking for {counted(len(selection.sop_uids), 'instance')} in {len(candidates):,} series"))
        found = await _Search(archive, selection.sop_uids).look(candidates)
    return _narrowed(selection, found)


async def _candidates(selection: Selection, archive: Archive) -> list[Series]:
    found: dict[SeriesUid, Series] = {}
    async with aclosing(resolve(selection, archive, Resolution())) as batches:
        async for batch in batches:
            found |= {series.series_uid: series for series in batch.series}
    in_buckets = [series.image_count or 1 for series in found.values() if series.location is not None]
    if len(found) > 1 and (count := sum(in_buckets)) > _MOST_HEADS:
        raise SelectionError(
            f"the lists of this archive have no SOP Instance UIDs: bulkdl would read the beginning of {count:,} "
            f"objects in {len(in_buckets):,} series to find the instances; name their --series or --study"
        )
    return list(found.values())


def _narrowed(selection: Selection, found: dict[SopInstanceUid, SeriesUid]) -> Selection:
    """The selection with the Series of the instances that were found, in the order in which they are named."""
    given = {uid: frozenset(sops) for uid, sops in selection.instances}
    series: dict[SeriesUid, list[SopInstanceUid]] = {}
    for sop_uid in selection.sop_uids:
        uid = found.get(sop_uid)
        if uid is not None and sop_uid in given.get(uid, {sop_uid}):
            series.setdefault(uid, []).append(sop_uid)
    if not series:
        return replace(selection, instances=())
    placed = {sop_uid for sops in series.values() for sop_uid in sops}
    return replace(
        selection,
        series=tuple(series),
        instances=tuple((uid, tuple(dict.fromkeys(sops))) for uid, sops in series.items()),
        sop_uids=tuple(uid for uid in selection.sop_uids if uid not in placed),
        alternatives=(),
    )


class _Search:
    """Looks for instances in the lists of Series, several at once, until all are found."""

    def __init__(self, archive: Archive, wanted: Iterable[SopInstanceUid]) -> None:
        self._archive = archive
        self._missing = set(wanted)
        self._found: dict[SopInstanceUid, SeriesUid] = {}
        self._failures: list[RequestFailed] = []

    async def look(self, candidates: Iterable[Series]) -> dict[SopInstanceUid, SeriesUid]:
        """The Series of each instance that was found."""
        await run_pool(as_iterator(candidates), self._look_in, workers=_LISTS_AT_ONCE, name="find-instances")
        if self._missing and self._failures:
            raise self._failures[0]
        return self._found

    async def _look_in(self, series: Series) -> None:
        if not self._missing:
            return
        try:
            entries, _, _ = await list_until_complete(series, self._archive)
            entries = await identified(self._archive, series, entries, self._missing)
        except RequestFailed as error:
            self._failures.append(error)
            return
        here = self._missing & {entry.sop_uid for entry in entries if entry.sop_uid is not None}
        self._missing -= here
        self._found |= dict.fromkeys(here, series.series_uid)
