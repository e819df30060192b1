"""Which error a status stands for; `test_http` shows that a client raises it."""

from __future__ import annotations

import pytest

from bulkdl.archive.http_status import SUCCESS, error_of
from bulkdl.errors import AccessDenied, RequestFailed, RequestRejected, ServerFailed, TooManyRequests


@pytest.mark.parametrize(
    ("status", "retry_after", "kind"),
    [
        (403, None, AccessDenied),
        (418, None, RequestRejected),
        (429, None, TooManyRequests),
        (503, None, ServerFailed),
        (503, "7", TooManyRequests),
        (503, "soon", ServerFailed),
        (599, None, ServerFailed),
    ],
)
def test_a_status_stands_for_one_error(status: int, retry_after: str | None, kind: type[RequestFailed]) -> None:
    error = error_of(status, "the archive answered", retry_after)
    assert (type(error), error.status) == (kind, status)


@pytest.mark.parametrize("status", [status for status in range(200, 600) if status not in SUCCESS])
def test_every_status_without_success_is_an_error(status: int) -> None:
    assert isinstance(error_of(status, "the archive answered", None), RequestFailed)
