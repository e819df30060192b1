"""The tables of a journal: one row for each Series or each instance, with the types of their columns."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

from bulkdl.dicom.header import read_header
from bulkdl.dicom.tags import uid_names
from bulkdl.errors import InstanceError
from bulkdl.journal.journal import Journal
from bulkdl.journal.queries import INSTANCE_COLUMNS
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror, require_settled

_EVERYTHING: Final = Selection(everything=True)
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")
_COUNTS: Final = ("held", "owed", "failed", "quarantined", "withdrawn", "held_bytes")
_FAILURE: Final = ("error", "message")
_METADATA: Final = (
    *("Series UID", "Collection", "3rd Party Analysis", "Data Description URI", "Subject ID", "Study UID"),
    *("Study Description", "Study Date", "Series Description", "Manufacturer", "Modality", "SOP Class Name"),
    *("SOP Class UID", "Number of Images", "File Size", "File Location", "Download Timestamp"),
)
_NUMBERS: Final = frozenset({*_COUNTS, "size_bytes", "Number of Images"})


class ExportTable(StrEnum):
    """A table of the journal. `metadata` has the columns of the NBIA Data Retriever's `metadata.csv`.

    `headers` has attributes of the files, which `header_table` reads.
    """

    SERIES = "series"
    INSTANCES = "instances"
    METADATA = "metadata"
    HEADERS = "headers"


def columns(table: ExportTable) -> dict[str, type]:
    """The columns of a table in their order, with the type of their values: str, int, bool, date or datetime."""
    if table == ExportTable.INSTANCES:
        names: Iterable[str] = INSTANCE_COLUMNS
    elif table == ExportTable.METADATA:
        names = _METADATA
    else:
        hints = get_type_hints(Series)
        return {**{name: _value_type(hint) for name, hint in hints.items()}, **_typed(("folder", *_COUNTS, *_FAILURE))}
    return _typed(names)


def _typed(names: Iterable[str]) -> dict[str, type]:
    return {name: int if name in _NUMBERS else str for name in names}


def _value_type(hint: Any) -> type:
    """`int` of `int | None`; str of a type that is text."""
    found = [each for each in get_args(hint) or (hint,) if each in {int, bool, date, datetime}]
    return found[0] if found else str


def read_table(mirror: Paths, table: str, selection: Selection = _EVERYTHING) -> Iterator[dict[str, Any]]:
    """The rows of the Series of a selection: text, numbers, dates and None. Blocking.

    Raises JournalError: there is no mirror, or its journal cannot be read.
    """
    root = Path(mirror)
    names = uid_names("SOP Class") if table == ExportTable.METADATA else {}
    with Journal.open_readonly(require_mirror(root)) as journal:
        require_settled(root, journal)
        for row in journal.all_series():
            if not selection.matches(row.series):
                continue
            if table == ExportTable.SERIES:
                yield _series_row(row)
            elif table == ExportTable.INSTANCES:
                yield from journal.instance_table(row.series.series_uid)
            elif row.held:
                yield _metadata_row(row, root, journal, names, {})


def metadata_rows(root: Path, journal: Journal, sop_classes: dict[int, str]) -> Iterator[dict[str, Any]]:
    """The rows of `metadata` of the mirror at `root`. Blocking.

    The SOP classes that are read from files, because the journal has none, are added to `sop_classes` by Series id.
    """
    names = uid_names("SOP Class")
    for row in journal.all_series():
        if row.held:
            yield _metadata_row(row, root, journal, names, sop_classes)


def _series_row(row: SeriesRow) -> dict[str, Any]:
    return {**asdict(row.series), **{name: getattr(row, name) for name in ("folder", *_COUNTS, *_FAILURE)}}


def _metadata_row(
    row: SeriesRow, root: Path, journal: Journal, names: dict[str, str], sop_classes: dict[int, str]
) -> dict[str, Any]:
    """The row of one Series, in the form of the NBIA Data Retriever."""
    series, (first,) = row.series, journal.held(after=(row.id, ""), limit=1)
    sop_class = journal.sop_class(row.id)
    if sop_class is None:
        sop_class = sop_classes[row.id] = _sop_class_of(root / first.path)
    values = (
        series.series_uid,
        series.collection,
        "YES" if series.third_party else "NO",
        series.collection_uri or "",
        series.patient_id,
        series.study_uid or "",
        series.study_description or "",
        series.study_date.strftime("%m-%d-%Y") if series.study_date else "",
        series.description or "",
        series.manufacturer or "",
        series.modality or "",
        names.get(sop_class, ""),
        sop_class,
        row.held,
        _size(row.held_bytes),
        f"./{row.folder}" if row.folder else ".",
        datetime.fromtimestamp(first.mtime_ns / 1e9, tz=UTC).isoformat(timespec="microseconds"),
    )
    return dict(zip(_METADATA, values, strict=True))


def _sop_class_of(path: Path) -> str:
    with suppress(InstanceError, OSError):
        return read_header(path).sop_class_uid or ""
    return ""


def _size(count: int) -> str:
    """Bytes as the NBIA Data Retriever writes them: powers of 1000, two decimals, `812 B`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - the power
        value, unit = value / 1000, unit + 1
    return f"{value:.2f} {_UNITS[unit]}" if unit else f"{count} B"
