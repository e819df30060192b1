"""Who is asking: API keys, and logins whose tokens are renewed before they expire.

HTTP is the client's, which hands in a way to post a form. Secrets are in no representation and no message.

Source: NBIA's server program (`KeycloakGetToken.java`) and the clients of it. Tokens are had at two addresses, of which
a server may know one only. What a bad token gets is seldom 401: most searches answer as if nothing were found, so an
empty answer to an old token proves nothing; see `Token.is_doubtful`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, ServerFailed, UnexpectedAnswer
from bulkdl.model.access import Credentials

GUEST: Final = "nbia_guest"
"""The account of NBIA that sees what is public; the server needs no password for it."""

# Relative to `…/nbia-api/services/`: where clients ask, and where the server program has it.
TOKEN_PATHS: Final = ("../oauth/token", "oauth/token")

_CLIENT_ID: Final = "nbia"
_MOST_MARGIN_SECONDS: Final = 60.0
_MARGIN_SHARE: Final = 0.25
# What Keycloak gives if it is not told otherwise; TCIA says two hours, but a server that says nothing may be any.
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0

Post: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, bytes]]]
"""Posts a form to a path relative to the base address; the status and the body of the answer."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that a login was given. Times are of the clock that the `Tokens` go by."""

    value: str = field(repr=False)
    refresh: str | None = field(repr=False)
    issued: float
    lifetime_seconds: float

    def is_due(self, now: float) -> bool:
        """Whether it is to be renewed before it is used again: it expires within a minute or a quarter of its life."""
        margin = min(_MOST_MARGIN_SECONDS, self.lifetime_seconds * _MARGIN_SHARE)
        return now - self.issued >= self.lifetime_seconds - margin

    def is_doubtful(self, now: float) -> bool:
        """Whether "nothing found" may mean that it is no longer believed: it is past half of its life.

        Clocks differ and sessions end early, so the announced end alone is no proof; and half a life costs no more than
        two logins where there is one now.
        """
        return now - self.issued >= self.lifetime_seconds / 2


class Tokens:
    """The login of one account. However many requests wait for a token, one of them gets it for all."""

    def __init__(self, credentials: Credentials, post: Post, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._username = credentials.username or GUEST
        self._password = credentials.password or ""
        self._post = post
        self._clock = clock
        self._token: Token | None = None
        self._refusal: AccessDenied | None = None
        self._paths: tuple[str, ...] = TOKEN_PATHS
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> Token:
        """A token that is good for a while, renewed if need be.

        Raises:
            AccessDenied: the archive refuses the login.
            RequestFailed: it could not be asked.
        """
        if (token := self._good()) is not None:
            return token
        async with self._one_at_a_time:
            if (token := self._good()) is not None:
                return token
            return await self._renew()

    async def renewed(self, refused: Token) -> Token:
        """Another token than `refused`, which the archive does not believe.

        Raises:
            As `current`.
        """
        async with self._one_at_a_time:
            if self._token is not None and self._token is not refused:
                return self._token
            return await self._renew()

    def is_doubtful(self, token: Token) -> bool:
        """Whether an answer of nothing to `token` may be a refusal; see `Token.is_doubtful`."""
        return token.is_doubtful(self._clock())

    def distrust(self, token: Token) -> None:
        """Renew `token` before it is used again, whatever is left of its life."""
        if self._token is token:
            self._token = replace(token, lifetime_seconds=0.0)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may show."""
        token = self._token
        return tuple(secret for secret in (token.value, token.refresh) if secret) if token is not None else ()

    @property
    def to_log_out(self) -> str | None:
        """The token to log out with at the end: of an account of the caller's own, not of the guest's, who is many."""
        return self._token.value if self._token is not None and self._username != GUEST else None

    def _good(self) -> Token | None:
        token = self._token
        return None if token is None or token.is_due(self._clock()) else token

    async def _renew(self) -> Token:
        token = self._token
        if token is not None and token.refresh:
            form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "username": self._username}
            try:
                self._token = await self._ask(form)
            except (AccessDenied, RequestRejected, UnexpectedAnswer):
                self._token = None  # a session that has ended; there is the password still
            else:
                return self._token
        if self._refusal is not None:  # so that those who wait do not get the account locked by asking again
            raise self._refusal
        form = {"grant_type": "password", "username": self._username, "password": self._password}
        try:
            self._token = await self._ask(form)
        except AccessDenied as error:
            self._refusal = error
            raise
        return self._token

    async def _ask(self, form: Mapping[str, str]) -> Token:
        began = self._clock()
        for path in self._paths:
            status, body = await self._post(path, {**form, "client_id": _CLIENT_ID, "client_secret": ""})
            if status not in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                self._paths = (path,)
                break
        else:
            raise NotFound("the archive has no address to log in at", status=HTTPStatus.NOT_FOUND)
        if status == HTTPStatus.OK:
            return _read_token(body, began)
        raise self._failure(status)

    def _failure(self, status: int) -> RequestFailed:
        # The text of the answer is left out: it may well repeat what was sent.
        if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return AccessDenied(f"the archive refused the login of {self._username} ({status})", status=status)
        message = f"the archive answered {status} to the login of {self._username}"
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return ServerFailed(message, status=status)
        return RequestRejected(message, status=status)


def _read_token(body: bytes, began: float) -> Token:
    """The token of an answer; its life is counted from before it was asked for.

    Raises:
        UnexpectedAnswer: there is none in it.
    """
    try:
        found: Any = json.loads(body)
        value = found["access_token"]
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("a token is a word")  # noqa: TRY301 - told like the others
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnexpectedAnswer("the archive's answer to the login holds no token") from None  # a cause would show it
    refresh = found.get("refresh_token")
    try:
        lifetime = float(found.get("expires_in", ""))
    except (ValueError, TypeError, OverflowError):
        lifetime = 0.0
    if not lifetime > 0:
        lifetime = _UNKNOWN_LIFETIME_SECONDS
    return Token(value, refresh if isinstance(refresh, str) and refresh else None, began, lifetime)
