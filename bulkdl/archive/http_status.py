"""What each HTTP status means: success, redirect, or one of our errors. `runtime.retry` decides whether to retry."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from datetime import UTC
from typing import Final

from bulkdl import errors

FIRST_CLIENT_ERROR: Final = 400
FIRST_SERVER_ERROR: Final = 500
SUCCESS: Final = frozenset({200, 203, 204, 206})  # 204: nothing was found, or there is nothing yet
PARTIAL_CONTENT: Final = 206
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REDIRECTS_TO_GET: Final = frozenset({301, 302, 303})  # a POST is repeated as a GET: RFC 9110 §15.4
EXPIRED_TOKEN: Final = frozenset({401, 403})  # NBIA's own client takes both for an expired token
MAYBE_EXPIRED_TOKEN: Final = frozenset({500})  # v4's getSeries answers 500 to one
TOO_MANY_REQUESTS: Final = 429
OVERLOADED: Final = frozenset({502, 503, 504})

_ERRORS: Final[Mapping[int, type[errors.RequestFailed]]] = {
    401: errors.AccessDenied,
    403: errors.AccessDenied,
    404: errors.NotFound,
    407: errors.AccessDenied,  # the proxy
    408: errors.ServerFailed,  # request timeout
    410: errors.NotFound,
    425: errors.ServerFailed,  # too early
    TOO_MANY_REQUESTS: errors.TooManyRequests,
}
_UNAVAILABLE: Final = 503


def error_of(status: int, message: str, retry_after: str | None) -> errors.RequestFailed:
    """The error that a response without success stands for. `retry_after` is the header of that name.

    A 503 with a valid Retry-After counts as too many requests: both ask the caller to wait.
    """
    wait = _seconds(retry_after)
    if status == _UNAVAILABLE and wait is not None:
        kind: type[errors.RequestFailed] = errors.TooManyRequests
    elif status in _ERRORS:
        kind = _ERRORS[status]
    elif status >= FIRST_SERVER_ERROR:
        kind = errors.ServerFailed
    else:
        kind = errors.RequestRejected if status >= FIRST_CLIENT_ERROR else errors.UnexpectedAnswer
    return kind(message, status=status, retry_after_seconds=wait)


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, a number or a date (RFC 9110 §10.2.3); None if it is missing or invalid."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.strip().isdigit():
        return float(retry_after)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
