"""An archive of DICOMweb that is opened to store instances there, with the limits and retries of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bulkdl.archive.connect import open_client
from bulkdl.archive.dicomweb.store_client import StoreClient
from bulkdl.archive.profiles import DICOMWEB, Profile, find_profile
from bulkdl.errors import ConfigurationError
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import WorkerSettings, make_retrier
from bulkdl.model.access import DEMOS, ArchiveChoice
from bulkdl.model.events import Noted, RunContext

_CEILING: Final = 8
"""The most requests in flight: servers that store do more for each than those that send."""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """An archive to store at. `name` is what the user calls it, `url` its root of DICOMweb.

    `at_once` is the most requests in flight.
    """

    client: StoreClient
    name: str
    url: str
    at_once: int


@asynccontextmanager
async def open_store(choice: ArchiveChoice, context: RunContext) -> AsyncIterator[OpenStore]:
    """Open the chosen archive until the block ends.

    Raises:
        ConfigurationError: it is not an archive of DICOMweb, or the certificate bundle cannot be read.
    """
    profile, settings, access = _dicomweb(choice), context.settings, choice.access
    if (seconds := settings.timeout_seconds) is not None:
        access = replace(access, answer_seconds=seconds, silence_seconds=seconds)
    at_once = settings.concurrency or _CEILING
    share = Share(at_once, settings.rate_limit_bytes)
    worker = WorkerSettings(profile=profile, access=access, root=Path(), fetch=settings, share=share)
    retrier = make_retrier(worker, context)
    retrier.on_silence = lambda: context.sink(Noted(f"waiting for the first answer of {profile.url}"))
    async with open_client(profile, retrier, access=access, note=lambda text: context.sink(Noted(text))) as http:
        yield OpenStore(StoreClient(http), profile.name, profile.url, at_once)


def _dicomweb(choice: ArchiveChoice) -> Profile:
    hint = "instances are sent to an archive of DICOMweb: name a profile of that kind, or dicomweb+URL"
    if choice.name in DEMOS:
        raise ConfigurationError(f"{choice.name} takes no instances; {hint}")
    profile = find_profile(choice.name, choice.profiles, forms=choice.forms)
    if profile.kind != DICOMWEB:
        raise ConfigurationError(f"{choice.name} is an archive of the kind {profile.kind}, which takes none; {hint}")
    return profile
