"""What an instance refers to, from the rows of getDicomTags: its attributes in order, with `>` before nested ones.

Only what names another Series, or an instance of radiotherapy, is read: `bulkdl.dicom.references` has the sequences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import References

_ELEMENT: Final = re.compile(r"(>*)\s*\(([0-9A-Fa-f]{4}),\s*([0-9A-Fa-f]{4})\)", re.ASCII)
_SOP_INSTANCE: Final = 0x00080018
_SERIES: Final = 0x0020000E
_REFERENCED_INSTANCE: Final = 0x00081155
_OF_INSTANCES: Final = frozenset((0x300C0002, 0x300C0060, 0x300C0080))  # plans, structure sets, doses
_CONTOURS: Final = range(0x30060020, 0x30070000)  # of structure sets, which refer to nothing behind them


class ReferenceReader:
    """Reads rows in their order. `found` is None until there was a row that is an attribute."""

    def __init__(self, series_uid: SeriesUid) -> None:
        self._series_uid = series_uid
        self._sequence = 0  # of the top level, in which the rows are
        self.found: References | None = None

    def read(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Read some rows; whether more are needed."""
        for row in rows:
            element = _ELEMENT.match(str(row.get("element", "")))
            if element is None:
                continue
            tag, value = int(element[2] + element[3], 16), str(row.get("data") or "").strip()
            if not element[1]:
                self._sequence = tag
                if tag in _CONTOURS:
                    return False
            self.found = (self.found or References()) | self._reference(tag, value, is_nested=bool(element[1]))
        return True

    def _reference(self, tag: int, value: str, *, is_nested: bool) -> References:
        if not is_uid(value):
            return References()
        if tag == _SOP_INSTANCE and not is_nested:
            return References(own=frozenset({SopInstanceUid(value)}))
        if tag == _SERIES and is_nested and value != self._series_uid:
            return References(frozenset({SeriesUid(value)}))
        if tag == _REFERENCED_INSTANCE and self._sequence in _OF_INSTANCES:
            return References(instances=frozenset({SopInstanceUid(value)}))
        return References()
