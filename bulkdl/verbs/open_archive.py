"""Open the archive that the caller chose, with the limits and retries that the settings ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bulkdl.archive.base import Archive
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.errors import SelectionError
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.model.access import DEMO, Access, ArchiveChoice
from bulkdl.model.context import RunContext
from bulkdl.model.events import Noted
from bulkdl.model.reports import Failure
from bulkdl.model.selection import Selection
from bulkdl.model.settings import FetchSettings
from bulkdl.resolve import Resolution, explain_nothing


@asynccontextmanager
async def find_archive(choice: ArchiveChoice) -> AsyncIterator[Profile]:
    """The profile of the chosen archive. The demonstration archive is started, and runs until the block ends.

    Raises:
        ConfigurationError: there is no such profile.
    """
    if choice.name != DEMO:
        yield find_profile(choice.name, choice.profiles, forms=choice.forms)
        return
    from bulkdl.verbs.serve import serve_async  # noqa: PLC0415 - late: only the demonstration needs a server

    async with serve_async(demo=True, cache=choice.cache) as served:
        address = find_profile(served.url)
        yield Profile(DEMO, address.url, address.kind)


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive, and what another process needs to open it, too."""

    archive: Archive
    profile: Profile
    access: Access


@asynccontextmanager
async def open_archive(choice: ArchiveChoice, context: RunContext) -> AsyncIterator[OpenArchive]:
    """Open the chosen archive until the block ends.

    Raises:
        ConfigurationError: there is no such archive, or its certificates cannot be read.
    """
    async with find_archive(choice) as profile:
        settings = worker_settings(profile, choice.access, context.settings, Path())
        retrier = make_retrier(settings, context)
        note = lambda text: context.sink(Noted(text))  # noqa: E731 - one line, used once
        async with connect(profile, retrier, access=choice.access, note=note) as archive:
            yield OpenArchive(archive, profile, choice.access)


def worker_settings(profile: Profile, access: Access, settings: FetchSettings, root: Path) -> WorkerSettings:
    """What a worker needs to download from the archive into the mirror at `root`."""
    return WorkerSettings(
        profile=profile,
        access=access,
        root=root,
        fetch=settings,
        ceiling=settings.concurrency or DEFAULT_CEILING,
        rate_limit_bytes=settings.rate_limit_bytes,
    )


async def check_found(selection: Selection, found: Resolution, archive: Archive) -> list[Failure]:
    """The failures of resolving, one for each question that found nothing.

    Raises:
        RequestFailed: nothing was found, and the archive failed to answer a question.
        SelectionError: nothing was found, and no Series was requested by name.
    """
    failures = found.failures()
    if not found.series and found.failed:
        raise found.failed[0][1]
    if not found.series and selection.since is None and not any(failure.series for failure in failures):
        raise SelectionError(await explain_nothing(selection, found.not_found, archive))
    return failures
