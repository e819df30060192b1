"""The Imaging Data Commons (IDC) as an archive: its catalogue finds Series, its buckets list and send instances."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Final

from bulkdl.archive.base import Body, Capabilities, FoundSeries, Listing, Rest
from bulkdl.archive.http import HttpClient
from bulkdl.archive.idc.bucket import Bucket
from bulkdl.archive.profiles import Profile
from bulkdl.errors import RequestRejected
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.selection import Selection

CAPABILITIES: Final = Capabilities(ranges=True, lists_sop_uids=False)


class IdcArchive:
    """See `base.Archive`."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = CAPABILITIES
        self.retrier = http.retrier
        self._http = http
        self._bucket = Bucket(profile, http)

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        raise NotImplementedError

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`."""
        raise NotImplementedError

    def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`."""
        raise NotImplementedError

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`. A Series without a location is not one of IDC: its list is empty."""
        if not series.location:
            return Listing()
        return await self._bucket.list_folder(series.location, expected=series.image_count)

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
