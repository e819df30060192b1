"""`archives`: whether an archive answers, and which step of the connection fails if it does not.

The checks follow the steps of a request: the name, the proxy, TLS, the API, one image. After a step that failed, the
others are skipped. Each check is one attempt with a short time limit.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from bulkdl.archive.base import Archive
from bulkdl.archive.dicomweb.archive import DicomwebArchive
from bulkdl.archive.drs.archive import DrsArchive
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.profiles import BUILT_IN, Profile
from bulkdl.archive.routed import parts_of
from bulkdl.errors import BulkdlError, ConfigurationError, ConnectFailed, TimedOut, UnexpectedAnswer
from bulkdl.model.access import DEMOS, IDC, ArchiveChoice
from bulkdl.model.events import RunContext, Sink, ignore
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import error_text
from bulkdl.runtime.tasks import together
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.connections.connected_archive import ConnectedArchive
from bulkdl.verbs.connections.endpoints import profile_of
from bulkdl.verbs.connections.open_archive import open_archive
from bulkdl.verbs.connections.reach import choose_archive
from bulkdl.verbs.connections.service_clients import SERVICES

_SECONDS_PER_CHECK: Final = 10.0
_COLLECTIONS_TRIED: Final = 3
_SERIES_COMPARED: Final = 1_000
_QUESTIONS: Final = FetchSettings(max_attempts=3, give_up_after_seconds=30)
_PORTS: Final = {"http": 80, "https": 443}


class CheckOutcome(StrEnum):
    """How a check ended. `skipped`: it does not apply, or an earlier one failed."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one connectivity check. `error` is the code of the failure."""

    check: str
    outcome: CheckOutcome
    message: str = ""
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """One archive, with the result of each check. `release` is that of its index, if one is here, and its age."""

    name: str
    url: str
    kind: str
    results: tuple[CheckResult, ...]
    release: str | None = None

    @property
    def answers(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome is not CheckOutcome.FAILED for result in self.results)

    def as_json(self) -> dict[str, Any]:
        """The entry of `archives --json`."""
        return {
            "name": self.name,
            "url": self.url,
            "kind": self.kind,
            "release": self.release,
            "answers": self.answers,
            "checks": [{**asdict(result), "seconds": round(result.seconds, 3)} for result in self.results],
        }


def known_archives(profiles: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """The names of all archives: the built-in profiles, `profiles` but for services, and the demonstration archive."""
    configured = (name for name in profiles if name not in SERVICES)
    return tuple(dict.fromkeys((*BUILT_IN, *configured, *DEMOS)))


async def archives_async(
    *archives: str | ArchiveChoice, seconds_per_check: float = _SECONDS_PER_CHECK
) -> tuple[ArchiveReport, ...]:
    """Check the connection to each archive, all side by side; without arguments, to all known ones."""
    choices = [choose_archive(archive) for archive in archives or known_archives()]
    connections = [_Connection(choice, profile_of(choice), seconds_per_check) for choice in choices]
    await together(*(connection.check() for connection in connections))
    return tuple(connection.report() for connection in connections)


archives = blocking(archives_async)


async def update_index_async(archive: str | ArchiveChoice = IDC, *, sink: Sink = ignore) -> str:
    """Download the current index of IDC into the user's cache, and return the release that is used from now on.

    It is not downloaded again if it is there already.

    Raises:
        ConfigurationError: the archive has no index.
        ArchiveError: the index cannot be downloaded.
        DiskError: it cannot be written.
    """
    async with open_archive(choose_archive(archive), RunContext(_QUESTIONS, sink)) as opened:
        if not isinstance(opened.client, IdcArchive):
            raise ConfigurationError(f"the archive {opened.client.name} has no index; {IDC} has one")
        await opened.client.update_index()
        return (await opened.client.catalogue()).release.described(datetime.now(UTC).date())


update_index = blocking(update_index_async)


@dataclass(slots=True)
class _Connection:
    """Connectivity checks for one archive, in order."""

    choice: ArchiveChoice
    profile: Profile
    seconds: float
    results: list[CheckResult] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)
    series: Series | None = None
    release: str | None = None

    def report(self) -> ArchiveReport:
        if (name := self.choice.name) in DEMOS:
            return ArchiveReport(name, "in this process", self.profile.kind, tuple(self.results), self.release)
        about = self.profile
        return ArchiveReport(about.name, about.url, about.kind, tuple(self.results), self.release)

    async def check(self) -> None:
        if self.choice.name not in DEMOS:
            await self._step("name", self._resolve_name)
            await self._step("proxy", self._reach_proxy)
            await self._step("tls", self._shake_hands)
        access = replace(self.choice.access, answer_seconds=self.seconds, silence_seconds=self.seconds)
        settings = FetchSettings(max_attempts=1, give_up_after_seconds=0)
        try:
            async with open_archive(replace(self.choice, access=access), RunContext(settings, ignore)) as opened:
                client = parts_of(opened.client)[-1]
                if isinstance(client, IdcArchive) and await client.has_index():
                    self.release = (await client.catalogue()).release.described(datetime.now(UTC).date())
                await self._step("api", lambda: self._list_collections(client))
                await self._step("image", lambda: self._fetch_image(client))
        except BulkdlError as error:
            self.results.append(CheckResult("api", CheckOutcome.FAILED, str(error), error.code))

    async def _step(self, check: str, attempt: Callable[[], Awaitable[str | None]]) -> None:
        """Make one check. `attempt` returns a message, or None where the check does not apply."""
        if any(result.outcome is CheckOutcome.FAILED for result in self.results):
            self.results.append(CheckResult(check, CheckOutcome.SKIPPED))
            return
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.seconds):
                message = await attempt()
        except TimeoutError:
            error: BulkdlError = TimedOut(f"no response within {self.seconds:g} s")
        except OSError as cause:
            error = ConnectFailed(error_text(cause))
        except BulkdlError as failure:
            error = failure
        else:
            outcome = CheckOutcome.SKIPPED if message is None else CheckOutcome.OK
            self.results.append(CheckResult(check, outcome, message or "", None, time.monotonic() - started))
            return
        self.results.append(CheckResult(check, CheckOutcome.FAILED, str(error), error.code, time.monotonic() - started))

    async def _resolve_name(self) -> str | None:
        if self.choice.access.proxy is not None:
            return None  # the proxy resolves it
        address, loop = urlsplit(self.profile.url), asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(address.hostname, _port(address), type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise ConnectFailed(f"the host {address.hostname} cannot be resolved: {error_text(error)}") from error
        return ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found))

    async def _reach_proxy(self) -> str | None:
        if self.choice.access.proxy is None:
            return None
        proxy = urlsplit(self.choice.access.proxy)
        where = f"{proxy.hostname}:{_port(proxy)}"
        try:
            _, writer = await asyncio.open_connection(proxy.hostname, _port(proxy))
        except OSError as error:
            raise ConnectFailed(f"the proxy {where} cannot be reached: {error_text(error)}") from error
        writer.close()
        return where

    async def _shake_hands(self) -> str | None:
        address = urlsplit(self.profile.url)
        if address.scheme != "https" or self.choice.access.proxy is not None:
            return None  # behind a proxy, the check of the API covers TLS
        try:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=self.choice.access.ca_bundle)
            _, writer = await asyncio.open_connection(address.hostname, _port(address), ssl=context)
        except ssl.SSLCertVerificationError as error:
            raise ConnectFailed(f"its certificate is not trusted: {error.verify_message} (see --ca-bundle)") from error
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        return str(version)

    async def _list_collections(self, client: Archive) -> str | None:
        if isinstance(client, IdcArchive) and not await client.has_index():
            return None  # it is downloaded when it is needed
        if isinstance(client, DrsArchive):
            await client.check()
            return "a data commons, which is not searched"
        if isinstance(client, DicomwebArchive):  # to find its collections takes a list of all that it has
            self.series = await client.any_series()
            return "it answers searches" if self.series is not None else "it answers searches, and has no series"
        self.collections = list(await client.collections())
        count = len(self.collections)
        return f"{count:,} {'collection' if count == 1 else 'collections'}"

    async def _fetch_image(self, client: Archive) -> str | None:
        """Read the beginning of one instance of a small Series of a Collection's first Patient: five small requests."""
        for collection in (self.series.collection,) if self.series else self.collections[:_COLLECTIONS_TRIED]:
            series = self.series or await _a_series(client, collection)
            entries = (await client.list(series)).entries if series is not None else ()
            if series is not None and entries:
                async with client.open(series.series_uid, entries[0]) as body:
                    start = b""
                    async for chunk in body.chunks():
                        start += chunk
                        if len(start) >= HEAD_BYTES:
                            break
                if series.kind is None and not is_dicom(start):
                    raise UnexpectedAnswer("the response to a request for an image is not a DICOM file")
                return f"{'an instance' if series.kind is None else 'a slide'} of {collection}"
        return None


async def _a_series(client: Archive, collection: str) -> Series | None:
    """A small Series of a Collection."""
    patients: tuple[str, ...] = ()
    if isinstance(client, NbiaArchive):
        records = await ConnectedArchive(client).ask("getPatient", collection=collection)
        if not records:
            return None
        patients = (records[0].patient_id,)
    found: list[Series] = []
    async with aclosing(client.find(Selection(collections=(collection,), patients=patients))) as batches:
        async for batch in batches:
            found += batch.series
            if len(found) >= _SERIES_COMPARED:
                break
    return min(found, key=lambda series: series.image_count or 0, default=None)


def _port(address: SplitResult) -> int:
    return address.port or _PORTS[address.scheme]
