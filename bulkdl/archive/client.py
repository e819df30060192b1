"""The one user of aiohttp's client: executes a dialect's requests, and gives records, bodies or our own errors.

Questions are repeated here, with the `Retrier` that is handed in; bodies are not, because only the caller knows what
it has already written: `open_instance` and `open_bundle` are one attempt each.
"""

from __future__ import annotations

import asyncio
import email.utils
import errno
import re
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from bulkdl import __version__
from bulkdl.archive.auth import Token, Tokens
from bulkdl.archive.base import Rest
from bulkdl.archive.content_encoding import ENCODINGS, Inflater
from bulkdl.archive.nbia.dialect import Dialect
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.archive.nbia.values import read_record
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Identity, Request
from bulkdl.archive.row_reader import RowReader
from bulkdl.errors import (
    AccessDenied,
    ArchiveUnreachable,
    BulkdlError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    MirrorUnwritable,
    NotFound,
    RequestFailed,
    RequestRejected,
    ServerFailed,
    ShortBody,
    TimedOut,
    TooManyRequests,
    UnexpectedAnswer,
)
from bulkdl.model.access import Access
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import InstanceKey, Series, SeriesSize
from bulkdl.model.text import error_text, one_line, shortened
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.concurrency import Sample

_CONNECT_SECONDS: Final = 30
_ANSWER_SECONDS: Final = 4 * _CONNECT_SECONDS  # name, several addresses, proxy, TLS; then the silence
_READ_BUFFER_BYTES: Final = 1 << 18
_MOST_REDIRECTS: Final = 5
_ROWS_AT_ONCE: Final = 500
_ERROR_TEXT_BYTES: Final = 2_000
_SHOWN_CHARACTERS: Final = 200
_MD5_BYTES: Final = 16
_OVERLOADED: Final = frozenset({502, 503, 504})

_IDENTITY: Final = {"Accept-Encoding": "identity"}  # so that Content-Length counts the bytes of the file
_LOGOUT_SECONDS: Final = 5.0
_NOT_BELIEVED: Final = frozenset({401, 403})  # NBIA's own client takes both for an expired token
_PERHAPS_NOT_BELIEVED: Final = frozenset({500})  # what v4's getSeries makes of one
_NOTHING: Final = frozenset({b"", b"[]", b"null"})
_FOR_ANYBODY: Final = frozenset({"Accept", "Accept-Encoding", "Range", "If-Range"})
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)


class Body:
    """A successful answer under way. `length` is the number of bytes announced, None where nothing was.

    `start` is where in the object the bytes begin, more than 0 where the rest of one was asked for. `validator` tells
    whether a later answer is of the same object: an entity tag or a date (RFC 9110 §8.8), None where there is none.
    """

    def __init__(self, response: aiohttp.ClientResponse, access: Access, token: Token | None = None) -> None:
        self._response = response
        self._access = access
        self.token = token  # the one it was asked for with
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower() or "identity"
        if encoding != "identity" and encoding not in ENCODINGS:
            raise UnexpectedAnswer(f"the answer is encoded as {encoding[:20]!r}, which nobody asked for")
        self._inflater = Inflater() if encoding in ENCODINGS else None
        self.length = response.content_length if self._inflater is None else None
        self.start = 0
        self.is_part = response.status == HTTPStatus.PARTIAL_CONTENT
        tag = response.headers.get("ETag", "")
        # A weak tag may stand for other bytes that mean the same, so it proves nothing here.
        self.validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        self.content_type = response.content_type
        self.headers: Mapping[str, str] = response.headers
        self.received = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, in pieces of whatever size they came.

        Raises:
            RequestFailed: as `ArchiveClient` says; `ShortBody` if the end came early.
        """
        content, clock = self._response.content, time.monotonic
        # Only the time that we wait for bytes counts, not what the caller takes to deal with them.
        waited, came = 0.0, 0
        with _mapped_errors():
            while True:
                asked = clock()
                # As it came: `readany` would copy all that waits. The end of a chunk of HTTP may come without bytes.
                chunk, is_end_of_chunk = await content.readchunk()
                if not chunk:
                    if is_end_of_chunk:
                        continue
                    break
                came += len(chunk)
                waited += clock() - asked
                if waited >= self._access.silence_seconds:
                    if came < self._access.lowest_bytes_per_second * waited:
                        raise TimedOut(f"only {came:,} bytes came in {waited:.0f} s")
                    waited, came = 0.0, 0
                for piece in (chunk,) if self._inflater is None else self._inflated(chunk):
                    self.received += len(piece)
                    yield piece
        self._check_end()

    async def read(self) -> bytes:
        """All bytes. Meant for bodies whose length is known to be small.

        Raises:
            RequestFailed: as `chunks`.
        """
        if self.length is None:
            return b"".join([chunk async for chunk in self.chunks()])
        slowest_seconds = self._access.silence_seconds + self.length / self._access.lowest_bytes_per_second
        with _mapped_errors():
            async with asyncio.timeout(slowest_seconds):
                content = await self._response.read()
        self.received = len(content)
        self._check_end()
        return content

    def _inflated(self, chunk: bytes) -> Iterator[bytes]:
        assert self._inflater is not None  # noqa: S101 - the caller looked
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
            raise ShortBody(f"{self.received:,} bytes came, {self.length:,} were announced")


class _mapped_errors:  # noqa: N801 - reads as the function it stands for; a class costs half of contextmanager
    """Turns aiohttp's errors into ours."""

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and isinstance(error, (aiohttp.ClientError, TimeoutError, OSError, ValueError)):
            raise _translate(error) from error


def _translate(error: BaseException) -> Exception:  # noqa: C901, PLR0911 - a table, in the form of a match
    match error:
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return MirrorUnwritable("too many open files: no connection can be made; raise the limit (ulimit -n)")
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
            return ArchiveUnreachable(f"the certificate of {error.host} is not trusted: {reason} (see --ca-bundle)")
        case aiohttp.ClientConnectorDNSError():
            return ConnectFailed(f"the host {error.host} is not known: {_reason(error)}")
        case aiohttp.ClientProxyConnectionError():
            return ConnectFailed(f"the proxy {error.host}:{error.port} cannot be reached: {_reason(error)}")
        case aiohttp.ClientHttpProxyError():
            return ConnectFailed(f"the proxy refused: {error.status} {error.message}")
        case aiohttp.ClientConnectorError():
            return ConnectFailed(f"{error.host}:{error.port} cannot be reached: {_reason(error)}")
        case aiohttp.ConnectionTimeoutError():
            return ConnectFailed(f"no connection within {_CONNECT_SECONDS} s")
        case TimeoutError():
            return TimedOut("no byte, or too few of them, came for too long")
        case aiohttp.ClientPayloadError():
            return ShortBody(f"the body was cut: {_reason(error)}")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return ConnectionLost(f"the connection broke: {_reason(error)}")
        case aiohttp.InvalidURL():
            return ConfigurationError("the archive's address cannot be used")
        case _:
            return ConnectionLost(f"no valid answer: {_reason(error)}")


def _reason(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or error
    return error_text(cause)


class ArchiveClient:
    """One archive, for one run. Made by `connect`.

    Every method may raise `RequestFailed` (its subclasses say how), `ArchiveUnreachable` and `Interrupted`, those that
    repeat only after the attempts are spent. `requests` counts what was sent, repetitions and redirects included.
    """

    def __init__(
        self,
        profile: Profile,
        session: aiohttp.ClientSession,
        retrier: Retrier,
        access: Access,
        *,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.profile = profile
        self.dialect: Dialect = DIALECTS[profile.kind]()
        self.retrier = retrier
        self.requests = 0
        self._session = session
        self._access = access
        self._tell = note
        self._base = URL(profile.url)
        self._urls: dict[str, URL] = {}
        self._tokens = Tokens(access.credentials, self._post)

    # --- questions ----------------------------------------------------------------------------------------------------

    async def collections(self) -> list[str]:
        """The names of all Collections that may be seen."""
        rows = await self._rows(self.dialect.collections(), "the list of collections")
        return [str(row["Collection"]) for row in rows if row.get("Collection")]

    async def series(self, criteria: Mapping[str, str], take: Callable[[list[Series]], Awaitable[None]]) -> int:
        """Hand the Series that meet all of `criteria` to `take`, some hundreds at a time, and return their number.

        A list that is cut is asked for again from its beginning: `take` may get a Series twice. Rows that cannot be
        right are noted and left out.
        """
        request = self.dialect.series(criteria)
        return await self._hand_series(
            request, "the series of " + (", ".join(criteria.values()) or "the archive"), take
        )

    async def series_by_uids(
        self, series_uids: Sequence[SeriesUid], take: Callable[[list[Series]], Awaitable[None]]
    ) -> int:
        """As `series`, for Series that are named: no more than `dialect.series_at_once`, in one question.

        Those that the archive does not have, or may not show, are missing from its answer.
        """
        what = f"the series {series_uids[0]}" if len(series_uids) == 1 else f"{len(series_uids):,} series"
        return await self._hand_series(self.dialect.series_by_uids(series_uids), what, take)

    async def _hand_series(self, request: Request, what: str, take: Callable[[list[Series]], Awaitable[None]]) -> int:
        async def once(_: int) -> int:
            count = 0
            batch: list[Series] = []
            async with aclosing(self._stream_rows(request)) as rows:
                async for row in rows:
                    try:
                        batch.append(read_record(Series, self.dialect.endpoints[request.name].attributes, row))
                    except ValueError as error:
                        self._note(f"the archive sent a row that cannot be right, left out: {error}")
                        continue
                    count += 1
                    if len(batch) >= _ROWS_AT_ONCE:
                        await take(batch)
                        batch = []
            if batch:
                await take(batch)
            return count

        count, _ = await self.retrier.attempt(what, once)
        return count

    async def instances(self, series_uid: SeriesUid) -> list[SopInstanceUid]:
        """The SOP Instance UIDs of a Series, in the archive's order, each once."""
        rows = await self._rows(self.dialect.instances(series_uid), f"the instances of series {series_uid}")
        found: dict[SopInstanceUid, None] = {}
        for row in rows:
            uid = row.get("SOPInstanceUID")
            if isinstance(uid, str) and is_uid(uid):
                found[SopInstanceUid(uid)] = None
            else:
                self._note(f"series {series_uid}: the archive listed an instance that has no UID, left out")
        return list(found)

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """Bytes and number of instances of a Series, None where the archive does not say."""
        request = self.dialect.size(series_uid)
        rows = await self._rows(request, f"the size of series {series_uid}")
        try:
            return read_record(SeriesSize, self.dialect.endpoints[request.name].attributes, rows[0] if rows else {})
        except ValueError:  # for a Series that it does not know, NBIA sends one row without values
            return SeriesSize(None, None)

    async def checksum(self, sop_uid: SopInstanceUid) -> bytes | None:
        """The MD5 of an instance, 16 bytes; None where the archive cannot tell."""
        request = self.dialect.checksum(sop_uid)
        if request is None:
            return None
        (_, content), _ = await self.retrier.attempt(f"the checksum of {sop_uid}", lambda _: self._read(request))
        return _md5_in(content)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """The MD5 that stands for a whole Series (getMD5Hierarchy), 16 bytes; None where the archive has none."""
        request = self.dialect.series_checksum(series_uid)
        if request is None:
            return None
        what = f"the checksum of series {series_uid}"
        (_, content), _ = await self.retrier.attempt(what, lambda _: self._read(request))
        return _md5_in(content)

    async def metadata(self, endpoint: Endpoint) -> tuple[str, bytes] | None:
        """What the archive itself says about `endpoint`: content type and body; None where it says nothing."""
        request = self.dialect.metadata(endpoint)
        if request is None:
            return None
        answer, _ = await self.retrier.attempt(f"about {endpoint.name}", lambda _: self._read(request))
        return answer

    async def query(self, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]) -> tuple[str, bytes]:
        """Ask `endpoint` with parameters as they go over the wire; content type and body, as the archive sent them."""
        request = self.dialect.verbatim(endpoint, parameters)
        answer, _ = await self.retrier.attempt(endpoint.name, lambda _: self._read(request))
        return answer

    # --- bodies, one attempt each -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]) -> AsyncIterator[Body]:
        """Ask `endpoint` with parameters as they go over the wire; leaving the block ends the request."""
        async with self._ask(self.dialect.verbatim(endpoint, parameters)) as body:
            yield body

    @asynccontextmanager
    async def open_instance(self, key: InstanceKey, *, rest: Rest | None = None) -> AsyncIterator[Body]:
        """Ask for one instance, or the `rest` of it; leaving the block ends the request.

        An archive that knows no ranges, or holds another object by now, sends the whole: see `Body.start`.
        """
        headers = _IDENTITY
        if rest is not None:
            headers = {**_IDENTITY, "Range": f"bytes={rest.start}-", "If-Range": rest.validator}
        async with self._ask(self.dialect.instance(key.series_uid, key.sop_uid), headers=headers) as body:
            _refuse_texts(body, "a DICOM file")
            if body.is_part:
                _check_part(body, rest)
            yield body

    async def checksum_once(self, sop_uid: SopInstanceUid) -> bytes | None:
        """As `checksum`, for who holds a permit already: one attempt, and None where it fails."""
        request = self.dialect.checksum(sop_uid)
        if request is None:
            return None
        try:
            _, content = await self._read(request)
        except RequestFailed:
            return None
        return _md5_in(content)

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid) -> AsyncIterator[Body]:
        """Ask for the zip of a Series; leaving the block ends the request."""
        async with self._ask(self.dialect.bundle(series_uid), headers=_IDENTITY) as body:
            _refuse_texts(body, "a zip")
            yield body

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _rows(self, request: Request, what: str) -> list[dict[str, Any]]:
        async def once(_: int) -> list[dict[str, Any]]:
            async with aclosing(self._stream_rows(request)) as rows:
                return [row async for row in rows]

        rows, _ = await self.retrier.attempt(what, once)
        return rows

    async def _stream_rows(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        is_believed = False
        while not is_believed:
            reader, count = RowReader(), 0
            async with self._ask(request) as body:
                try:
                    async for chunk in body.chunks():
                        for row in reader.feed(chunk):
                            count += 1
                            yield _no_error(row)
                    for row in reader.close():
                        count += 1
                        yield _no_error(row)
                except ValueError as error:
                    said = self._without_secrets(str(error))
                    raise UnexpectedAnswer(f"{request.name} answered {said}") from error
            is_believed = count > 0 or not await self._renewed_if_doubtful(body.token)

    async def _read(self, request: Request) -> tuple[str, bytes]:
        while True:
            async with self._ask(request) as body:
                content = await body.read()
            if content.strip() not in _NOTHING or not await self._renewed_if_doubtful(body.token):
                return body.content_type, content

    async def _renewed_if_doubtful(self, token: Token | None) -> bool:
        """Whether "nothing found" may only mean that the token has expired: then there is a fresh one to ask with."""
        if token is None or not self._tokens.is_doubtful(token):
            return False
        await self._tokens.renewed(token)
        return True

    @asynccontextmanager
    async def _ask(self, request: Request, *, headers: Mapping[str, str] | None = None) -> AsyncIterator[Body]:
        """Send one request, follow its redirects, and yield the body of a success."""
        started = time.monotonic()
        body: Body | None = None
        refused = throttled = failed = False
        try:
            async with self._identified(request, headers or {}) as (response, token):
                _raise_for_status(response, await _error_text(response, self._without_secrets))
                body = Body(response, self._access, token)
                yield body
        except TooManyRequests as error:
            throttled = error.status == HTTPStatus.TOO_MANY_REQUESTS
            refused = not throttled
            raise
        except ServerFailed as error:
            refused = error.status in _OVERLOADED
            raise
        except (ConnectFailed, ConnectionLost, TimedOut, ShortBody):
            failed = True
            raise
        finally:
            size_bytes = body.received if body is not None else 0
            self.retrier.finished(
                Sample(time.monotonic() - started, size_bytes, refused=refused, throttled=throttled, failed=failed)
            )

    @asynccontextmanager
    async def _identified(
        self, request: Request, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, Token | None]]:
        """The answer to a request that says who is asking; where that is refused, to one with another token."""
        token = await self._token(request.identity)
        query, key = request.query, self._access.credentials.api_key
        if key is not None and request.identity is Identity.KEY:
            if self._access.credentials.is_key_in_query:
                query = (*query, ("api_key", key))
            else:
                headers = {**headers, "api_key": key}
        url = self._url(request.path).with_query(query)
        if token is None:
            async with self._send(url, headers, request.form) as response:
                yield response, None
            return
        for is_last in (False, True):
            async with self._send(url, {**headers, "Authorization": f"Bearer {token.value}"}, request.form) as response:
                if is_last or response.status not in _NOT_BELIEVED:
                    if response.status in _PERHAPS_NOT_BELIEVED and self._tokens.is_doubtful(token):
                        self._tokens.distrust(token)
                    yield response, token
                    return
            token = await self._tokens.renewed(token)

    def _url(self, path: str) -> URL:
        if path not in self._urls:  # a handful: one for each endpoint
            self._urls[path] = self._base.join(URL(path))
        return self._urls[path]

    async def _token(self, identity: Identity) -> Token | None:
        is_known = self._access.credentials.username is not None
        if identity is Identity.TOKEN or (identity is Identity.TOKEN_IF_ANY and is_known):
            return await self._tokens.current()
        return None

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        url = self._base.join(URL(path))
        async with self._send(url, _IDENTITY, tuple(form.items()), redirects=0) as response:
            return response.status, await Body(response, self._access).read()

    async def log_out(self) -> None:
        """End the login, if there is one. That it cannot be ended is no loss: tokens expire."""
        if (token := self._tokens.to_log_out) is None:
            return
        with suppress(BulkdlError, TimeoutError):
            async with asyncio.timeout(_LOGOUT_SECONDS):
                headers = {"Authorization": f"Bearer {token}"}
                async with self._send(self._base.join(URL("logout")), headers, (), redirects=0):
                    pass

    def _note(self, text: str) -> None:
        self._tell(self._without_secrets(text))

    def _without_secrets(self, text: str) -> str:
        for secret in (*self._access.secrets, *self._tokens.secrets):
            text = text.replace(secret, "…").replace(quote(secret, safe=""), "…")
        return text

    @asynccontextmanager
    async def _send(
        self,
        url: URL,
        headers: Mapping[str, str],
        form: tuple[tuple[str, str], ...] | None = None,
        *,
        redirects: int = _MOST_REDIRECTS,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer at the end of so many `redirects` at most; with 0, whatever comes. A `form` is posted."""
        for _ in range(redirects + 1):
            method, data = ("GET", None) if form is None else ("POST", aiohttp.FormData(form))
            with _mapped_errors():
                async with asyncio.timeout(_ANSWER_SECONDS + self._access.silence_seconds):  # headers may trickle, too
                    response = await self._session.request(
                        method, url, data=data, headers=headers, allow_redirects=False
                    )
            try:
                location = response.headers.get("Location") if response.status in {301, 302, 303, 307, 308} else None
                if location is None or not redirects:
                    yield response
                    return
                url, before = _redirected(url, location), url
                if response.status in {301, 302, 303}:  # what was posted is answered over there: RFC 9110 §15.4
                    form = None
                if url.origin() != before.origin():  # a key or a token is the archive's own, and nobody else's
                    headers = {name: value for name, value in headers.items() if name in _FOR_ANYBODY}
            finally:
                response.release() if response.content.at_eof() else response.close()
        raise UnexpectedAnswer(f"more than {_MOST_REDIRECTS} redirects")


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
        if target.scheme not in {"http", "https"} or not target.host:
            raise ValueError(f"{target.scheme!r} is not followed")  # noqa: TRY301 - told like the others
    except ValueError as error:
        raise UnexpectedAnswer("a redirect to no web address") from error
    if url.scheme == "https" and target.scheme == "http":
        raise UnexpectedAnswer(f"a redirect from https to http ({target.host}), not followed")
    return target


async def _error_text(response: aiohttp.ClientResponse, without_secrets: Callable[[str], str]) -> str:
    if response.status < 300 or "Content-Encoding" in response.headers:  # noqa: PLR2004 - the border of success
        return ""
    with suppress(aiohttp.ClientError, TimeoutError):
        text = without_secrets((await response.content.read(_ERROR_TEXT_BYTES)).decode("utf-8", errors="replace"))
        if "<" not in text[:200]:
            return f": {shortened(line, _SHOWN_CHARACTERS)}" if (line := one_line(text)) else ""
    return ""


def _raise_for_status(response: aiohttp.ClientResponse, text: str) -> None:
    status = response.status
    message = f"the archive answered {status} {response.reason or ''}".rstrip() + text
    if status in {200, 203, 206}:
        return
    wait = _retry_after_seconds(response.headers.get("Retry-After"))
    if status == 204:  # noqa: PLR2004 - "no content"
        raise NotFound(message, status=status)
    if status in {401, 403, 407}:
        raise AccessDenied(message, status=status)
    if status in {404, 410}:
        raise NotFound(message, status=status)
    if status == 429 or (status == 503 and wait is not None):  # noqa: PLR2004 - both ask for retrier
        raise TooManyRequests(message, status=status, retry_after_seconds=wait)
    if status in {408, 425} or status >= 500:  # noqa: PLR2004 - faults of the server's side
        raise ServerFailed(message, status=status, retry_after_seconds=wait)
    if status >= 400:  # noqa: PLR2004 - the rest of the client's faults
        raise RequestRejected(message, status=status)
    raise UnexpectedAnswer(message, status=status)


def _retry_after_seconds(header: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110 §10.2.3); None for rubbish."""
    if not header:
        return None
    if header.isascii() and header.strip().isdigit():
        return float(header)
    try:
        moment = email.utils.parsedate_to_datetime(header)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _check_part(body: Body, rest: Rest | None) -> None:
    """Whether a 206 is the rest that was asked for, to the end of the same object; else it is nothing.

    Raises:
        UnexpectedAnswer: it is not.
    """
    found = _CONTENT_RANGE.fullmatch(body.headers.get("Content-Range", ""))
    if found is None or rest is None:
        raise UnexpectedAnswer("a part came where a whole was due")
    first, last, size = map(int, found.groups())
    is_the_rest = (first, last + 1, size) == (rest.start, rest.length, rest.length)
    if not is_the_rest or body.validator not in {None, rest.validator}:
        raise UnexpectedAnswer("another part than the one that was asked for came")
    body.start = rest.start


def _no_error(row: dict[str, Any]) -> dict[str, Any]:
    """The row, if it is one: TCIA v3 sends its errors as an object of JSON, sometimes as a success.

    Raises:
        ValueError: it is an error.
    """
    for name in ("errorMessage", "errorDescription"):
        if name in row:
            raise ValueError(f"with an error: {shortened(one_line(str(row[name])), _SHOWN_CHARACTERS)}")
    return row


def _md5_in(content: bytes) -> bytes | None:
    with suppress(ValueError):
        digest = bytes.fromhex(content.decode("ascii"))
        return digest if len(digest) == _MD5_BYTES else None
    return None


def _refuse_texts(body: Body, due: str) -> None:
    if body.content_type.startswith("text/") or body.content_type in {"application/json", "application/xml"}:
        raise UnexpectedAnswer(f"{body.content_type} came where {due} was due")


@asynccontextmanager
async def connect(
    profile: Profile,
    retrier: Retrier,
    *,
    access: Access | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[ArchiveClient]:
    """A client for the archive of `profile`; its connections end with the block. `note` is told of odd answers.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    access = access or Access()

    async def count(_session: object, _context: object, _headers: object) -> None:
        client.requests += 1

    tracing = aiohttp.TraceConfig()
    tracing.on_request_headers_sent.append(count)
    connector = aiohttp.TCPConnector(limit=0, ssl=await _tls(access.ca_bundle), ttl_dns_cache=300)
    async with aiohttp.ClientSession(
        connector=connector,
        proxy=access.proxy,
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=access.silence_seconds),
        read_bufsize=_READ_BUFFER_BYTES,
        headers={"User-Agent": f"bulkdl/{__version__}", "Accept-Encoding": "gzip, deflate"},
        cookie_jar=aiohttp.DummyCookieJar(),
        raise_for_status=False,
        auto_decompress=False,  # see `inflating`
        trace_configs=[tracing],
    ) as session:
        # aiohttp would repeat by itself what fails on a connection that was used before: one more attempt than was
        # allowed, and counted by nobody. There is no public switch; its own test client uses this one.
        session._retry_connection = False  # noqa: SLF001 - see above
        client = ArchiveClient(profile, session, retrier, access, note=note)
        try:
            yield client
        finally:
            await client.log_out()


async def _tls(ca_bundle: str | None) -> ssl.SSLContext | bool:
    if ca_bundle is None:
        return True
    try:
        return await asyncio.to_thread(ssl.create_default_context, cafile=ca_bundle)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates in {ca_bundle} cannot be read: {_reason(error)}") from error


def host_of(profile: Profile) -> str:
    """The host name of an archive."""
    return urlsplit(profile.url).hostname or ""
