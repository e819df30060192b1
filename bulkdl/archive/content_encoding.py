"""Decode the content encodings gzip and deflate piece by piece, and require their end.

aiohttp decodes them too, but accepts a gzip that was cut off (observed with 3.14). No decoded piece is larger than a
fixed size, however much the body inflates.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_PIECE_BYTES: Final = 1 << 18
_ZLIB_METHOD: Final = 8  # in the low half of the first byte (RFC 1950); some servers send bare deflate instead


class Inflater:
    """Decodes one body. Feed it every piece, in order, and then `close` it."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of the next piece.

        Raises:
            ValueError: it is not encoded in this way.
        """
        if chunk and not self._has_begun:
            self._has_begun = True
            if chunk[0] & 0x0F != _ZLIB_METHOD and chunk[0] != 0x1F:  # noqa: PLR2004 - the first byte of gzip
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while chunk:
                if self._stream.eof:  # there may be several gzip members (RFC 1952 §2.2)
                    self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
                if piece := self._stream.decompress(chunk, _PIECE_BYTES):
                    yield piece
                chunk = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as error:
            raise ValueError(f"its encoding is damaged ({error})") from error

    def close(self) -> None:
        """The body has ended.

        Raises:
            ValueError: it is incomplete.
        """
        if self._has_begun and not self._stream.eof:
            raise ValueError("its encoding has no end")
