"""Read JSON lists row by row while they arrive, so that a list of any length needs the memory of one row.

Accepts what real archives send: an array of objects, one object instead of an array, `null`, or an empty body. Anything
else is an error: the HTML page of a proxy, an error document, a list that was cut off.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final

from bulkdl.model.text import one_line

_LONGEST_ROW_CHARACTERS: Final = 4_000_000
_BLANK: Final = " \t\r\n\ufeff"
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")


class RowReader:
    """Reads one body in UTF-8. Feed it every chunk, in order, and then `close` it."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._json = json.JSONDecoder(strict=False)  # a raw tab in a description must not lose the list
        self._text = ""
        self._in_array = False
        self._is_complete = False
        self._saw_any = False

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the rows that are complete after the next bytes.

        Raises:
            ValueError: the body is not a list of rows.
        """
        self._text += self._decode(chunk)
        return self._take_rows()

    def close(self) -> list[dict[str, Any]]:
        """The body has ended; return the last rows.

        Raises:
            ValueError: the body is cut off, or not a list of rows.
        """
        self._text += self._decode(b"", True)  # noqa: FBT003 - the codec's own signature
        rows = self._take_rows()
        rest = self._text.strip(_BLANK)
        if rest == "null" and not self._saw_any:
            return rows
        if rest or self._in_array:
            raise ValueError(_describe(rest) if rest else "the list ends before its closing bracket")
        return rows

    def _take_rows(self) -> list[dict[str, Any]]:  # noqa: C901 - one pass over the text
        rows: list[dict[str, Any]] = []
        text, position = self._text, 0
        while True:
            while position < len(text) and (text[position] in _BLANK or (self._in_array and text[position] == ",")):
                position += 1
            if position == len(text):
                break
            character = text[position]
            if self._is_complete:
                raise ValueError("there is text behind the list")
            if character == "[" and not self._in_array and not self._saw_any:
                self._in_array = self._saw_any = True
                position += 1
            elif character == "]" and self._in_array:
                self._in_array, self._is_complete = False, True
                position += 1
            elif character == "{":
                row, position = self._take_row(text, position)
                if row is None:
                    break
                self._saw_any = True
                self._is_complete = not self._in_array
                rows.append(row)
            elif self._in_array and text.startswith("null", position):
                position += 4  # a null among the rows has no content
            else:
                break
        self._text = text[position:]
        if self._text and self._text[0] != "{" and not "null".startswith(self._text.rstrip(_BLANK)):
            raise ValueError(_describe(self._text))
        return rows

    def _take_row(self, text: str, position: int) -> tuple[dict[str, Any] | None, int]:
        """The row at `position` and where it ends; None and `position` if the row is not complete yet."""
        try:
            row, end = self._json.raw_decode(text, position)
        except RecursionError:
            raise ValueError("a row is nested too deeply") from None
        except json.JSONDecodeError:
            if len(text) - position > _LONGEST_ROW_CHARACTERS:
                raise ValueError("a row does not end") from None
            return None, position
        return (_without_surrogates(row) if _HALF.search(text, position, end) else row), end


def _without_surrogates(row: dict[str, Any]) -> dict[str, Any]:
    """The row without lone surrogates, which JSON can express, but no file, database or URL can hold."""
    cleaned: dict[str, Any] = json.loads(json.dumps(row, ensure_ascii=False).encode(errors="replace"))
    return cleaned


def _describe(text: str) -> str:
    shown = one_line(text[:60])
    if text.lstrip(_BLANK).startswith("<"):
        return f"a page instead of a list: {shown!r}"
    return f"not a list of rows: {shown!r}"
