"""DataCite and the Collection Manager of TCIA over the client of HTTP: where they are, and how they are asked.

They know the data sets of TCIA, so they are asked for the archives of TCIA and IDC, for the demonstration archive,
which answers itself, and for any archive where the configuration names them: the profiles `datacite` and
`collection-manager`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import urljoin, urlsplit

from bulkdl.archive.connect import open_service
from bulkdl.archive.http import HttpClient
from bulkdl.archive.profiles import BUILT_IN, Profile
from bulkdl.archive.request import Request
from bulkdl.errors import ArchiveUnreachable, ConfigurationError, ConnectFailed
from bulkdl.model.access import DEMOS, Access
from bulkdl.services.base import Query, ServiceAnswer
from bulkdl.services.datacite import DataCite
from bulkdl.services.wordpress import CollectionManager

DATACITE: Final = "datacite"
COLLECTION_MANAGER: Final = "collection-manager"
SERVICES: Final[Mapping[str, str]] = {
    DATACITE: "https://api.datacite.org/",
    COLLECTION_MANAGER: "https://cancerimagingarchive.net/api/",
}
"""The base address of each service, with a slash at its end. A profile of the same name replaces it."""

_AT_A_SERVER: Final[Mapping[str, str]] = {DATACITE: "/", COLLECTION_MANAGER: "/api/"}
_MOST_BYTES: Final = 64 << 20
_Result = TypeVar("_Result")


def service_addresses(profile: Profile, profiles: Mapping[str, str]) -> dict[str, str]:
    """The address of each service that is asked about the data sets of an archive.

    Raises:
        ConfigurationError: the configuration names one that is not a web address.
    """
    found: dict[str, str] = {}
    if profile.name in DEMOS:
        found = {name: urljoin(profile.url, path) for name, path in _AT_A_SERVER.items()}
    elif _is_of_tcia(profile):
        found = dict(SERVICES)
    return found | {name: _checked(name, profiles[name]) for name in SERVICES if name in profiles}


def _is_of_tcia(profile: Profile) -> bool:
    known = {urlsplit(address.partition("+")[2]).hostname for address in BUILT_IN.values()}
    return urlsplit(profile.url).hostname in known


def _checked(name: str, address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
        raise ConfigurationError(f"the profile {name} is not the http or https address of a service")
    return f"{address.rstrip('/')}/"


class HttpService:
    """See `services.base.ServiceClient`. A service that cannot be reached at all is given up at once."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def get(self, what: str, path: str, query: Query, read: Callable[[ServiceAnswer], _Result]) -> _Result:
        """See `ServiceClient.get`."""
        request = Request(what, path, query)

        async def once(_: int) -> _Result:
            try:
                async with self._http.open(request) as body:
                    content = await body.read(_MOST_BYTES)
            except ConnectFailed as error:
                raise ArchiveUnreachable(str(error)) from error
            return await asyncio.to_thread(read, ServiceAnswer(body.headers, content))

        return await self._http.retrier.ask(what, once)


@asynccontextmanager
async def open_datacite(
    address: str = SERVICES[DATACITE], *, access: Access | None = None, stop: asyncio.Event | None = None
) -> AsyncIterator[DataCite]:
    """Open DataCite until the block ends; see `services.datacite`."""
    async with open_service(address, stop or asyncio.Event(), access=access or Access()) as http:
        yield DataCite(HttpService(http))


@asynccontextmanager
async def open_collection_manager(
    address: str = SERVICES[COLLECTION_MANAGER],
    *,
    version: int = 2,
    access: Access | None = None,
    stop: asyncio.Event | None = None,
) -> AsyncIterator[CollectionManager]:
    """Open the Collection Manager until the block ends; see `services.wordpress`. `version` is that of its API."""
    async with open_service(address, stop or asyncio.Event(), access=access or Access()) as http:
        yield CollectionManager(HttpService(http), version=version)
