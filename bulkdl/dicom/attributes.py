"""The attributes of an instance that validation needs, from one walk over its data set, and its identity."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bulkdl.dicom.part10 import uid_text
from bulkdl.errors import InvalidInstance, InvalidUid
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid, is_uid, parse_series_uid, parse_sop_uid

if TYPE_CHECKING:
    from bulkdl.dicom.part10 import Element, Walk


class Tag:
    """The elements of a data set that this package reads by name."""

    SOP_CLASS = 0x00080016
    SOP_INSTANCE = 0x00080018
    STUDY = 0x0020000D
    SERIES = 0x0020000E
    SAMPLES_PER_PIXEL = 0x00280002
    PHOTOMETRIC_INTERPRETATION = 0x00280004
    PLANAR_CONFIGURATION = 0x00280006
    NUMBER_OF_FRAMES = 0x00280008
    ROWS = 0x00280010
    COLUMNS = 0x00280011
    BITS_ALLOCATED = 0x00280100
    BITS_STORED = 0x00280101
    PIXEL_REPRESENTATION = 0x00280103
    DOSE_UNITS = 0x30040002
    EXTENDED_OFFSETS = 0x7FE00001
    PIXEL_DATA = 0x7FE00010


PIXEL_DATA_KEYWORDS = {Tag.PIXEL_DATA: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}
"""The elements that hold pixel data, and their keywords."""

FRAME_ATTRIBUTES = (
    *(Tag.SAMPLES_PER_PIXEL, Tag.PHOTOMETRIC_INTERPRETATION, Tag.PLANAR_CONFIGURATION, Tag.ROWS, Tag.COLUMNS),
    *(Tag.BITS_ALLOCATED, Tag.BITS_STORED, Tag.PIXEL_REPRESENTATION),
)
"""What pydicom needs to decode a frame."""

_IDENTITY = frozenset((Tag.SOP_CLASS, Tag.SOP_INSTANCE, Tag.STUDY, Tag.SERIES))
_OTHERS = (Tag.NUMBER_OF_FRAMES, Tag.DOSE_UNITS, Tag.EXTENDED_OFFSETS)
_WANTED = _IDENTITY.union(FRAME_ATTRIBUTES, PIXEL_DATA_KEYWORDS, _OTHERS)
_MAX_VALUE_BYTES = 256
_MOST_OFFSETS_BYTES = 1 << 25


class InstanceAttributes:
    """The identity of an instance and the attributes of its image. InvalidInstance: what is read is invalid.

    With `whole`, the data set is walked to its end; otherwise only until the identity is found.
    """

    def __init__(self, walk: Walk, *, whole: bool) -> None:
        self.walk = walk
        self._found: dict[int, Element] = {}
        declared = walk.is_implicit
        for element in walk.elements(_WANTED if whole else _IDENTITY):
            self._found[element.tag] = element
            if not whole and _IDENTITY.issubset(self._found):
                break
        self.is_implicit = walk.is_implicit
        self.is_as_declared = walk.is_implicit == declared
        self.sop_class_uid = self.uid(Tag.SOP_CLASS)
        self.pixel_data = next((self._found[tag] for tag in PIXEL_DATA_KEYWORDS if tag in self._found), None)

    def __contains__(self, tag: int) -> bool:
        return tag in self._found

    def uid(self, tag: int) -> str | None:
        """A UID without padding; None if it is missing or empty."""
        return uid_text(self._raw(tag)) or None

    def number(self, tag: int) -> int:
        """The value of an unsigned attribute that every image needs."""
        raw = self._raw(tag)
        if len(raw) not in {2, 4}:  # US; some writers use UL
            from pydicom.datadict import dictionary_description  # noqa: PLC0415

            raise InvalidInstance(f"pixel data without {dictionary_description(tag)}")
        return int.from_bytes(raw, "little" if self.walk.little else "big")

    def number_of_frames(self) -> int:
        """The number of frames, 1 if the attribute is missing, empty or 0 (as pydicom reads it)."""
        text = self._raw(Tag.NUMBER_OF_FRAMES).strip(b" \0")
        if not text:
            return 1
        if not text.removeprefix(b"+").isdigit():  # IS may have a sign (PS3.5 §6.2)
            raise InvalidInstance(f"Number of Frames is not a number: {text[:16]!r}")
        return int(text) or 1

    def photometric_interpretation(self) -> str:
        """How samples give colours, such as MONOCHROME2; empty if it is missing."""
        return self._raw(Tag.PHOTOMETRIC_INTERPRETATION).decode("ascii", "replace").strip(" \0")

    def extended_offsets(self) -> Sequence[int]:
        """The Extended Offset Table; empty if it is missing."""
        element = self._found.get(Tag.EXTENDED_OFFSETS)
        if element is None or element.length % 8 or element.length > _MOST_OFFSETS_BYTES:
            return ()
        return little_endian("Q", self.walk.value(element))

    def _raw(self, tag: int) -> bytes:
        element = self._found.get(tag)
        return self.walk.peek(element.offset, min(element.length, _MAX_VALUE_BYTES)) if element is not None else b""


def little_endian(code: str, raw: bytes) -> Sequence[int]:
    """Unsigned integers of `array`'s type code, with a little-endian encoding."""
    numbers = array(code, raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def parse_identity(sop_uid: str | None, series_uid: str | None) -> tuple[SopInstanceUid, SeriesUid]:
    """The SOP Instance UID and the Series Instance UID of an instance; InvalidInstance if one is missing or invalid."""
    if sop_uid is None:
        raise InvalidInstance("no SOP Instance UID")
    if series_uid is None:
        raise InvalidInstance("no Series Instance UID")
    try:
        return parse_sop_uid(sop_uid), parse_series_uid(series_uid)
    except InvalidUid as error:
        raise InvalidInstance(f"invalid UID: {error}") from error


def parse_study_uid(study_uid: str | None) -> StudyUid | None:
    """The Study Instance UID; None if it is missing or invalid, which does not make an instance invalid."""
    return StudyUid(study_uid) if study_uid is not None and is_uid(study_uid) else None
