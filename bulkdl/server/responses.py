"""HTTP responses that every API uses: files and ranges of them, streams, notes for the access log, bare statuses.

A long body is made in a thread, one chunk at a time, after the client has received the chunk before it. But opening and
reading a local file blocks the event loop for less time than a switch to a thread takes.

Source: RFC 9110 §13 (conditions) and §14 (ranges).
"""

import asyncio
import io
import os
import re
import socket
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE, HttpVersion11
from aiohttp.http_exceptions import HttpProcessingError

from bulkdl.errors import BulkdlError
from bulkdl.runtime.disk import modified_ns
from bulkdl.runtime.tasks import in_thread

_THREADS: Final = 4
_PIECE_BYTES: Final = 1 << 18
_RESET: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)  # what is unsent is dropped, for SO_LINGER
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_Result = TypeVar("_Result")


class Unavailable(Exception):
    """The archive of a cache did not send what is needed; the message says why. `status` is 502, 503 or 504."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_GATEWAY) -> None:
        super().__init__(message)
        self.status = status


SHORT_BYTES: Final = 1 << 16
"""Up to this size a body is sent in one write with its headers."""

UNREADABLE_FORM: Final = (ValueError, LookupError, RuntimeError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp raises for a form that it cannot read."""

NO_GUESSING: Final = {"X-Content-Type-Options": "nosniff"}
"""A header of every response: a browser must not take CSV or text for a page."""


class Stream(web.StreamResponse):
    """A response that counts the bytes of its body, and notes why it ended early."""

    bytes_sent = 0
    note: str | None = None

    def __init__(self, *, status: int = HTTPStatus.OK, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers={**headers, **NO_GUESSING})

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the headers. Without a length the body ends with its last chunk, or in HTTP/1.0 with the connection."""
        if self.content_length is None and request.version < HttpVersion11:
            self.force_close()  # also where the client asked to keep it
        return await super().prepare(request)

    def break_off(self, request: web.BaseRequest, note: str) -> None:
        """End the connection before the end of the body, so that the client does not take it for complete."""
        self.note = note
        if request.transport is None:
            return
        if request.version < HttpVersion11:  # where an orderly end would be that of the body
            with suppress(OSError, TypeError):  # uvloop offers no options of its sockets
                request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        request.transport.abort()

    async def send(self, chunk: bytes) -> None:
        """Send the next chunk of the body."""
        await self.write(chunk)
        self.bytes_sent += len(chunk)

    async def send_part(self, request: web.BaseRequest, source: io.FileIO, start: int, size_bytes: int) -> None:
        """Send a part of an open file as the body, whose length is announced. If it fails the connection is ended."""
        try:
            await self._copy(request, source, start, size_bytes)
        except (ConnectionError, TimeoutError) as error:
            self.break_off(request, client_left(error))
        except OSError as error:  # another response must not follow: it would be taken for the rest of the body
            self.break_off(request, str(error))
        else:
            if self.bytes_sent < size_bytes:
                self.break_off(request, "the file was truncated while it was sent")

    async def _copy(self, request: web.BaseRequest, source: io.FileIO, start: int, size_bytes: int) -> None:
        if (transport := request.transport) is None or transport.is_closing():
            raise ConnectionResetError
        try:
            if transport.get_extra_info("sslcontext") is None:  # over TLS it would fail where the client leaves
                with suppress(NotImplementedError):  # of uvloop
                    await asyncio.get_running_loop().sendfile(transport, source, start, size_bytes)
                    return
            left = size_bytes
            source.seek(start)
            while left and (chunk := await in_thread(source.read, min(_PIECE_BYTES, left))):
                left -= len(chunk)
                await self.write(chunk)
        finally:
            self.bytes_sent = max(0, source.tell() - start)


class OneWrite(web.StreamResponse):
    """A body that is sent in one write with its headers, over a connection that stays open.

    The bytes are those of `web.Response`, which takes 8 µs longer, because it could also compress them or send them in
    chunks.
    """

    def __init__(self, body: bytes, *, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(status=status, headers=headers)
        self._content = body
        self._writer: AbstractStreamWriter | None = None

    @property
    def bytes_sent(self) -> int:
        """The bytes of the body."""
        return len(self._content)

    @property
    def keep_alive(self) -> bool:
        """Whether the connection stays open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter:
        """Make the headers. They are sent with the body."""
        if self._writer is None:
            self._writer, headers = request.writer, self.headers
            headers["Content-Length"] = str(len(self._content))
            headers["Date"] = http_date(int(time.time()))
            headers["Server"] = SERVER_SOFTWARE
            await self._writer.write_headers(f"HTTP/1.1 {self.status} {self.reason}", headers)
        return self._writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send everything, and wait while the client is slow."""
        assert self._writer is not None and not data  # noqa: S101, PT018 - aiohttp has prepared it
        await self._writer.write_eof(self._content)


class NotedResponse(web.Response):
    """A response with a note for the access log."""

    def __init__(self, note: str, **response: Any) -> None:
        super().__init__(**response)
        self.note = note


def client_left(error: OSError) -> str:
    """The note on a client that left before the end of its response, for which the server is not to blame.

    The `error` loses its traceback: it would be part of a cycle, which keeps what was to be sent in memory for long.
    """
    error.__traceback__ = None
    return "the client has left"


def bytes_sent(request: web.BaseRequest, response: web.StreamResponse) -> int:
    """The bytes of the body that were sent, without headers."""
    if isinstance(sent := getattr(response, "bytes_sent", None), int):
        return sent
    body = response.body if isinstance(response, web.Response) else None
    return len(body) if isinstance(body, bytes) and request.method != "HEAD" else 0


async def status_page(request: web.Request) -> web.Response:
    """Answer a request that no route takes: 405 if its path has other methods, otherwise 404."""
    known = {resource.canonical for resource in request.app.router.resources()}
    return bare_page(HTTPStatus.METHOD_NOT_ALLOWED if request.path in known else HTTPStatus.NOT_FOUND)


def bare_page(status: HTTPStatus) -> web.Response:
    """A status as the real archives' Tomcat shows it; clients of the APIs look for its words."""
    text = f"{status.value} - {status.phrase}"
    page = f"<html><head><title>{text}</title></head><body><h1>HTTP Status {text}</h1></body></html>"
    return web.Response(status=status, body=page.encode(), content_type="text/html")


class ServerThreads:
    """A few threads for work that blocks, such as reading the catalogue."""

    def __init__(self, count: int = _THREADS) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="bulkdl-server")

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
        more: Callable[[], Awaitable[None]] | None = None,
    ) -> web.StreamResponse:
        """Send `first`, then `chunks` as they are made: as `stream_body`.

        An empty chunk stands for what `more` waits for.
        """
        return await stream_body(request, headers, self._made(first, chunks, more), notes=notes)

    async def _made(
        self, first: Sequence[bytes], chunks: Iterator[bytes], more: Callable[[], Awaitable[None]] | None
    ) -> AsyncGenerator[bytes, None]:
        try:
            for chunk in first:
                yield chunk
            while (made := await self.do(next, chunks, None)) is not None:
                if made:
                    yield made
                elif more is not None:
                    await more()
        finally:
            if isinstance(chunks, Generator):
                with suppress(ValueError):  # a thread may still be making a chunk for a client that has left
                    chunks.close()


async def stream_body(
    request: web.Request, headers: Mapping[str, str], chunks: AsyncGenerator[bytes, None], *, notes: Sequence[str] = ()
) -> web.StreamResponse:
    """Send `chunks` as they are made. `notes` are read after the last chunk.

    If one fails the connection is ended, so that the client takes nothing for complete.
    """
    response = Stream(headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    async with aclosing(chunks):
        try:
            async for chunk in chunks:
                if chunk:
                    await response.send(chunk)
            await response.write_eof()
        except ConnectionError as error:
            response.break_off(request, "; ".join((*notes, client_left(error))))
        except (Unavailable, BulkdlError, OSError) as error:
            response.break_off(request, "; ".join((*notes, str(error))))
        else:
            response.note = "; ".join(notes) or None
    return response


def send_content(
    request: web.BaseRequest, content: bytes, headers: Mapping[str, str], *, mtime_ns: int, etag: str | None = None
) -> web.StreamResponse:
    """The response that sends the content of a file or the requested range in one write with its headers."""
    part = _part(request, headers, len(content), mtime_ns, etag)
    if isinstance(part, web.Response):
        return part
    return _in_one_write(request, content[part.start : part.start + part.size_bytes], part)


async def send_file(
    request: web.BaseRequest, source: io.FileIO, headers: Mapping[str, str], *, etag: str | None = None
) -> web.StreamResponse:
    """Send an open file or the requested range: a short one in one write with its headers, others by sendfile."""
    status = os.fstat(source.fileno())
    part = _part(request, headers, status.st_size, modified_ns(status), etag)
    if isinstance(part, web.Response):
        return part
    if part.size_bytes <= SHORT_BYTES:
        source.seek(part.start)
        return _in_one_write(request, source.read(part.size_bytes), part)
    response = Stream(status=part.status, headers=part.headers)
    response.content_length = part.size_bytes
    await response.prepare(request)
    if request.method != "HEAD":
        await response.send_part(request, source, part.start, part.size_bytes)
    return response


class _FilePart(NamedTuple):
    """What is sent of a file, and with which headers."""

    status: HTTPStatus
    start: int
    size_bytes: int
    headers: Mapping[str, str]


def _part(
    request: web.BaseRequest, headers: Mapping[str, str], size_bytes: int, mtime_ns: int, etag: str | None
) -> _FilePart | web.Response:
    """What is sent of a file; or the response, if a condition is not met or the range is after the end."""
    etag = etag or f'"{mtime_ns:x}-{size_bytes:x}"'
    modified, asked = http_date(mtime_ns // 10**9), request.headers
    if (unmet := _unmet_condition(asked, etag, mtime_ns)) is not None:
        return web.Response(status=unmet, headers={**headers, "ETag": etag, "Last-Modified": modified})
    sent = {**headers, "Accept-Ranges": "bytes", "ETag": etag, "Last-Modified": modified}
    wanted = asked.get("Range")
    if wanted is None or not _is_current(asked.get("If-Range"), etag, modified):
        return _FilePart(HTTPStatus.OK, 0, size_bytes, sent)
    status, start, count = _byte_range(wanted, size_bytes)
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return web.Response(status=status, headers={"Content-Range": f"bytes */{size_bytes}"})
    if status is HTTPStatus.PARTIAL_CONTENT:
        sent["Content-Range"] = f"bytes {start}-{start + count - 1}/{size_bytes}"
    return _FilePart(status, start, count, sent)


def _in_one_write(request: web.BaseRequest, body: bytes, part: _FilePart) -> web.StreamResponse:
    if request.method == "GET" and request.version == HttpVersion11 and request.keep_alive:
        return OneWrite(body, status=part.status, headers=part.headers)
    return web.Response(body=body, status=part.status, headers=part.headers)


def _unmet_condition(headers: Mapping[str, str], etag: str, mtime_ns: int) -> HTTPStatus | None:
    """The status for a request whose conditions an object does not meet: 412 or 304; None if it is to be sent."""
    if (wanted := headers.get("If-Match")) is not None:
        if not _names(wanted, etag):
            return HTTPStatus.PRECONDITION_FAILED
    elif _is_newer(mtime_ns, headers.get("If-Unmodified-Since")):
        return HTTPStatus.PRECONDITION_FAILED
    if (known := headers.get("If-None-Match")) is not None:
        return HTTPStatus.NOT_MODIFIED if _names(known, etag) else None
    is_old = _is_newer(mtime_ns, headers.get("If-Modified-Since")) is False
    return HTTPStatus.NOT_MODIFIED if is_old else None


def _names(tags: str, etag: str) -> bool:
    """Whether a list of entity tags has this one, or is `*`. A tag without quotes counts, as it does at Amazon S3."""
    found = [tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")]
    return found == ["*"] or etag.strip('"') in found


def _is_newer(mtime_ns: int, date: str | None) -> bool | None:
    """Whether a file was changed after a date; None if there is no valid date."""
    if date is None:
        return None
    with suppress(ValueError, TypeError, OverflowError):
        return mtime_ns // 10**9 > parsedate_to_datetime(date).timestamp()
    return None


@lru_cache(maxsize=4096)  # the files of a Series were written within a few seconds
def http_date(seconds: int) -> str:
    """A time, in seconds since 1970, as in Last-Modified."""
    return formatdate(seconds, usegmt=True)


def _is_current(if_range: str | None, etag: str, modified: str) -> bool:
    """Whether a Range header applies: there is no condition, or it is our ETag or our date."""
    if if_range is None or if_range == etag:
        return True
    with suppress(ValueError, TypeError, OverflowError):
        return parsedate_to_datetime(if_range) == parsedate_to_datetime(modified)
    return False


def _byte_range(wanted: str, size_bytes: int) -> tuple[HTTPStatus, int, int]:
    """Status, first byte and count for a Range header. Anything but a single range gives the whole file."""
    whole = HTTPStatus.OK, 0, size_bytes
    unsatisfiable = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
    found = _RANGE.fullmatch(wanted)
    if found is None or found.groups() == ("", ""):
        return whole
    first, last = found.groups()
    if not first:
        count = min(int(last), size_bytes)
        return (HTTPStatus.PARTIAL_CONTENT, size_bytes - count, count) if count else unsatisfiable
    start, end = int(first), int(last) if last else size_bytes - 1
    if last and end < start:
        return whole
    count = min(end, size_bytes - 1) - start + 1
    return (HTTPStatus.PARTIAL_CONTENT, start, count) if count > 0 else unsatisfiable
