"""Text files that may be compressed by Zstandard (RFC 8878): their lines, one at a time, and a writer.

The first bytes say whether a file is compressed. Memory is bounded whatever the file says of itself: by the window that
a frame may ask for, by the length of a line, and by how much a file may grow when it is decompressed.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TextIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from bulkdl.manifest.base import Remarks

MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LEVEL: Final = 9  # a lock in half of the time of level 12, and 2 % larger
_WINDOW_LOG: Final = 25  # 32 MiB, which all levels of `zstd` without `--ultra` and `--long` keep to
_LONGEST_LINE: Final = 1 << 16
# A lock with few checksums shrinks to a twentieth. What grows far more is made to fill the memory, or the time.
_MOST_GROWTH: Final = 400
_ALWAYS_ALLOWED: Final = 64 << 20


def text_lines(file: BinaryIO, remarks: Remarks) -> Iterator[str]:
    """The lines of a text in UTF-8 with their ends, from a file that can be rewound.

    Raises ManifestError: a line is too long, or not UTF-8, or the file is damaged, truncated or grows without end.
    """
    number = 0
    try:
        is_compressed = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        with io.TextIOWrapper(_decompressing(file) if is_compressed else file, encoding="utf-8", newline="") as text:
            while line := text.readline(_LONGEST_LINE):
                number += 1
                if len(line) == _LONGEST_LINE:
                    raise remarks.error(f"the line has more than {_LONGEST_LINE:,} characters", number)
                yield line
    except UnicodeDecodeError as error:
        raise remarks.error("the text is not UTF-8", number + 1) from error
    except (EOFError, _BadFrame) as error:
        reason = "it is truncated" if isinstance(error, EOFError) else str(error)
        raise remarks.error(f"the Zstandard file cannot be decompressed: {reason}", number + 1) from error
    except OSError as error:
        raise remarks.error(f"cannot be read: {error.strerror or error}") from error


@contextmanager
def compressed_text(file: BinaryIO) -> Iterator[TextIO]:
    """A text in UTF-8 that is compressed into `file`, which stays open."""
    zstd = _zstd()
    options = {zstd.CompressionParameter.compression_level: _LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    with (
        zstd.ZstdFile(file, "wb", options=options) as compressing,
        io.TextIOWrapper(compressing, encoding="utf-8", newline="") as text,
    ):
        yield text


class _BadFrame(Exception):
    """A frame is damaged, asks for too much memory, or grows without end."""


class _Decompressed(io.RawIOBase):
    """The content of a compressed file, as far as it is in proportion to the file."""

    def __init__(self, file: BinaryIO) -> None:
        zstd = _zstd()
        options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}
        self._file, self._error = file, zstd.ZstdError
        self._inner = zstd.ZstdFile(file, "rb", options=options)
        self._bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        try:
            count: int = self._inner.readinto(buffer)
        except self._error as error:
            raise _BadFrame(str(error)) from error
        self._bytes += count
        if self._bytes > _ALWAYS_ALLOWED + _MOST_GROWTH * self._file.tell():
            raise _BadFrame(f"it grows to more than {_MOST_GROWTH} times its size")
        return count


def _decompressing(file: BinaryIO) -> BinaryIO:
    return io.BufferedReader(_Decompressed(file), 1 << 17)


def _zstd() -> Any:
    """The library: that of Python 3.14, or its twin. Late, because few manifests are compressed."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd
