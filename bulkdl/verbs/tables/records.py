"""The rows of a response as records: the same names and types for every API. They convert to pandas and Arrow tables.

pandas and pyarrow come with the extras of the same names, and are imported when a table is requested.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from html import escape
from typing import Any, Final

from bulkdl.archive.nbia.endpoints import Endpoint, Kind
from bulkdl.archive.nbia.values import Value, read_values
from bulkdl.errors import ConfigurationError

_TYPES: Final[Mapping[Kind, type]] = {
    Kind.INTEGER: int,
    Kind.NUMBER: float,
    Kind.FLAG: bool,
    Kind.YES_NO: bool,
    Kind.DATE: date,
    Kind.TIMESTAMP: datetime,
    Kind.NESTED: object,
}
_SHOWN: Final = 20  # rows in a notebook
_PANDAS_TYPES: Final = {int: "Int64", float: "Float64", bool: "boolean", str: "string", object: "object"}


class Record(Mapping[str, Any]):
    """One row. `record.series_uid` and `record["series_uid"]` are the same; a missing value is None.

    Names and types are those of the endpoint's table (`bulkdl describe`): numbers are numbers, dates are dates. `raw`
    is the unchanged row, with values that the table does not list.
    """

    __slots__ = ("_values", "raw")

    raw: Mapping[str, Any]

    def __init__(self, values: Mapping[str, Value], raw: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "raw", raw)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle read their hooks before there are values
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"this record has no {name!r}; it has {', '.join(self._values)}") from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"records cannot be changed ({name})")

    def __reduce__(self) -> tuple[type[Record], tuple[Mapping[str, Value], Mapping[str, Any]]]:
        return Record, (dict(self._values), dict(self.raw))

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value!r}" for name, value in self._values.items() if value is not None)
        return f"Record({known})"


class Records(list[Record]):
    """The rows of one response as a list, in the archive's order; they convert to a table of pandas or Arrow."""

    def __init__(self, rows: Iterable[Record] = (), *, columns: Mapping[str, type] | None = None) -> None:
        super().__init__(rows)
        self.columns: Mapping[str, type] = dict(columns or {})  # of a table; an empty list has them, too

    def _repr_html_(self) -> str:
        """The first rows as a notebook shows them."""
        heads = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        rows = "".join(f"<tr>{''.join(_cell(row.get(name)) for name in self.columns)}</tr>" for row in self[:_SHOWN])
        more = f"<p>… and {len(self) - _SHOWN:,} more rows</p>" if len(self) > _SHOWN else ""
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{more}"

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with nullable types. Raises ConfigurationError without the extra `bulkdl[pandas]`."""
        pandas = import_extra("pandas")
        columns: dict[str, Any] = {}
        for name, kind in self.columns.items():
            values = pandas.Series(self._column(name), dtype=_PANDAS_TYPES.get(kind, "object"))
            is_time = kind in {date, datetime}
            columns[name] = pandas.Series(pandas.to_datetime(values, errors="coerce")) if is_time else values
        return pandas.DataFrame(columns)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`; nested values are JSON. Raises ConfigurationError without the extra `bulkdl[pyarrow]`."""
        arrow = import_extra("pyarrow")
        types = {
            int: arrow.int64(),
            float: arrow.float64(),
            bool: arrow.bool_(),
            date: arrow.date32(),
            datetime: arrow.timestamp("us"),
            str: arrow.string(),
            object: arrow.string(),
        }
        columns = {}
        for name, kind in self.columns.items():
            values = self._column(name)
            if kind is object:
                values = [None if value is None else json.dumps(value) for value in values]
            columns[name] = arrow.array(values, type=types[kind])
        return arrow.table(columns)

    def _column(self, name: str) -> list[Any]:
        return [record.get(name) for record in self]


def _cell(value: object) -> str:
    return f"<td>{'' if value is None else escape(str(value))}</td>"


def columns_of(endpoint: Endpoint) -> dict[str, type]:
    """The columns of an endpoint's rows by the names of `describe`, with the types of their values."""
    return {attribute.field: _TYPES.get(attribute.kind, str) for attribute in endpoint.attributes}


def read_row(endpoint: Endpoint, row: Mapping[str, Any]) -> Record:
    """Make a record of one row. A value that cannot be read is None. Raises ValueError: a UID is invalid."""
    uids = frozenset(attribute.field for attribute in endpoint.attributes if attribute.kind is Kind.UID)
    return Record(read_values(endpoint.attributes, row, required=uids), row)


def import_extra(name: str, part: str = "") -> Any:
    """The module, or a part of it, of an extra of the same name. Raises ConfigurationError: it is not installed."""
    try:
        return importlib.import_module(f"{name}.{part}" if part else name)
    except ImportError as error:
        raise ConfigurationError(f"{name} is not installed; add it with: pip install 'bulkdl[{name}]'") from error
