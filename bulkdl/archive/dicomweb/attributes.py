"""The DICOM JSON model: the values of one data set by their tags. Pure.

Servers differ from the standard in harmless ways, which are read alike: an empty element may have no `Value`, or
`[null]`, or `[""]`; a name may be a text instead of an object; a number may be a text; a single value may come without
its list; tags may be in lower case.

Source: PS3.18 Annex F; what servers send, from the clients of DICOMweb.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

from bulkdl.model.ids import is_uid

TAGS: Final[Mapping[str, str]] = {
    "StudyDate": "00080020",
    "SeriesDate": "00080021",
    "SOPInstanceUID": "00080018",
    "Modality": "00080060",
    "ModalitiesInStudy": "00080061",
    "Manufacturer": "00080070",
    "StudyDescription": "00081030",
    "SeriesDescription": "0008103E",
    "ManufacturerModelName": "00081090",
    "PatientID": "00100020",
    "PatientSex": "00100040",
    "ClinicalTrialProtocolID": "00120020",
    "BodyPartExamined": "00180015",
    "SoftwareVersions": "00181020",
    "ProtocolName": "00181030",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "StudyID": "00200010",
    "SeriesNumber": "00200011",
    "NumberOfStudyRelatedSeries": "00201206",
    "NumberOfSeriesRelatedInstances": "00201209",
}
"""The tags by keyword (PS3.6) that a download needs, as the JSON model writes them."""

_DAY: Final = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_PADDING: Final = " \t\r\n\0"  # PS3.5 §6.2
_LARGEST_INTEGER: Final = (1 << 63) - 1  # what a database can hold
_MOST_CHARACTERS: Final = 1_024  # of a value; the longest that is asked for, LO, has 64
_REPRESENTATIONS: Final = ("Alphabetic", "Ideographic", "Phonetic")


class Attributes:
    """One data set. What is missing, empty or invalid reads as no value; nothing here raises."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def texts(self, keyword: str) -> tuple[str, ...]:
        """The values of an element as texts, without empty ones."""
        return tuple(self._texts(TAGS[keyword]))

    def text(self, keyword: str) -> str | None:
        """The first value of an element."""
        return next(self._texts(TAGS[keyword]), None)

    def uid(self, keyword: str) -> str | None:
        """The first value, if it is a UID."""
        value = self.text(keyword)
        return value if value is not None and is_uid(value) else None

    def number(self, keyword: str) -> int | None:
        """The first value, if it is an integer."""
        value = self.text(keyword)
        with suppress(ValueError, OverflowError):
            number = float(value) if value is not None else None
            if number is not None and number.is_integer() and abs(number) < _LARGEST_INTEGER:
                return int(number)
        return None

    def day(self, keyword: str) -> date | None:
        """The first value, if it is a date: `20040119`, or `2004.01.19` as in old files (PS3.5 §6.2)."""
        found = _DAY.fullmatch(self.text(keyword) or "")
        with suppress(ValueError):
            return date(*map(int, found.groups())) if found is not None else None
        return None

    def _texts(self, tag: str) -> Iterator[str]:
        element = self._row.get(tag, self._row.get(tag.lower()))
        values = element.get("Value") if isinstance(element, Mapping) else None
        for value in values if isinstance(values, list) else (values,):
            text = _text_of(value)
            if text is not None and (kept := text.strip(_PADDING)[:_MOST_CHARACTERS]).strip():
                yield kept


def _text_of(value: object) -> str | None:
    """A value as a text; None for what is not a text, a number or a name."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, Mapping):
        return next((text for name in _REPRESENTATIONS if isinstance(text := value.get(name), str) and text), None)
    return None
