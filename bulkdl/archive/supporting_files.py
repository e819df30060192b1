"""Supporting data: the plain files that a Collection Manager links for Collections, beside the Series of an archive.

They are one Series for each Collection, whose entries are web addresses behind `file+`. Requests for them carry no
credentials. What the Collection Manager offers is a question to a service, which the caller answers: see `offered`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from bulkdl.archive.base import Archive, Body, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion, Take
from bulkdl.archive.http import HttpClient
from bulkdl.archive.plain_archive import PlainArchive
from bulkdl.archive.plain_objects import opened, with_size
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request
from bulkdl.errors import ArchiveError, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid, SopInstanceUid, derived_uid
from bulkdl.model.records import Entry, References, Series, SeriesKind, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.model.text import shortened

Offers: TypeAlias = Mapping[str, tuple[str, ...]]
"""The addresses of plain files, by Collection."""

KEY: Final = "file+"
"""How the key of such a file begins; its address follows."""

_SHOWN: Final = 120


class SupportingFiles(PlainArchive):
    """The part that has the files. It finds nothing by itself."""

    capabilities = Capabilities(ranges=True)

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = f"{profile.url}#supporting-data"
        self.retrier = http.retrier
        self._http = http
        self._is_secure = urlsplit(profile.url).scheme == "https"

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    async def entries(self, addresses: Sequence[str]) -> Listing:
        """The entries of these files, each once, with the sizes that their servers state."""
        found = []
        for address in dict.fromkeys(addresses):
            key = KEY + address
            entry = Entry(
                key, SopInstanceUid(derived_uid(key)), name=unquote(urlsplit(address).path.rpartition("/")[2])
            )
            try:
                found.append(await with_size(self._http, self._request(key), entry))
            except RequestRejected:  # the download says so
                found.append(entry)
        return Listing(tuple(found))

    def _request(self, key: str) -> Request:
        """The request for a file. Its host is another one than that of the client: its failures are those of the file.

        Raises:
            RequestRejected: its address is not https, unless the archive itself is at http.
        """
        address = urlsplit(key.removeprefix(KEY))
        if address.scheme not in ({"https"} if self._is_secure else {"http", "https"}) or not address.hostname:
            raise RequestRejected(f"{shortened(key.removeprefix(KEY), _SHOWN)} is not an https address")
        place = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"
        return Request("file", place, tuple(parse_qsl(address.query, keep_blank_values=True)))

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open`."""
        del series_uid
        return opened(self._http, self._request(entry.key), entry, rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open_bundle`. There are none."""
        del study_uid
        raise RequestRejected(f"there is no bundle of {series_uid}")

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        return ()

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`."""
        del doi
        return ()

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`."""
        del selection
        yield FoundSeries()

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`."""
        del series
        return Listing()


class SupportedArchive:
    """See `base.Archive`: an archive, and the supporting data of its Collections.

    `offered` is set by the resolver: given Collections, it returns the addresses of their files. A worker needs none.
    """

    offered: Callable[[Collection[str]], Awaitable[Offers]] | None = None

    def __init__(self, archive: Archive, files: SupportingFiles) -> None:
        self.archive = archive
        self.files = files
        self.name = archive.name
        self.url = archive.url
        self.capabilities = archive.capabilities
        self.retrier = archive.retrier
        self._known: dict[str, tuple[str, ...]] = {}

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self.archive.requests + self.files.requests

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`. The supporting data come last, for the Collections that were found or are named."""
        names = dict.fromkeys(selection.collections) if selection.with_supporting_data else {}
        async with aclosing(self.archive.find(selection)) as batches:
            async for batch in batches:
                names |= dict.fromkeys(series.collection for series in batch.series)
                yield batch
        if selection.with_supporting_data:
            yield await self._supporting(tuple(filter(None, names)))

    async def _supporting(self, collections: Sequence[str]) -> FoundSeries:
        try:
            offers = await self._offers(collections)
        except ArchiveError as error:
            question = SeriesQuestion({"the supporting data of": ", ".join(collections)})
            failure = error if isinstance(error, RequestFailed) else UnexpectedAnswer(str(error))
            return FoundSeries(failed=((question, failure),))
        found = ((name, addresses) for name, addresses in offers.items() if addresses)
        return FoundSeries(tuple(_series(name, len(addresses)) for name, addresses in found))

    async def _offers(self, collections: Sequence[str]) -> Offers:
        unknown = [name for name in collections if name not in self._known]
        if unknown and self.offered is not None:
            offers = await self.offered(unknown)
            self._known |= offers
        return {name: self._known.get(name, ()) for name in collections}

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`."""
        if series.kind is not SeriesKind.FILES:
            return await self.archive.list(series)
        offers = await self._offers([series.collection])
        return await self.files.entries(offers[series.collection])

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open`."""
        part: Archive = self.files if entry.key.startswith(KEY) else self.archive
        return part.open(series_uid, entry, rest=rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open_bundle`."""
        return self.archive.open_bundle(series_uid, study_uid=study_uid)

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        return await self.archive.collections()

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`."""
        return await self.archive.collections_of_doi(doi)

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """See `Archive.describe`."""
        await self.archive.describe(collection, take, patient_id=patient_id)

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """See `Archive.references`."""
        return await self.archive.references(series_uids)

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """See `Archive.size`."""
        return await self.archive.size(series_uid)

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """See `Archive.checksum`."""
        return None if entry.key.startswith(KEY) else await self.archive.checksum(series_uid, entry)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """See `Archive.series_checksum`."""
        return await self.archive.series_checksum(series_uid)


def _series(collection: str, files: int) -> Series:
    return Series(
        series_uid=SeriesUid(derived_uid(f"supporting-data:{collection}")),
        collection=collection,
        description="supporting data",
        image_count=files,
        kind=SeriesKind.FILES,
    )
