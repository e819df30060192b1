"""Signed addresses: where they may lead, and until when they are valid; pure but for the clock.

An address that a data commons gives is not trusted: it leads to the public internet, by https, unless the data commons
itself is on a private network. The query of a signed address is a secret, so nothing here shows it.

Source: "Authenticating Requests: Using Query Parameters" of Amazon S3, "V4 signing process" of Google Cloud Storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from bulkdl.archive import http_status
from bulkdl.archive.idc import bucket
from bulkdl.archive.private_hosts import is_private
from bulkdl.archive.request import ServiceRules
from bulkdl.errors import AccessDenied, ArchiveUnreachable, BulkdlError, NotFound, UnexpectedAnswer

_UNKNOWN_SECONDS: Final = 60.0  # of an address that does not say how long it is valid
_MARGIN_SECONDS: Final = 30.0
_LONGEST: Final = 16_384
_DATE: Final = "%Y%m%dT%H%M%SZ"
_STATUSES_OF_EXPIRED: Final = frozenset({400, 401, 403})


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """An address for one object. `expires` is a time since the epoch."""

    url: str = field(repr=False)
    expires: float

    @property
    def origin(self) -> str:
        """Scheme, host and port, without secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}/"

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must not appear in a message: the query, and the longer ones of its values."""
        query = urlsplit(self.url).query
        return (query, *_credentials_in(query)) if query else ()

    def is_good(self, now: float) -> bool:
        """Whether it is valid for a while."""
        return now < self.expires - _MARGIN_SECONDS


def _credentials_in(query: str) -> Iterable[str]:
    for name, value in parse_qsl(query):
        if any(word in name.casefold() for word in ("signature", "credential", "token", "key", "policy")) and value:
            yield value


def read_signed_url(content: bytes, commons: str, now: float) -> SignedUrl:
    """Read the answer to a request for an address. `commons` is the base address of the data commons.

    Raises UnexpectedAnswer: it has no address, or one that must not be requested.
    """
    try:
        found = json.loads(content)
        url = found["url"] if isinstance(found, Mapping) else None
        if not isinstance(url, str) or not url.isascii() or not url.isprintable() or not 0 < len(url) <= _LONGEST:
            raise ValueError("no address")  # noqa: TRY301 - handled as what is not JSON
        problem = problem_of(url, commons)
    except (ValueError, KeyError, RecursionError):
        # Without the cause, which would show it.
        raise UnexpectedAnswer("the answer to the request for an object has no web address") from None
    if problem is not None:
        raise UnexpectedAnswer(f"the archive gave an address that is not requested: {problem}")
    return SignedUrl(url, _expiry(dict(parse_qsl(urlsplit(url).query)), now))


def problem_of(url: str, commons: str) -> str | None:
    """Why an address must not be requested; None if it may be. Raises ValueError: it is not an address."""
    parts, ours = urlsplit(url), urlsplit(commons)
    host = (parts.hostname or "").rstrip(".")
    _ = parts.port  # raises if it is not a number
    if parts.username or parts.password:
        return "it has a name or a password"
    is_ours = host == ours.hostname
    if parts.scheme != "https" and not (is_ours and (parts.scheme, ours.scheme) == ("http", "http")):
        return f"it begins with {parts.scheme or 'nothing'}, not with https"
    if not host or (is_private(host) and not (is_ours and is_private(ours.hostname or ""))):
        return f"its host {host!r} is on a private network"
    return None


def is_of_provider(host: str) -> bool:
    """Whether a host is one of a large provider, whose names may resolve to a private address of the same provider."""
    return host.endswith((".amazonaws.com", ".googleapis.com"))


def _expiry(query: Mapping[str, str], now: float) -> float:
    for signer in ("X-Amz", "X-Goog"):
        with suppress(KeyError, ValueError, OverflowError):
            signed = datetime.strptime(query[f"{signer}-Date"], _DATE).replace(tzinfo=UTC).timestamp()
            return signed + int(query[f"{signer}-Expires"])
    with suppress(KeyError, ValueError, OverflowError):
        return float(int(query["Expires"]))
    return now + _UNKNOWN_SECONDS


def _read_error(status: int, headers: Mapping[str, str], content: bytes) -> BulkdlError | None:
    """The error that a response means. An expired address is refused in several ways, so all of them are one."""
    found = bucket.read_error(status, headers, content)
    if isinstance(found, ArchiveUnreachable):  # the bucket of one object, not the archive
        return NotFound(str(found), status=status)
    if status not in _STATUSES_OF_EXPIRED:
        return found
    error = found or http_status.error_of(status, f"the archive answered {status}", None)
    return AccessDenied(str(error), status=status)


def rules_for(commons: str) -> ServiceRules:
    """How the hosts of signed addresses differ from the data commons itself."""

    def follows(before: str, after: str) -> bool:
        del before
        try:
            return problem_of(after, commons) is None
        except ValueError:
            return False

    return ServiceRules(_read_error, follows, "If-Match")
