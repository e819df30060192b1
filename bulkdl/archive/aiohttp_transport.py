"""Send requests with aiohttp, as its only user: sessions, TLS and proxies. Its errors do not leave this module.

It is the transport of proxies and of Windows; `socket_transport` takes a third of its time for all others.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

import aiohttp
from aiohttp.tracing import Trace
from yarl import URL

from bulkdl import errors
from bulkdl._version import __version__
from bulkdl.archive import connection_errors
from bulkdl.archive.certificates import Certificates
from bulkdl.archive.http_framing import body_frame
from bulkdl.archive.request import LINE_BREAK, Content, Upload, basic_authorization, header_with_break
from bulkdl.model.access import Access
from bulkdl.model.text import error_text

_CONNECTIONS: Final = 4  # name, several addresses, proxy, TLS
_MOST_SPOILT: Final = 256  # idle connections; more than are kept
_READ_BUFFER_BYTES: Final = 1 << 18
_SMALL_BYTES: Final = 1 << 12
_INVALID_CHUNKS: Final = "its chunks are invalid"
_FOREIGN: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError)


class _Connector(aiohttp.TCPConnector):
    """A pool that uses no connection again on which bytes came meanwhile: aiohttp takes them for the next response."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp passes it
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        for _ in range(_MOST_SPOILT):
            if connection.protocol is None or not connection.protocol.should_close:
                break
            connection.close()
            connection = await super().connect(req, traces, timeout)
        return connection


class _Response(aiohttp.ClientResponse):
    """A response that knows its connection after that has ended, too."""

    protocol: aiohttp.client_proto.ResponseHandler | None = None
    tls: ssl.SSLObject | None = None

    async def start(self, connection: aiohttp.connector.Connection) -> aiohttp.ClientResponse:
        self.protocol, transport = connection.protocol, connection.transport
        self.tls = transport.get_extra_info("ssl_object") if transport is not None else None
        return await super().start(connection)


class AiohttpResponse:
    """See `http_transport.HttpResponse`. ValueError: `response` is not certain in its frame."""

    threaded = None

    def __init__(self, response: _Response, silence_seconds: float, waited_seconds: float) -> None:
        self._response = response
        self.waited_seconds = waited_seconds
        self.is_request_unsent = False
        self._silence_seconds = silence_seconds
        self.status = response.status
        self.reason = response.reason or ""
        self.headers: Mapping[str, str] = response.headers
        self.length, self._is_chunked = _frame(response)
        self.content_type = response.content_type
        self._closed: asyncio.Future[None] | None = None
        if response.connection is not None and self._is_chunked:
            self._closed = response.protocol.closed if response.protocol is not None else None
        if self._closed is not None:
            self._closed.add_done_callback(self._end_invalid)

    def _end_invalid(self, _: object) -> None:
        """End a body whose chunks are invalid: aiohttp only closes the connection (observed with 3.14)."""
        content = self._response.content
        if not content.is_eof() and content.exception() is None:
            content.set_exception(connection_errors.invalid_response(_INVALID_CHUNKS))

    @property
    def arrived(self) -> int:
        return self._response.content.total_bytes

    async def chunk(self) -> bytes:
        content = self._response.content
        try:
            while True:
                # Unlike `readany`, this copies nothing. The end of a chunk of HTTP may come without bytes.
                async with asyncio.timeout(self._silence_seconds):
                    chunk, is_end_of_chunk = await content.readchunk()
                if 0 < len(chunk) < _SMALL_BYTES and not content.is_eof():
                    chunk += content.read_nowait(_READ_BUFFER_BYTES)  # the small chunks that have arrived behind it
                # Of a response that cannot have a body, each read is the end of a chunk (observed with aiohttp 3.14).
                if chunk or not is_end_of_chunk or content.at_eof():
                    break
        except (*_FOREIGN, RuntimeError) as error:
            raise self._translated(error) from error
        if not chunk:
            self._check_end()
        return chunk

    async def read(self) -> bytes:
        try:
            content = await self._response.read()
        except (*_FOREIGN, RuntimeError) as error:
            raise self._translated(error) from error
        self._check_end()
        return content

    def _check_end(self) -> None:
        """Raises ShortBody: the body ends with its connection, which broke. aiohttp takes that for its end.

        TLS that ends without a closure alert has broken, too (RFC 9112 §9.8).
        """
        if self.length is not None or self._is_chunked:
            return
        if (lost := self._lost()) is not None:
            raise connection_errors.cut(_reason(lost))
        if self._response.tls is not None and not _has_closed(self._response.tls):
            raise connection_errors.cut(connection_errors.ENDED)

    def _lost(self) -> aiohttp.ClientOSError | None:
        """How the connection broke; None if it was closed, or is there."""
        protocol = self._response.protocol
        lost = protocol.exception() if protocol is not None else None
        return lost if isinstance(lost, aiohttp.ClientOSError) else None

    def _translated(self, error: BaseException) -> errors.BulkdlError:
        if isinstance(error, RuntimeError):  # a wait on a connection that is closed
            return connection_errors.invalid_response(_INVALID_CHUNKS)
        if not isinstance(error, aiohttp.ClientPayloadError):
            return _translate(error)
        lost = self._lost()
        return connection_errors.cut(_reason(lost) if lost is not None else connection_errors.CLOSED)

    def release(self) -> None:
        if self._closed is not None:
            self._closed.remove_done_callback(self._end_invalid)
        if self._response.content.at_eof() and not self.is_request_unsent:
            self._response.release()
        else:
            self._response.close()


def _frame(response: aiohttp.ClientResponse) -> tuple[int | None, bool]:
    """As `body_frame`. aiohttp accepts more (observed with 3.14), and takes the frame of `x-chunked` for the body."""
    if response.version is None or response.version.major != 1 or response.status < HTTPStatus.OK:
        raise ValueError("another protocol, which was not requested")
    if any(name != name.strip() for name in response.headers):
        raise ValueError("a field is invalid")
    return body_frame(response.status, response.headers)


def _has_closed(tls: ssl.SSLObject) -> bool:
    """Whether a connection that has ended did so with a closure alert."""
    try:
        return not tls.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


class _Sending:
    """An upload while a task of aiohttp sends it. Each chunk that is taken moves `limit` by so many seconds."""

    def __init__(self, upload: Upload, limit: asyncio.Timeout, seconds: float) -> None:
        self._upload, self._limit, self._seconds = upload, limit, seconds
        self.headers = {"Content-Type": upload.content_type, "Content-Length": str(upload.length)}
        self.is_whole = self.has_answer = False
        self.failure: errors.BulkdlError | None = None
        """What its chunks raised, in place of which aiohttp raises an error of the connection."""

    async def chunks(self) -> AsyncGenerator[bytes | memoryview, None]:
        try:
            async with aclosing(self._upload.chunks()) as chunks:
                async for chunk in chunks:
                    if self.has_answer:
                        return
                    self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)
                    yield chunk
        except errors.BulkdlError as error:
            self.failure = error
            raise
        self.is_whole = True


class AiohttpTransport:
    """See `http_transport.HttpTransport`. Made by `open_transport`."""

    def __init__(self, access: Access) -> None:
        self.requests = 0
        self._certificates = Certificates(access.ca_bundle)
        self._is_proxy_encrypted = (access.proxy or "").casefold().startswith("https:")
        connecting = min(_CONNECTIONS * access.connect_seconds, access.answer_seconds)
        self._answer_seconds = connecting + access.answer_seconds
        self._silence_seconds = access.silence_seconds
        self._proxy = proxy = URL(access.proxy) if access.proxy is not None else None
        named = basic_authorization(proxy) if proxy is not None else None
        self._to_proxy = {"Proxy-Authorization": named} if named is not None else {}
        tracing = aiohttp.TraceConfig()
        tracing.on_request_headers_sent.append(self._count)
        self.session = aiohttp.ClientSession(
            connector=_Connector(limit=0, ttl_dns_cache=300),
            proxy=proxy.with_user(None) if proxy is not None else None,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=access.connect_seconds, sock_read=access.answer_seconds
            ),
            read_bufsize=_READ_BUFFER_BYTES,
            headers={"User-Agent": f"bulkdl/{__version__}", "Accept-Encoding": "gzip, deflate"},
            cookie_jar=aiohttp.DummyCookieJar(),
            raise_for_status=False,
            auto_decompress=False,  # see `http_body.Inflater`
            trace_configs=[tracing],
            response_class=_Response,
        )
        # aiohttp repeats a request that fails on a connection which was used before: one attempt more than allowed, and
        # not counted. There is no public switch; aiohttp's own test client uses this one.
        self.session._retry_connection = False  # noqa: SLF001 - see above

    async def _count(self, _session: object, _context: object, _headers: object) -> None:
        self.requests += 1

    async def send(self, url: URL, headers: Mapping[str, str], content: Content | None) -> AiohttpResponse:
        if any(map(LINE_BREAK.search, headers.values())):
            raise header_with_break()
        limit = asyncio.timeout(self._answer_seconds)  # the header may arrive slowly, too
        sending: _Sending | None = None
        data: io.BytesIO | AsyncGenerator[bytes | memoryview, None] | None = None
        more: dict[str, str] = {}
        if isinstance(content, Upload):
            sending = _Sending(content, limit, self._answer_seconds)
            data, more = sending.chunks(), sending.headers
        elif content is not None:
            data = io.BytesIO(urlencode(content).encode("ascii"))
            more = {"Content-Type": "application/x-www-form-urlencoded"}
        if (identity := basic_authorization(url)) is not None:  # aiohttp would send it in Latin-1
            more["Authorization"] = identity
        if url.scheme == "http":  # else they are for the request that connects alone
            more |= self._to_proxy
        tls = await self._certificates.context() if url.scheme == "https" or self._is_proxy_encrypted else True
        began = time.monotonic()
        try:
            async with limit:
                response = await self.session.request(
                    "GET" if content is None else "POST",
                    url if identity is None else url.with_user(None),
                    data=data,
                    headers={**more, **headers},
                    proxy_headers=self._to_proxy,
                    allow_redirects=False,
                    ssl=tls,
                )
        except _FOREIGN as error:
            if sending is not None and sending.failure is not None:
                raise sending.failure from error
            raise self._through_proxy(_translate(error)) from error
        try:
            assert isinstance(response, _Response)  # noqa: S101 - as the session makes them
            found = AiohttpResponse(response, self._silence_seconds, time.monotonic() - began)
        except ValueError as error:
            response.close()
            raise connection_errors.invalid_response(str(error)) from error
        if sending is not None:
            sending.has_answer, found.is_request_unsent = True, not sending.is_whole
        return found

    def _through_proxy(self, error: errors.BulkdlError) -> errors.BulkdlError:
        """The same error, which may be the fault of the proxy."""
        if self._proxy is not None and isinstance(error, (errors.ConnectionLost, errors.TimedOut)):
            error.args = (f"{error} (through the proxy {self._proxy.host}:{self._proxy.port})",)
        return error

    def open_early(self, url: URL, connections: int) -> bool:
        return True


@asynccontextmanager
async def open_transport(access: Access) -> AsyncIterator[AiohttpTransport]:
    """A transport for one archive; its connections are closed at the end of the block.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    transport = AiohttpTransport(access)
    async with transport.session:
        yield transport


def _translate(error: BaseException) -> errors.BulkdlError:  # noqa: C901, PLR0911, PLR0912 - a table, in the form of a match
    if (too_many := connection_errors.too_many_files(error)) is not None:
        return too_many
    match error:
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return connection_errors.not_trusted(error.host, str(reason))
        case aiohttp.ClientConnectorSSLError() if "WRONG_VERSION_NUMBER" in str(error):
            return connection_errors.speaks_no_tls(f"{error.host}:{error.port}")
        case aiohttp.ClientConnectorDNSError():
            return connection_errors.unknown_host(error.host, _reason(error))
        case aiohttp.ClientProxyConnectionError():
            return connection_errors.cannot_reach(f"the proxy {error.host}:{error.port}", _reason(error))
        case aiohttp.ClientHttpProxyError():
            return connection_errors.refused_by_proxy(error.status, error.message)
        case aiohttp.ClientConnectorError():
            return connection_errors.cannot_reach(f"{error.host}:{error.port}", _reason(error))
        case aiohttp.ConnectionTimeoutError():
            return connection_errors.no_connection_in_time()
        case TimeoutError():
            return connection_errors.silent()
        case aiohttp.ServerDisconnectedError():  # it shows all of a header that has not ended
            return connection_errors.broken(connection_errors.CLOSED_IN_HEADER)
        case aiohttp.ClientOSError():
            return connection_errors.broken(_reason(error))
        case aiohttp.ClientResponseError() if error.message:  # its further lines show what was received
            return connection_errors.invalid_response(error_text(ValueError(error.message.splitlines()[0])))
        case aiohttp.InvalidURL():
            return errors.ConfigurationError("the archive's address is invalid")
        case _:
            return connection_errors.invalid_response(_reason(error))


def _reason(error: BaseException) -> str:
    return error_text(getattr(error, "os_error", None) or error)
