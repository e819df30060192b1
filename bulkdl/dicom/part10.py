"""A DICOM file, element by element: its meta information, and a walk over tags and lengths.

Values are not decoded here, and most are never read. The walk exists because pydicom's reader takes a file that ends in
the middle of a value, or between two elements, without a word. It reads as pydicom's reader does (`filereader.py` of
3.0), its leniency about VRs included, and refuses what that one lets pass: an element that claims more bytes than there
are, a sequence that is never closed, a delimiter out of place.

Source: PS3.10 §7.1 (preamble and meta information), PS3.5 §7.1 (elements), §7.5 (sequences), §A.4 (encapsulated pixel
data), §A.5 (deflated data sets).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import deque
from functools import cache
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from bulkdl.errors import InvalidInstance
from bulkdl.model.preamble import HEAD_BYTES, is_dicom

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"

_META_GROUP = b"\2\0"
_MEDIA_SOP_CLASS = 0x00020002
_MEDIA_SOP_INSTANCE = 0x00020003
_TRANSFER_SYNTAX = 0x00020010
_DICOMDIR = "1.2.840.10008.1.3.10"

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_FIRST_TAG = 0x00080000  # groups below are no part of a data set (PS3.5 §7.1)
_DELIMITER_GROUP = 0xFFFE
_UNDEFINED = 0xFFFFFFFF
_LONGEST_UID = 80  # more than the 64 that are allowed, so that one that is too long is seen to be
_DEEPEST = 64  # real sequences nest fewer than ten deep; pydicom recurses, and so do we

_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS_OF_FRAGMENTS = frozenset((b"OB", b"OW"))
_NONE: frozenset[int] = frozenset()
_CAPITALS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_INFLATED_AT_ONCE = 1 << 20
_LARGEST_INFLATED = 1 << 28  # deflate can promise a thousand times its size, and pydicom inflates in memory
_GZIP_TRAILER_BYTES = 8


class Element(NamedTuple):
    """One element of a data set: where its value lies in the file, in bytes from its start.

    `vr` is None in implicit VR. A value of undefined length includes its closing delimiter; `items` counts its items,
    fragments included, and is None for a value of defined length.
    """

    tag: int
    vr: bytes | None
    offset: int
    length: int
    items: int | None


class Meta(NamedTuple):
    """The File Meta Information. The data set begins at the byte `end`."""

    transfer_syntax_uid: str | None
    media_sop_uid: str | None
    end: int


def read_meta(file: BinaryIO, size: int) -> Meta:
    """Read the preamble and the File Meta Information of an open file of `size` bytes.

    Raises:
        InvalidInstance: there is none, it is cut, or it is that of a DICOMDIR.
    """
    file.seek(0)
    if not is_dicom(file.read(HEAD_BYTES)):
        raise InvalidInstance("no DICOM preamble and meta information (PS3.10 §7.1)")
    uids: dict[int, str] = {}
    walk = Walk(file, size)
    at = first = HEAD_BYTES
    while walk.peek(at, 2) == _META_GROUP:  # what follows may be written in another way, or deflated
        tag, _, offset, length = walk.head(at, size, implicit=False)
        at = walk.end_of(tag, offset, length, size)
        if tag in {_MEDIA_SOP_CLASS, _MEDIA_SOP_INSTANCE, _TRANSFER_SYNTAX}:
            uids[tag] = uid_text(walk.peek(offset, min(length, _LONGEST_UID)))
    if at == first:
        raise InvalidInstance("no DICOM preamble and meta information (PS3.10 §7.1)")
    if uids.get(_MEDIA_SOP_CLASS) == _DICOMDIR:
        raise InvalidInstance("a DICOMDIR")
    return Meta(uids.get(_TRANSFER_SYNTAX) or None, uids.get(_MEDIA_SOP_INSTANCE) or None, at)


def uid_text(raw: bytes) -> str:
    """A UID without its padding; what is not ASCII comes out as replacement characters, so as no UID."""
    return raw.decode("ascii", "replace").strip(" \0")


def open_data_set(file: BinaryIO, size: int, meta: Meta, *, inflate_bytes: int | None = None) -> Walk:
    """The walk over the data set behind `meta`.

    A deflated data set is inflated into memory: to its end, or only so far that at least `inflate_bytes` are there.

    Raises:
        InvalidInstance: a deflated data set is cut, corrupt, followed by something else, or unreasonably large.
    """
    syntax = meta.transfer_syntax_uid
    if syntax == DEFLATED_LITTLE:
        inflated = _inflate(file, size, meta.end, inflate_bytes)
        return Walk(io.BytesIO(inflated), len(inflated))
    return Walk(file, size, meta.end, implicit=syntax == IMPLICIT_LITTLE, little=syntax != EXPLICIT_BIG)


def _inflate(file: BinaryIO, size: int, at: int, enough: int | None) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = bytearray()
    file.seek(at)
    try:
        while not stream.eof:
            chunk = stream.unconsumed_tail or file.read(_INFLATED_AT_ONCE)
            piece = stream.decompress(chunk, _INFLATED_AT_ONCE)
            if not (chunk or piece):
                raise InvalidInstance("the deflated data set is cut")
            inflated += piece
            if enough is not None and len(inflated) >= enough:
                return bytes(inflated)
            if len(inflated) > _LARGEST_INFLATED:
                raise InvalidInstance(f"a deflated data set of more than {_LARGEST_INFLATED} bytes")
    except zlib.error as error:
        raise InvalidInstance(f"the deflated data set is corrupt ({error})") from error
    ended_at = file.tell() - len(stream.unused_data)
    file.seek(ended_at)
    rest = file.read(_GZIP_TRAILER_BYTES + 2)
    # Some writers leave gzip's trailer there (observed in pydicom's image_dfl.dcm).
    trailer = struct.pack("<LL", zlib.crc32(inflated), len(inflated) & 0xFFFFFFFF)
    padding = b"\0" * ((ended_at - at) % 2)
    if rest not in {padding, trailer, trailer + b"\0"}:
        raise InvalidInstance(
            f"the deflated data set ends at byte {ended_at}, the file of {size} bytes does not (PS3.5 §A.5)"
        )
    return bytes(inflated)


class Walk:
    """Walks the data set that begins at byte `start` of an open file of `size` bytes."""

    def __init__(
        self, file: BinaryIO, size: int, start: int = 0, *, implicit: bool = False, little: bool = True
    ) -> None:
        self._file = file
        self._size = size
        self._start = start
        self.is_implicit = implicit  # as declared; once walking, as found, which is what pydicom goes by
        self.little = little
        order = "<" if little else ">"
        self._explicit_head = struct.Struct(f"{order}HH2sH").unpack
        self._implicit_head = struct.Struct(f"{order}HHL").unpack
        self._long_length = struct.Struct(f"{order}L").unpack
        self._at = start

    def peek(self, at: int, count: int) -> bytes:
        """The `count` bytes at `at`, or fewer where the file ends."""
        self._file.seek(at)
        return self._file.read(count)

    def open_at(self, element: Element) -> BinaryIO:
        """The file that is walked, inflated if it was deflated, at the value of `element`."""
        self._file.seek(element.offset)
        return self._file

    def value(self, element: Element) -> bytes:
        """The bytes of a value."""
        return self.peek(element.offset, element.length)

    def elements(self, wanted: frozenset[int] | None = None, *, into_sequences: bool = True) -> Iterator[Element]:
        """The elements of the data set in the file's order, all or the `wanted`; those of its sequences are not named.

        Sequences of defined length are walked only with `into_sequences`. Whoever stops early has checked no more than
        what was walked.

        Raises:
            InvalidInstance: the data set cannot be walked to its end.
        """
        raw_vr = self.peek(self._start + 4, 2)
        if len(raw_vr) == 2:  # noqa: PLR2004 - a VR is two bytes
            self.is_implicit = not _CAPITALS.issuperset(raw_vr)
        return self._elements(self._start, self._size, implicit=self.is_implicit, into=into_sequences, wanted=wanted)

    def first_item(self, sequence: Element) -> Iterator[Element]:
        """The elements of the first item of a sequence, none where it has no item.

        Raises:
            InvalidInstance: the item cannot be walked to its end.
        """
        stop = sequence.offset + sequence.length
        if sequence.length == 0:
            return iter(())
        tag, offset, length = self._item_head(sequence.offset, stop)
        if tag != _ITEM:
            return iter(())
        implicit = self._item_is_implicit(offset, parent_is=sequence.vr is None)
        if length == _UNDEFINED:
            return self._elements(offset, stop, implicit=implicit, into=False, depth=1, delimited=True)
        return self._elements(offset, self.end_of(tag, offset, length, stop), implicit=implicit, into=False, depth=1)

    def head(self, at: int, stop: int, *, implicit: bool) -> tuple[int, bytes | None, int, int]:
        """Tag, VR, offset of the value and its length, as written, of the element at `at`.

        Raises:
            InvalidInstance: it is cut.
        """
        self._file.seek(at)
        raw = self._file.read(8)
        if at + 8 > stop or len(raw) < 8:  # noqa: PLR2004 - tag, VR and length
            raise InvalidInstance(f"cut in the head of an element (at byte {at})")
        if implicit:
            group, number, length = self._implicit_head(raw)
            return group << 16 | number, None, at + 8, length
        group, number, vr, length = self._explicit_head(raw)
        if vr in _SHORT_VRS:
            return group << 16 | number, vr, at + 8, length
        if vr in _LONG_VRS:
            raw = self._file.read(4)
            if at + 12 > stop or len(raw) < 4:  # noqa: PLR2004 - a length
                raise InvalidInstance(f"cut in the head of {_name(group << 16 | number)} (at byte {at})")
            return group << 16 | number, vr, at + 12, self._long_length(raw)[0]
        if b"AA" <= vr <= b"ZZ":  # a VR that nobody knows: pydicom takes its length for a short one
            return group << 16 | number, vr, at + 8, length
        group, number, length = self._implicit_head(raw)  # some writers forget the VR of an element
        return group << 16 | number, None, at + 8, length

    def end_of(self, tag: int, offset: int, length: int, stop: int) -> int:
        """Where a value of defined length ends.

        Raises:
            InvalidInstance: behind `stop`.
        """
        if length > stop - offset:
            raise InvalidInstance(
                f"{_name(tag)} claims {length} bytes where there are {stop - offset} (at byte {offset})"
            )
        return offset + length

    def _elements(
        self,
        at: int,
        stop: int,
        *,
        implicit: bool,
        into: bool,
        wanted: frozenset[int] | None = None,
        depth: int = 0,
        delimited: bool = False,
    ) -> Iterator[Element]:
        """Walk a data set, that of an item too, and leave `_at` behind it: behind its delimiter, if `delimited`."""
        while at < stop:
            tag, vr, offset, length = self.head(at, stop, implicit=implicit)
            items = None
            if tag < _FIRST_TAG or tag >> 16 == _DELIMITER_GROUP:
                if delimited and tag == _ITEM_END:
                    self._at = offset
                    return
                raise InvalidInstance(f"{_name(tag)} does not belong into a data set (at byte {at})")
            if length == _UNDEFINED:
                fragments = vr in _VRS_OF_FRAGMENTS or tag == _PIXEL_DATA
                end, items = self._items(
                    tag, offset, stop, implicit=implicit, into=into, depth=depth, delimited=True, fragments=fragments
                )
            else:
                end = self.end_of(tag, offset, length, stop)
                if into and length and (vr == b"SQ" or (vr is None and tag in _sequence_tags())):
                    self._items(tag, offset, end, implicit=vr is None, into=True, depth=depth)
            if wanted is None or tag in wanted:
                yield Element(tag, vr, offset, end - offset, items)
            at = end
        if delimited:
            raise InvalidInstance(f"an item is not closed (at byte {stop})")
        self._at = at

    def _items(
        self,
        tag: int,
        at: int,
        stop: int,
        *,
        implicit: bool,
        into: bool,
        depth: int,
        delimited: bool = False,
        fragments: bool = False,
    ) -> tuple[int, int]:
        """Walk the items of a sequence, or the fragments of encapsulated pixel data; where they end, how many."""
        if depth == _DEEPEST:
            raise InvalidInstance(f"sequences nest deeper than {_DEEPEST} (at byte {at})")
        count = 0
        while at < stop:
            item, offset, length = self._item_head(at, stop)
            if item == _SEQUENCE_END and delimited:
                return offset, count
            if item != _ITEM or (fragments and length == _UNDEFINED):
                raise InvalidInstance(f"no item of {_name(tag)} where one should be (at byte {at})")
            count += 1
            ends = length != _UNDEFINED
            at = self.end_of(item, offset, length, stop) if ends else stop
            if not fragments and length and (into or not ends):
                inner = self._item_is_implicit(offset, parent_is=implicit)
                walked = self._elements(
                    offset, at, implicit=inner, into=into, wanted=_NONE, depth=depth + 1, delimited=not ends
                )
                deque(walked, maxlen=0)
                at = self._at
        if delimited:
            raise InvalidInstance(f"{_name(tag)} is not closed (at byte {stop})")
        return at, count

    def _item_head(self, at: int, stop: int) -> tuple[int, int, int]:
        tag, _, offset, length = self.head(at, stop, implicit=True)  # items and delimiters never carry a VR
        return tag, offset, length

    def _item_is_implicit(self, at: int, *, parent_is: bool) -> bool:
        """An item inside explicit VR may be in implicit VR (PS3.5 §6.2.2, and writers who forget), not the reverse."""
        return parent_is or not _CAPITALS.issuperset(self.peek(at + 4, 2))


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@cache
def _sequence_tags() -> frozenset[int]:
    """The tags that are sequences: in implicit VR the data dictionary alone knows."""
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415 - explicit VR never needs it; a public name for the table there is not

    return frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
