"""Read a DICOM file element by element: its File Meta Information, and a walk over tags and lengths, not values.

The walk exists because pydicom accepts a file that ends in the middle of a value, or between two elements. It parses
like pydicom (`filereader.py` of 3.0), lenient about VRs, and also rejects an element that claims more bytes than there
are, a sequence that is not closed, and a delimiter in a wrong place.

Source: PS3.10 §7.1 (preamble and meta information), PS3.5 §7.1 (elements), §7.5 (sequences), §A.4 (encapsulated pixel
data), §A.5 (deflated data sets).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bulkdl.errors import InvalidInstance
from bulkdl.model.preamble import HEAD_BYTES, is_dicom

IMPLICIT_LITTLE = "1.2.840.10008.1.2"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
EXPLICIT_BIG = "1.2.840.10008.1.2.2"
DEFLATED_LITTLE = "1.2.840.10008.1.2.1.99"
STANDARD = "1.2.840.10008."  # UIDs of DICOM begin so; all others are private
JPIP_DEFLATED = frozenset(("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))  # pydicom does not inflate these

_META_GROUP = b"\2\0"
_MEDIA_SOP_CLASS = 0x00020002
_MEDIA_SOP_INSTANCE = 0x00020003
_TRANSFER_SYNTAX = 0x00020010
_GROUP_LENGTH = (0x00020000, b"UL", 4)
_DICOMDIR = "1.2.840.10008.1.3.10"

_ITEM = 0xFFFEE000
_ITEM_END = 0xFFFEE00D
_SEQUENCE_END = 0xFFFEE0DD
_PIXEL_DATA = 0x7FE00010
_FIRST_GROUP = 0x0008  # lower groups do not belong to a data set (PS3.5 §7.1)
_FIRST_TAG = _FIRST_GROUP << 16
_NO_HEAD = (0, 0, b"", 0)
_ILLEGAL_GROUPS = frozenset((1, 3, 5, 7))  # forbidden (PS3.5 §7.8.1), but all readers known accept them
_DELIMITER_GROUP = 0xFFFE
_LEAST_BYTES = 8  # of an element
_UNDEFINED = 0xFFFFFFFF
_LONGEST_UID = 80  # more than the 64 allowed, so that a longer UID is recognised as invalid
_DEEPEST = 64  # real sequences nest less than ten deep; both pydicom and the walk recurse

_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_VRS_OF_FRAGMENTS = frozenset((b"OB", b"OW"))
_NONE: frozenset[int] = frozenset()
_CAPITALS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

_BUFFER_BYTES = 1 << 15
_INFLATED_AT_ONCE = 1 << 20
_LARGEST_INFLATED = 1 << 28  # deflated data can grow a thousandfold, and pydicom inflates it in memory


class Element(NamedTuple):
    """One element of a data set: the position of its value, in bytes from the start of the file.

    `vr` is None in implicit VR. A value of undefined length includes its closing delimiter; `items` counts its items,
    fragments included, and is None for a value of defined length.
    """

    tag: int
    vr: bytes | None
    offset: int
    length: int
    items: int | None


class FileMeta(NamedTuple):
    """The File Meta Information. The data set begins at byte `end` of a file of `size` bytes.

    It `is_plain` if it begins with its group length, has one only, and both it and the transfer syntax have the VRs of
    PS3.10 §7.1.
    """

    transfer_syntax_uid: str | None
    media_sop_uid: str | None
    end: int
    size: int
    is_plain: bool = False


@contextmanager
def opened(source: Path | bytes | memoryview | BinaryIO) -> Iterator[BinaryIO]:
    """An instance as an open file: a path, its bytes, or an open seekable file. InvalidInstance: it cannot be read."""
    try:
        if isinstance(source, Path):
            with source.open("rb", buffering=_BUFFER_BYTES) as file:
                yield file
        else:
            yield io.BytesIO(source) if isinstance(source, bytes | memoryview) else source
    except OSError as error:
        raise InvalidInstance(f"not readable: {error.strerror or error}") from error


def read_meta(file: BinaryIO) -> FileMeta:
    """Read the preamble and the meta information of an open file. InvalidInstance: it has none, or is a DICOMDIR."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if not is_dicom(file.read(HEAD_BYTES)):
        raise InvalidInstance("no DICOM preamble and meta information (PS3.10 §7.1)")
    uids: dict[int, str] = {}
    walk = Walk(file, size)
    at = first = HEAD_BYTES
    is_plain = False
    while walk.peek(at, 2) == _META_GROUP:  # what follows may have another encoding, or be deflated
        tag, vr, offset, length = walk.head(at, size, implicit=False)
        if at == first:
            is_plain = (tag, vr, length) == _GROUP_LENGTH
        elif (tag == _TRANSFER_SYNTAX and vr != b"UI") or tag == _GROUP_LENGTH[0]:
            is_plain = False
        at = walk.end_of(tag, offset, length, size)
        if tag in {_MEDIA_SOP_CLASS, _MEDIA_SOP_INSTANCE, _TRANSFER_SYNTAX}:
            uids[tag] = uid_text(walk.peek(offset, min(length, _LONGEST_UID)))
    if at == first:
        raise InvalidInstance("no DICOM preamble and meta information (PS3.10 §7.1)")
    if uids.get(_MEDIA_SOP_CLASS) == _DICOMDIR:
        raise InvalidInstance("a DICOMDIR")
    return FileMeta(uids.get(_TRANSFER_SYNTAX) or None, uids.get(_MEDIA_SOP_INSTANCE) or None, at, size, is_plain)


def uid_text(raw: bytes) -> str:
    """A UID without padding. Bytes that are not ASCII become replacement characters, which makes the UID invalid."""
    return raw.decode("ascii", "replace").strip(" \0")


def open_data_set(
    file: BinaryIO, meta: FileMeta, *, into_sequences: bool = True, inflate_bytes: int | None = None
) -> Walk:
    """Make a walk over the data set after `meta`. InvalidInstance: a deflated one is truncated, corrupt or too large.

    Without `into_sequences`, sequences of defined length are skipped as a whole. A deflated data set is inflated into
    memory: completely, or until at least `inflate_bytes` are available. A data set in a private transfer syntax is read
    as it looks: its first group number gives the byte order.
    """
    syntax, size = meta.transfer_syntax_uid, meta.size
    if syntax == DEFLATED_LITTLE or syntax in JPIP_DEFLATED:
        inflated, zeros = _inflate(file, size, meta.end, inflate_bytes)
        walk = Walk(inflated, inflated.tell(), into_sequences=into_sequences)
        walk.zeros_after = zeros
        return walk
    is_implicit, is_little = syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    if syntax is not None and not syntax.startswith(STANDARD):
        file.seek(meta.end)
        is_little = not file.read(2).startswith(b"\0")
    return Walk(file, size, meta.end, implicit=is_implicit, little=is_little, into_sequences=into_sequences)


def _inflate(file: BinaryIO, size: int, at: int, enough: int | None) -> tuple[io.BytesIO, int]:
    """The inflated data set, open at its end, and the number of zero bytes after it that are not its padding."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = io.BytesIO()  # not copied afterwards, it may be large
    file.seek(at)
    try:
        while not stream.eof:
            chunk = stream.unconsumed_tail or file.read(_INFLATED_AT_ONCE)
            piece = stream.decompress(chunk, _INFLATED_AT_ONCE)
            if not (chunk or piece):
                raise InvalidInstance("the deflated data set is truncated")
            inflated.write(piece)
            if enough is not None and inflated.tell() >= enough:
                return inflated, 0
            if inflated.tell() > _LARGEST_INFLATED:
                raise InvalidInstance(f"the deflated data set has more than {_LARGEST_INFLATED} bytes")
    except zlib.error as error:
        raise InvalidInstance(f"the deflated data set is corrupt ({error})") from error
    ended_at = file.tell() - len(stream.unused_data)
    # Some writers add gzip's trailer (observed in pydicom's image_dfl.dcm).
    trailer = struct.pack("<LL", zlib.crc32(inflated.getbuffer()), inflated.tell() & 0xFFFFFFFF)
    file.seek(ended_at)
    rest_at = ended_at + (len(trailer) if file.read(len(trailer)) == trailer else 0)
    if not _is_zeros(file, rest_at):
        raise InvalidInstance(
            f"the deflated data set ends at byte {ended_at} of {size}; the bytes after it are not padding (PS3.5 §A.5)"
        )
    zeros = size - rest_at
    return inflated, zeros if zeros > 1 else 0  # some writers pad, and some do not (PS3.5 §A.5)


def _is_zeros(file: BinaryIO, at: int) -> bool:
    """Whether the file has only zeros from `at` on."""
    file.seek(at)
    while block := file.read(_INFLATED_AT_ONCE):
        if block.count(0) != len(block):
            return False
    return True


class Walk:
    """A walk over the data set that begins at byte `start` of an open file of `size` bytes.

    Its methods raise InvalidInstance where the data set is invalid.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        start: int = 0,
        *,
        implicit: bool = False,
        little: bool = True,
        into_sequences: bool = True,
    ) -> None:
        self._file = file
        self._size = size
        self._start = start
        self._into_sequences = into_sequences
        self.is_implicit = implicit  # as declared; after `elements` has begun, as found, which is what pydicom uses
        self.little = little
        self.illegal_groups: set[int] = set()  # found so far
        self.zeros_after = 0  # bytes after the data set; complete when all elements were walked
        order = "<" if little else ">"
        self._explicit_head = struct.Struct(f"{order}HH2sH").unpack
        self._implicit_head = struct.Struct(f"{order}HHL").unpack
        self._long_length = struct.Struct(f"{order}L").unpack
        self._at = start

    def peek(self, at: int, count: int) -> bytes:
        """The `count` bytes at `at`; fewer if the file ends before."""
        self._file.seek(at)
        return self._file.read(count)

    def open_at(self, element: Element | None = None) -> BinaryIO:
        """The file of the walk, inflated if it was deflated, at a value or at the beginning of the data set."""
        self._file.seek(element.offset if element is not None else self._start)
        return self._file

    def value(self, element: Element) -> bytes:
        """The bytes of a value."""
        return self.peek(element.offset, element.length)

    def elements(self, wanted: frozenset[int] | None = None) -> Iterator[Element]:
        """The elements of the data set in the order of the file, all or only the `wanted`, but not those of sequences.

        The data set is checked as far as the iterator is used.
        """
        raw_vr = self.peek(self._start + 4, 2)
        if len(raw_vr) == 2:  # noqa: PLR2004 - a VR is two bytes
            self.is_implicit = not _CAPITALS.issuperset(raw_vr)
        return self._elements(self._start, self._size, implicit=self.is_implicit, wanted=wanted)

    def fragments(self, pixel_data: Element) -> Iterator[tuple[int, int]]:
        """Offset and length of each item of encapsulated pixel data; the first is the Basic Offset Table."""
        at = pixel_data.offset
        for _ in range(pixel_data.items or 0):
            _, offset, length = self._item_head(at, self._size)
            yield offset, length
            at = offset + length

    def first_item(self, sequence: Element) -> Iterator[Element]:
        """The elements of the first item of a sequence; none if it has no items."""
        stop = sequence.offset + sequence.length
        if sequence.length == 0:
            return iter(())
        tag, offset, length = self._item_head(sequence.offset, stop)
        if tag != _ITEM:
            return iter(())
        implicit = self._item_is_implicit(offset, parent_is=sequence.vr is None)
        if length == _UNDEFINED:
            return self._elements(offset, stop, implicit=implicit, depth=1, delimited=True)
        return self._elements(offset, self.end_of(tag, offset, length, stop), implicit=implicit, depth=1)

    def head(self, at: int, stop: int, *, implicit: bool) -> tuple[int, bytes | None, int, int]:
        """Tag, VR, offset of the value and its length, as written, of the element at `at`."""
        self._file.seek(at)
        raw = self._file.read(8)
        if at + 8 > stop or len(raw) < 8:  # noqa: PLR2004 - tag, VR and length
            raise InvalidInstance(f"truncated in the head of an element (at byte {at})")
        if implicit:
            group, number, length = self._implicit_head(raw)
            return group << 16 | number, None, at + 8, length
        group, number, vr, length = self._explicit_head(raw)
        if vr in _SHORT_VRS:
            return group << 16 | number, vr, at + 8, length
        if vr in _LONG_VRS:
            raw = self._file.read(4)
            if at + 12 > stop or len(raw) < 4:  # noqa: PLR2004 - a length
                raise InvalidInstance(f"truncated in the head of {_name(group << 16 | number)} (at byte {at})")
            return group << 16 | number, vr, at + 12, self._long_length(raw)[0]
        if b"AA" <= vr <= b"ZZ":  # an unknown VR: pydicom reads a short length
            return group << 16 | number, vr, at + 8, length
        group, number, length = self._implicit_head(raw)  # some writers omit the VR of an element
        return group << 16 | number, None, at + 8, length

    def end_of(self, tag: int, offset: int, length: int, stop: int) -> int:
        """The end of a value of defined length, which may not be after `stop`."""
        if length > stop - offset:
            raise InvalidInstance(
                f"{_name(tag)} claims {length} bytes where there are {stop - offset} (at byte {offset})"
            )
        return offset + length

    def _elements(  # noqa: C901, PLR0912 - one loop, with few calls: it takes most of the time of a validation
        self,
        at: int,
        stop: int,
        *,
        implicit: bool,
        wanted: frozenset[int] | None = None,
        depth: int = 0,
        delimited: bool = False,
    ) -> Iterator[Element]:
        """Walk a data set or an item, and set `_at` to its end: after its delimiter, if it is `delimited`."""
        into = self._into_sequences
        seek, read, unpack = self._file.seek, self._file.read, self._explicit_head
        while at < stop and not (stop - at < _LEAST_BYTES and self._ends_in_zeros(at, depth)):
            if not implicit:
                seek(at)
                raw = read(8)
                group, number, vr, length = unpack(raw) if len(raw) == 8 else _NO_HEAD  # noqa: PLR2004 - tag, VR, length
                if vr in _SHORT_VRS and _FIRST_GROUP <= group < _DELIMITER_GROUP and length <= stop - at - 8:
                    # The usual element, on the spot: the calls below take twice the time.
                    tag = group << 16 | number
                    if wanted is None or tag in wanted:
                        yield Element(tag, vr, at + 8, length, None)
                    at += 8 + length
                    continue
            tag, vr, offset, length = self.head(at, stop, implicit=implicit)
            items = None
            if tag < _FIRST_TAG or tag >> 16 == _DELIMITER_GROUP:
                if delimited and tag == _ITEM_END:
                    self._at = offset
                    return
                if tag == 0 and self._ends_in_zeros(at, depth):
                    break
                self._accept_illegal(tag, at)
            if length == _UNDEFINED:
                if vr in _VRS_OF_FRAGMENTS or tag == _PIXEL_DATA:
                    end, items = self._fragments(tag, offset, stop)
                else:
                    end, items = self._items(tag, offset, stop, implicit=implicit, depth=depth, delimited=True)
            else:
                end = self.end_of(tag, offset, length, stop)
                if into and length and (vr == b"SQ" or (vr is None and tag in _sequence_tags())):
                    self._items(tag, offset, end, implicit=vr is None, depth=depth)
            if wanted is None or tag in wanted:
                yield Element(tag, vr, offset, end - offset, items)
            at = end
        if delimited:
            raise InvalidInstance(f"an item is not closed (at byte {stop})")
        self._at = at

    def _accept_illegal(self, tag: int, at: int) -> None:
        if tag >> 16 not in _ILLEGAL_GROUPS:
            raise InvalidInstance(f"{_name(tag)} does not belong into a data set (at byte {at})")
        self.illegal_groups.add(tag >> 16)

    def _ends_in_zeros(self, at: int, depth: int) -> bool:
        """Whether the data set ends here, and only zeros follow: some writers pad a file to a block of the disk."""
        if depth > 0 or not _is_zeros(self._file, at):
            return False
        self.zeros_after = self._size - at
        return True

    def _items(
        self, tag: int, at: int, stop: int, *, implicit: bool, depth: int, delimited: bool = False
    ) -> tuple[int, int]:
        """Walk the items of a sequence. Returns the end of the sequence and the number of items."""
        if depth == _DEEPEST:
            raise InvalidInstance(f"sequences nest deeper than {_DEEPEST} (at byte {at})")
        count = 0
        while at < stop:
            item, offset, length = self._item_head(at, stop)
            if item == _SEQUENCE_END and delimited:
                return offset, count
            if item != _ITEM:
                raise InvalidInstance(f"expected an item of {_name(tag)} (at byte {at})")
            count += 1
            is_defined = length != _UNDEFINED
            at = self.end_of(item, offset, length, stop) if is_defined else stop
            if length and (self._into_sequences or not is_defined):
                inner = self._item_is_implicit(offset, parent_is=implicit)
                walked = self._elements(
                    offset, at, implicit=inner, wanted=_NONE, depth=depth + 1, delimited=not is_defined
                )
                deque(walked, maxlen=0)
                at = self._at
        if delimited:
            raise InvalidInstance(f"{_name(tag)} is not closed (at byte {stop})")
        return at, count

    def _fragments(self, tag: int, at: int, stop: int) -> tuple[int, int]:
        """Walk the fragments of encapsulated pixel data. Returns their end and their number."""
        count = 0
        while at < stop:
            item, offset, length = self._item_head(at, stop)
            if item == _SEQUENCE_END:
                return offset, count
            if item != _ITEM or length == _UNDEFINED:
                raise InvalidInstance(f"expected an item of {_name(tag)} (at byte {at})")
            count += 1
            at = self.end_of(item, offset, length, stop)
        raise InvalidInstance(f"{_name(tag)} is not closed (at byte {stop})")

    def _item_head(self, at: int, stop: int) -> tuple[int, int, int]:
        tag, _, offset, length = self.head(at, stop, implicit=True)  # items and delimiters never carry a VR
        return tag, offset, length

    def _item_is_implicit(self, at: int, *, parent_is: bool) -> bool:
        """An item in explicit VR may have implicit VR (PS3.5 §6.2.2, and some writers), but not the reverse."""
        return parent_is or not _CAPITALS.issuperset(self.peek(at + 4, 2))


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


@cache
def _sequence_tags() -> frozenset[int]:
    """The tags of sequences, which in implicit VR are known only from the data dictionary."""
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415 - needed for implicit VR only; the table has no public name

    return frozenset(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
