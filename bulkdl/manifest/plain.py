"""Read plain lists: one Series UID per line.

Blank lines, `#` comments (also after a UID), spaces around a UID, trailing commas, quotes and Excel's `="1.2.3"` are
accepted, because lists pasted from a notebook or a spreadsheet contain them. A first line that names the column
(`SeriesInstanceUID`) makes the text a table, which `tabular` reads. A Study UID looks the same as a Series UID:
`resolve` asks the archive.
"""

import re
from collections.abc import Iterator

from bulkdl.errors import InvalidUid
from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, Text, lines, required
from bulkdl.model.ids import parse_series_uid

# Stricter than `is_uid`: a list of plain numbers is not a list of UIDs.
_LOOKS_LIKE_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}|2\.25\.[0-9]+", re.ASCII)
_AROUND_UID = " \t,;'\"=\r\n"


def looks_like_uid(text: str) -> bool:
    """Whether `text` is almost certainly a UID: four or more numbers with dots, or `2.25.` and a UUID (PS3.5 §B.2)."""
    return _LOOKS_LIKE_UID.fullmatch(text) is not None


def recognises(text: str) -> bool:
    """Whether `text` is a plain list: its first line begins with a digit and is not a row of several cells."""
    words = filter(None, map(_word, lines(text)))
    first = next(words, "")
    begins_so = first[:1].isdecimal() and not any(separator in first for separator in ",;|\t")
    return begins_so and (looks_like_uid(first) or any(map(looks_like_uid, words)))


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read a plain list. Raises ManifestError: it is empty. Its rows raise it, too: a line is not a UID."""
    return ManifestReading("list", required(_rows(text, remarks), remarks, "the list of series is empty"), remarks)


def _rows(text: Text, remarks: Remarks) -> Iterator[ManifestRow]:
    for number, line in enumerate(text.lines(), start=1):
        if word := _word(line):
            try:
                yield ManifestRow(series_uid=parse_series_uid(word))
            except InvalidUid as error:
                remarks.invalid(number, error)


def without_quotes(text: str) -> str:
    """`text` without what protects a UID from being read as a number by a spreadsheet: `'1.2.3`, `="1.2.3"`."""
    return text.strip(_AROUND_UID)


def _word(line: str) -> str:
    return without_quotes(line.partition("#")[0])
