"""Streams of deflate come in pieces of a bounded size, whole, and end."""

from __future__ import annotations

import zlib
from itertools import islice

import pytest

from bulkdl.runtime.inflating import PIECE_BYTES, inflated


@pytest.mark.parametrize("behind", [b"", b"x", b"x" * 100_000])
@pytest.mark.parametrize("more_bytes", [0, 1, 21, 100, 250, PIECE_BYTES])
@pytest.mark.parametrize("packed_bytes", [1, 100, 10**6])
def test_a_stream_comes_whole_and_what_is_behind_it_is_left(behind: bytes, more_bytes: int, packed_bytes: int) -> None:
    content = bytes(PIECE_BYTES + more_bytes)
    packed = zlib.compress(content, wbits=-zlib.MAX_WBITS) + behind[:packed_bytes]
    decoder, found = zlib.decompressobj(-zlib.MAX_WBITS), b""
    for at in range(0, len(packed), packed_bytes):
        for piece in islice(inflated(decoder, packed[at : at + packed_bytes]), 100):
            assert 0 < len(piece) <= PIECE_BYTES
            found += piece
    assert (found, decoder.eof, decoder.unused_data) == (content, True, behind[:packed_bytes])


def test_other_bytes_are_an_error() -> None:
    with pytest.raises(zlib.error):
        list(inflated(zlib.decompressobj(-zlib.MAX_WBITS), b"\xff" * 100))
