"""`export`: the journal of a mirror as a table, one row for each Series or each instance."""

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

from bulkdl.dicom.header import read_header
from bulkdl.dicom.tags import uid_names
from bulkdl.errors import InstanceError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.options import Option
from bulkdl.model.selection import Selection
from bulkdl.verbs.common import require_mirror
from bulkdl.verbs.signatures import Paths

_PAGE: Final = 1_000
_EVERYTHING: Final = Selection(everything=True)
_UNITS: Final = ("B", "KB", "MB", "GB", "TB", "PB")


class ExportTable(StrEnum):
    """A table of the journal. `metadata` has the columns of the NBIA Data Retriever's `metadata.csv`."""

    SERIES = "series"
    INSTANCES = "instances"
    METADATA = "metadata"


class ExportFormat(StrEnum):
    """How a table is written."""

    CSV = "csv"
    JSONL = "jsonl"


def export(
    mirror: Paths,
    file: TextIO,
    *,
    table: Annotated[str, Option("table", "What the rows are.", read=ExportTable)] = ExportTable.SERIES,
    format: Annotated[str, Option("format", "CSV, or JSON Lines.", read=ExportFormat)] = ExportFormat.CSV,  # noqa: A002
) -> int:
    """Write a table of the journal to `file`, which is opened with `newline=""`; returns the number of rows.

    Blocking. Raises JournalError: there is no mirror, or its journal cannot be read.
    """
    count = 0
    writer: csv.DictWriter[str] | None = None
    for row in read_table(mirror, table):
        count += 1
        if format == ExportFormat.JSONL:
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n")
            continue
        if writer is None:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
        writer.writerow(row)
    return count


def read_table(mirror: Paths, table: str, selection: Selection = _EVERYTHING) -> Iterator[dict[str, Any]]:
    """The rows of the Series of a selection, of text, numbers and None. Blocking. Raises JournalError as `export`."""
    root = Path(mirror)
    names = uid_names("SOP Class") if table == ExportTable.METADATA else {}
    with Journal.open_readonly(require_mirror(root)) as journal:
        after = 0
        while page := journal.series(after=after, limit=_PAGE):
            for row in page:
                if not selection.matches(row.series):
                    continue
                if table == ExportTable.SERIES:
                    yield _series_row(row)
                elif table == ExportTable.INSTANCES:
                    yield from journal.instance_table(row.series.series_uid)
                elif row.held:
                    yield _metadata_row(row, root, journal, names)
            after = page[-1].id


def _series_row(row: SeriesRow) -> dict[str, Any]:
    record = {
        name: value.isoformat() if isinstance(value, date) else value for name, value in asdict(row.series).items()
    }
    counts = ("held", "owed", "failed", "quarantined", "withdrawn", "held_bytes", "error", "message")
    return {**record, "folder": row.folder, **{name: getattr(row, name) for name in counts}}


def _metadata_row(row: SeriesRow, root: Path, journal: Journal, names: dict[str, str]) -> dict[str, Any]:
    """The row of one Series, in the form of the NBIA Data Retriever."""
    series, (first,) = row.series, journal.held(after=(row.id, ""), limit=1)
    sop_class = ""
    with suppress(InstanceError, OSError):
        sop_class = read_header(root / first.path).sop_class_uid or ""
    return {
        "Series UID": series.series_uid,
        "Collection": series.collection,
        "3rd Party Analysis": "YES" if series.third_party else "NO",
        "Data Description URI": series.collection_uri or "",
        "Subject ID": series.patient_id,
        "Study UID": series.study_uid or "",
        "Study Description": series.study_description or "",
        "Study Date": series.study_date.strftime("%m-%d-%Y") if series.study_date else "",
        "Series Description": series.description or "",
        "Manufacturer": series.manufacturer or "",
        "Modality": series.modality or "",
        "SOP Class Name": names.get(sop_class, ""),
        "SOP Class UID": sop_class,
        "Number of Images": row.held,
        "File Size": _size(row.held_bytes),
        "File Location": f"./{row.folder}" if row.folder else ".",
        "Download Timestamp": datetime.fromtimestamp(first.mtime_ns / 1e9, tz=UTC).isoformat(timespec="microseconds"),
    }


def _size(count: int) -> str:
    """Bytes as the NBIA Data Retriever writes them: powers of 1000, two decimals, `812 B`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:  # noqa: PLR2004 - the power
        value, unit = value / 1000, unit + 1
    return f"{value:.2f} {_UNITS[unit]}" if unit else f"{count} B"
