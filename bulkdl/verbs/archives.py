"""`archives`: whether an archive answers, and if not, where the way to it ends.

Steps in the order in which a request takes them: the name, the proxy, TLS, the API, one image. Each has a verdict of
its own; behind a step that failed, the others are not tried. Everything has a short time-out, and is tried once.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from bulkdl.archive.http import ArchiveClient
from bulkdl.archive.nbia.values import read_record
from bulkdl.archive.profiles import BUILT_IN, DEMO, Profile
from bulkdl.errors import BulkdlError, ConnectFailed, TimedOut, UnexpectedAnswer
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.records import InstanceKey, Patient, Series
from bulkdl.model.settings import FetchSettings
from bulkdl.model.text import error_text
from bulkdl.runtime.tasks import together
from bulkdl.verbs.query import asking, profile_of, rows_of

_SECONDS_A_STEP: Final = 10.0
_COLLECTIONS_TRIED: Final = 3
_PORTS: Final = {"http": 80, "https": 443}


class Outcome(StrEnum):
    """How a step ended. `skipped`: there was nothing to try, or a step before it had failed."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one step towards an archive ended. `error` is the code of what failed."""

    check: str
    outcome: Outcome
    message: str = ""
    error: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """One archive, with a verdict for each step."""

    name: str
    url: str
    kind: str
    verdicts: tuple[Verdict, ...]

    @property
    def answers(self) -> bool:
        """Whether no step failed."""
        return all(verdict.outcome is not Outcome.FAILED for verdict in self.verdicts)

    def as_json(self) -> dict[str, Any]:
        """The entry of `archives --json`."""
        return {
            "name": self.name,
            "url": self.url,
            "kind": self.kind,
            "answers": self.answers,
            "checks": [
                {**asdict(verdict), "outcome": verdict.outcome.value, "seconds": round(verdict.seconds, 3)}
                for verdict in self.verdicts
            ],
        }


def known_archives(profiles: Mapping[str, str]) -> tuple[str, ...]:
    """The names of all archives: the built-in ones, those of the caller's configuration, the demonstration."""
    return tuple(dict.fromkeys((*BUILT_IN, *profiles, DEMO)))


async def archives(
    choices: tuple[ArchiveChoice, ...], *, seconds_a_step: float = _SECONDS_A_STEP
) -> tuple[ArchiveReport, ...]:
    """Try the way to each archive, all of them side by side; reports in the order of `choices`.

    Raises:
        ConfigurationError: no such archive.
    """
    profiles = [profile_of(choice) for choice in choices]
    found: dict[int, ArchiveReport] = {}

    async def look(number: int) -> None:
        found[number] = await _Way(choices[number], profiles[number], seconds_a_step).report()

    await together(*(look(number) for number in range(len(choices))))
    return tuple(found[number] for number in range(len(choices)))


@dataclass(slots=True)
class _Way:
    """The way to one archive, step by step."""

    choice: ArchiveChoice
    profile: Profile
    seconds: float
    verdicts: list[Verdict] = field(default_factory=list)
    collections: list[str] = field(default_factory=list)

    async def report(self) -> ArchiveReport:
        is_here = self.choice.name == DEMO
        if not is_here:
            await self._step("name", self._resolve_name)
            await self._step("proxy", self._reach_proxy)
            await self._step("tls", self._shake_hands)
        access = replace(self.choice.access, silence_seconds=self.seconds)
        settings = FetchSettings(max_attempts=1, give_up_after_seconds=0)
        try:
            async with asking(replace(self.choice, access=access), settings=settings) as client:
                await self._step("api", lambda: self._list_collections(client))
                await self._step("image", lambda: self._fetch_image(client))
        except BulkdlError as error:
            self.verdicts.append(Verdict("api", Outcome.FAILED, str(error), error.code))
        url = "in this process" if is_here else self.profile.url
        return ArchiveReport(self.profile.name if not is_here else DEMO, url, self.profile.kind, tuple(self.verdicts))

    async def _step(self, check: str, attempt: Callable[[], Awaitable[str | None]]) -> None:
        """Try one step. It returns what there is to say, or None where there was nothing to try."""
        if any(verdict.outcome is Outcome.FAILED for verdict in self.verdicts):
            self.verdicts.append(Verdict(check, Outcome.SKIPPED))
            return
        started = time.monotonic()
        try:
            async with asyncio.timeout(self.seconds):
                message = await attempt()
        except TimeoutError:
            error: BulkdlError = TimedOut(f"nothing came within {self.seconds:g} s")
        except OSError as cause:
            error = ConnectFailed(error_text(cause))
        except BulkdlError as failure:
            error = failure
        else:
            outcome = Outcome.SKIPPED if message is None else Outcome.OK
            self.verdicts.append(Verdict(check, outcome, message or "", None, time.monotonic() - started))
            return
        self.verdicts.append(Verdict(check, Outcome.FAILED, str(error), error.code, time.monotonic() - started))

    async def _resolve_name(self) -> str | None:
        if self.choice.access.proxy is not None:
            return None  # the proxy resolves it
        address = urlsplit(self.profile.url)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                address.hostname, _port(address), type=socket.SOCK_STREAM
            )
        except socket.gaierror as error:
            raise ConnectFailed(f"the host {address.hostname} is not known: {error_text(error)}") from error
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
            return None  # behind a proxy, the API's verdict tells of TLS too
        try:
            context = await asyncio.to_thread(ssl.create_default_context, cafile=self.choice.access.ca_bundle)
            _, writer = await asyncio.open_connection(address.hostname, _port(address), ssl=context)
        except ssl.SSLCertVerificationError as error:
            raise ConnectFailed(f"its certificate is not trusted: {error.verify_message} (see --ca-bundle)") from error
        shaken = writer.get_extra_info("ssl_object").version()
        writer.close()
        return str(shaken)

    async def _list_collections(self, client: ArchiveClient) -> str:
        self.collections = await client.collections()
        count = len(self.collections)
        return f"{count:,} {'collection' if count == 1 else 'collections'}"

    async def _fetch_image(self, client: ArchiveClient) -> str | None:
        """The beginning of one instance of a small Series of a Collection's first Patient: five small requests."""
        for collection in self.collections[:_COLLECTIONS_TRIED]:
            series = await _a_series(client, collection)
            sop_uids = await client.instances(series.series_uid) if series is not None else []
            if series is not None and sop_uids:
                async with client.open_instance(InstanceKey(series.series_uid, sop_uids[0])) as body:
                    start = b""
                    async for chunk in body.chunks():
                        start += chunk
                        if len(start) >= HEAD_BYTES:
                            break
                if not is_dicom(start):
                    raise UnexpectedAnswer("what came for an image is no DICOM file")
                return f"an instance of {collection}"
        return None


async def _a_series(client: ArchiveClient, collection: str) -> Series | None:
    """The smallest Series of the first Patient of a Collection."""
    endpoint = client.dialect.endpoints["getPatient"]
    (parameter,) = (entry for entry in endpoint.parameters if entry.field == "collection")
    _, body = await client.query(endpoint, ((parameter.name, collection), ("format", "json")))
    try:
        patients = [read_record(Patient, endpoint.attributes, row) for row in rows_of(body)[:1]]
    except ValueError as error:
        raise UnexpectedAnswer(f"getPatient answered {error}") from error
    if not patients:
        return None
    found: list[Series] = []

    async def take(batch: list[Series]) -> None:
        found.extend(batch)

    await client.series({"collection": collection, "patient_id": patients[0].patient_id}, take)
    return min(found, key=lambda series: series.image_count or 0, default=None)


def _port(address: SplitResult) -> int:
    return address.port or _PORTS[address.scheme]
