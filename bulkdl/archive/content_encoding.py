"""Content-Encoding gzip and deflate, undone piece by piece, with an end that must be there.

aiohttp would do it too, but takes a gzip that was cut for a whole one (observed with 3.14). What goes in is a piece of
the body, and what comes out is never more than a piece of memory, however much it swells.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})

_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_PIECE_BYTES: Final = 1 << 18
_ZLIB_METHOD: Final = 8  # in the low half of the first byte of RFC 1950; some servers send bare deflate instead


class Inflater:
    """Takes pieces of an encoded body."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What the next piece holds.

        Raises:
            ValueError: it is not encoded so.
        """
        if chunk and not self._has_begun:
            self._has_begun = True
            if chunk[0] & 0x0F != _ZLIB_METHOD and chunk[0] != 0x1F:  # noqa: PLR2004 - the first byte of gzip
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while chunk:
                if self._stream.eof:  # gzip may be several, one after the other (RFC 1952 §2.2)
                    self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
                if piece := self._stream.decompress(chunk, _PIECE_BYTES):
                    yield piece
                chunk = self._stream.unconsumed_tail or self._stream.unused_data
        except zlib.error as error:
            raise ValueError(f"its encoding is broken ({error})") from error

    def close(self) -> None:
        """The body has ended.

        Raises:
            ValueError: it is cut.
        """
        if self._has_begun and not self._stream.eof:
            raise ValueError("its encoding has no end")
