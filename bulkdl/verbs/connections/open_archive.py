"""An archive that is opened for work: its profile, its client with limits and retries, and what a worker needs."""

import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

from bulkdl.archive.base import Archive
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.errors import SelectionError
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import DEFAULT_CEILING, WorkerSettings, make_retrier
from bulkdl.journal.rows import SelectionRow
from bulkdl.model.access import DEMO_IDC, DEMO_PATHDB, DEMOS, ArchiveChoice
from bulkdl.model.events import Noted, RunContext
from bulkdl.model.settings import ValidationLevel
from bulkdl.slides.container import require_tifffile
from bulkdl.verbs.connections.data_commons import read_headers, with_key

FIRST_ANSWER_SECONDS: Final = 25.0
"""How long `plan` and `query` wait for an archive that has never answered."""


@asynccontextmanager
async def find_archive(choice: ArchiveChoice) -> AsyncIterator[Profile]:
    """The profile of the chosen archive. The demonstration archive is started, and runs until the block ends."""
    if choice.name not in DEMOS:
        profile = find_profile(choice.name, choice.profiles, forms=choice.forms)
        yield profile.using(index=choice.idc_index, cache=choice.cache, route=choice.route)
        return
    from bulkdl.verbs.serve import serve_async  # noqa: PLC0415 - late: only the demonstration needs a server

    async with serve_async(demo=True, cache=choice.cache) as served:
        try:
            if choice.name == DEMO_IDC:
                with tempfile.TemporaryDirectory(prefix="bulkdl-") as cache:  # its index is made on this machine
                    yield _of_idc(served.url, Path(cache))
            elif choice.name == DEMO_PATHDB:
                yield Profile(DEMO_PATHDB, urljoin(served.url, "/"), "pathdb")
            else:
                address = find_profile(served.url)
                yield Profile(choice.name, address.url, address.kind)
        except SelectionError as error:
            if served.missing is None or served.missing.partition(" ")[0] not in str(error):
                raise
            raise SelectionError(f"{error}: {served.missing}") from error


def _of_idc(services: str, cache: Path) -> Profile:
    """The profile of the bucket of a server of ours, with its index."""
    url = urljoin(services, "/")
    return Profile(DEMO_IDC, url, "idc", index=urljoin(url, "bulkdl/index/idc_index.parquet"), cache=cache)


@dataclass(frozen=True, slots=True)
class OpenArchive:
    """An archive, and what a worker needs to open it, too; a run sets the `root` of its mirror in that.

    `choice` is what the user gave.
    """

    client: Archive
    settings: WorkerSettings
    choice: ArchiveChoice


@asynccontextmanager
async def open_archive(
    choice: ArchiveChoice, context: RunContext, *, first_answer_seconds: float | None = None
) -> AsyncIterator[OpenArchive]:
    """A client of the chosen archive, with the limits and retries that the settings ask for.

    `first_answer_seconds` is how long an archive is waited for that has never answered.
    """
    async with find_archive(choice) as found:
        profile = replace(found, supporting=choice.supporting)
        fetch, access = context.settings, with_key(choice, profile, choice.access, context.sink)
        if profile.kind == "pathdb" and fetch.validation is ValidationLevel.PIXELS:
            require_tifffile()
        if (seconds := fetch.timeout_seconds) is not None:
            access = replace(access, answer_seconds=seconds, silence_seconds=seconds)
        settings = WorkerSettings(
            profile=profile,
            access=access,
            root=Path(),
            fetch=fetch,
            share=Share(fetch.concurrency or DEFAULT_CEILING, fetch.rate_limit_bytes),
        )
        retrier = make_retrier(settings, context)

        def note(text: str) -> None:
            context.sink(Noted(text))

        limit = f", for {first_answer_seconds:.0f} s at most" if first_answer_seconds is not None else ""
        retrier.first_answer_seconds = first_answer_seconds
        retrier.on_silence = lambda: note(f"waiting for the first answer of {profile.url}{limit}")
        async with connect(profile, retrier, access=settings.access, note=note) as client:
            if choice.supporting:
                from bulkdl.verbs.connections.supporting_data import offer_supporting_data  # noqa: PLC0415 - late: few runs need it

                offer_supporting_data(client, choice, profile, context)
            read_headers(profile, client)
            yield OpenArchive(client, settings, choice)


def with_supporting(choice: ArchiveChoice, rows: Iterable[SelectionRow]) -> ArchiveChoice:
    """The archive with the supporting data of its Collections, where a selection of the mirror has them."""
    return replace(choice, supporting=any(row.selection.with_supporting_data for row in rows))
