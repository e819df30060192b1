"""The one client of HTTP: sends the requests that protocols make, and gives bodies, rows or our own errors.

It adds address and credentials, follows redirects, renews tokens, checks where a body ends, reports each request to the
`Retrier`, and removes secrets from messages. `open` and `rows` are one attempt each, because only the caller knows what
it has already written or taken; `read` tries again as `runtime.retry` decides. Sockets are behind `http_transport`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from yarl import URL

from bulkdl.archive import http_status
from bulkdl.archive.auth import Token, Tokens
from bulkdl.archive.base import Rest
from bulkdl.archive.content_encoding import ENCODINGS, Inflater
from bulkdl.archive.http_transport import HttpResponse, HttpTransport
from bulkdl.archive.request import Identity, Pairs, Request
from bulkdl.archive.row_reader import RowReader
from bulkdl.errors import (
    BulkdlError,
    ConnectFailed,
    ConnectionLost,
    RequestFailed,
    ShortBody,
    TimedOut,
    UnexpectedAnswer,
)
from bulkdl.model.access import Access
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.concurrency import Sample

IDENTITY: Final[Mapping[str, str]] = MappingProxyType({"Accept-Encoding": "identity"})
"""Headers that make Content-Length the length of the file."""

_MOST_REDIRECTS: Final = 5
_MOST_ERROR_BYTES: Final = 2_000
_SHOWN_CHARACTERS: Final = 200
_LOGOUT_SECONDS: Final = 5.0
_EMPTY: Final = frozenset({b"", b"[]", b"null"})
_SENT_TO_ANY_ORIGIN: Final = frozenset({"Accept", "Accept-Encoding", "Range", "If-Range"})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_BROKEN: Final = (ConnectFailed, ConnectionLost, TimedOut, ShortBody)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class HttpBody:
    """See `base.Body`."""

    def __init__(self, response: HttpResponse, access: Access, token: Token | None = None) -> None:
        self._response = response
        self._access = access
        self.token = token  # the one that was sent
        self.headers = headers = response.headers
        self.content_type = response.content_type
        encoding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
        if encoding != "identity" and encoding not in ENCODINGS:
            raise UnexpectedAnswer(
                f"the response has the encoding {shortened(encoding, 20)!r}, which was not requested"
            )
        self._inflater = Inflater() if encoding in ENCODINGS else None
        self.length = response.length if self._inflater is None else None
        self.start = 0
        self.is_part = response.status == http_status.PARTIAL_CONTENT
        tag = headers.get("ETag", "")
        # A weak tag may stand for other bytes with the same meaning, so it identifies nothing here.
        self.validator = tag if tag.startswith('"') else headers.get("Last-Modified")
        self.received = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `Body.chunks`."""
        response, clock, access = self._response, time.monotonic, self._access
        # Only the time spent waiting for bytes counts, not the time that the caller needs to process them.
        waited, received = 0.0, 0
        while True:
            asked = clock()
            if not (chunk := await response.chunk()):
                break
            received += len(chunk)
            waited += clock() - asked
            if waited >= access.silence_seconds:
                if received < access.lowest_bytes_per_second * waited:
                    raise TimedOut(f"only {received:,} bytes arrived in {waited:.0f} s")
                waited, received = 0.0, 0
            for piece in (chunk,) if self._inflater is None else self._inflated(chunk):
                self.received += len(piece)
                yield piece
        self._check_end()

    async def read(self) -> bytes:
        """See `Body.read`."""
        if self.length is None:
            return b"".join([chunk async for chunk in self.chunks()])
        slowest_seconds = self._access.silence_seconds + self.length / self._access.lowest_bytes_per_second
        try:
            async with asyncio.timeout(slowest_seconds):
                content = await self._response.read()
        except TimeoutError as error:
            raise TimedOut(f"{self.length:,} bytes did not arrive within {slowest_seconds:.0f} s") from error
        self.received = len(content)
        self._check_end()
        return content

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        assert self._inflater is not None  # noqa: S101 - the caller has checked
        try:
            yield from self._inflater.feed(chunk)
        except ValueError as error:
            raise ShortBody(f"the body cannot be decoded: {error}") from error

    def _check_end(self) -> None:
        if self._inflater is not None:
            try:
                self._inflater.close()
            except ValueError as error:
                raise ShortBody(f"the body was cut: {error}") from error
        if self.length is not None and self.received != self.length:
            raise ShortBody(f"{self.received:,} bytes arrived, {self.length:,} were announced")


class HttpClient:
    """Sends requests to the archive at `url`, for one run. `note` receives one line about each odd answer.

    Every method may raise `RequestFailed` (its subclasses give the cause), `ArchiveUnreachable` and `Interrupted`.
    """

    def __init__(
        self,
        url: str,
        transport: HttpTransport,
        retrier: Retrier,
        access: Access,
        *,
        note: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.retrier = retrier
        self._transport = transport
        self._access = access
        self._note = note
        self._base = URL(url)
        self._urls: dict[str, URL] = {}
        self._tokens = Tokens(access.credentials, self._post, clock=clock)

    @property
    def requests(self) -> int:
        """The number of requests sent, repeats and redirects included."""
        return self._transport.requests

    # --- answers that are small or made of rows -----------------------------------------------------------------------

    async def read(self, request: Request, what: str = "") -> tuple[str, bytes]:
        """Send `request` until it succeeds, and return the content type and the body. `what` names it in messages.

        Raises:
            RequestFailed: the last failure, once no attempt is left.
        """
        answer, _ = await self.retrier.attempt(what or request.name, lambda _: self.read_once(request))
        return answer

    async def read_once(self, request: Request) -> tuple[str, bytes]:
        """Send `request`, and return the content type and the body. One attempt."""
        while True:
            async with self.open(request) as body:
                content = await body.read()
            if content.strip() not in _EMPTY or not await self._renewed_if_doubtful(body.token):
                return body.content_type, content

    async def rows(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        """Send `request`, and yield the rows of the answer, which is JSON, as they arrive. One attempt.

        Raises:
            UnexpectedAnswer: the answer is not a list of rows.
        """
        is_believed = False
        while not is_believed:
            reader, count = RowReader(), 0
            async with self.open(request) as body:
                try:
                    async for chunk in body.chunks():
                        for row in reader.feed(chunk):
                            count += 1
                            yield row
                    for row in reader.close():
                        count += 1
                        yield row
                except ValueError as error:
                    raise UnexpectedAnswer(f"{request.name} answered {self.redacted(str(error))}") from error
            is_believed = count > 0 or not await self._renewed_if_doubtful(body.token)

    async def _renewed_if_doubtful(self, token: Token | None) -> bool:
        """Whether "nothing found" may only mean that the token has expired. The token is renewed then."""
        if token is None or not self._tokens.is_doubtful(token):
            return False
        await self._tokens.renewed(token)
        return True

    # --- one request --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(
        self, request: Request, *, headers: Mapping[str, str] = _NO_HEADERS, rest: Rest | None = None
    ) -> AsyncIterator[HttpBody]:
        """Send `request`, follow its redirects, and yield the body of a success. Leaving the block ends the request.

        With `rest`, the missing part of an object is requested; see `Archive.open`.
        """
        started = time.monotonic()
        body: HttpBody | None = None
        refused = throttled = failed = False
        if rest is not None:
            headers = {**headers, "Range": f"bytes={rest.start}-", "If-Range": rest.validator}
        try:
            response, token = await self._identified(request, headers)
            try:
                if response.status not in http_status.SUCCESS:
                    raise await self._error(response)
                body = HttpBody(response, self._access, token)
                if body.is_part:
                    _check_part(body, rest)
                yield body
            finally:
                response.release()
        except RequestFailed as error:
            throttled = error.status == http_status.TOO_MANY_REQUESTS
            refused = error.status in http_status.OVERLOADED
            failed = isinstance(error, _BROKEN)
            raise
        finally:
            size_bytes = body.received if body is not None else 0
            self.retrier.finished(
                Sample(time.monotonic() - started, size_bytes, refused=refused, throttled=throttled, failed=failed)
            )

    async def _error(self, response: HttpResponse) -> RequestFailed:
        message = f"the archive answered {response.status} {response.reason}".rstrip()
        message += await _error_text(response, self.redacted)
        return http_status.error_of(response.status, message, response.headers.get("Retry-After"))

    async def _identified(self, request: Request, headers: Mapping[str, str]) -> tuple[HttpResponse, Token | None]:
        """The response to a request with credentials; if they are refused, the one to a request with a new token."""
        query, key = request.query, self._access.credentials.api_key
        if key is not None and request.identity is Identity.KEY:
            if self._access.credentials.is_key_in_query:
                query = (*query, ("api_key", key))
            else:
                headers = {**headers, "api_key": key}
        url = self._url(request.path).with_query(query)
        token = await self._token(request.identity)
        if token is None:
            return await self._send(url, headers, request.form), None
        response = await self._send(url, {**headers, **_bearer(token)}, request.form)
        if response.status in http_status.EXPIRED_TOKEN:
            response.release()
            token = await self._tokens.renewed(token)
            response = await self._send(url, {**headers, **_bearer(token)}, request.form)
        if response.status in http_status.MAYBE_EXPIRED_TOKEN and self._tokens.is_doubtful(token):
            self._tokens.distrust(token)
        return response, token

    def _url(self, path: str) -> URL:
        if path not in self._urls:  # one for each endpoint
            self._urls[path] = self._base.join(URL(path))
        return self._urls[path]

    async def _token(self, identity: Identity) -> Token | None:
        is_known = self._access.credentials.username is not None
        if identity is Identity.TOKEN or (identity is Identity.TOKEN_IF_ANY and is_known):
            return await self._tokens.current()
        return None

    async def _send(
        self, url: URL, headers: Mapping[str, str], form: Pairs | None, *, redirects: int = _MOST_REDIRECTS
    ) -> HttpResponse:
        """The response at the end of at most `redirects` redirects; with 0, a redirect itself is the response."""
        for _ in range(redirects + 1):
            response = await self._transport.send(url, headers, form)
            if response.status not in http_status.REDIRECTS or not redirects:
                return response
            if (location := response.headers.get("Location")) is None:
                return response
            response.release()
            url, before = _redirected(url, location), url
            if response.status in http_status.REDIRECTS_TO_GET:
                form = None
            if url.origin() != before.origin():  # credentials are sent to the archive's own origin only
                headers = {name: value for name, value in headers.items() if name in _SENT_TO_ANY_ORIGIN}
        raise UnexpectedAnswer(f"more than {_MOST_REDIRECTS} redirects")

    # --- the login ----------------------------------------------------------------------------------------------------

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        response = await self._send(self._base.join(URL(path)), IDENTITY, tuple(form.items()), redirects=0)
        try:
            return response.status, await HttpBody(response, self._access).read()
        finally:
            response.release()

    async def log_out(self) -> None:
        """End the login, if there is one. A failure is ignored, because tokens expire anyway."""
        if (token := self._tokens.to_log_out) is None:
            return
        with suppress(BulkdlError, TimeoutError):
            async with asyncio.timeout(_LOGOUT_SECONDS):
                response = await self._send(
                    self._base.join(URL("logout")), {"Authorization": f"Bearer {token}"}, (), redirects=0
                )
                response.release()

    def note(self, text: str) -> None:
        """Report an odd answer, without secrets."""
        self._note(self.redacted(text))

    def redacted(self, text: str) -> str:
        """The text without secrets, whether in plain form or encoded for a URL."""
        for secret in (*self._access.secrets, *self._tokens.secrets):
            text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
        return text


def _bearer(token: Token) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


def _check_part(body: HttpBody, rest: Rest | None) -> None:
    """Set the start of a 206 that is the requested `rest`, to the end of the same object.

    Raises:
        UnexpectedAnswer: it is something else.
    """
    found = _CONTENT_RANGE.fullmatch(body.headers.get("Content-Range", ""))
    if found is None or rest is None:
        raise UnexpectedAnswer("the archive sent a part where the whole was requested")
    first, last, size = map(int, found.groups())
    is_the_rest = (first, last + 1, size) == (rest.start, rest.length, rest.length)
    if not is_the_rest or body.validator not in {None, rest.validator}:
        raise UnexpectedAnswer("the archive sent another part than the requested one")
    body.start = rest.start


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
        if target.scheme not in {"http", "https"} or not target.host:
            raise ValueError(f"{target.scheme!r} is not followed")  # noqa: TRY301 - handled like an invalid URL
    except ValueError as error:
        raise UnexpectedAnswer("a redirect to an address that is not a web address") from error
    if url.scheme == "https" and target.scheme == "http":
        raise UnexpectedAnswer(f"a redirect from https to http ({target.host}), not followed")
    return target


async def _error_text(response: HttpResponse, redacted: Callable[[str], str]) -> str:
    """The beginning of a short text that explains an error; nothing for a page, and for what cannot be read."""
    if response.status < http_status.FIRST_CLIENT_ERROR or "Content-Encoding" in response.headers:
        return ""
    content = b""
    with suppress(RequestFailed):
        content = (await response.chunk())[:_MOST_ERROR_BYTES]
    text = redacted(content.decode("utf-8", errors="replace"))
    line = one_line(text)
    return f": {shortened(line, _SHOWN_CHARACTERS)}" if line and "<" not in text[:_SHOWN_CHARACTERS] else ""
