"""A page, or a document of another shape, is never taken for the answer of a service."""

from __future__ import annotations

import pytest

from bulkdl.errors import UnexpectedAnswer
from bulkdl.services.base import ServiceAnswer, read_document, unexpected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>Briefly unavailable for scheduled maintenance.</html>", "a page came instead of a JSON document"),
        (b"sorry", "'sorry' came instead of a JSON document"),
        (b"\xff\xfe\x00", "came instead of a JSON document"),
        (b"[" * 100_000, "came instead of a JSON document"),
    ],
    ids=["page", "text", "bytes", "deep"],
)
def test_what_is_not_json_is_said_in_one_line(body: bytes, said: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=said) as caught:
        read_document(ServiceAnswer({}, body), "collections")
    assert str(caught.value).startswith("collections: ")
    assert len(str(caught.value)) < 300


def test_an_error_of_wordpress_is_quoted() -> None:
    error = unexpected("collections", {"code": "rest_no_route", "message": "No route\nwas found", "data": None})
    assert str(error) == "collections: the answer is not a list of records: No route was found"
