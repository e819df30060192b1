"""Two archives as one: each Series comes from the Imaging Data Commons (IDC) or from NBIA, as the route says.

The keys of their entries differ: that of an object in a bucket has a `/`, that of NBIA is a UID. Each archive has its
own limits and outages, so a download needs the one that `part_of` finds for its entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import Final

from bulkdl.archive.base import Archive, Body, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion, Take
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.profiles import Profile
from bulkdl.archive.supporting_files import KEY, SupportedArchive
from bulkdl.errors import ArchiveError, ArchiveUnreachable, ConnectFailed, RequestFailed
from bulkdl.model.access import Route
from bulkdl.model.descriptions import NO_DESCRIPTIONS, Descriptions
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection

# TCIA gives these UIDs when it removes what identifies a patient; since July 2025 controlled data are not in NBIA.
_UIDS_OF_TCIA: Final = "1.3.6.1.4.1.14519.5.2.1."
_CONTROLLED: Final = (
    "neither IDC, in any release, nor NBIA has this series; its UID is one of TCIA, so it may be of controlled access "
    "now: https://www.cancerimagingarchive.net/nih-controlled-data-access-policy/"
)
_NEVER_SEEN: Final = "neither IDC, in any release, nor NBIA has this series"


_SECONDS_FOR_NAMES: Final = 30.0
_COMPARED_AT_ONCE: Final = 10_000  # Series of NBIA with the index: a comparison takes a tenth of a second


def routed_capabilities(of_nbia: Capabilities, route: Route) -> Capabilities:
    """What an archive of two parts can do by this route, where its NBIA can do that."""
    has_checksums = route is not Route.NBIA
    return replace(of_nbia, lists_sop_uids=False, lists_checksums=has_checksums, asks_series_singly=False)


class RoutedArchive:
    """See `base.Archive`. `idc` and `nbia` are its parts; its `retrier` is that of the one that is asked first."""

    def __init__(self, profile: Profile, idc: IdcArchive, nbia: NbiaArchive) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = routed_capabilities(nbia.capabilities, profile.route)
        self.idc = idc
        self.nbia = nbia
        self.route = profile.route
        self._index_error: ArchiveError | None = None
        self.retrier = nbia.retrier if self.route in {Route.NBIA, Route.NBIA_FIRST} else idc.retrier

    @property
    def requests(self) -> int:
        return self.idc.requests + self.nbia.requests

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`. Those of IDC alone where NBIA does not answer soon."""
        found = await self.idc.collections() if await self._has_index() else ()
        if self.route is not Route.IDC:
            try:
                async with asyncio.timeout(_SECONDS_FOR_NAMES if found else None):
                    found = (*await self.nbia.collections(), *found)
            except (TimeoutError, ArchiveUnreachable, RequestFailed):
                if not found:
                    raise
        return tuple({name.casefold(): name for name in found}.values())

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        found = await self.idc.collections_of_doi(doi) if await self._has_index() else ()
        return found or await self.nbia.collections_of_doi(doi)

    async def _has_index(self) -> bool:
        """Whether IDC is to be asked. Where its index cannot be downloaded, all comes from NBIA, and a note says so."""
        if self.route in {Route.IDC, Route.NBIA}:
            return self.route is Route.IDC
        if self._index_error is None:
            try:
                await self.idc.catalogue()
            except ArchiveError as error:
                self._index_error = error
                self.idc.note(f"everything comes from NBIA, because the index of IDC cannot be downloaded: {error}")
        return self._index_error is None

    # --- find ---------------------------------------------------------------------------------------------------------

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`. A Series that only an earlier release of IDC has is used where NBIA does not have it."""
        ask = {
            Route.IDC: self.idc.find,
            Route.NBIA: self.nbia.find,
            Route.IDC_FIRST: self._idc_first,
            Route.NBIA_FIRST: self._nbia_first,
        }
        is_routed = self.route in {Route.IDC, Route.NBIA} or selection.locations or await self._has_index()
        async with aclosing(ask[self.route if is_routed else Route.NBIA](selection)) as batches:
            async for batch in batches:
                yield batch
        if not is_routed:  # an absence is not an answer then
            failure = ConnectFailed(f"what NBIA does not have is not known: {self._index_error}")
            yield FoundSeries(failed=((SeriesQuestion({}), failure),))

    async def _idc_first(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        missing: list[SeriesQuestion] = []
        if not selection.shared_lists:  # which only NBIA has
            async with aclosing(self.idc.current(selection)) as batches:
                async for batch in batches:
                    missing += batch.not_found
                    yield replace(batch, not_found=())
        unknown = tuple(question.series_uid for question in missing if question.series_uid)
        if selection.locations or (selection.series and not unknown):  # NBIA has no folders
            yield await self.idc.earlier(selection, missing)
            return
        not_found: list[SeriesQuestion] = []
        waiting: list[Series] = []
        parents: list[Descriptions] = []
        async with aclosing(self._of_nbia(selection, unknown)) as batches:
            async for batch in batches:
                not_found += batch.not_found
                waiting += batch.series
                parents.append(batch.descriptions)
                yield replace(batch, series=(), not_found=(), descriptions=NO_DESCRIPTIONS)
                if len(waiting) >= _COMPARED_AT_ONCE:
                    async for each in self._compared(selection, waiting, parents):
                        yield each
                    waiting, parents = [], []
        async for each in self._compared(selection, waiting, parents):
            yield each
        async with aclosing(self._rest(selection, missing, not_found)) as batches:
            async for batch in batches:
                yield batch

    async def _compared(
        self, selection: Selection, series: list[Series], parents: list[Descriptions]
    ) -> AsyncIterator[FoundSeries]:
        """Those of NBIA that IDC does not have; of a shared list those that it has, too, as IDC describes them."""
        known = await self.idc.known([each.series_uid for each in series])
        theirs = frozenset(known)
        others = tuple(each for each in series if each.series_uid not in theirs)
        yield FoundSeries(others, descriptions=Descriptions.joined(parents).of(others))
        if known and selection.shared_lists:
            async with aclosing(self.idc.current(replace(selection, series=known, shared_lists=()))) as batches:
                async for batch in batches:
                    yield batch

    async def _nbia_first(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        if selection.locations:
            async with aclosing(self.idc.find(selection)) as batches:
                async for batch in batches:
                    yield batch
            return
        seen: set[str] = set()
        not_found: list[SeriesQuestion] = []
        async with aclosing(self._of_nbia(selection, selection.series)) as batches:
            async for batch in batches:
                seen.update(series.series_uid for series in batch.series)
                not_found += batch.not_found
                yield replace(batch, not_found=())
        missing: list[SeriesQuestion] = []
        if not selection.shared_lists:
            async with aclosing(self.idc.current(selection)) as batches:
                async for batch in batches:
                    missing += batch.not_found
                    rest = tuple(series for series in batch.series if series.series_uid not in seen)
                    yield replace(batch, series=rest, not_found=())
        async with aclosing(self._rest(selection, missing, not_found)) as batches:
            async for batch in batches:
                yield batch

    async def _of_nbia(
        self, selection: Selection, series_uids: tuple[SeriesUid, ...]
    ) -> AsyncGenerator[FoundSeries, None]:
        """What NBIA has of a selection, by its names of the Collections; of named Series only of these.

        That NBIA cannot be reached is a failure of its questions: what IDC has is not held up by it.
        """
        names = await self._names_at_nbia(selection.collections)
        if selection.collections and not names:
            return
        instances = tuple(pair for pair in selection.instances if pair[0] in set(series_uids))
        asked = replace(selection, collections=names, series=series_uids, instances=instances)
        try:
            async with aclosing(self.nbia.find(asked)) as batches:
                async for batch in batches:
                    yield batch
        except (ArchiveUnreachable, RequestFailed) as error:
            questions = [SeriesQuestion({"series_uid": uid}, uid) for uid in series_uids] or [SeriesQuestion({})]
            failure = ConnectFailed(f"what IDC does not have is not known: {error}")
            yield FoundSeries(failed=tuple((question, failure) for question in questions))

    async def _names_at_nbia(self, collections: tuple[str, ...]) -> tuple[str, ...]:
        """The names of TCIA for those that a user may write; a name that IDC does not know as it is.

        A DOI or an analysis result that IDC knows has none.
        """
        catalogue = await self.idc.catalogue()
        names: dict[str, None] = {}
        for name in collections:
            known = await asyncio.to_thread(catalogue.names_of, name)
            names |= dict.fromkeys((name,) if known is None else known)
        return tuple(names)

    async def _rest(
        self, selection: Selection, missing: Collection[SeriesQuestion], not_found: Collection[SeriesQuestion]
    ) -> AsyncGenerator[FoundSeries, None]:
        """The last versions of what neither has now, and what is left."""
        lacking = {(name, value) for question in missing for name, value in question.criteria.items()}
        neither = [
            question
            for question in not_found
            if selection.shared_lists or any(item in lacking for item in question.criteria.items())
        ]
        earlier = await self.idc.earlier(selection, neither)
        yield replace(earlier, not_found=tuple(map(_explained, earlier.not_found)))

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """See `Archive.describe`. IDC describes the Collections that it has, with more values and without a request."""
        if await self._has_index() and collection in await self.idc.collections():
            await self.idc.describe(collection, take)
        else:
            await self.nbia.describe(collection, take, patient_id=patient_id)

    # --- list and open ------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        return await (self.idc if series.location is not None else self.nbia).list(series)

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        return part_of(self, entry.key).open(series_uid, entry, rest=rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        return self.nbia.open_bundle(series_uid, study_uid=study_uid)

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """See `Archive.references`. NBIA is asked for what it has alone: a Series of IDC need not be there."""
        uses_idc = self.route is not Route.NBIA and await self._has_index()
        here = await self.idc.known(series_uids) if uses_idc else ()
        told = dict(await self.idc.references(here)) if here else {}
        known = frozenset(here)
        return told | dict(await self.nbia.references([uid for uid in series_uids if uid not in known]))

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        return await self.nbia.size(series_uid)

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        return await part_of(self, entry.key).checksum(series_uid, entry)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        return await self.nbia.series_checksum(series_uid)


def parts_of(archive: Archive) -> tuple[Archive, ...]:
    """The archives that an archive consists of: itself, or those that it routes between; and its supporting data."""
    if isinstance(archive, SupportedArchive):
        return (*parts_of(archive.archive), archive.files)
    return (archive.idc, archive.nbia) if isinstance(archive, RoutedArchive) else (archive,)


def part_of(archive: Archive, key: str) -> Archive:
    """The one of the `parts_of` an archive that has the entry of that key."""
    if isinstance(archive, SupportedArchive):
        return archive.files if key.startswith(KEY) else part_of(archive.archive, key)
    if isinstance(archive, RoutedArchive):
        return archive.idc if "/" in key else archive.nbia
    return archive


def source_of(archive: Archive, series: Series) -> str | None:
    """Where a Series comes from, `idc` or `nbia`; None for an archive without a route."""
    if isinstance(archive, SupportedArchive):
        return source_of(archive.archive, series) if series.kind is None else None
    if not isinstance(archive, RoutedArchive):
        return None
    return "idc" if series.location is not None else "nbia"


def _explained(question: SeriesQuestion) -> SeriesQuestion:
    if question.series_uid is None:
        return question
    is_of_tcia = question.series_uid.startswith(_UIDS_OF_TCIA)
    return replace(question, reason=_CONTROLLED if is_of_tcia else _NEVER_SEEN)
