"""`query`: one endpoint of an archive, called with its own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bulkdl.model.access import DEFAULT_ARCHIVE, ArchiveChoice
from bulkdl.model.events import Sink, ignore
from bulkdl.verbs.blocking import blocking
from bulkdl.verbs.connect import Answer, connect, open_for_questions
from bulkdl.verbs.endpoints import check, find
from bulkdl.verbs.reach import choose_archive


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


async def query_body(endpoint: str, parameters: Sequence[tuple[str, str]], *, archive: ArchiveChoice) -> bytes:
    """Call one endpoint, named in any case; return the body as the archive sent it. Raises as `query`.

    The body may be empty: NBIA answers so when it finds nothing.
    """
    found = find(endpoint, archive)
    names = check(found, [name for name, _ in parameters])
    async with open_for_questions(choose_archive(archive)) as client:
        _, body = await client.query(found, list(zip(names, [value for _, value in parameters], strict=True)))
        return body
