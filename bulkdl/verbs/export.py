"""`export`: the journal of a mirror as a table, one row for each Series or each instance."""

import csv
import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated, Any, BinaryIO, Final, TextIO

from bulkdl.model.options import Option
from bulkdl.verbs.records import import_extra
from bulkdl.verbs.signatures import Paths
from bulkdl.verbs.tables import ExportTable, columns, read_table

_ROWS_OF_A_GROUP: Final = 50_000
_ARROW_TYPES: Final = {str: "string", int: "int64", bool: "bool", date: "date32", datetime: "timestamp[us]"}


class ExportFormat(StrEnum):
    """How a table is written. Parquet needs the extra `bulkdl[pyarrow]`."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    mirror: Paths,
    file: TextIO | BinaryIO,
    *,
    table: Annotated[str, Option("table", "What the rows are.", read=ExportTable)] = ExportTable.SERIES,
    format: Annotated[str, Option("format", "CSV, JSON Lines or Parquet.", read=ExportFormat)] = ExportFormat.CSV,  # noqa: A002
) -> int:
    """Write a table of the journal to `file`; returns the number of rows.

    `file` is opened for bytes for Parquet, and otherwise for text in UTF-8 with `newline=""`. Blocking, in memory that
    does not grow with the mirror.

    Raises:
        JournalError: there is no mirror, or its journal cannot be read.
        ConfigurationError: Parquet without pyarrow.
    """
    rows, types = read_table(mirror, table), columns(ExportTable(table))
    if format == ExportFormat.PARQUET:
        return _write_parquet(rows, types, file)
    if format == ExportFormat.JSONL:
        return _write_json_lines(rows, file)
    return _write_csv(rows, types, file)


def _write_csv(rows: Iterator[dict[str, Any]], types: Mapping[str, type], file: Any) -> int:
    writer: csv.DictWriter[str] = csv.DictWriter(file, list(types))
    writer.writeheader()
    return sum(1 for row in rows if writer.writerow({name: _plain(value) for name, value in row.items()}))


def _write_json_lines(rows: Iterator[dict[str, Any]], file: Any) -> int:
    return sum(1 for row in rows if file.write(f"{json.dumps(row, ensure_ascii=False, default=_plain)}\n"))


def _plain(value: Any) -> Any:
    """Dates as ISO 8601, other values as they are."""
    return value.isoformat() if isinstance(value, date) else value


def _write_parquet(rows: Iterator[dict[str, Any]], types: Mapping[str, type], file: Any) -> int:
    pyarrow, parquet = import_extra("pyarrow"), import_extra("pyarrow", "parquet")
    schema = pyarrow.schema([(name, pyarrow.type_for_alias(_ARROW_TYPES[kind])) for name, kind in types.items()])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while group := list(islice(rows, _ROWS_OF_A_GROUP)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
            count += len(group)
    return count
