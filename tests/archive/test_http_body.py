from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.http_body import Inflater
from bulkdl.errors import ShortBody


def bare(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(content) + stream.flush()


WAYS: list[Callable[[bytes], bytes]] = [gzip.compress, zlib.compress, bare]


def inflated(encoded: bytes, piece_bytes: int) -> bytes:
    inflater = Inflater()
    found = b""
    for start in range(0, len(encoded), piece_bytes):
        for piece in inflater.feed(encoded[start : start + piece_bytes]):
            assert len(piece) <= 1 << 18
            found += piece
    inflater.close()
    return found


@pytest.mark.parametrize("encode", WAYS, ids=["gzip", "zlib", "bare deflate"])
@given(content=st.binary(max_size=500), piece_bytes=st.integers(1, 100))
def test_whatever_was_encoded_comes_back(encode: Callable[[bytes], bytes], content: bytes, piece_bytes: int) -> None:
    assert inflated(encode(content), piece_bytes) == content


def test_several_in_a_row_are_one() -> None:
    assert inflated(gzip.compress(b"a") + gzip.compress(b"b"), 7) == b"ab"


def test_what_inflates_comes_in_pieces() -> None:
    assert len(inflated(gzip.compress(bytes(10**7)), 10**6)) == 10**7


@pytest.mark.parametrize("encode", WAYS, ids=["gzip", "zlib", "bare deflate"])
def test_every_cut_is_noticed(encode: Callable[[bytes], bytes]) -> None:
    encoded = encode(b"a list of rows" * 5)
    for end in range(1, len(encoded)):
        with pytest.raises(ShortBody, match="encoding"):
            inflated(encoded[:end], 16)


def test_what_is_not_encoded_is_refused() -> None:
    with pytest.raises(ShortBody, match="damaged"):
        inflated(b"\x1f[no gzip]", 16)
