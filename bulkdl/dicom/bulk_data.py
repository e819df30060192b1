"""Find frames and other bulk data in a file: where they lie, so that they can be sent from there as they are stored.

Source: PS3.5 §8 and §A.4 (encoding of pixel data), PS3.18 §10.4.1.1.5 and §10.4.1.1.6 (frames, bulk data).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bulkdl.dicom.attributes import PIXEL_DATA_KEYWORDS, InstanceAttributes, Tag
from bulkdl.dicom.frames import Frames
from bulkdl.dicom.json_model import BINARY
from bulkdl.dicom.opening import read_with_pydicom
from bulkdl.dicom.part10 import (
    DEFLATED_LITTLE,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    JPIP_DEFLATED,
    Element,
    open_data_set,
    opened,
    read_meta,
)
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Piece: TypeAlias = tuple[tuple[int, int], ...] | bytes
"""Places in the file, each an offset and a length, that follow each other; or bytes that are not in it as such."""

_PLACE: Final = re.compile(r"[0-9A-F]{8}(?:/[1-9][0-9]{0,5}/[0-9A-F]{8}){0,16}")
_NATIVE: Final = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, DEFLATED_LITTLE})
_SUBSAMPLED: Final = frozenset({"YBR_FULL_422", "YBR_PARTIAL_422"})


@dataclass(frozen=True, slots=True)
class BulkData:
    """Bulk data of a file. `transfer_syntax_uid` is that of the pieces: explicit little endian of implicit, too.

    There are no pieces if the file does not have what is asked for.
    """

    transfer_syntax_uid: str
    is_encapsulated: bool = False
    pieces: tuple[Piece, ...] = ()


def read_frames(path: Path, numbers: Sequence[int]) -> BulkData:
    """Find frames by their numbers, from 1. There are no pieces if a number is too large, or without pixel data.

    Raises:
        InvalidInstance: the file has frames that cannot be separated, or is invalid.
    """
    with opened(path) as file:
        meta = read_meta(file)
        syntax = meta.transfer_syntax_uid or ""
        attributes = InstanceAttributes(open_data_set(file, meta), whole=True)
        return _frames(attributes, syntax, numbers)


def _frames(attributes: InstanceAttributes, syntax: str, numbers: Sequence[int] | None) -> BulkData:
    """The frames of these numbers; None is all, and of pixel data that is not encapsulated they are one piece."""
    pixel_data = attributes.pixel_data
    if pixel_data is None:
        return BulkData(syntax)
    if pixel_data.items is not None:
        frames = Frames(attributes, pixel_data, syntax)
        if not frames:
            raise InvalidInstance("the frames of its pixel data cannot be separated")
        wanted = range(1, len(frames) + 1) if numbers is None else numbers
        if max(wanted, default=0) > len(frames):
            return BulkData(syntax, is_encapsulated=True)
        return BulkData(syntax, is_encapsulated=True, pieces=tuple(frames.places(one - 1) for one in wanted))
    of_pieces = EXPLICIT_LITTLE if syntax in _NATIVE else syntax
    native = _NativePixels(attributes, pixel_data, is_inflated=syntax == DEFLATED_LITTLE or syntax in JPIP_DEFLATED)
    if numbers is None:
        return BulkData(of_pieces, pieces=(native.bytes_from(0, pixel_data.length),))
    if max(numbers, default=0) > attributes.number_of_frames():
        return BulkData(of_pieces)
    return BulkData(of_pieces, pieces=tuple(native.frame(number) for number in numbers))


class _NativePixels:
    """Pixel data that is not encapsulated. What was inflated is not in the file as such."""

    def __init__(self, attributes: InstanceAttributes, pixel_data: Element, *, is_inflated: bool) -> None:
        self._attributes = attributes
        self._pixel_data = pixel_data
        self._is_inflated = is_inflated

    def bytes_from(self, start: int, size: int) -> Piece:
        """Some bytes."""
        offset = self._pixel_data.offset + start
        return self._attributes.walk.peek(offset, size) if self._is_inflated else ((offset, size),)

    def frame(self, number: int) -> Piece:
        """A frame, counted from 1. Single bits are packed across frames, so that one need not begin with a byte."""
        bits = self._bits_of_frame()
        start, shift = divmod((number - 1) * bits, 8)
        size = (shift + bits + 7) // 8
        if start + size > self._pixel_data.length:
            raise InvalidInstance(f"{self._pixel_data.length} bytes of pixel data where a frame needs {start + size}")
        if not shift and not bits % 8:
            return self.bytes_from(start, size)
        content = self._attributes.walk.peek(self._pixel_data.offset + start, size)
        frame = int.from_bytes(content, "little") >> shift & ((1 << bits) - 1)
        return frame.to_bytes((bits + 7) // 8, "little")

    def _bits_of_frame(self) -> int:
        number = self._attributes.number
        is_subsampled = self._attributes.photometric_interpretation() in _SUBSAMPLED
        samples = 2 if is_subsampled else number(Tag.SAMPLES_PER_PIXEL)
        bits = number(Tag.ROWS) * number(Tag.COLUMNS) * samples * number(Tag.BITS_ALLOCATED)
        if not bits:
            raise InvalidInstance("its attributes give a frame no pixels")
        return bits


def read_bulk_data(path: Path, place: str) -> BulkData:
    """Find the binary value of an element by its place in the data set: its tag, or `SEQUENCE/ITEM/TAG`, items from 1.

    There are no pieces if there is no such element. Encapsulated pixel data has one for each frame.

    Raises:
        InvalidInstance: the file cannot be read.
    """
    if _PLACE.fullmatch(place) is None:
        return BulkData(EXPLICIT_LITTLE)
    try:
        with opened(path) as file, suppressed_pydicom_warnings:
            meta = read_meta(file)
            syntax = meta.transfer_syntax_uid or ""
            attributes = InstanceAttributes(open_data_set(file, meta), whole=True)
            if int(place[:8], 16) in PIXEL_DATA_KEYWORDS:
                return _frames(attributes, syntax, None) if len(place) == len("7FE00010") else BulkData(syntax)
            dataset = read_with_pydicom(file, attributes, syntax, stop_before_pixels=True)
            value = _value_at(dataset, place.split("/"))
    except (InvalidInstance, MemoryError):
        raise
    except Exception as error:  # pydicom raises many kinds of exceptions on damaged files
        raise InvalidInstance(f"it cannot be read: {error_text(error)}") from error
    of_value = EXPLICIT_BIG if syntax == EXPLICIT_BIG else EXPLICIT_LITTLE
    return BulkData(of_value, pieces=() if value is None else (value,))


def _value_at(dataset: Dataset, place: Sequence[str]) -> bytes | None:
    """The value at a place; None if there is none, or if it is not binary."""
    found = dataset
    for tag, item in zip(place[:-1:2], place[1:-1:2], strict=True):
        sequence: Any = found.get(int(tag, 16))
        if sequence is None or sequence.VR != "SQ" or int(item) > len(sequence.value):
            return None
        found = sequence.value[int(item) - 1]
    element: Any = found.get(int(place[-1], 16))
    if element is None or not isinstance(value := element.value, bytes):
        return None
    is_binary = element.VR in BINARY or " " in element.VR  # one that depends on others, such as "US or OW"
    return value if is_binary else None
