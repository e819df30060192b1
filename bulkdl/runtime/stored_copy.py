"""A copy on the disk of what can be read once only, such as a pipe: it can be read as often as needed."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import weakref
from typing import TYPE_CHECKING, BinaryIO, Final

from bulkdl.runtime.disk import disk_errors

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE_BYTES: Final = 1 << 20


class StoredCopy:
    """`beginning` and what is left of an open file, in a temporary file that has no name and ends with this object.

    The file is in `folder`, or else where the system has such files.

    Raises:
        OSError: `file` cannot be read, or has more than `at_most` bytes (EFBIG).
        DiskError: the copy cannot be written.
    """

    def __init__(
        self, file: BinaryIO, beginning: bytes = b"", *, at_most: int, folder: str | os.PathLike[str] | None = None
    ) -> None:
        self._folder = folder or tempfile.gettempdir()
        with disk_errors("write", self._folder):
            self._copy = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115 - the next line closes it
        weakref.finalize(self, self._copy.close)
        size_bytes, piece = 0, beginning or file.read(_PIECE_BYTES)
        while piece:
            size_bytes += len(piece)
            if size_bytes > at_most:
                raise OSError(errno.EFBIG, f"it has more than {at_most:,} bytes")
            self._write(piece)
            piece = file.read(_PIECE_BYTES)

    def _write(self, piece: bytes) -> None:
        left = memoryview(piece)
        with disk_errors("write", self._folder):
            while left:
                left = left[self._copy.write(left) :]

    def open(self) -> BinaryIO:
        """Open the copy at its beginning. Several may be open, each with its own position."""
        return io.BufferedReader(_Reader(self, self._copy.fileno()))


class _Reader(io.RawIOBase):
    def __init__(self, copy: StoredCopy, descriptor: int) -> None:
        self._copy = copy  # which has to be there as long as this
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        begins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: os.fstat(self._descriptor).st_size}
        self._position = max(0, begins[whence] + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        content = os.pread(self._descriptor, len(view), self._position)
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
