"""Read plain lists: one Series UID per line.

Blank lines, `#` comments (also after a UID), spaces around a UID, trailing commas, quotes and Excel's `="1.2.3"` are
accepted, because lists pasted from a notebook or a spreadsheet contain them. A first line that names the column
(`SeriesInstanceUID`) makes the text a table, which `tabular` reads.
"""

import re

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import Manifest, series_uid_at
from bulkdl.model.ids import SeriesUid

# Stricter than `is_uid`: a list of plain numbers is not a list of UIDs.
_LOOKS_LIKE_UID = re.compile(r"[0-9]+(\.[0-9]+){3,}|2\.25\.[0-9]+", re.ASCII)
_AROUND_UID = " \t,;'\"=\r"


def looks_like_uid(text: str) -> bool:
    """Whether `text` is almost certainly a UID: four or more numbers with dots, or `2.25.` and a UUID (PS3.5 §B.2)."""
    return _LOOKS_LIKE_UID.fullmatch(text) is not None


def recognises(text: str) -> bool:
    """Whether `text` is a plain list: its first line begins with a digit and is not a row of several cells."""
    words = [word for line in text.splitlines() if (word := _word(line))]
    begins_so = bool(words) and words[0][0].isdecimal() and not any(separator in words[0] for separator in ",;|\t")
    return begins_so and any(map(looks_like_uid, words))


def parse(text: str, *, source: str) -> Manifest:
    """Parse a plain list. Keeps the order; a repeated UID counts once.

    Raises ManifestError: a line is not a UID (carries `line`, counted from 1), or the list is empty.
    """
    series: dict[SeriesUid, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if word := _word(line):
            series[series_uid_at(word, source=source, line=number)] = None
    if not series:
        raise ManifestError("the list of series is empty", source=source)
    return Manifest(series=tuple(series), format="list")


def without_quotes(text: str) -> str:
    """`text` without what protects a UID from being read as a number by a spreadsheet: `'1.2.3`, `="1.2.3"`."""
    return text.strip(_AROUND_UID)


def _word(line: str) -> str:
    return without_quotes(line.partition("#")[0])
