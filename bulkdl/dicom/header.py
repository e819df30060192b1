"""Read the header of a DICOM file: its UIDs, and the values for a catalogue.

Reads the elements up to Pixel Spacing (0028,0030), in some hundred microseconds. Values are parsed here and not by
pydicom, which warns of invalid values through filters that all threads share; here such values are None.

Source: PS3.3 and PS3.6 for the attributes. The Collection is in the private block "CTP" of group 0013, element 10,
where the RSNA's CTP writes it before data is sent to TCIA.
"""

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from bulkdl.dicom.attributes import Tag, parse_identity, parse_study_uid
from bulkdl.dicom.part10 import Element, Walk, open_data_set, opened, read_meta, uid_text
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import InvalidInstance
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid

_CHARACTER_SET = 0x00080005
_QUALITY_CONTROL_SUBJECT = 0x00100200
_SPECIES_CODE_SEQUENCE = 0x00102202
_CODE_VALUE = 0x00080100
_LAST_NEEDED = 0x00200013  # Instance Number; errors after this element are ignored
_LAST = 0x00280030  # Pixel Spacing
_CTP_GROUP = 0x0013
_CTP = b"CTP"
_CTP_PROJECT = 0x10
_CTP_SITE = 0x12

_MAX_VALUE_BYTES = 1 << 16
_INFLATE_BYTES = 1 << 20  # contains the first groups of a deflated data set
_DOUBLE_BYTES = 8
_DIGITS_OF_A_DATE = 8
_ESCAPE = b"\x1b"
_ESCAPE_SEQUENCE = re.compile("\x1b[ -/]*[0-~]?")


class _HeaderValues:
    """The raw values of the header by tag, and their conversions."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._raw: dict[int, bytes] = {}
        self._ctp: dict[int, bytes] = {}
        self.species_code: str | None = None
        self._is_identified = False
        try:
            self._collect()
        except InvalidInstance as error:
            if not self._is_identified:
                raise InvalidInstance(f"not readable: {error}") from error

    def _collect(self) -> None:
        blocks: set[int] = set()
        for element in self._walk.elements():
            tag = element.tag
            if tag > _LAST_NEEDED and Tag.SOP_INSTANCE in self._raw and Tag.SERIES in self._raw:
                self._is_identified = True
                if tag > _LAST:
                    return
            if tag in _WANTED:
                if element.length <= _MAX_VALUE_BYTES:
                    self._raw[tag] = self._walk.value(element)
            elif tag >> 16 == _CTP_GROUP and element.length <= _MAX_VALUE_BYTES:
                self._collect_ctp(element, blocks)
            elif tag == _SPECIES_CODE_SEQUENCE:
                codes = (code for code in self._walk.first_item(element) if code.tag == _CODE_VALUE)
                values = (self._walk.value(code) for code in codes if code.length <= _MAX_VALUE_BYTES)
                self.species_code = self._decoded(next(values, b""))

    def _collect_ctp(self, element: Element, blocks: set[int]) -> None:
        block, number = element.tag >> 8 & 0xFF, element.tag & 0xFF
        if block == 0:
            if self._walk.value(element).strip(b" \0") == _CTP:
                blocks.add(number)
        elif block in blocks:
            self._ctp.setdefault(number, self._walk.value(element))

    def uid(self, tag: int) -> str | None:
        return uid_text(self._raw.get(tag, b"")) or None

    def text(self, tag: int) -> str | None:
        return self._decoded(self._raw.get(tag, b""))

    def ctp(self, number: int) -> str | None:
        return self._decoded(self._ctp.get(number, b""))

    def date(self, tag: int) -> date | None:
        digits = "".join((self.text(tag) or "").split("\\")[0].split("."))  # 1993.08.22 is ACR-NEMA's format
        if len(digits) != _DIGITS_OF_A_DATE or not (digits.isascii() and digits.isdigit()):
            return None
        try:
            return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        except ValueError:
            return None

    def integer(self, tag: int) -> int | None:
        try:
            number = int((self.text(tag) or "").split("\\")[0])
        except ValueError:
            return None
        return number if -(1 << 31) <= number < 1 << 31 else None  # the range of IS (PS3.5 §6.2)

    def millimetres(self, tag: int) -> float | None:
        try:
            length = float((self.text(tag) or "").split("\\")[0])
        except ValueError:
            return None
        return length if 0 < length < math.inf else None

    def double(self, tag: int) -> float | None:
        raw = self._raw.get(tag, b"")
        if len(raw) != _DOUBLE_BYTES:
            return None
        number: float = struct.unpack("<d" if self._walk.little else ">d", raw)[0]
        return number if number - number == 0 else None  # neither infinite nor NaN

    def _decoded(self, raw: bytes) -> str | None:
        if raw.isascii() and _ESCAPE not in raw:
            return raw.decode("ascii").strip(" \0") or None
        return _decode(raw, self._raw.get(_CHARACTER_SET, b"")).strip(" \0") or None


def _decode(raw: bytes, character_set: bytes) -> str:
    """Decode text by its Specific Character Set. Bytes that cannot be decoded are read as Latin-1."""
    from pydicom.charset import convert_encodings, decode_bytes  # noqa: PLC0415 - most headers are ASCII
    from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS  # noqa: PLC0415

    names = [name.strip(" \0") for name in character_set.decode("ascii", "replace").split("\\")]
    with suppressed_pydicom_warnings:
        try:
            text = decode_bytes(raw, convert_encodings(names), PN_DELIMS | TEXT_VR_DELIMS)
        except (LookupError, ValueError):
            text = raw.decode("latin-1")
    text = without_escapes(text)
    return text.encode("utf-8", "replace").decode("utf-8")  # some codecs make lone surrogates, which cannot be stored


def without_escapes(text: str) -> str:
    """Decoded text without the escape sequences (ISO 2022) that pydicom leaves in, such as those of ISO 2022 IR 58."""
    return _ESCAPE_SEQUENCE.sub("", text)


def _read_by(convert: Callable[[_HeaderValues, int], Any], tag: int) -> Any:
    """A field of `Header`: the element that it is read from, and how."""
    return field(default=None, metadata={"convert": convert, "tag": tag})


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The values in the header of an instance. Missing, empty and invalid values are None.

    Text has no padding; multiple values are joined by a backslash, as in the file. `patient_age` is as in the file
    (`061Y`). `collection` and `site` are from CTP; `phantom` is Quality Control Subject. Lengths are in mm;
    `pixel_spacing_mm` is the distance between rows.
    """

    sop_uid: SopInstanceUid
    series_uid: SeriesUid
    study_uid: StudyUid | None = None
    sop_class_uid: str | None = _read_by(_HeaderValues.uid, Tag.SOP_CLASS)
    transfer_syntax_uid: str | None = None
    media_sop_uid: str | None = None
    collection: str | None = None
    site: str | None = None
    patient_id: str | None = _read_by(_HeaderValues.text, 0x00100020)
    patient_name: str | None = _read_by(_HeaderValues.text, 0x00100010)
    patient_birth_date: date | None = _read_by(_HeaderValues.date, 0x00100030)
    patient_sex: str | None = _read_by(_HeaderValues.text, 0x00100040)
    patient_age: str | None = _read_by(_HeaderValues.text, 0x00101010)
    ethnic_group: str | None = _read_by(_HeaderValues.text, 0x00102160)
    phantom: bool | None = None
    species_code: str | None = None
    species_description: str | None = _read_by(_HeaderValues.text, 0x00102201)
    study_date: date | None = _read_by(_HeaderValues.date, 0x00080020)
    study_description: str | None = _read_by(_HeaderValues.text, 0x00081030)
    study_id: str | None = _read_by(_HeaderValues.text, 0x00200010)
    admitting_diagnosis: str | None = _read_by(_HeaderValues.text, 0x00081080)
    longitudinal_event_type: str | None = _read_by(_HeaderValues.text, 0x00120053)
    longitudinal_offset_days: float | None = _read_by(_HeaderValues.double, 0x00120052)
    modality: str | None = _read_by(_HeaderValues.text, 0x00080060)
    protocol: str | None = _read_by(_HeaderValues.text, 0x00181030)
    series_date: date | None = _read_by(_HeaderValues.date, 0x00080021)
    series_description: str | None = _read_by(_HeaderValues.text, 0x0008103E)
    body_part: str | None = _read_by(_HeaderValues.text, 0x00180015)
    series_number: int | None = _read_by(_HeaderValues.integer, 0x00200011)
    manufacturer: str | None = _read_by(_HeaderValues.text, 0x00080070)
    model: str | None = _read_by(_HeaderValues.text, 0x00081090)
    software_versions: str | None = _read_by(_HeaderValues.text, 0x00181020)
    instance_number: int | None = _read_by(_HeaderValues.integer, 0x00200013)
    acquisition_number: int | None = _read_by(_HeaderValues.integer, 0x00200012)
    slice_thickness_mm: float | None = _read_by(_HeaderValues.millimetres, 0x00180050)
    pixel_spacing_mm: float | None = _read_by(_HeaderValues.millimetres, 0x00280030)


_FIELDS = [(each.name, each.metadata["convert"], each.metadata["tag"]) for each in fields(Header) if each.metadata]
_WANTED = frozenset(
    (_CHARACTER_SET, Tag.SOP_INSTANCE, Tag.STUDY, Tag.SERIES, _QUALITY_CONTROL_SUBJECT, *(tag for *_, tag in _FIELDS))
)


def read_header(source: Path | bytes | BinaryIO) -> Header:
    """Read the header of a DICOM file, as `part10.opened` opens it, and not the rest, which may be incomplete.

    Raises:
        InvalidInstance: no meta information, a DICOMDIR, or a missing or invalid SOP Instance or Series Instance UID.
    """
    with opened(source) as file:
        meta = read_meta(file)
        values = _HeaderValues(open_data_set(file, meta, into_sequences=False, inflate_bytes=_INFLATE_BYTES))
    sop_uid, series_uid = parse_identity(values.uid(Tag.SOP_INSTANCE), values.uid(Tag.SERIES))
    subject = (values.text(_QUALITY_CONTROL_SUBJECT) or "").upper()
    return Header(
        sop_uid=sop_uid,
        series_uid=series_uid,
        study_uid=parse_study_uid(values.uid(Tag.STUDY)),
        transfer_syntax_uid=meta.transfer_syntax_uid,
        media_sop_uid=meta.media_sop_uid,
        collection=values.ctp(_CTP_PROJECT),
        site=values.ctp(_CTP_SITE),
        phantom={"YES": True, "NO": False}.get(subject),
        species_code=values.species_code,
        **{name: convert(values, tag) for name, convert, tag in _FIELDS},
    )
