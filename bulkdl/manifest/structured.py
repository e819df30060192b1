"""Read JSON and JSON Lines: answers of getSeries and `bulkdl query`, lists of UIDs, DICOM JSON (PS3.18 §F).

An element is an object, whose keys mean what columns of that name mean (`columns`), or a text, which is a Series UID.
They stand in an array, one after the other, or in the first array inside one object. Elements are decoded one at a
time: all of them together would take twenty times as much memory as the text.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, Text, required
from bulkdl.manifest.columns import UnusableColumns, columns_of, guarded_name, rows_of
from bulkdl.model.ids import parse_series_uid

_SPACE: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()
_LONGEST_WORD: Final = 32  # of JSON, but for texts
_LONGEST_ELEMENT: Final = 64 << 20  # characters: an element is decoded as a whole
_TOO_LONG: Final = (
    f"the element has more than {_LONGEST_ELEMENT:,} characters: write JSON Lines, or an array of objects"
)
_EXPECTED: Final = "expected an object with SeriesInstanceUID, StudyInstanceUID, PatientID or Collection, or a UID"


def recognises(text: str) -> bool:
    """Whether `text` begins as JSON does: an array, an object or a quoted text."""
    return text.lstrip()[:1] in {"[", "{"}


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read JSON or JSON Lines. Raises ManifestError: nothing is named. Its rows, too: an element is invalid."""
    is_array = text.head.lstrip().startswith("[")
    elements = _Elements(text.pieces(), remarks)
    found = _rows(elements.of_array() if is_array else elements.one_by_one(), remarks)
    rows = required(found, remarks, "the JSON names no series")
    return ManifestReading("jsonl" if not is_array and elements.are_several() else "json", rows, remarks)


class _Elements:
    """The elements of a JSON text, each with the line in which it begins.

    `_text` is what is held of it: from the element under way to the end of the last piece that was read.
    """

    def __init__(self, pieces: Iterator[str], remarks: Remarks) -> None:
        self._pieces, self._remarks = pieces, remarks
        self._text, self._at = "", 0
        self._line = 1
        self._counted = 0  # the position up to which lines are counted
        self._skip_space()

    def of_array(self) -> Iterator[tuple[int, Any]]:
        self._at += 1
        if self._after_space() == "]":
            return
        while True:
            yield self._next()
            if (separator := self._after_space()) not in {",", "]"}:
                raise self._remarks.error("the JSON is invalid or truncated: expected ',' or ']'", self._line_at())
            self._at += 1
            if separator == "]":
                return
            self._skip_space()

    def one_by_one(self) -> Iterator[tuple[int, Any]]:
        """The elements of JSON Lines. An object with an array in place of names stands for the elements of that."""
        while self._after_space():
            line, element = self._next()
            inside = _array_in(element)
            yield from ((line, each) for each in inside) if inside is not None else [(line, element)]

    def are_several(self) -> bool:
        return bool(self._after_space())

    def _next(self) -> tuple[int, Any]:
        line = self._line_at()
        while True:
            try:
                element, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST_ELEMENT:
                    raise self._remarks.error(_TOO_LONG, line) from error
                if _is_cut(error, self._text) and self._read_more():
                    continue
                raise self._remarks.error(f"the JSON is invalid or truncated: {_what(error)}", line) from error
            # What ends with the text that is held may go on in the next piece: a number, for example.
            if end < len(self._text) or not self._read_more():
                self._at = end
                return line, element

    def _after_space(self) -> str:
        """The next character that is not space; empty at the end."""
        self._skip_space()
        return self._text[self._at : self._at + 1]

    def _skip_space(self) -> None:
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text) or not self._read_more():
                return

    def _read_more(self) -> bool:
        """Read a piece, as large as what is held; whether there was one."""
        self._line_at()
        held = self._text[self._at :]
        pieces, size = [], 0
        for piece in self._pieces:
            pieces.append(piece)
            size += len(piece)
            if size and size >= len(held):
                break
        self._text, self._at, self._counted = held + "".join(pieces), 0, 0
        return size > 0

    def _line_at(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line


def _what(error: Exception) -> str:
    """What is wrong. The positions of the decoder are those in the piece that it has."""
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def _is_cut(error: Exception, text: str) -> bool:
    """Whether an element may be invalid only because the rest of it is not there."""
    is_near_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(text) - _LONGEST_WORD
    return is_near_end or str(error).startswith("Unterminated string")


def _rows(elements: Iterator[tuple[int, Any]], remarks: Remarks) -> Iterator[ManifestRow]:
    for line, element in elements:
        try:
            if isinstance(element, str):
                yield ManifestRow(series_uid=parse_series_uid(element.strip()))
            elif isinstance(element, dict):
                yield from rows_of(
                    [(line, [_text(value) for value in element.values()])], columns_of(tuple(element)), remarks
                )
            else:
                remarks.invalid(line, f"{_EXPECTED}, not {json.dumps(element)[:80]}")
        except InvalidUid as error:
            remarks.invalid(line, error)
        except UnusableColumns as error:
            remarks.invalid(line, error if str(error).startswith("this is") else f"{_EXPECTED}: {error}")


def _array_in(element: Any) -> list[Any] | None:
    """The elements of the first array of objects or texts in an object whose keys name nothing."""
    if not isinstance(element, dict):
        return None
    try:
        columns_of(tuple(element))
    except UnusableColumns:
        arrays = (value for value in element.values() if isinstance(value, list))
        return next((value for value in arrays if value and isinstance(value[0], dict | str)), None)
    return None


def _text(value: Any) -> str:
    """A value as the cell of a table. DICOM JSON has an object with `Value`, a list."""
    if isinstance(value, Mapping):
        value = value.get("Value")
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, str):
        return guarded_name(value)  # in JSON "NA" is a name, and null an empty cell
    return "" if value is None or isinstance(value, dict | list) else str(value)
