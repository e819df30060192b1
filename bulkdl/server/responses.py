"""HTTP responses that every API uses: streams made in threads, notes for the access log, and pages for bare statuses.

A long body is made in a thread, one chunk at a time, after the client has received the chunk before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar

from aiohttp import web

_THREADS: Final = 4

_Result = TypeVar("_Result")


NO_GUESSING: Final = {"X-Content-Type-Options": "nosniff"}
"""A header of every response: a browser must not take CSV or text for a page."""


class Stream(web.StreamResponse):
    """A response that counts the bytes of its body, and notes why it ended early."""

    bytes_sent = 0
    note: str | None = None

    def __init__(self, *, status: int = HTTPStatus.OK, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers={**headers, **NO_GUESSING})

    async def send(self, chunk: bytes) -> None:
        """Send the next chunk of the body."""
        await self.write(chunk)
        self.bytes_sent += len(chunk)


class NotedResponse(web.Response):
    """A response with a note for the access log."""

    def __init__(self, note: str, **response: Any) -> None:
        super().__init__(**response)
        self.note = note


async def status_page(request: web.Request) -> web.Response:
    """Answer a request that no route takes: 405 if its path has other methods, otherwise 404."""
    known = {resource.canonical for resource in request.app.router.resources()}
    status = HTTPStatus.METHOD_NOT_ALLOWED if request.path in known else HTTPStatus.NOT_FOUND
    text = f"{status.value} - {status.phrase}"
    page = f"<html><head><title>{text}</title></head><body><h1>HTTP Status {text}</h1></body></html>"
    return web.Response(status=status, body=page.encode(), content_type="text/html")


class ServerThreads:
    """A few threads for work that blocks, such as reading the catalogue."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bulkdl-server")

    async def do(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Call `work` in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Wait for the work that is running, and drop the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def stream(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        chunks: Iterator[bytes],
        *first: bytes,
        notes: Sequence[str] = (),
    ) -> web.StreamResponse:
        """Send `first`, then `chunks` as they are made. `notes` are read after the last chunk."""
        response = Stream(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            for chunk in first:
                await response.send(chunk)
            while chunk := await self.do(next, chunks, b""):
                await response.send(chunk)
            await response.write_eof()
        finally:
            response.note = "; ".join(notes) or None
            if isinstance(chunks, Generator):
                with suppress(ValueError):  # a thread may still be making a chunk for a client that has left
                    chunks.close()
        return response
