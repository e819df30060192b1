"""Files at web addresses: how large each is, and its body or a part of it, if it is the one that was listed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from bulkdl.archive.base import Rest
from bulkdl.archive.http import IDENTITY, HttpClient
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.request import Request
from bulkdl.errors import RequestFailed, UnexpectedAnswer
from bulkdl.model.records import Entry


async def with_size(http: HttpClient, request: Request, entry: Entry) -> Entry:
    """The entry with the size of its file, if the server states it in the response to a request for one byte.

    A failure is left to the download, which fails in the same way, or can do without the size.
    """

    async def once(_: int) -> int | None:
        async with opened(http, request, entry, Rest(0, None, None, 1)) as body:
            return body.object_bytes

    try:
        return replace(entry, size_bytes=await http.retrier.ask(f"the size of {entry.name}", once))
    except RequestFailed:
        return entry


@asynccontextmanager
async def opened(http: HttpClient, request: Request, entry: Entry, rest: Rest | None) -> AsyncIterator[HttpBody]:
    """Request a file, or the `rest` of it.

    Raises:
        UnexpectedAnswer: it has another size than the listed one.
    """
    async with http.open(request, headers=IDENTITY, rest=rest) as body:
        if entry.size_bytes is not None and body.object_bytes not in {None, entry.size_bytes}:
            sizes = f"{entry.size_bytes:,} bytes were listed, and {body.object_bytes:,} are there now"
            raise UnexpectedAnswer(f"the file has changed: {sizes}")
        yield body
