"""Open an archive: from a profile to an `Archive` over an HTTP client. A new form of an archive is one line here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final, TypeAlias

from bulkdl.archive import transports
from bulkdl.archive.base import Archive, Capabilities
from bulkdl.archive.http import HttpClient
from bulkdl.archive.idc.archive import CAPABILITIES as IDC_CAPABILITIES
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.nbia.archive import NbiaArchive, capabilities_of
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.pathdb import CAPABILITIES as PATHDB_CAPABILITIES
from bulkdl.archive.pathdb import PathDbArchive
from bulkdl.archive.profiles import DICOMWEB, DRS, Profile
from bulkdl.archive.routed import RoutedArchive, routed_capabilities
from bulkdl.archive.supporting_files import SupportedArchive, SupportingFiles
from bulkdl.archive.transports import OpenTransport
from bulkdl.errors import ConfigurationError
from bulkdl.model.access import Access, Credentials
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter

Form: TypeAlias = Callable[[Profile, HttpClient], Archive]


def _data_commons(profile: Profile, http: HttpClient) -> Archive:
    from bulkdl.archive.drs.archive import DrsArchive  # noqa: PLC0415 - late: few runs need it

    return DrsArchive(profile, http)


def _dicomweb(profile: Profile, http: HttpClient) -> Archive:
    from bulkdl.archive.dicomweb.archive import DicomwebArchive  # noqa: PLC0415 - late, as above

    return DicomwebArchive(profile, http)


_SERVICE_POLICY: Final = RetryPolicy(max_attempts=3, give_up_after_seconds=10.0)
_SERVICE_REQUESTS: Final = 4
_FORMS: Final[Mapping[str, Form]] = {
    **dict.fromkeys(DIALECTS, NbiaArchive),
    "idc": IdcArchive,
    "idc-gcs": IdcArchive,
    DRS: _data_commons,
    DICOMWEB: _dicomweb,
    "pathdb": PathDbArchive,
}


@asynccontextmanager
async def connect(
    profile: Profile,
    retrier: Retrier,
    *,
    access: Access | None = None,
    note: Callable[[str], None] = lambda _: None,
    open_transport: OpenTransport = transports.open_transport,
) -> AsyncIterator[Archive]:
    """Open the archive of `profile`; its connections are closed at the end of the block. `note` receives odd answers.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    access = _bounded(access or Access(), retrier)
    if profile.supporting:
        anonymous = replace(access, credentials=Credentials())
        inner = replace(profile, supporting=False)
        async with (
            connect(inner, retrier, access=access, note=note, open_transport=open_transport) as archive,
            open_transport(anonymous) as transport,
        ):
            http = HttpClient(profile.url, transport, retrier.for_another_origin(), anonymous, note=note)
            yield SupportedArchive(archive, SupportingFiles(inner, http))
        return
    if profile.parts:
        idc, nbia = profile.parts
        anonymous = replace(access, credentials=Credentials())
        async with (
            connect(idc, retrier, access=anonymous, note=note, open_transport=open_transport) as first,
            connect(
                nbia, retrier.for_another_origin(), access=access, note=note, open_transport=open_transport
            ) as second,
        ):
            if not (isinstance(first, IdcArchive) and isinstance(second, NbiaArchive)):
                raise ConfigurationError(f"{profile.name} routes from idc to nbia, but the profiles are of other kinds")
            yield RoutedArchive(profile, first, second)
        return
    form: Form = profile.form or _FORMS[profile.kind]
    async with open_client(profile, retrier, access=access, note=note, open_transport=open_transport) as http:
        yield form(profile, http)


@asynccontextmanager
async def open_client(
    profile: Profile,
    retrier: Retrier,
    *,
    access: Access,
    note: Callable[[str], None] = lambda _: None,
    open_transport: OpenTransport = transports.open_transport,
) -> AsyncIterator[HttpClient]:
    """Open a client of the archive of `profile` without its protocol, for requests beyond the three questions.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    access = _bounded(access, retrier)
    async with open_transport(access) as transport:
        http = HttpClient(profile.url, transport, retrier, access, note=note)
        try:
            yield http
        finally:
            await http.log_out()


def _bounded(access: Access, retrier: Retrier) -> Access:
    """The same, without a wait that is longer than what an archive is waited for in all."""
    seconds = retrier.policy.give_up_after_seconds
    return access.bounded(seconds) if seconds else access  # else only what fails by itself is given up


@asynccontextmanager
async def open_service(
    url: str, stop: asyncio.Event, *, access: Access, note: Callable[[str], None] = lambda _: None
) -> AsyncIterator[HttpClient]:
    """Open a client of a service beside the archives, as a guest: no credentials of `access` are sent to it.

    Questions to it are few and short, so it is given up soon.
    """
    anonymous = replace(access, credentials=Credentials()).bounded(_SERVICE_POLICY.give_up_after_seconds)
    limiter = Limiter(ceiling=_SERVICE_REQUESTS, first=_SERVICE_REQUESTS, now=time.monotonic())
    retrier = Retrier(limiter=limiter, policy=_SERVICE_POLICY, stop=stop)
    async with transports.open_transport(anonymous) as transport:
        yield HttpClient(url, transport, retrier, anonymous, note=note)


def capabilities(profile: Profile) -> Capabilities:
    """What the archive of `profile` can do, as far as that is known without a request."""
    if _FORMS.get(profile.kind) is IdcArchive:
        return IDC_CAPABILITIES
    if profile.kind == DRS:
        from bulkdl.archive.drs.archive import CAPABILITIES as DRS_CAPABILITIES  # noqa: PLC0415 - late, as above

        return DRS_CAPABILITIES
    if profile.kind == DICOMWEB:
        from bulkdl.archive.dicomweb.archive import CAPABILITIES as DICOMWEB_CAPABILITIES  # noqa: PLC0415 - late, too

        return DICOMWEB_CAPABILITIES
    if _FORMS.get(profile.kind) is PathDbArchive:
        return PATHDB_CAPABILITIES
    dialect = DIALECTS.get(profile.with_endpoints.kind)
    found = capabilities_of(dialect()) if dialect is not None else Capabilities()
    return routed_capabilities(found, profile.route) if profile.parts else found
