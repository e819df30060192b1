"""The key of a user of Gen3, and the tokens that it is exchanged for, which are renewed before they expire.

Source: the program of Gen3's user service (fence, `storage_creds`): a key is posted as a form to either of two paths,
and the answer has the token alone. Keys and tokens are JSON Web Tokens (RFC 7519), which say when they expire. A token
is never renewed by itself: the key is posted again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from bulkdl import errors

TOKEN_PATHS: Final = ("user/credentials/api/access_token", "user/credentials/cdis/access_token")
"""Relative to the base address: the path of the reference, and that of older servers and of Gen3's client."""

_USUAL_SECONDS: Final = 3600.0
_MOST_MARGIN_SECONDS: Final = 60.0
_MARGIN_SHARE: Final = 0.25
_SECONDS_BEFORE_ANOTHER: Final = 30.0

PostKey: TypeAlias = Callable[[str, str], Awaitable[bytes]]
"""Posts a key to a path relative to the base address; returns the body of the response."""


@dataclass(frozen=True, slots=True)
class Gen3Token:
    """A token. Times are those of the clock of `Gen3Tokens`."""

    value: str = field(repr=False)
    issued: float
    lifetime_seconds: float


class Gen3Tokens:
    """The tokens of one key; without a key there are none. If many requests wait for a token, one exchange serves all.

    What returns a token raises ArchiveRefused if the key is refused or has expired, RequestFailed if the exchange fails
    otherwise.
    """

    def __init__(self, key: str | None, url: str, post: PostKey, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._url = url
        self._post = post
        self._clock = clock
        self._token: Gen3Token | None = None
        self._refusal: errors.ArchiveRefused | None = None
        self._no_renewal_until = 0.0
        self._one_at_a_time = asyncio.Lock()

    @property
    def has_key(self) -> bool:
        """Whether there is a key."""
        return self._key is not None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in a message."""
        return (self._token.value,) if self._token is not None else ()

    async def current(self) -> Gen3Token | None:
        """A token that is valid for a while; None without a key."""
        if self._key is None:
            return None
        if (token := self._good()) is not None:
            return token
        async with self._one_at_a_time:
            return self._good() or await self._exchange(self._key)

    async def renewed(self, refused: Gen3Token) -> Gen3Token | None:
        """Another token than `refused`, which the archive rejected; None if new ones were rejected a moment ago."""
        async with self._one_at_a_time:
            if self._token is not None and self._token is not refused:
                return self._token
            if self._key is None or self._clock() < self._no_renewal_until:
                return None
            return await self._exchange(self._key)

    def new_one_refused(self) -> None:
        """The archive rejected a token that it issued a moment ago: it refuses the object, not the token."""
        self._no_renewal_until = self._clock() + _SECONDS_BEFORE_ANOTHER

    def _good(self) -> Gen3Token | None:
        if (token := self._token) is None:
            return None
        margin = min(_MOST_MARGIN_SECONDS, token.lifetime_seconds * _MARGIN_SHARE)
        return token if self._clock() - token.issued < token.lifetime_seconds - margin else None

    async def _exchange(self, key: str) -> Gen3Token:
        if self._refusal is not None:  # the same key is refused again
            raise self._refusal
        try:
            self._check_key(key)
            content, began = await self._answer(key), self._clock()
        except errors.AccessDenied as error:
            hint = f"create a new key at {self._url} (Profile), and give it with --gen3-credentials"
            self._refusal = errors.ArchiveRefused(f"the key of --gen3-credentials is refused: {error}; {hint}")
            raise self._refusal from error
        self._token = self._read(content, began)
        return self._token

    async def _answer(self, key: str) -> bytes:
        first, *others = TOKEN_PATHS
        try:
            return await self._post(first, key)
        except (errors.NotFound, errors.RequestRejected) as error:
            if error.status not in {404, 405}:
                raise
        return await self._post(others[0], key)

    def _check_key(self, key: str) -> None:
        """Raises AccessDenied: the key says itself that it has expired, or that another host issued it."""
        claims = claims_of(key)
        expires, issuer = claims.get("exp"), claims.get("iss")
        if isinstance(expires, int | float) and expires <= self._clock():
            day = datetime.fromtimestamp(expires, tz=UTC).date()
            raise errors.AccessDenied(f"it expired on {day}")
        host = urlsplit(issuer).hostname if isinstance(issuer, str) and "://" in issuer else None
        if host is not None and host != urlsplit(self._url).hostname:
            raise errors.AccessDenied(
                f"it was issued by {host}, not by {urlsplit(self._url).hostname}, and is not sent"
            )

    def _read(self, content: bytes, began: float) -> Gen3Token:
        try:
            value: Any = json.loads(content)["access_token"]
            if not (isinstance(value, str) and value and value.isascii() and value.isprintable() and " " not in value):
                raise ValueError("not a word")  # noqa: TRY301 - handled as what is not JSON
        except (ValueError, TypeError, KeyError, RecursionError):
            # Without the cause, which would show it.
            raise errors.UnexpectedAnswer("the answer to the key has no token") from None
        expires = claims_of(value).get("exp")
        lifetime = expires - began if isinstance(expires, int | float) else _USUAL_SECONDS
        return Gen3Token(value, began, max(0.0, min(lifetime, _USUAL_SECONDS)))


def claims_of(token: str) -> Mapping[str, Any]:
    """What a JSON Web Token says, unverified; nothing if it is not one."""
    try:
        _, payload, _ = token.split(".")
        found = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
