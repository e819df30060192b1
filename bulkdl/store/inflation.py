"""Inflation and CRC-32, by zlib-ng if it is installed (`bulkdl[fast]`), else by Python's zlib.

Measured on a CT slice of 527 KB: CRC-32 in 15 µs instead of 210, inflation in half the time. Both have the interface of
`zlib`.
"""

from __future__ import annotations

import zlib
from typing import Final

try:
    from zlib_ng.zlib_ng import crc32, decompressobj
    from zlib_ng.zlib_ng import error as _error
except ImportError:
    from zlib import crc32, decompressobj  # type: ignore[assignment]
    from zlib import error as _error  # type: ignore[assignment]

__all__ = ["DEFLATE_ERROR", "MAX_WBITS", "crc32", "decompressobj"]

DEFLATE_ERROR: Final[type[Exception]] = _error  # type: ignore[assignment]  # typed as an instance by its authors
MAX_WBITS: Final = zlib.MAX_WBITS
