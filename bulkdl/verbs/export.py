"""`export`: the journal of a mirror as a table, one row for each Series or each instance."""

import asyncio
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, aclosing, nullcontext
from datetime import date, datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, Protocol, TextIO

from bulkdl.dicom.header_values import DEFAULT_KEYWORDS, checked_keywords
from bulkdl.errors import ConfigurationError
from bulkdl.journal.journal import Journal
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.model.options import Option, several
from bulkdl.verbs.calls.blocking import blocking
from bulkdl.verbs.calls.signatures import Paths
from bulkdl.verbs.mirrors.folders import require_mirror, require_settled
from bulkdl.verbs.tables.journal_tables import ExportTable, columns, read_table
from bulkdl.verbs.tables.records import import_extra

UNREADABLE: Final = "cannot be read: "
"""How the note of a file begins that cannot be read."""

_ROWS_OF_A_GROUP: Final = 50_000
_ROWS_AT_ONCE: Final = 1_000
_ARROW_TYPES: Final = {str: "string", int: "int64", bool: "bool", date: "date32", datetime: "timestamp[us]"}


class ExportFormat(StrEnum):
    """How a table is written. Parquet needs the extra `bulkdl[pyarrow]`."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


async def export_async(
    mirror: Paths,
    file: TextIO | BinaryIO,
    *,
    table: Annotated[str, Option("table", "What the rows are.", read=ExportTable)] = ExportTable.SERIES,
    format: Annotated[str, Option("format", "CSV, JSON Lines or Parquet.", read=ExportFormat)] = ExportFormat.CSV,  # noqa: A002
    keywords: Annotated[
        str | Sequence[str],
        Option("keyword", "An attribute of the table headers, such as KVP; several with commas between them.", "NAME"),
    ] = (),
    sink: Sink = ignore,
    stop: asyncio.Event | None = None,
) -> int:
    """Write a table of the journal to `file`; returns the number of rows.

    `file` is opened for bytes for Parquet, and otherwise for text in UTF-8 with `newline=""`. The memory does not grow
    with the mirror. `keywords` are those of DICOM for the table `headers`, which has a usual set of them without; its
    values are read from the files, and kept in the journal for the next time. `sink` gets a note for each file that
    cannot be read, which the column `error` names as well.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        ConfigurationError: Parquet without pyarrow; or a keyword that does not exist, or for another table.
        Interrupted: `stop` was set.
    """
    names = several(keywords)
    if names and table != ExportTable.HEADERS:
        raise ConfigurationError("only the table headers has keywords: add --table headers")
    await asyncio.to_thread(_refuse_unreadable, Path(mirror))  # before the names of the columns are written
    if table == ExportTable.HEADERS:
        return await _export_headers(Path(mirror), file, format, names, sink, stop or asyncio.Event())
    return await asyncio.to_thread(_export_journal, mirror, file, table, format)


export = blocking(export_async)


def _refuse_unreadable(root: Path) -> None:
    with Journal.open_readonly(require_mirror(root)) as journal:
        require_settled(root, journal)


def _export_journal(mirror: Paths, file: TextIO | BinaryIO, table: str, form: str) -> int:
    rows, count = read_table(mirror, table), 0
    with _writer(form, columns(ExportTable(table)), file) as writer:
        while group := list(islice(rows, _ROWS_OF_A_GROUP if form == ExportFormat.PARQUET else _ROWS_AT_ONCE)):
            writer.write(group)
            count += len(group)
    return count


async def _export_headers(
    root: Path, file: TextIO | BinaryIO, form: str, names: Sequence[str], sink: Sink, stop: asyncio.Event
) -> int:
    from bulkdl.verbs.tables.header_table import COLUMNS, read_headers  # noqa: PLC0415 - late: other tables read no files

    keywords, count = await asyncio.to_thread(checked_keywords, names) or DEFAULT_KEYWORDS, 0
    types = dict.fromkeys((*COLUMNS, *keywords), str)

    def tell(path: str, reason: str) -> None:
        sink(Noted(f"{UNREADABLE}{path}: {reason}"))

    with _writer(form, types, file) as writer:
        async with aclosing(read_headers(root, keywords, tell, stop)) as pages:
            async for page in pages:
                await asyncio.to_thread(writer.write, page)
                count += len(page)
    return count


class _Writer(Protocol):
    def write(self, rows: Sequence[Mapping[str, Any]]) -> None: ...


def _writer(form: str, types: Mapping[str, type], file: Any) -> AbstractContextManager[_Writer]:
    """What writes rows with columns of these types."""
    if form == ExportFormat.PARQUET:
        return _ParquetWriter(types, file)
    return nullcontext(_JsonWriter(types, file) if form == ExportFormat.JSONL else _CsvWriter(types, file))


class _CsvWriter:
    def __init__(self, types: Mapping[str, type], file: Any) -> None:
        self._writer: csv.DictWriter[str] = csv.DictWriter(file, list(types))
        self._writer.writeheader()

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)


class _JsonWriter:
    def __init__(self, types: Mapping[str, type], file: Any) -> None:
        self._names, self._file = list(types), file

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        whole: Iterator[dict[str, Any]] = ({name: row.get(name) for name in self._names} for row in rows)
        self._file.writelines(f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n" for row in whole)


class _ParquetWriter:
    """Writes while it is entered."""

    def __init__(self, types: Mapping[str, type], file: Any) -> None:
        self._pyarrow, parquet = import_extra("pyarrow"), import_extra("pyarrow", "parquet")
        fields = [(name, self._pyarrow.type_for_alias(_ARROW_TYPES[kind])) for name, kind in types.items()]
        self._schema = self._pyarrow.schema(fields)
        self._writer = parquet.ParquetWriter(file, self._schema)

    def __enter__(self) -> _Writer:
        self._writer.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.__exit__(*error)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer.write_table(self._pyarrow.Table.from_pylist(rows, schema=self._schema))


def _plain(value: Any) -> Any:
    """Dates as ISO 8601, other values as they are."""
    return value.isoformat() if isinstance(value, date) else value
