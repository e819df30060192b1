"""The frames of encapsulated pixel data: which fragments hold each frame, and whether it begins and ends as it should.

Number of Frames and the offset tables show a frame that is missing, without decoding. A decoder that conceals errors
decodes a frame with a hole in it; the end marker is missing then.

Source: PS3.5 §A.4 (fragments and Basic Offset Table), §G.5 (RLE header), PS3.3 §C.7.6.3.1.8 (Extended Offset Table).
The markers are those of ITU-T T.81 §B.1.1.3 (JPEG), T.87 (JPEG-LS), T.800 §A.2 and §I.5.1 (JPEG 2000) and ISO/IEC
18181-2 (JPEG XL). All of 1,356 valid frames of public test files begin so, and all but 5, of one JPEG Baseline, end so.
"""

import struct
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bulkdl.dicom.attributes import InstanceAttributes, little_endian
from bulkdl.dicom.part10 import Element
from bulkdl.errors import InvalidInstance

RLE = "1.2.840.10008.1.2.5"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
END_OF_IMAGE = b"\xff\xd9"

_FRAME_HEADERS = frozenset((0xF7, *range(0xC0, 0xD0))) - {0xC4, 0xC8, 0xCC}  # SOF markers, that of JPEG-LS too
_MOST_FRAGMENTS = 1 << 22  # 16 bytes of memory each
_END_IS_IN_LAST_BYTES = 16
_RLE_HEAD_BYTES = 64
_MOST_RLE_SEGMENTS = 15
_SEARCHED_AT_ONCE = 1 << 16


class _Codestream(NamedTuple):
    """How a frame begins and ends; an empty tuple or end is not checked."""

    starts: tuple[bytes, ...] = ()
    end: bytes = b""


def _jpeg_family(*ends: int) -> list[str]:
    return [f"1.2.840.10008.1.2.4.{end}" for end in ends]


_JPEG = _Codestream((b"\xff\xd8",), END_OF_IMAGE)
_JPEG_2000 = _Codestream((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "), END_OF_IMAGE)
_JPEG_XL = _Codestream((b"\xff\x0a", b"\0\0\0\x0cJXL "))
_CODESTREAMS = {
    **dict.fromkeys(_jpeg_family(*range(50, 67), 70, 80, 81), _JPEG),
    **dict.fromkeys(_jpeg_family(90, 91, 92, 93, 201, 202, 203), _JPEG_2000),
    **dict.fromkeys(_jpeg_family(110, 111, 112), _JPEG_XL),
    **dict.fromkeys((RLE, DEFLATED_FRAMES), _Codestream()),
}
"""The transfer syntaxes in which no fragment has data of two frames. In others, such as video, it may."""


class Frames:
    """The frames of encapsulated pixel data, each one or more fragments.

    Raises:
        InvalidInstance: there are fewer frames than Number of Frames, or an offset does not lead to a fragment.
    """

    def __init__(self, attributes: InstanceAttributes, pixel_data: Element, syntax: str) -> None:
        self._walk = attributes.walk
        self._syntax = syntax
        self._codestream = _CODESTREAMS.get(syntax, _Codestream())
        self.notes: list[str] = []
        self._offsets, self._lengths = array("Q"), array("Q")
        count, fragments = attributes.number_of_frames(), (pixel_data.items or 1) - 1
        is_divided = syntax in _CODESTREAMS
        if fragments < (count if is_divided else 1):
            raise InvalidInstance(f"{fragments} fragments of pixel data for {count} frames")
        self._firsts: Sequence[int] | None = None  # the first fragment of each frame
        if not is_divided or fragments > _MOST_FRAGMENTS:
            return
        items = self._walk.fragments(pixel_data)
        table_offset, table_bytes = next(items)
        for offset, length in items:
            self._offsets.append(offset)
            self._lengths.append(length)
        table = self._walk.peek(table_offset, min(table_bytes, _MOST_FRAGMENTS * 4))
        self._firsts = self._divided(
            count, little_endian("I", table[: len(table) // 4 * 4]), attributes.extended_offsets()
        )

    def __len__(self) -> int:
        """The number of frames; 0 where they cannot be separated."""
        return len(self._firsts or ())

    def places(self, index: int) -> tuple[tuple[int, int], ...]:
        """Where the fragments of a frame, counted from 0, lie in the file: the offset and the length of each."""
        firsts = self._firsts or ()
        end = firsts[index + 1] if index + 1 < len(firsts) else len(self._offsets)
        return tuple((self._offsets[one], self._lengths[one]) for one in range(firsts[index], end))

    def __iter__(self) -> Iterator[bytes]:
        """The bytes of each frame."""
        for fragments in self._fragments_by_frame():
            yield b"".join(self._walk.peek(self._offsets[one], self._lengths[one]) for one in fragments)

    def check_marks(self) -> None:
        """Raise InvalidInstance if a frame begins or ends otherwise than its transfer syntax says."""
        for number, fragments in enumerate(self._fragments_by_frame(), start=1):
            if self._syntax == RLE:
                self._check_rle(number, fragments)
            starts = self._codestream.starts
            if starts and not self._walk.peek(self._offsets[fragments[0]], 8).startswith(starts):
                raise InvalidInstance(f"frame {number} does not begin as its transfer syntax says")
            if self._codestream.end and self._codestream.end not in self._tail(fragments):
                if self._syntax == JPEG_BASELINE:  # a writer is known that appends bytes
                    self.notes.append(f"frame {number} does not end with its end marker")
                elif not self._ends_before_zeros(fragments[-1]):
                    raise InvalidInstance(f"frame {number} has no end marker, so a part of it is missing")

    def _fragments_by_frame(self) -> Iterator[range]:
        firsts = self._firsts or ()
        for number, first in enumerate(firsts, start=1):
            yield range(first, firsts[number] if number < len(firsts) else len(self._offsets))

    def _divided(self, count: int, basic: Sequence[int], extended: Sequence[int]) -> Sequence[int]:
        """The first fragment of each frame."""
        fragments = len(self._offsets)
        for name, table in (("Extended", extended), ("Basic", basic)):
            if len(table) == count > 1 and (any(table) or fragments != count):
                return self._by_offsets(table)
            if any(table) and (len(table) != count or count == 1):
                self.notes.append(f"{name} Offset Table of {len(table)} entries for {count} frames is not used")
        if fragments == count or (count == 1 and not self._codestream.starts):
            return range(count)
        return self._by_starts(count)

    def _by_offsets(self, table: Sequence[int]) -> Sequence[int]:
        base = self._offsets[0]
        firsts = array("Q")
        beyond, previous = 0, -1
        for number, offset in enumerate(table, start=1):
            if offset + beyond < previous:
                beyond += 1 << 32  # a Basic Offset Table of more than 4 GiB
            previous = offset + beyond
            found = bisect_left(self._offsets, base + previous)
            is_start = found < len(self._offsets) and self._offsets[found] == base + previous
            if not is_start or (found <= firsts[-1] if firsts else found != 0):
                raise InvalidInstance(
                    f"frame {number} of {len(table)} is at offset {offset}, where no new fragment begins"
                )
            firsts.append(found)
        return firsts

    def _by_starts(self, count: int) -> Sequence[int]:
        """Divide the fragments where one begins like a frame."""
        starts = self._codestream.starts
        if not starts:
            self.notes.append(f"{len(self._offsets)} fragments of pixel data for {count} frames")
            return range(count)
        firsts = array("Q")
        for index, offset in enumerate(self._offsets):
            if not index or self._walk.peek(offset, 8).startswith(starts):
                firsts.append(index)
        if len(firsts) < count:
            raise InvalidInstance(f"{len(firsts)} frames in the fragments of pixel data, {count} by Number of Frames")
        if len(firsts) > count:
            self.notes.append(f"{len(firsts)} frames of pixel data, {count} by Number of Frames")
        return firsts

    def _tail(self, fragments: range) -> bytes:
        """The last bytes of a frame, which may lie in several fragments."""
        tail = b""
        for one in reversed(fragments):
            wanted = min(self._lengths[one], _END_IS_IN_LAST_BYTES - len(tail))
            tail = self._walk.peek(self._offsets[one] + self._lengths[one] - wanted, wanted) + tail
            if len(tail) == _END_IS_IN_LAST_BYTES:
                break
        return tail

    def _ends_before_zeros(self, fragment: int) -> bool:
        """Whether only zeros follow the end marker."""
        at, first = self._offsets[fragment] + self._lengths[fragment], self._offsets[fragment]
        while at > first:
            size = min(_SEARCHED_AT_ONCE, at - first)
            at -= size
            block = self._walk.peek(at, size).rstrip(b"\0")
            if block:
                before = self._walk.peek(at - 1, 1) if at > first else b""
                return (before + block).endswith(self._codestream.end)
        return False

    def _check_rle(self, number: int, fragments: range) -> None:
        head = self._walk.peek(self._offsets[fragments[0]], _RLE_HEAD_BYTES)
        size = sum(self._lengths[one] for one in fragments)
        segments, *offsets = struct.unpack("<16L", head.ljust(_RLE_HEAD_BYTES, b"\0"))
        used = offsets[:segments]
        is_header = 0 < segments <= _MOST_RLE_SEGMENTS and used[0] == _RLE_HEAD_BYTES and used == sorted(set(used))
        if not is_header or used[-1] >= size:
            raise InvalidInstance(f"frame {number} does not begin with a header of RLE that fits its {size} bytes")


def shape_of_codestream(frame: bytes) -> tuple[int, int] | None:
    """The rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream has by its own header; None where unknown.

    Decoders claim memory by these. Source: ISO/IEC 10918-1 §B.2.2 (frame header), 15444-1 §A.5.1 (SIZ).
    """
    if frame.startswith(b"\xff\x4f\xff\x51"):
        width, height, left, top = struct.unpack_from(">4L", frame.ljust(24, b"\0"), 8)
        return max(0, height - top), max(0, width - left)
    at = 2 if frame.startswith(b"\xff\xd8\xff") else len(frame)
    while at + 9 <= len(frame) and frame[at] == 0xFF:  # noqa: PLR2004 - begins every marker
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            rows, columns = struct.unpack_from(">2H", frame, at + 5)
            return rows, columns
        at += 2 + length
    return None
