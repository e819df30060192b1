"""The directory of a zip, read from its end alone: which instances it has, and where each lies; pure.

Names of members are never paths: they only say which members are not images.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkdl.errors import ShortBody, UnexpectedAnswer
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.inflating import inflated

if TYPE_CHECKING:
    from zipfile import ZipInfo

TAIL_BYTES: Final = 1 << 17
"""How much of the end of a zip is read first."""

_MOST_MEMBERS: Final = 200_000
_MOST_MEMBER_BYTES: Final = 1 << 36
_LOCAL: Final = struct.Struct("<4s5H3I2H")  # 4.3.7 of PKWARE's APPNOTE.TXT
_LOCAL_SIGNATURE: Final = b"PK\x03\x04"
LOCAL_BYTES: Final = _LOCAL.size + 2 * 0xFFFF
"""The most that lies between the beginning of a member and its data."""
_STORED: Final = 0  # 4.4.5
_DEFLATED: Final = 8
_TEXTS: Final = (".csv", ".tsv", ".txt", ".json", ".xml", ".pdf", ".html", ".md", ".sums", ".log", ".md5")
_NOT_IMAGES: Final = frozenset({"license", ".ds_store", "thumbs.db", "desktop.ini", "dicomdir"})


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file in a zip. `position` counts all members from 1, in the order in which they lie in the zip."""

    position: int
    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    crc: int
    is_deflated: bool

    @property
    def is_image(self) -> bool:
        """Whether it may be an instance: it is not a folder, a licence, a table or the like."""
        name = self.name.rpartition("/")[2].casefold()
        is_other = not name or name in _NOT_IMAGES or name.endswith(_TEXTS) or name.startswith("._")
        return not is_other and "__MACOSX/" not in self.name


class EarlierBytesNeeded(Exception):
    """The directory begins before what was read: bytes from `start` on are needed."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


class _End(io.RawIOBase):
    """A zip of which only the end is here, as a file."""

    def __init__(self, tail: bytes, length: int) -> None:
        self._tail, self._length, self._at = tail, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._length if size < 0 else min(self._length, self._at + size)
        start = self._at - (self._length - len(self._tail))
        if start < 0 and self._at < end:
            raise EarlierBytesNeeded(self._at)
        found = self._tail[start : start + end - self._at]
        self._at += len(found)
        return found


def read_directory(tail: bytes, length: int) -> tuple[ZipMember, ...]:
    """The members of a zip of `length` bytes, of which `tail` are the last ones, in the order in which they lie in it.

    Raises EarlierBytesNeeded; UnexpectedAnswer: it is not a zip, or one that cannot be read.
    """
    import zipfile  # noqa: PLC0415 - late: few objects are zips

    try:
        with zipfile.ZipFile(_End(tail, length)) as opened:
            found = sorted(opened.infolist(), key=lambda each: each.header_offset)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error) as error:
        raise UnexpectedAnswer(f"the object is not a zip: {shortened(one_line(str(error)), 80)}") from error
    if len(found) > _MOST_MEMBERS:
        raise UnexpectedAnswer(f"the zip has more than {_MOST_MEMBERS:,} members")
    return tuple(_member(position, info, length) for position, info in enumerate(found, start=1))


def _member(position: int, info: ZipInfo, length: int) -> ZipMember:
    is_known = info.compress_type in {_STORED, _DEFLATED} and not info.flag_bits & 1
    if not is_known or info.file_size > _MOST_MEMBER_BYTES or info.header_offset + info.compress_size > length:
        raise UnexpectedAnswer(f"member {position} of the zip is encrypted, or packed by a method that is not known")
    return ZipMember(
        position,
        info.filename,
        info.header_offset,
        info.compress_size,
        info.file_size,
        info.CRC,
        info.compress_type == _DEFLATED,
    )


class MemberReader:
    """Reads one member from its first byte in the zip on. Feed it every piece, in order, and then `close` it.

    Raises UnexpectedAnswer: there is something else in the zip; ShortBody: it is incomplete or damaged.
    """

    def __init__(self, member: ZipMember) -> None:
        self._member = member
        self._head = b""
        self._left: int | None = None  # packed bytes that have not come yet; None before the data begins
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS) if member.is_deflated else None
        self._crc = self._count = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the bytes of the member in a piece of the zip."""
        if self._left is None:
            self._head += piece
            if (start := self._data_start()) is None:
                return
            piece, self._head, self._left = self._head[start:], b"", self._member.packed_bytes
        packed = piece[: self._left]
        self._left -= len(packed)
        for data in self._unpacked(packed):
            self._count += len(data)
            self._crc = zlib.crc32(data, self._crc)
            if self._count > self._member.size_bytes:
                raise ShortBody(f"member {self._member.position} of the zip is longer than its directory says")
            yield data

    def _data_start(self) -> int | None:
        if len(self._head) < _LOCAL.size:
            return None
        fields = _LOCAL.unpack_from(self._head)
        if fields[0] != _LOCAL_SIGNATURE:
            raise UnexpectedAnswer(f"member {self._member.position} of the zip is not where its directory says")
        start: int = _LOCAL.size + fields[9] + fields[10]
        return start if len(self._head) >= start else None

    def _unpacked(self, packed: bytes) -> Iterator[bytes]:
        if self._stream is None:
            yield packed
            return
        try:
            yield from inflated(self._stream, packed)
        except zlib.error as error:
            raise ShortBody(f"member {self._member.position} of the zip is damaged: {error}") from error
        if self._stream.unused_data:
            raise ShortBody(f"member {self._member.position} of the zip is damaged: its data goes on behind its end")

    def close(self) -> None:
        """All bytes have come."""
        if (self._count, self._crc) != (self._member.size_bytes, self._member.crc):
            raise ShortBody(f"member {self._member.position} of the zip is damaged: its size or its checksum is wrong")
