"""Find many Series by few questions, where an archive can be asked for one Series at a time and no more.

An earlier run has recorded the Collection and the Patient of each Series. One list of these has all of them; only what
it does not have is asked for by its UID.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeAlias

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.model.ids import SeriesUid
from bulkdl.model.selection import Selection

PlacesOf: TypeAlias = Callable[[Sequence[SeriesUid]], Awaitable[Mapping[SeriesUid, tuple[str, str]]]]
"""The Collection and the Patient that are recorded of some Series."""


async def find_together(
    selection: Selection, archive: Archive, places_of: PlacesOf | None
) -> AsyncGenerator[FoundSeries, None]:
    """As `Archive.find`; Series whose places are recorded are found by a list of their Collection, or of their Patient.

    If a list fails, its Series are not asked for singly: they are among what `failed` concerns.
    """
    missing = set(selection.series)
    if places_of is not None and archive.capabilities.asks_series_singly and len(missing) > 1:
        others = replace(selection, series=())
        for asked, uids in _questions(await places_of(selection.series)):
            async with aclosing(archive.find(asked)) as batches:
                async for found in batches:
                    named = [series for series in found.series if series.series_uid in uids]
                    missing.difference_update(uids if found.failed else (series.series_uid for series in named))
                    chosen = tuple(filter(others.matches, named))
                    yield replace(found, series=chosen, not_found=(), descriptions=found.descriptions.of(chosen))
    if missing or not selection.series:
        rest = tuple(uid for uid in selection.series if uid in missing)
        async with aclosing(archive.find(replace(selection, series=rest))) as batches:
            async for found in batches:
                yield found


def _questions(places: Mapping[SeriesUid, tuple[str, str]]) -> list[tuple[Selection, frozenset[SeriesUid]]]:
    """The lists to ask for, and the Series that each has to have. One Series alone is not worth a list."""
    by_collection: defaultdict[str, dict[SeriesUid, str]] = defaultdict(dict)
    for uid, (collection, patient_id) in places.items():
        by_collection[collection][uid] = patient_id
    questions = []
    for collection, patients in by_collection.items():
        if not collection or len(patients) == 1:
            continue
        one = set(patients.values()) if len(set(patients.values())) == 1 and "" not in patients.values() else ()
        questions.append((Selection(collections=(collection,), patients=tuple(one)), frozenset(patients)))
    return questions
