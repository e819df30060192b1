"""The Imaging Data Commons (IDC) as an archive: its catalogue finds Series, its buckets list and send instances."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkdl.archive.base import Body, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion, Take
from bulkdl.archive.http import HttpClient
from bulkdl.archive.idc.bucket import Bucket
from bulkdl.archive.idc.index import (
    PUBLIC,
    IndexDownload,
    IndexFiles,
    cached_index,
    index_at,
    installed_index,
    is_address,
)
from bulkdl.archive.profiles import Profile
from bulkdl.errors import ConfigurationError, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection, folder_of

if TYPE_CHECKING:
    from bulkdl.archive.idc.catalogue import IdcCatalogue, IndexTotals
    from bulkdl.archive.idc.index_rows import IndexedSeries
    from bulkdl.archive.idc.release import Release
    from bulkdl.archive.idc.whole_index import WholeIndex

CAPABILITIES: Final = Capabilities(ranges=True, lists_sop_uids=False, checksums=True, lists_checksums=True)


class IdcArchive:
    """See `base.Archive`. The index is opened when a question needs it; sending instances does not."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = CAPABILITIES
        self.retrier = http.retrier
        self._profile = profile
        self._http = http
        self._bucket = Bucket(profile, http)
        self._catalogue: IdcCatalogue | None = None
        self._opening = asyncio.Lock()

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    def note(self, text: str) -> None:
        """Tell the user something."""
        self._http.note(text)

    # --- find ---------------------------------------------------------------------------------------------------------

    async def catalogue(self) -> IdcCatalogue:
        """The index that the profile names; else the later of the installed and the downloaded one.

        Where there is none, it is downloaded into the user's cache, once.

        Raises:
            ConfigurationError: there is no index where the profile says, or it cannot be read.
        """
        async with self._opening:
            if self._catalogue is None:
                files = await self._index_files()
                self._catalogue = opened = await asyncio.to_thread(_open_catalogue, files)
                if opened.release.is_old(today := datetime.now(UTC).date()):
                    self._http.note(opened.release.described(today))
            return self._catalogue

    async def _index_files(self) -> IndexFiles:
        index = self._profile.index
        if index is None:
            return await asyncio.to_thread(_local_index, self._profile) or await self.update_index()
        if is_address(index):
            return await self.update_index()
        return await asyncio.to_thread(index_at, Path(index))

    async def has_index(self) -> bool:
        """Whether the index is here, so that questions need no download."""
        index = self._profile.index
        if index is not None and not is_address(index):
            return True
        return await asyncio.to_thread(_local_index, self._profile) is not None

    async def update_index(self) -> IndexFiles:
        """Download the index, unless the one in the cache is the same.

        It comes from the address that the profile names, or from where IDC publishes it.
        """
        index = self._profile.index
        address = index if index is not None and is_address(index) else PUBLIC
        return await IndexDownload(address, self._cache, self._http).current()

    @property
    def _cache(self) -> Path:
        if self._profile.cache is None:
            raise ConfigurationError("there is no folder for the index of IDC: name an index with --idc-index")
        return self._profile.cache

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        return (await self.catalogue()).collections()

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`. The DOI itself selects the Series that were published under it."""
        known = await asyncio.to_thread((await self.catalogue()).has_doi, doi)
        return (doi,) if known else ()

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`. A Series that only an earlier release has is found if its UID is requested."""
        missing: list[SeriesQuestion] = []
        async with aclosing(self.current(selection)) as batches:
            async for batch in batches:
                missing += batch.not_found
                yield replace(batch, not_found=())
        yield await self.earlier(selection, missing)

    async def current(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """The Series of the current release; the last batch has what is not found there."""
        catalogue = await self.catalogue()
        yield FoundSeries(release=str(catalogue.release))
        batches, elsewhere = catalogue.search(selection), Counter[str]()
        named = {folder_of(location): location.partition("/")[0] for location in selection.locations}
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            elsewhere.update(_other_buckets(batch.series, named))
            yield _found(batch)
        for bucket, count in elsewhere.items():
            self._http.note(f"{count:,} series are in another bucket than {bucket}, which the manifest names")
        await asyncio.to_thread(catalogue.release_memory)  # the next question may need as much for itself
        yield FoundSeries(not_found=tuple(await asyncio.to_thread(catalogue.missing, selection)))

    async def earlier(self, selection: Selection, missing: Sequence[SeriesQuestion]) -> FoundSeries:
        """The last versions of the Series that the questions name; the questions without any are not found."""
        catalogue = await self.catalogue()
        earlier = await asyncio.to_thread(catalogue.earlier, selection, missing)
        for what, count in Counter((each.remark or "").split(" ")[0] for each in earlier.series).items():
            which = "1 series is" if count == 1 else f"{count:,} series are"
            self._http.note(f"{which} {what} in the current release of IDC: an earlier version of each is used")
        await asyncio.to_thread(catalogue.release_memory)  # downloads may take days from here
        known = {uid for each in earlier.series for uid in (each.series_uid, folder_of(each.location or ""))}
        not_found = tuple(
            _explained(question, catalogue.release)
            for question in missing
            if known.isdisjoint((question.series_uid, folder_of(question.criteria.get("folder", ""))))
        )
        return replace(_found(earlier), not_found=not_found)

    async def known(self, series_uids: Sequence[SeriesUid]) -> tuple[SeriesUid, ...]:
        """Those of the UIDs that are Series of the current release."""
        return await asyncio.to_thread((await self.catalogue()).known, series_uids) if series_uids else ()

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """See `Archive.references`. Of segmentations, structure sets and microscopy annotations there are tables."""
        return await asyncio.to_thread((await self.catalogue()).references, series_uids) if series_uids else {}

    async def totals(self, selection: Selection) -> tuple[IndexTotals, FoundSeries]:
        """The sums of the Series that `find` would find for a selection that names none, by Collection.

        With the rest of what it would yield: the release, and what was not found.
        """
        catalogue = await self.catalogue()
        totals = await asyncio.to_thread(catalogue.totals, selection)
        missing = await asyncio.to_thread(catalogue.missing, selection)
        return totals, FoundSeries(not_found=tuple(missing), release=str(catalogue.release))

    async def whole_index(self) -> WholeIndex:
        """The whole index in groups; the caller closes it."""
        catalogue = await self.catalogue()
        return await asyncio.to_thread(_whole, catalogue)

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """See `Archive.describe`. The index has it, so there is no request."""
        del patient_id
        await take(await asyncio.to_thread((await self.catalogue()).described, collection))

    # --- list and open ------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`. A Series without a location is not one of IDC: its list is empty.

        Of a location with objects only these are listed.
        """
        if not series.location:
            return Listing()
        bucket, _, rest = series.location.partition("/")
        folder, _, names = rest.partition("/")
        if not names:
            return await self._bucket.list_folder(series.location, expected=series.image_count)
        listing = await self._bucket.list_folder(f"{bucket}/{folder}")
        wanted = {f"{bucket}/{folder}/{name}" for name in names.split(",")}
        return replace(listing, entries=tuple(entry for entry in listing.entries if entry.key in wanted))

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open`."""
        del series_uid
        return self._bucket.open(entry, rest=rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open_bundle`. IDC has none."""
        del study_uid
        raise RequestRejected(f"IDC sends no bundle of series {series_uid}")

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """See `Archive.size`. The index gives both with every Series."""
        del series_uid
        return SeriesSize()

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """See `Archive.checksum`. The list of a bucket has it."""
        del series_uid
        return entry.md5

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """See `Archive.series_checksum`. IDC has none."""
        del series_uid
        return None


async def local_catalogue(profile: Profile) -> IdcCatalogue | None:
    """The index of a profile that is on this machine, opened without a client; None where it must be downloaded.

    Raises:
        ConfigurationError: there is no index where the profile says, or it cannot be read.
    """
    if profile.index is not None and not is_address(profile.index):
        files: IndexFiles | None = await asyncio.to_thread(index_at, Path(profile.index))
    else:
        files = await asyncio.to_thread(_local_index, profile)
    return await asyncio.to_thread(_open_catalogue, files) if files is not None else None


def _open_catalogue(files: IndexFiles) -> IdcCatalogue:
    """Blocking: duckdb takes a tenth of a second to be imported."""
    from bulkdl.archive.idc.catalogue import IdcCatalogue  # noqa: PLC0415 - late: most commands do not need it

    return IdcCatalogue(files)


def _whole(catalogue: IdcCatalogue) -> WholeIndex:
    from bulkdl.archive.idc.whole_index import WholeIndex  # noqa: PLC0415 - late, as above

    return WholeIndex(catalogue)


def _local_index(profile: Profile) -> IndexFiles | None:
    """The index that was downloaded from the address of the profile; without one, the later of it and the package.

    Blocking.
    """
    from bulkdl.archive.idc.catalogue import version_of  # noqa: PLC0415 - late, as above

    downloaded = cached_index(profile.index or PUBLIC, profile.cache) if profile.cache is not None else None
    installed = installed_index() if profile.index is None else None
    found = [files for files in (downloaded, installed) if files is not None]  # of one version, that with more tables
    return max(found, key=version_of) if len(found) > 1 else next(iter(found), None)


def _other_buckets(series: Iterable[Series], buckets: Mapping[str, str]) -> Iterator[str]:
    """The buckets that a manifest names for Series that are in others; `buckets` has them by folder."""
    for each in series if buckets else ():
        bucket, _, _ = (each.location or "").partition("/")
        if (named := buckets[folder_of(each.location or "")]) != bucket:
            yield named


def _explained(question: SeriesQuestion, release: Release) -> SeriesQuestion:
    if (folder := question.criteria.get("folder")) is None:
        return question
    reason = f"IDC has no series in the folder {folder}, up to release {release.number}"
    return replace(question, reason=f"{reason}; if the manifest is later, run bulkdl archives --update-index")


def _found(batch: IndexedSeries) -> FoundSeries:
    if not batch.invalid_rows:
        return FoundSeries(batch.series, descriptions=batch.descriptions)
    rows = f"{batch.invalid_rows:,} {'row' if batch.invalid_rows == 1 else 'rows'}"
    error = UnexpectedAnswer(f"{rows} of the index without a valid UID, bucket or folder")
    return FoundSeries(batch.series, failed=((SeriesQuestion({}), error),), descriptions=batch.descriptions)
