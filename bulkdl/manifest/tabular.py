"""Read tables of Series: CSV and TSV files as TCIA's portal, its tools and its users write them.

With a header, a column holds Series UIDs if its name, in any spelling, is or ends in "Series Instance UID" or "Series
UID" (`SeriesInstanceUID`, `Series UID`, `pet_series_instance_uid`), or is "Series ID". All such columns are read, row
by row from left to right: a table of pairs selects both. If there is one such column and a column of SOP Instance UIDs,
the rows name single instances; a row without a SOP Instance UID selects its whole Series. Rows without a Series are
left out and counted: in tables of Patients some have no imaging. Sizes and numbers of instances are read if each row is
one Series and the numbers are exact. A rounded size ("17.89 MB", as NBIA Data Retriever writes it) cannot be compared
with bytes and is ignored.

Without a header, a column is read if every cell that is not empty looks like a UID. A Study UID looks the same as a
Series UID there: it is requested too and then reported as missing, so that no Series is skipped silently.

Separators are comma, tab, semicolon and vertical bar; the header decides. An empty cell may say NA, nan, null or None.
Quotes that keep a spreadsheet from reading a UID as a number (`'1.2.3`, `="1.2.3"`) are removed.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bulkdl.errors import ManifestError
from bulkdl.manifest.base import Manifest, series_uid_at, sop_uid_at
from bulkdl.manifest.plain import looks_like_uid, without_quotes
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import SeriesSize

_FORMATS = {",": "csv", "\t": "tsv", ";": "csv", "|": "csv"}
_SERIES_ENDS = ("seriesinstanceuid", "seriesuid")
_SERIES_NAMES = frozenset({"seriesid"})
_SOP_NAMES = frozenset({"sopinstanceuid", "sopuid", "instanceuid"})
_SIZE_NAMES = frozenset({"filesize", "filesizebytes", "sizebytes", "sizeinbytes", "totalsizeinbytes"})
_COUNT_NAMES = frozenset({"imagecount", "numberofimages", "objectcount", "instancecount"})
_EMPTY = frozenset({"", "na", "nan", "nat", "null", "none", "n/a", "#n/a", "-", "--"})
# pandas writes integers as 118.0 if their column has gaps
_WHOLE_NUMBER = re.compile(r"([0-9]{1,18})(\.0*)?", re.ASCII)

# Tables of other kinds: the column that identifies them, and the message.
_OTHERS = (
    ("drsuri", "a manifest of the Cancer Research Data Commons (drs_uri), which names no DICOM series"),
    ("imageurl", "a PathDB manifest of pathology images (imageUrl), which names no DICOM series"),
    ("studyinstanceuid", "a table of studies without a column of series UIDs: give the studies with --study"),
    ("studyuid", "a table of studies without a column of series UIDs: give the studies with --study"),
)

_NO_COLUMN = "no column of series UIDs was found (SeriesInstanceUID, Series UID, …), and no column holds only UIDs"


@dataclass(frozen=True, slots=True)
class _Columns:
    series: tuple[int, ...]
    sop: int | None = None
    size: int | None = None
    count: int | None = None


def parse(text: str, *, source: str) -> Manifest:
    """Parse a table by the rules above. Keeps the order; a repeated Series counts once.

    Raises:
        ManifestError: there is no column of Series UIDs, no row with a Series UID, or a cell that is not a UID.
            Carries `source` and, if one row is at fault, `line`: the line in which the row ends (counted from 1).
    """
    delimiter = _delimiter(text)
    rows = _rows(text, delimiter, source)
    first = next(rows, None)
    if first is None:
        raise ManifestError("the manifest is empty: it lists no series", source=source)
    header = [_plain(cell) for cell in first[1]]
    columns = _columns(header, source)
    if columns is None:
        table = [first, *rows]
        columns = _headerless_columns([cells for _, cells in table])
        if columns is None:
            others = [f"this is {what}" for column, what in _OTHERS if column in header]
            raise ManifestError([*others, _NO_COLUMN][0], source=source, line=first[0])
        rows = iter(table)
    return _read(rows, columns, _FORMATS[delimiter], source)


def _read(rows: Iterator[tuple[int, list[str]]], columns: _Columns, file_format: str, source: str) -> Manifest:
    series: dict[SeriesUid, None] = {}
    instances: dict[SeriesUid, dict[SopInstanceUid, None]] = {}
    whole: set[SeriesUid] = set()
    without: list[int] = []  # the lines of rows without a Series: in tables of Patients some have no imaging
    expected: dict[SeriesUid, SeriesSize] = {}
    for line, cells in rows:
        uids = [series_uid_at(text, source=source, line=line) for c in columns.series if (text := _cell(cells, c))]
        if not uids:
            without.append(line)
            continue
        series.update(dict.fromkeys(uids))
        if sop := _cell(cells, columns.sop):
            instances.setdefault(uids[0], {})[sop_uid_at(sop, source=source, line=line)] = None
        else:
            whole.update(uids)
        size = SeriesSize(_whole_number(_cell(cells, columns.size)), _whole_number(_cell(cells, columns.count)))
        if size != SeriesSize(None, None):
            expected.setdefault(uids[0], size)
    if without and not series:
        raise ManifestError("no row names a series", source=source, line=without[0])
    if not series:
        raise ManifestError("the table has a header but no rows", source=source)
    narrowed = tuple((uid, tuple(sops)) for uid, sops in instances.items() if uid not in whole)
    rows_are = "1 row names no series and is" if len(without) == 1 else f"{len(without):,} rows name no series and are"
    notes = (f"{source}: {rows_are} left out; the first is in line {without[0]:,}",) if without else ()
    return Manifest(series=tuple(series), instances=narrowed, expected=expected, format=file_format, notes=notes)


def _rows(text: str, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not empty, each with the line in which it ends. Comments are skipped only above the first row."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    begun = False
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            is_preamble = not begun and (cells[:1] and cells[0].startswith(("#", "sep=")))
            if any(cells) and not is_preamble:
                begun = True
                yield reader.line_num, cells
    except csv.Error as error:
        raise ManifestError(f"the table cannot be read: {error}", source=source, line=reader.line_num) from error


def _delimiter(text: str) -> str:
    """The separator with which the first line names a column of Series UIDs, or else has the most columns."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith(("#", "sep=")))
    header = next(lines, "")

    def worth(delimiter: str) -> tuple[bool, int]:
        cells = next(csv.reader([header], delimiter=delimiter), [])
        return any(_names_series(_plain(cell)) for cell in cells), len(cells)

    return max(_FORMATS, key=worth)


def _columns(header: Sequence[str], source: str) -> _Columns | None:
    def first(names: frozenset[str]) -> int | None:
        return next((index for index, name in enumerate(header) if name in names), None)

    series = tuple(index for index, name in enumerate(header) if _names_series(name))
    if not series:
        return None
    if (sop := first(_SOP_NAMES)) is not None and len(series) > 1:
        raise ManifestError(
            "several columns of series UIDs and one of SOP Instance UIDs: it is not clear which belong together",
            source=source,
        )
    if sop is not None or len(series) > 1:  # a size is then that of an instance, or of one of several Series
        return _Columns(series, sop)
    return _Columns(series, sop, first(_SIZE_NAMES), first(_COUNT_NAMES))


def _headerless_columns(table: Sequence[Sequence[str]]) -> _Columns | None:
    found = []
    for index in range(max(map(len, table))):
        cells = [text for row in table if (text := _cell(row, index))]
        if cells and all(map(looks_like_uid, cells)):
            found.append(index)
    return _Columns(tuple(found)) if found else None


def _names_series(name: str) -> bool:
    return name.endswith(_SERIES_ENDS) or name in _SERIES_NAMES


def _plain(cell: str) -> str:
    return "".join(character for character in cell.lower() if character.isalnum())


def _cell(cells: Sequence[str], index: int | None) -> str:
    text = without_quotes(cells[index]) if index is not None and index < len(cells) else ""
    return "" if text.lower() in _EMPTY else text


def _whole_number(text: str) -> int | None:
    found = _WHOLE_NUMBER.fullmatch(text)
    return int(found[1]) if found else None
