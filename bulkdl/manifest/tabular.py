"""Read tables: CSV and TSV files as TCIA's portal, its tools and its users write them; `columns` says what is read.

Without a header, a column is read if every cell that is not empty looks like a UID. A Study UID looks the same as a
Series UID there: it is requested too, and `resolve` asks the archive what it is.

Separators are comma, tab, semicolon and vertical bar; the header decides. An empty cell may say NA, nan, null or None.
Quotes that keep a spreadsheet from reading a UID as a number (`'1.2.3`, `="1.2.3"`) are removed. NBIA Data Retriever
does not quote its `metadata.csv`, so a comma in a text shifts what follows: a row with more cells than the header gives
no sizes and counts.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from bulkdl.manifest.base import ManifestReading, Remarks, Text, lines, required
from bulkdl.manifest.columns import Columns, UnusableColumns, cell_text, columns_of, names_series, rows_of
from bulkdl.manifest.plain import looks_like_uid
from bulkdl.manifest.text import LONGEST_LINE

_FORMATS: Final = {",": "csv", "\t": "tsv", ";": "csv", "|": "csv"}
_NOT_A_ROW: Final = ("#", "sep=")


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read a table. Raises as `read_table`."""
    delimiter = _delimiter(text.head)
    return read_table(lambda: _rows(text, delimiter, remarks), _FORMATS[delimiter], remarks)


def read_table(
    open_table: Callable[[], Iterator[tuple[int, list[str]]]], file_format: str, remarks: Remarks
) -> ManifestReading:
    """Read a table of rows that are not empty, each with the line in which it ends (counted from 1).

    One without a header is opened twice.

    Raises ManifestError: no column can be read, or no row names anything. The rows raise it, too: a cell is not a UID.
    """
    table = open_table()
    first = next(table, None)
    if first is None:
        raise remarks.error("the manifest is empty: it lists no series")
    try:
        columns = columns_of(tuple(first[1]))
    except UnusableColumns as error:
        headerless = _headerless_columns(cells for _, cells in chain((first,), table))
        if headerless is None:
            raise remarks.error(str(error), first[0]) from error
        columns, table = headerless, open_table()
    rows = rows_of(table, columns, remarks)
    return ManifestReading(file_format, required(rows, remarks, "the table has a header but no rows"), remarks)


def _rows(text: Text, delimiter: str, remarks: Remarks) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line in which it ends. Comments are skipped only above the first row."""
    lines_of_rows = _LinesOfRows(text.lines(), remarks)
    reader = csv.reader(lines_of_rows, delimiter=delimiter)
    has_begun = False
    try:
        for row in reader:
            lines_of_rows.begin_row()
            cells = [cell.strip() for cell in row]
            if any(cells) and (has_begun or not cells[0].startswith(_NOT_A_ROW)):
                has_begun = True
                yield reader.line_num, cells
    except csv.Error as error:
        raise remarks.error(f"the table cannot be read: {error}", reader.line_num) from error


class _LinesOfRows:
    """The lines of a table. A row in quotes may have several, but not without an end."""

    def __init__(self, lines_of_text: Iterator[str], remarks: Remarks) -> None:
        self._lines, self._remarks = lines_of_text, remarks
        self._number = self._characters = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._number += 1
            self._characters += len(line)
            if self._characters > LONGEST_LINE:
                raise self._remarks.error(f"the row has more than {LONGEST_LINE:,} characters", self._number)
            yield line

    def begin_row(self) -> None:
        self._characters = 0


def _delimiter(text: str) -> str:
    """The separator with which the first line names a column of Series UIDs, or else has the most columns."""
    header = next((line for line in lines(text) if line.strip() and not line.startswith(_NOT_A_ROW)), "")

    def worth(delimiter: str) -> tuple[bool, int]:
        try:
            cells = next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:  # a cell is too long, which is said when the rows are read
            return False, 0
        return any(map(names_series, cells)), len(cells)

    return max(_FORMATS, key=worth)


def _headerless_columns(table: Iterable[Sequence[str]]) -> Columns | None:
    width, named, others = 0, set[int](), set[int]()
    for row in table:
        width = max(width, len(row))
        for index in range(len(row)):
            if index not in others and (text := cell_text(row, index)):
                (named if looks_like_uid(text) else others).add(index)
        if len(others) == width:
            return None
    found = tuple(sorted(named - others))
    return Columns(width, found) if found else None
