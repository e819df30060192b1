"""Read the values and rows that the REST services of TCIA send, whatever the family.

Source: `FormatOutput.java` and `getData.java` of the NBIA API. Dates are `java.sql.Timestamp.toString()` in v1 and v2,
`MM-dd-yyyy` in v4, `java.util.Date.toString()` in getSeriesMetaData, ISO 8601 in TCIA v3.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, Final, TypeAlias, TypeVar, cast

from bulkdl.archive.nbia.endpoints import Attribute, Kind
from bulkdl.model.ids import is_uid
from bulkdl.model.text import shortened

Value: TypeAlias = str | int | float | bool | date | datetime | list[Any] | dict[str, Any] | None
RecordType = TypeVar("RecordType")

MONTHS: Final = {
    name: number
    for number, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)  # noqa: SIM905 - shorter
}

PADDING: Final = " \t\r\n\0"
"""What archives leave around a value of a DICOM file, whose length is even (PS3.5 §6.2), and of a table."""

_TRUE: Final = dict.fromkeys(("true", "yes", "y", "t", "1"), True)
_FLAGS: Final = {**_TRUE, **dict.fromkeys(("false", "no", "n", "f", "0"), False)}
_AMERICAN: Final = re.compile(r"(\d{2})[-/](\d{2})[-/](\d{4})", re.ASCII)
_JAVA: Final = re.compile(r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) (\d{2}) (\d{2}):(\d{2}):(\d{2}) \S+ (\d{4})", re.ASCII)
_LARGEST_INTEGER: Final = (1 << 63) - 1  # what a database can hold


def read_record(record: type[RecordType], attributes: tuple[Attribute, ...], row: Mapping[str, Any]) -> RecordType:
    """Make a record of one row of an answer. A value that is missing, empty or invalid is left at its default.

    Raises:
        ValueError: a value without which the record does not exist is missing or invalid.
    """
    known, required = _attributes_of(cast("type", record), attributes)
    values = {name: value for name, value in read_values(known, row, required=required).items() if value is not None}
    if missing := required - values.keys():
        raise ValueError(f"a row without {', '.join(sorted(missing))}")
    return record(**values)


@cache
def _attributes_of(record: type, attributes: tuple[Attribute, ...]) -> tuple[tuple[Attribute, ...], frozenset[str]]:
    """The attributes that are fields of `record`, and the names of the fields that have no default."""
    every = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(record)}
    required = frozenset(name for name, is_required in every.items() if is_required)
    return tuple(attribute for attribute in attributes if attribute.field in every), required


def read_values(
    attributes: tuple[Attribute, ...], row: Mapping[str, Any], *, required: Container[str]
) -> dict[str, Value]:
    """The values of a row by field; None where a value is missing, empty or invalid. Unknown columns are ignored.

    Raises:
        ValueError: the value of a `required` field is invalid.
    """
    values: dict[str, Value] = {}
    for attribute in attributes:
        field = attribute.field
        try:
            value = read_value(attribute, row.get(attribute.name))
        except ValueError:
            if field in required:
                raise
            value = None
        if value is not None or field not in values:  # some tables have two columns for one field
            values[field] = value
    return values


def read_value(attribute: Attribute, value: object) -> Value:
    """Read a value as `from_wire` does, and check it.

    Raises:
        ValueError: it is not of the attribute's kind, not a UID, or an integer that no database can hold.
    """
    found = from_wire(attribute, value)
    if attribute.kind is Kind.UID and found is not None and not is_uid(str(found)):
        raise ValueError(f"{attribute.name} is not a UID: {shortened(str(found), 80)!r}")
    if isinstance(found, int) and abs(found) > _LARGEST_INTEGER:
        raise ValueError(f"{attribute.name} is out of range")
    return found


def from_wire(attribute: Attribute, value: object) -> Value:
    """Read a value that any of the families sends.

    Numbers and flags may come as text. Dates come as ISO 8601, `20080311`, `03-11-2008` (month first), a Java timestamp
    or Java text; DATE gives a date, TIMESTAMP a datetime without a zone (in UTC where the text has an offset; the zone
    names of Java text are ambiguous and ignored). YES_NO and FLAG give a bool. An empty text is None; so is a blank one
    or the word null for any kind but TEXT and UID. NESTED stays as it is in JSON.

    Raises:
        ValueError: it is not of the attribute's kind.
    """
    if value is None or value == "":
        return None
    if attribute.kind in {Kind.TEXT, Kind.UID}:
        if isinstance(value, str):
            return value.strip(PADDING) or None
        if isinstance(value, int | float):
            return json.dumps(value)
        raise ValueError(f"{shortened(str(value), 80)!r} is not a text")
    if isinstance(value, str):
        value = value.strip()
        if not value or value.lower() == "null":
            return None
    try:
        return _DECODERS[attribute.kind](value)
    except (ValueError, TypeError, OverflowError, KeyError) as error:
        raise ValueError(
            f"{attribute.name}: {shortened(str(value), 80)!r} is not of kind {attribute.kind.name.lower()}"
        ) from error


def _integer(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    number = _number(value)
    if not number.is_integer():
        raise ValueError("a fraction")
    return int(number)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _timestamp(value: object) -> datetime:
    moment = _moment(value)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _nested(value: object) -> Value:
    if isinstance(value, list | dict | int | str):
        return value
    raise TypeError("not JSON")


def _moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise TypeError("not a text")
    if found := _AMERICAN.fullmatch(value):
        month, day, year = map(int, found.groups())
        return datetime(year, month, day)  # noqa: DTZ001 - archives send no zone
    if found := _JAVA.fullmatch(value):
        name, *rest = found.groups()
        day, hour, minute, second, year = map(int, rest)
        return datetime(year, MONTHS.get(name, 0), day, hour, minute, second)  # noqa: DTZ001 - the same
    return datetime.fromisoformat(value)


_DECODERS: Final[Mapping[Kind, Callable[[object], Value]]] = {
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
    Kind.FLAG: lambda value: _FLAGS[str(value).lower()],
    Kind.YES_NO: lambda value: _FLAGS[str(value).lower()],
    Kind.DATE: lambda value: _moment(value).date(),
    Kind.TIMESTAMP: _timestamp,
    Kind.NESTED: _nested,
}


def md5_of_md5s(digests: Iterable[str]) -> str:
    """NBIA's MD5 of a Series: of the MD5s of its instances, in lower-case hexadecimal, sorted and joined.

    Source: the DAO of `getMD5Hierarchy`. A Study is over its Series, and so on up to the Collection.
    """
    return hashlib.md5("".join(sorted(digests)).encode("ascii"), usedforsecurity=False).hexdigest()
