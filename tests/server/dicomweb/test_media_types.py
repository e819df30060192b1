"""Accept headers as clients write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.server.dicomweb.media_types import Offer, json_type, read_accept


@pytest.mark.parametrize(
    ("header", "offers"),
    [
        (None, [Offer("*/*")]),
        (" ", [Offer("*/*")]),
        ("*/*", [Offer("*/*")]),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            [Offer("application/dicom", is_multipart=True, syntax="*")],
        ),
        (
            "multipart/related; type=application/octet-stream; transfer-syntax=*",
            [Offer("application/octet-stream", is_multipart=True, syntax="*")],
        ),
        (
            'Multipart/Related;type="application/dicom;transfer-syntax=1.2.840.10008.1.2"',
            [Offer("application/dicom", is_multipart=True, syntax="1.2.840.10008.1.2")],
        ),
        ('multipart/related; type="*/*"', [Offer("*/*", is_multipart=True)]),
        ("multipart/related", [Offer("*/*", is_multipart=True)]),
        (
            "image/png;q=0.5, image/jpeg",
            [Offer("image/jpeg", is_multipart=False), Offer("image/png", is_multipart=False)],
        ),
        ("image/png;q=0, image/*;q=x", [Offer("image/*", is_multipart=False)]),
        ('nonsense, ;;, application/dicom; x="a,b;c"', [Offer("application/dicom", is_multipart=False)]),
    ],
    ids=str,
)
def test_accept_headers_are_read(header: str | None, offers: list[Offer]) -> None:
    assert read_accept(header) == offers


@pytest.mark.parametrize(
    ("header", "media"),
    [
        ("application/dicom+json, application/json", "application/dicom+json"),
        ("application/json", "application/json"),
        ("application/*", "application/dicom+json"),
        ('multipart/related; type="application/dicom+xml", application/dicom+json;q=0.1', "application/dicom+json"),
        ("application/dicom+xml", None),
    ],
)
def test_json_is_chosen_where_the_client_takes_it(header: str, media: str | None) -> None:
    assert json_type(read_accept(header)) == media


@given(st.text(alphabet=st.sampled_from('multipart/related;=",\\ *q0.5typ+')))
def test_no_header_is_an_error(header: str) -> None:
    assert all(isinstance(offer, Offer) for offer in read_accept(header))
