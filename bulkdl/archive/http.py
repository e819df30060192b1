"""The one client of HTTP: sends the requests that protocols make, and gives bodies, rows or our own errors.

It adds address and credentials, follows redirects, renews tokens, checks where a body ends, reports each request to the
`Retrier`, and removes secrets from messages. `open` and `rows` are one attempt each, because only the caller knows what
it has already written or taken; `read` tries again as `runtime.retry` decides. Sockets are behind `http_transport`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from yarl import URL

from bulkdl import errors
from bulkdl.archive import connection_errors, http_status
from bulkdl.archive.auth import Token, Tokens
from bulkdl.archive.base import Rest
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.http_transport import HttpResponse, HttpTransport
from bulkdl.archive.private_hosts import is_of_this_machine
from bulkdl.archive.request import Content, Identity, Request, ServiceRules, Upload
from bulkdl.archive.row_reader import RowReader
from bulkdl.archive.secrets import redacted
from bulkdl.model.access import Access, Credentials
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.attempts import Retrier
from bulkdl.runtime.concurrency import Sample

IDENTITY: Final[Mapping[str, str]] = MappingProxyType({"Accept-Encoding": "identity"})
"""Headers that make Content-Length the length of the file."""

_MOST_REDIRECTS: Final = 5
_MOST_ERROR_BYTES: Final = 4_000
_ERROR_SECONDS: Final = 2.0
_NO_RENEWAL_SECONDS: Final = 30.0  # after a new token was refused like the one before
MOST_ANSWER_BYTES: Final = 128 << 20
"""The largest answer that is read as a whole."""
SHORT_ANSWER_BYTES: Final = 64 << 10
"""The same for tokens, checksums and the like."""
_MOST_ROWS: Final = 10_000_000
_SHOWN_CHARACTERS: Final = 200
_MOST_URLS: Final = 256
_LOGOUT_SECONDS: Final = 5.0
_EMPTY: Final = frozenset({b"", b"[]", b"null"})
_SENT_TO_ANY_ORIGIN: Final = frozenset({"Accept", "Accept-Encoding", "Range", "If-Range", "If-Match"})
_BROKEN: Final = (errors.ConnectFailed, errors.ConnectionLost, errors.TimedOut, errors.ShortBody)
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


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
        self._no_renewal_until = 0.0
        self._tokens = Tokens(access.credentials, self._post, clock=clock)
        self.further_secrets: Callable[[], tuple[str, ...]] = tuple
        """What else must not appear in a message: secrets that a protocol gets from the archive."""

    @property
    def requests(self) -> int:
        """The number of requests sent, repeats and redirects included."""
        return self._transport.requests

    @property
    def credentials(self) -> Credentials:
        """What identifies the caller."""
        return self._access.credentials

    def at(self, url: str) -> HttpClient:
        """A client of another address, with the same connections and limits, and without the caller's credentials."""
        access = replace(self._access, credentials=Credentials())
        return HttpClient(url, self._transport, self.retrier, access, note=self._note)

    async def read(self, request: Request, what: str = "") -> tuple[str, bytes]:
        """Send `request` until it succeeds, and return the content type and the body. `what` names it in messages."""
        return await self.retrier.ask(what or request.name, lambda _: self.read_once(request))

    async def read_once(self, request: Request, *, at_most: int = MOST_ANSWER_BYTES) -> tuple[str, bytes]:
        """Send `request`, and return the content type and the body. One attempt."""
        while True:
            async with self.open(request) as body:
                content = await body.read(at_most)
            if content.strip() not in _EMPTY or not await self._renewed_if_doubtful(body.token):
                return body.content_type, content

    async def rows(self, request: Request, *, at_most: int = _MOST_ROWS) -> AsyncGenerator[list[dict[str, Any]], None]:
        """Send `request`, and yield the rows of the answer, which is JSON, in batches as they arrive. One attempt.

        Raises:
            UnexpectedAnswer: the answer is not a list of rows, or has more than `at_most`.
        """
        is_believed = False
        while not is_believed:
            reader, count = RowReader(self.redacted), 0
            async with self.open(request) as body:
                try:
                    async for chunk in body.chunks():
                        if rows := reader.feed(chunk):
                            if (count := count + len(rows)) > at_most:
                                raise ValueError(f"more than {at_most:,} rows")  # noqa: TRY301 - as what is not a list
                            yield rows
                    if rows := reader.close():
                        count += len(rows)
                        yield rows
                except ValueError as error:
                    raise errors.UnexpectedAnswer(f"{request.name} answered {error}") from error
            is_believed = count > 0 or not await self._renewed_if_doubtful(body.token)

    async def _renewed_if_doubtful(self, token: Token | None) -> bool:
        """Whether "nothing found" may only mean that the token has expired. The token is renewed then."""
        if token is None or not self._tokens.is_doubtful(token):
            return False
        await self._tokens.renewed(token)
        return True

    @asynccontextmanager
    async def open(
        self, request: Request, *, headers: Mapping[str, str] = _NO_HEADERS, rest: Rest | None = None
    ) -> AsyncIterator[HttpBody]:
        """Send `request`, follow its redirects, and yield the body of a success. Leaving the block ends the request.

        With `rest`, the missing part of an object is requested; see `Archive.open`.
        """
        started = time.monotonic()
        if self.retrier.expected:
            self._open_early(request)
        body: HttpBody | None = None
        refused = throttled = failed = False
        if rest is not None:
            headers = {**headers, **_conditions(rest, request.rules)}
        try:
            response, token, elsewhere = await self._identified(request, headers)
            try:
                if response.status not in http_status.OVERLOADED | {http_status.TOO_MANY_REQUESTS}:
                    self.retrier.answering()
                if response.status not in http_status.SUCCESS and response.status not in request.read_statuses:
                    raise await self._error(response, request, elsewhere)
                if response.is_request_unsent and response.status < http_status.FIRST_CLIENT_ERROR:
                    message = f"the archive answered {response.status} before the whole request was sent"
                    raise errors.UnexpectedAnswer(message)
                self.retrier.began(response.waited_seconds, response.length or 0)
                body = HttpBody(response, self._access, token)
                if request.may_be_incomplete and "Content-Range" not in body.headers:
                    body.is_part = False
                if body.is_part:
                    body.check_part(rest)
                with _failing_elsewhere(elsewhere):
                    yield body
            finally:
                response.release()
        except errors.RequestFailed as error:
            error.args = (self.redacted(str(error)),)
            throttled = error.status == http_status.TOO_MANY_REQUESTS
            refused = error.status in http_status.OVERLOADED
            failed = isinstance(error, _BROKEN)
            raise
        finally:
            size_bytes = body.received if body is not None else 0
            if request.upload is not None and body is not None:
                size_bytes += request.upload.length
            self.retrier.finished(
                Sample(time.monotonic() - started, size_bytes, refused=refused, throttled=throttled, failed=failed)
            )

    def _open_early(self, request: Request) -> None:
        """Open the connections of requests that are expected to follow this one to the same origin."""
        url = self._base if request.address is None else URL(request.address, encoded=True)
        if self._transport.open_early(url, self.retrier.connections):
            self.retrier.expected = 0

    async def _error(self, response: HttpResponse, request: Request, elsewhere: str | None) -> errors.BulkdlError:
        """The error that a response means. What another host answers says nothing about the archive or the caller."""
        said = f"answered {response.status} {response.reason}".rstrip()
        if elsewhere is not None:
            return errors.UnexpectedAnswer(f"{elsewhere}, to which the archive redirected, {said}")
        content = await _error_content(response)
        if request.rules is not None:
            known = request.rules.read_error(response.status, response.headers, content)
            if known is not None:
                return known
        is_redirect = response.status < http_status.FIRST_CLIENT_ERROR
        text, is_page = _error_text(b"" if is_redirect else content, self.redacted)
        message = f"the archive {said}{text}"
        error = http_status.error_of(response.status, message, response.headers.get("Retry-After"))
        if isinstance(error, errors.NotFound) and is_page:  # of a proxy, or of an archive that has moved
            return errors.RequestRejected(f"{message}, with a page instead of an answer", status=response.status)
        if isinstance(error, errors.AccessDenied):
            is_of_proxy = response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
            error.args = (message + (connection_errors.PROXY_HINT if is_of_proxy else self._hint(request.identity)),)
        return error

    def _hint(self, identity: Identity) -> str:
        """What the caller can do about a refusal."""
        credentials = self._access.credentials
        if identity is Identity.KEY and credentials.api_key is None:
            return "; an API key may be needed: give --api-key or set BULKDL_API_KEY"
        if identity is Identity.KEY:
            return "; the archive may not accept this API key"
        if identity is Identity.AUTHORIZATION:
            if credentials.authorization is None:
                return "; if it needs a login, give --username, or --api-key for a token"
            what = "this login" if credentials.username is not None else "this token, or it has expired"
            return f"; the archive may not accept {what}"
        if identity is not Identity.NONE and credentials.username is None:
            return "; if this is restricted, log in with --username"
        return ""

    async def _identified(
        self, request: Request, headers: Mapping[str, str]
    ) -> tuple[HttpResponse, Token | None, str | None]:
        """The response to a request with credentials; if they are refused, the one to a request with a new token.

        With the token that was sent, and the host that answered if it is not the archive's.
        """
        if request.accept is not None:
            headers = {**headers, "Accept": request.accept}
        authorization = self._access.credentials.authorization
        if authorization is not None and request.identity is Identity.AUTHORIZATION:
            headers = {**headers, "Authorization": authorization}
        query, key = request.query, self._access.credentials.api_key
        if key is not None and request.identity is Identity.KEY:
            if self._access.credentials.is_key_in_query:
                query = (*query, ("api_key", key))
            else:
                headers = {**headers, "api_key": key}
        if request.address is not None:
            url = URL(request.address, encoded=True)  # encoded anew, a signed address may be another one
        else:
            url = self._url(request.path)
            url = url.with_query(query) if query else url
        token = await self._token(request.identity)
        if token is None:
            response, elsewhere = await self._send(url, headers, request.content, rules=request.rules)
            return response, None, elsewhere
        response, elsewhere = await self._send(url, {**headers, **_bearer(token)}, request.content)
        may_have_expired = response.status in http_status.EXPIRED_TOKEN and elsewhere is None
        if may_have_expired and time.monotonic() >= self._no_renewal_until:
            response.release()
            token = await self._tokens.renewed(token)
            response, elsewhere = await self._send(url, {**headers, **_bearer(token)}, request.content)
            if response.status in http_status.EXPIRED_TOKEN:  # this object is refused, not the token
                self._no_renewal_until = time.monotonic() + _NO_RENEWAL_SECONDS
        if response.status in http_status.MAYBE_EXPIRED_TOKEN and self._tokens.is_doubtful(token):
            self._tokens.distrust(token)
        return response, token, elsewhere

    def _url(self, path: str) -> URL:
        if (url := self._urls.get(path)) is None:
            url = self._base.join(URL(path))
            if len(self._urls) < _MOST_URLS:  # endpoints are few; the objects of a bucket are not
                self._urls[path] = url
        return url

    async def _token(self, identity: Identity) -> Token | None:
        is_known = self._access.credentials.username is not None
        if identity is Identity.TOKEN or (identity is Identity.TOKEN_IF_ANY and is_known):
            return await self._tokens.current()
        return None

    async def _send(
        self,
        url: URL,
        headers: Mapping[str, str],
        content: Content | None,
        *,
        redirects: int = _MOST_REDIRECTS,
        rules: ServiceRules | None = None,
    ) -> tuple[HttpResponse, str | None]:
        """The response at the end of at most `redirects` redirects; with 0, a redirect itself is the response.

        With the host that sent it, if it is not the archive's. An upload is sent to the address of the request alone.
        """
        for _ in range(redirects + 1):
            elsewhere = None if rules is not None or self._is_ours(url) else url.host
            with _failing_elsewhere(elsewhere):
                response = await self._transport.send(url, headers, content)
            is_redirect = response.status in http_status.REDIRECTS and redirects > 0
            if not is_redirect or (location := response.headers.get("Location")) is None:
                return response, elsewhere
            response.release()
            url, before = redirected(url, location), url
            if isinstance(content, Upload):
                place = f"{url.origin()}{url.raw_path}"  # without a query, which may hold secrets
                text = f"the archive redirects to {place}: nothing was sent there; if it is right, name it"
                raise errors.RequestRejected(text, status=response.status)
            if rules is not None and not rules.follows(str(before), str(url)):
                raise errors.UnexpectedAnswer(f"a redirect to {url.host}, which is not followed from there")
            if response.status in http_status.REDIRECTS_TO_GET:
                content = None
            if url.origin() != before.origin():  # credentials are sent to the archive's own origin only
                headers = {name: value for name, value in headers.items() if name in _SENT_TO_ANY_ORIGIN}
        raise errors.UnexpectedAnswer(f"more than {_MOST_REDIRECTS} redirects")

    def _is_ours(self, url: URL) -> bool:
        """Whether the archive itself is at `url`: its own origin, or the same host by https instead of http."""
        ours = self._base
        return url.host == ours.host and (url.port == ours.port or (ours.scheme, url.scheme) == ("http", "https"))

    async def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, bytes]:
        response, _ = await self._send(self._base.join(URL(path)), IDENTITY, tuple(form.items()), redirects=0)
        try:
            return response.status, await HttpBody(response, self._access).read(SHORT_ANSWER_BYTES)
        finally:
            response.release()

    async def log_out(self) -> None:
        """End the login, if there is one. A failure is ignored, because tokens expire anyway."""
        if (token := self._tokens.to_log_out) is None:
            return
        with suppress(errors.BulkdlError, TimeoutError):
            async with asyncio.timeout(_LOGOUT_SECONDS):
                response, _ = await self._send(self._base.join(URL("logout")), _bearer(token), (), redirects=0)
                response.release()

    def note(self, text: str) -> None:
        """Report an odd answer, without secrets."""
        self._note(self.redacted(text))

    def redacted(self, text: str) -> str:
        """The text without the secrets of this client."""
        return redacted(text, (*self._access.secrets, *self._tokens.secrets, *self.further_secrets()))


def _bearer(token: Token) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.value}"}


@contextmanager
def _failing_elsewhere(host: str | None) -> Iterator[None]:
    """Where another host answers, its failures are those of the one request: the archive itself is available."""
    try:
        yield
    except (*_BROKEN, errors.ArchiveUnreachable, errors.ConfigurationError) as error:
        if host is None:
            raise
        raise errors.UnexpectedAnswer(f"at {host}, to which the archive redirected: {error}") from error


def redirected(url: URL, location: str) -> URL:
    """The address that a response of `url` redirects to.

    Raises UnexpectedAnswer: it is not a web address, leaves TLS, or leads from elsewhere to this machine.
    """
    try:
        target = url.join(URL(location))
        if target.scheme not in {"http", "https"} or not target.host:
            raise ValueError(f"{target.scheme!r} is not followed")  # noqa: TRY301 - handled like an invalid URL
    except ValueError as error:
        raise errors.UnexpectedAnswer("a redirect to an address that is not a web address") from error
    if url.scheme == "https" and target.scheme == "http":
        raise errors.UnexpectedAnswer("a redirect from https to http, not followed")
    if is_of_this_machine(target.host) and not is_of_this_machine(url.host or ""):
        raise errors.UnexpectedAnswer(f"a redirect to {target.host}, an address of this machine, not followed")
    return target


def _conditions(rest: Rest, rules: ServiceRules | None) -> Mapping[str, str]:
    """The headers that ask for the rest of an object."""
    last = "" if rest.end is None else rest.end - 1
    found = {"Range": f"bytes={rest.start}-{last}"}
    if rest.validator is not None:
        is_tag = rest.validator.startswith('"')
        found[rules.condition if rules is not None and is_tag else "If-Range"] = rest.validator
    return found


async def _error_content(response: HttpResponse) -> bytes:
    """The beginning of the body of a response without success. Only redirects and errors have one: RFC 9110 §15."""
    if response.status < HTTPStatus.MULTIPLE_CHOICES or "Content-Encoding" in response.headers:
        return b""
    content = b""
    with suppress(errors.RequestFailed, TimeoutError):
        async with asyncio.timeout(_ERROR_SECONDS):
            while len(content) < _MOST_ERROR_BYTES and (chunk := await response.chunk()):
                content += chunk[:_MOST_ERROR_BYTES]
    return content[:_MOST_ERROR_BYTES]


def _error_text(content: bytes, redacted: Callable[[str], str]) -> tuple[str, bool]:
    """A short text that explains an error, and whether it is a page, of which nothing is shown."""
    text = redacted(content.decode("utf-8", errors="replace"))
    line, is_page = one_line(text), "<" in text[:_SHOWN_CHARACTERS]
    return f": {shortened(line, _SHOWN_CHARACTERS)}" if line and not is_page else "", is_page
