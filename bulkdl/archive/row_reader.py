"""Read JSON lists row by row while they arrive, so that a list of any length needs the memory of one row.

Accepts what real archives send: an array of objects, one object instead of an array, `null`, or an empty body. Anything
else is an error: the HTML page of a proxy, an error document, a list that was cut off.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any, Final

from bulkdl.model.text import one_line

_LONGEST_ROW_CHARACTERS: Final = 4_000_000
_LONGEST_WITHOUT_ROW: Final = 32_000_000  # characters: blanks and nulls
_SMALL_CHARACTERS: Final = 16_000
_BLANK: Final = " \t\r\n\ufeff"
_BLANKS: Final = re.compile(f"[{_BLANK}]*")
_BETWEEN_ROWS: Final = re.compile(f"(?:[{_BLANK},]+|null)*+")  # a null among the rows has no content
_HALF: Final = re.compile(r"\\u[dD][89a-fA-F]")


class RowReader:
    """Reads one body in UTF-8. Feed it every chunk, in order, and then `close` it.

    `clean` takes secrets out of a text before a part of it is shown. A large row that is not complete is parsed again
    when it is twice as long, so the work stays proportional to the body however small its chunks are.

    Raises:
        ValueError: the body is cut off, or not a list of rows.
    """

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        self._clean = clean
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._json = json.JSONDecoder(strict=False)  # a raw tab in a description must not lose the list
        self._text = ""
        self._pieces: list[str] = []  # what follows `_text`
        self._new = self._enough = 0  # characters in `_pieces`, and how many are worth another look
        self._since_row = 0
        self._in_array = False
        self._is_complete = False
        self._saw_any = False

    def feed(self, chunk: bytes) -> list[dict[str, Any]]:
        """Return the rows that are complete after the next bytes."""
        piece = self._decode(chunk)
        self._pieces.append(piece)
        self._new += len(piece)
        size = len(self._text) + self._new
        may_end = "}" in piece and size < _SMALL_CHARACTERS
        return self._take_rows() if may_end or self._new > self._enough or size > _LONGEST_ROW_CHARACTERS else []

    def close(self) -> list[dict[str, Any]]:
        """The body has ended; return the last rows."""
        self._pieces.append(self._decode(b"", True))  # noqa: FBT003 - the codec's own signature
        rows = self._take_rows()
        rest = self._text.strip(_BLANK)
        if rest == "null" and not self._saw_any:
            return rows
        if rest or self._in_array:
            raise ValueError(self._describe(rest) if rest else "the list ends before its closing bracket")
        return rows

    def _take_rows(self) -> list[dict[str, Any]]:  # noqa: C901 - one pass over the text
        rows: list[dict[str, Any]] = []
        text, position = self._text + "".join(self._pieces), 0
        self._since_row += self._new
        self._pieces, self._new = [], 0
        while True:
            if skipped := (_BETWEEN_ROWS if self._in_array else _BLANKS).match(text, position):
                position = skipped.end()
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
            else:
                break
        self._text = text[position:]
        is_row = self._text.startswith("{")
        if self._text and not is_row and not "null".startswith(self._text.rstrip(_BLANK)):
            raise ValueError(self._describe(self._text))
        self._enough = len(self._text) if is_row else 0
        self._since_row = 0 if rows else self._since_row
        if self._since_row > _LONGEST_WITHOUT_ROW:
            raise ValueError("a list without rows that does not end")
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
        if _HALF.search(text, position, end):
            # A lone surrogate can be expressed in JSON, but no file, database or URL can hold it.
            row = json.loads(json.dumps(row, ensure_ascii=False).encode(errors="replace"))
        return row, end

    def _describe(self, text: str) -> str:
        shown = one_line(self._clean(text))[:60]
        what = "a page instead of a list" if text.lstrip(_BLANK).startswith("<") else "not a list of rows"
        return f"{what}: {shown!r}"
