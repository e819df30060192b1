"""`connect`: an archive to call endpoints of; `query`: one call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.connections import endpoints
from bulkdl.verbs.connections.connected_archive import Answer, ConnectedArchive, open_for_questions
from bulkdl.verbs.connections.reach import choose_archive


@asynccontextmanager
async def connect(
    archive: str | ArchiveChoice = DEFAULT_ARCHIVE, *, sink: Sink = ignore
) -> AsyncIterator[ConnectedArchive]:
    """Open an archive to call its endpoints: `async with bulkdl.connect("tcia") as archive: …`.

    Raises ConfigurationError on entering: there is no such archive.
    """
    async with open_for_questions(choose_archive(archive), sink=sink) as client:
        yield ConnectedArchive(client, sink)


async def query_async(
    endpoint: str, *, archive: str | ArchiveChoice = DEFAULT_ARCHIVE, sink: Sink = ignore, **criteria: Any
) -> Answer:
    """Call one endpoint of an archive: `bulkdl.query("getSeries", collection="TCGA-GBM").to_pandas()`.

    Most endpoints answer with `Records`. Endpoints of one object answer with a `Record`, those of files with bytes,
    some with text. For more than one call, use `connect`.

    Raises:
        ConfigurationError: there is no such archive, endpoint or criterion, or a required one is missing.
        ArchiveError: the archive refused, failed, or could not be reached.
    """
    async with connect(archive, sink=sink) as opened:
        return await opened.ask(endpoint, **criteria)


query = blocking(query_async)


async def query_body(
    endpoint: str, parameters: Sequence[tuple[str, str]], *, archive: ArchiveChoice, sink: Sink = ignore
) -> bytes:
    """Call one endpoint, named in any case; return the body as the archive sent it. Raises as `query`.

    The body may be empty: NBIA answers so when it finds nothing.
    """
    found = endpoints.find(endpoint, archive)
    names = endpoints.check(found, [name for name, _ in parameters])
    async with open_for_questions(choose_archive(archive), sink=sink) as client:
        _, body = await client.query(found, list(zip(names, [value for _, value in parameters], strict=True)))
        return body
