"""Answers on their way out: streams that know how much they sent, failures, and the threads for work that blocks.

Long answers are made in the threads, a chunk at a time when the client has taken the one before.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web

_THREADS: Final = 4
_FAILED: Final = b"Server was not able to process your request\nnull"

_Result = TypeVar("_Result")


class Stream(web.StreamResponse):
    """An answer that knows how much of its body it has sent, and why it ended early."""

    bytes_sent = 0
    note: str | None = None

    async def send(self, chunk: bytes) -> None:
        """Send the next piece of the body."""
        await self.write(chunk)
        self.bytes_sent += len(chunk)


class FailureResponse(web.Response):
    """What NBIA answers to everything that goes wrong, and TCIA in its own way; `note` is for our own log."""

    def __init__(self, note: str, *, as_tcia: str | None = None) -> None:
        body = _FAILED if as_tcia is None else error_message(as_tcia)
        content_type = "text/plain" if as_tcia is None else "application/json"
        super().__init__(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=body, content_type=content_type)
        self.note = note


def error_message(message: str) -> bytes:
    """The body of most errors of TCIA v3."""
    return json.dumps({"errorMessage": message}, separators=(",", ":")).encode(errors="replace")


class Threads:
    """The few threads in which the catalogue is asked."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bulkdl-server")

    async def do(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        """Call `work` in one of them."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Wait for what is under way, and drop the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def stream(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        chunks: Iterator[bytes],
        *first: bytes,
        notes: Sequence[str] = (),
    ) -> web.StreamResponse:
        """Send chunks as they are made; `notes` is looked at when all are."""
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
                with suppress(ValueError):  # a thread may still be at work on the chunk that nobody waits for
                    chunks.close()
        return response
