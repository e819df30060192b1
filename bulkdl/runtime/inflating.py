"""Decode a stream of deflate in pieces of a bounded size, however much it expands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

PIECE_BYTES: Final = 1 << 18
"""The most bytes of a decoded piece."""


class Decoder(Protocol):
    """What `zlib.decompressobj` returns."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def unconsumed_tail(self) -> bytes:
        """What is not decoded yet, as the piece is full."""

    def decompress(self, data: bytes | memoryview, max_length: int = ..., /) -> bytes:
        """Decode more."""


def inflated(decoder: Decoder, packed: bytes | memoryview) -> Iterator[bytes]:
    """Yield what the next bytes of a stream decode to. Behind its end, they are its `unused_data`, and not decoded.

    Raises:
        zlib.error: these are other bytes; zlib-ng has its own error.
    """
    piece = b""
    while packed or len(piece) == PIECE_BYTES:  # behind a whole piece zlib may keep a few bytes more
        if piece := decoder.decompress(packed, PIECE_BYTES):
            yield piece
        packed = b"" if decoder.eof else decoder.unconsumed_tail  # at the end it may repeat `unused_data`
