"""The buckets of IDC over plain HTTPS, path style: list a folder, get an object."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from bulkdl.archive.base import Body, Listing, Rest
from bulkdl.archive.http import IDENTITY, HttpClient
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request
from bulkdl.model.records import Entry


class Bucket:
    """Lists folders and sends objects of all buckets of one provider."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self._profile = profile
        self._http = http

    async def list_folder(self, location: str) -> Listing:
        """The objects of a folder, `<bucket>/<series uuid>`."""
        raise NotImplementedError(location)

    def open(self, entry: Entry, *, rest: Rest | None = None) -> AbstractAsyncContextManager[Body]:
        """Request one object, `<bucket>/<series uuid>/<instance uuid>.dcm`; see `Archive.open`."""
        return self._http.open(Request("object", entry.key), headers=IDENTITY, rest=rest)
