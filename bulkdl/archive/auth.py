"""Logins and their tokens, which are renewed before they expire.

The HTTP client passes in a function that posts a form. Secrets are in no representation and no message.

Source: NBIA's server program (`KeycloakGetToken.java`) and its clients. There are two addresses for tokens, and a
server may know only one of them. A bad token seldom gets 401: most searches answer as if nothing were found, so an
empty answer to an old token proves nothing; see `Tokens.is_doubtful`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from bulkdl import errors
from bulkdl.model.access import Credentials

GUEST: Final = "nbia_guest"
"""The NBIA account that sees public data; it has no password."""

# Relative to `…/nbia-api/services/`: the address that clients use, and the one in the server program.
TOKEN_PATHS: Final = ("../oauth/token", "oauth/token")

_CLIENT_ID: Final = "nbia"
_MOST_MARGIN_SECONDS: Final = 60.0
_MARGIN_SHARE: Final = 0.25
# Keycloak's default. TCIA states two hours; a server that states nothing may have any lifetime.
_UNKNOWN_LIFETIME_SECONDS: Final = 300.0

Post: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, bytes]]]
"""Posts a form to a path relative to the base address; returns the status and the body of the response."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a login. Times are those of the clock of `Tokens`."""

    value: str = field(repr=False)
    refresh: str | None = field(repr=False)
    issued: float
    lifetime_seconds: float


class Tokens:
    """The login of one account. If many requests wait for a token, one login serves them all.

    What returns a token raises ArchiveRefused if the archive refuses the login, RequestFailed if it fails otherwise.
    """

    def __init__(self, credentials: Credentials, post: Post, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._username = credentials.username or GUEST
        self._password = credentials.password or ""
        self._post = post
        self._clock = clock
        self._token: Token | None = None
        self._refusal: errors.ArchiveRefused | None = None
        self._paths: tuple[str, ...] = TOKEN_PATHS
        self._one_at_a_time = asyncio.Lock()

    async def current(self) -> Token:
        """Return a token that is valid for a while; renews it if necessary."""
        if (token := self._good()) is not None:
            return token
        async with self._one_at_a_time:
            return self._good() or await self._renew()

    async def renewed(self, refused: Token) -> Token:
        """Return another token than `refused`, which the archive rejected."""
        async with self._one_at_a_time:
            if self._token is not None and self._token is not refused:
                return self._token
            return await self._renew()

    def is_doubtful(self, token: Token) -> bool:
        """Whether "nothing found" may mean that the server rejects `token`: half of its lifetime has passed.

        Clocks differ and sessions end early, so the announced end alone proves nothing. Half a lifetime costs at most
        two logins instead of one.
        """
        return self._clock() - token.issued >= token.lifetime_seconds / 2

    def distrust(self, token: Token) -> None:
        """Have `token` renewed before its next use, whatever remains of its lifetime."""
        if self._token is token:
            self._token = replace(token, lifetime_seconds=0.0)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in a message."""
        return tuple(filter(None, (self._token.value, self._token.refresh))) if self._token is not None else ()

    @property
    def to_log_out(self) -> Token | None:
        """The token to log out with at the end; None for the guest account, which many share."""
        return self._token if self._username != GUEST else None

    def _good(self) -> Token | None:
        """The token, unless it expires within a minute, or within a quarter of its lifetime."""
        if (token := self._token) is None:
            return None
        margin = min(_MOST_MARGIN_SECONDS, token.lifetime_seconds * _MARGIN_SHARE)
        return token if self._clock() - token.issued < token.lifetime_seconds - margin else None

    async def _renew(self) -> Token:
        token = self._token
        if token is not None and token.refresh:
            form = {"grant_type": "refresh_token", "refresh_token": token.refresh, "username": self._username}
            try:
                self._token = await self._ask(form)
            except (errors.AccessDenied, errors.RequestRejected, errors.UnexpectedAnswer):
                self._token = None  # the session has ended; the password remains
            else:
                return self._token
        if self._refusal is not None:  # repeated attempts of other requests would lock the account
            raise self._refusal
        form = {"grant_type": "password", "username": self._username, "password": self._password}
        try:
            self._token = await self._ask(form)
        except errors.AccessDenied as error:
            self._refusal = errors.ArchiveRefused(str(error))
            raise self._refusal from error
        return self._token

    async def _ask(self, form: Mapping[str, str]) -> Token:
        began = self._clock()
        for path in self._paths:
            status, body = await self._post(path, {**form, "client_id": _CLIENT_ID, "client_secret": ""})
            if status not in {HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED}:
                self._paths = (path,)
                break
        else:
            raise errors.NotFound("the archive has no address for logins", status=HTTPStatus.NOT_FOUND)
        if status == HTTPStatus.OK:
            return _read_token(body, began)
        # The text of the response is left out: it may repeat what was sent.
        if status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise errors.AccessDenied(f"the archive refused the login of {self._username} ({status})", status=status)
        is_passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
        kind = errors.ServerFailed if is_passing else errors.RequestRejected
        raise kind(f"the archive answered {status} to the login of {self._username}", status=status)


def _read_token(body: bytes, began: float) -> Token:
    """Read the token of a response. Its lifetime counts from before the request."""
    try:
        found: Any = json.loads(body)
        value = found["access_token"]
        if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("not a word")  # noqa: TRY301 - handled like invalid JSON
    except (ValueError, TypeError, KeyError, RecursionError):
        # Without the cause, which would show it.
        raise errors.UnexpectedAnswer("the archive's response to the login has no token") from None
    refresh = found.get("refresh_token")
    try:
        lifetime = float(found.get("expires_in", ""))
    except (ValueError, TypeError, OverflowError):
        lifetime = 0.0
    if not lifetime > 0:
        lifetime = _UNKNOWN_LIFETIME_SECONDS
    return Token(value, refresh if isinstance(refresh, str) and refresh else None, began, lifetime)
