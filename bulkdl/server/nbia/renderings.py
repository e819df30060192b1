"""Values and rows as NBIA writes them: JSON, CSV, XML and HTML. The client's readers are in `archive.nbia.values`.

Source: `FormatOutput.java` and `getData.java` of the NBIA API. Dates are `java.sql.Timestamp.toString()` in v1 and v2,
`MM-dd-yyyy` in v4, `java.util.Date.toString()` in getSeriesMetaData. Text in XML and HTML is escaped as by ESAPI's
encoder, of which `&#x2f;` for a slash is kept. The example answers in the tests hold the bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from bulkdl.archive.nbia.endpoints import Attribute, Kind
from bulkdl.archive.nbia.values import MONTHS, Value

JsonValue: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
Rows: TypeAlias = Iterable[Mapping[str, JsonValue]]

_CHUNK_CHARACTERS = 1 << 16
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def to_wire(attribute: Attribute, value: Value) -> JsonValue:
    """Write a value as NBIA v1 does: dates as `2008-03-11 00:00:00.0`, YES and NO, everything else unchanged.

    Times that have a zone are converted to UTC.
    """
    if value is None:
        return None
    if attribute.kind is Kind.YES_NO:
        return "YES" if value else "NO"
    if isinstance(value, datetime):
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
        fraction = f"{value.microsecond:06}".rstrip("0") or "0"
        return f"{value.date().isoformat()} {value.hour:02}:{value.minute:02}:{value.second:02}.{fraction}"
    if isinstance(value, date):
        return f"{value.isoformat()} 00:00:00.0"
    return value


def to_wire_v4(attribute: Attribute, value: Value) -> JsonValue:
    """Write a value as NBIA v4 does: dates and times as `03-11-2008`, Yes or No for `is_released`, the rest as v1."""
    if isinstance(value, date):
        return f"{value:%m-%d-}{value.year:04}"
    if attribute.field == "is_released" and value is not None:
        return "Yes" if value else "No"
    return to_wire(attribute, value)


def to_wire_tcia_v3(attribute: Attribute, value: Value) -> JsonValue:
    """Write a value as TCIA v3 does: dates as `2008-03-11`, sums of sizes (decimals in SQL) as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if attribute.name == "TotalSizeInBytes" and value is not None:
        return str(value)
    return to_wire(attribute, value)


def to_wire_text(attribute: Attribute, value: Value) -> str | None:
    """Write a value as NBIA's getSeriesMetaData does: always text, dates and times as Java's `Date.toString()`."""
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001 - archives give no zone
        month = tuple(MONTHS)[moment.month - 1]
        return f"{_WEEKDAYS[moment.weekday()]} {month} {moment.day:02} {moment:%H:%M:%S} UTC {moment.year:04}"
    wired = to_wire(attribute, value)
    return None if wired is None else plain(wired)


@dataclass(frozen=True, slots=True)
class Rendering:
    """One format of search answers: its content type, and a function that writes rows of wire values.

    `write` takes rows only as its chunks are consumed. For NBIA, no rows give no bytes in every format.
    """

    content_type: str
    write: Callable[[Sequence[Attribute], Rows], Iterator[bytes]]


def json_texts(rows: Rows, *, nulls: bool = False) -> Iterator[str]:
    """The texts of flat objects, with commas between them. Without `nulls`, the key of a None is left out."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    for number, row in enumerate(rows):
        shown = row if nulls else {name: value for name, value in row.items() if value is not None}
        yield f",{encode(shown)}" if number else encode(shown)


def rows_to_json(_attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """An array of flat objects. The key of a None is left out."""
    return _framed("[", json_texts(rows), "]")


def rows_to_csv(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """A heading and rows with all fields quoted. As in NBIA, a single column is not quoted."""
    names = [attribute.name for attribute in attributes]
    if len(names) == 1:
        return _framed(f"{names[0]}\n", (f"{cell(row.get(names[0]))}\n" for row in rows))
    texts = ([cell(row.get(name)) for name in names] for row in rows)
    return _framed(_line(names), map(_line, texts))


def rows_to_xml(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """One line with `Results`, `Row`, and an element with its Java class for each value that is not None.

    Characters that a tag cannot contain, as in `Date Released`, become underscores. NBIA writes them unchanged.
    """
    tags = [(attribute, _UNFIT_FOR_A_TAG.sub("_", attribute.name)) for attribute in attributes]
    elements = [(attribute.name, f"<{tag} type='{_java_class(attribute)}'>", f"</{tag}>") for attribute, tag in tags]

    def row_text(row: Mapping[str, JsonValue]) -> str:
        found = ((row.get(name), start, end) for name, start, end in elements)
        return "".join(f"{start}{_escaped(value)}{end}" for value, start, end in found if value is not None)

    heading = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results>'
    return _framed(heading, (f"<Row>{row_text(row)}</Row>" for row in rows), "</Results>")


def rows_to_html(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """An HTML table without a page."""
    names = [attribute.name for attribute in attributes]
    heading = "".join(f"<TH>{_escaped(name)}</TH>" for name in names)

    def row_text(row: Mapping[str, JsonValue]) -> str:
        found = (row.get(name) for name in names)
        return "".join("<TD>&nbsp;</TD>" if value is None else f"<TD>{_escaped(value)}</TD>" for value in found)

    return _framed(
        f"<P ALIGN='center'><TABLE BORDER=1><TR>{heading}</TR>",
        (f"<TR>{row_text(row)}</TR>" for row in rows),
        "</TABLE></P>",
    )


RENDERINGS: Mapping[str, Rendering] = {
    "JSON": Rendering("application/json", rows_to_json),
    "CSV": Rendering("text/csv", rows_to_csv),
    "XML": Rendering("application/xml", rows_to_xml),
    "HTML": Rendering("text/html", rows_to_html),
}
"""Formats by the values of the `format` parameter, which is compared without case."""


def _framed(start: str, pieces: Iterable[str], end: str = "") -> Iterator[bytes]:
    """`start`, the pieces and `end` in chunks; nothing if there are no pieces."""
    remaining = iter(pieces)
    first = next(remaining, None)
    if first is not None:
        yield from in_chunks(start + first, remaining, end)


def in_chunks(start: str, pieces: Iterable[str], end: str = "") -> Iterator[bytes]:
    """`start`, the pieces and `end` in chunks of about 64 KiB."""
    chunk, size = [start], len(start)
    for piece in pieces:
        chunk.append(piece)
        size += len(piece)
        if size >= _CHUNK_CHARACTERS:
            yield "".join(chunk).encode(errors="replace")
            chunk, size = [], 0
    yield "".join([*chunk, end]).encode(errors="replace")


def plain(value: JsonValue) -> str:
    """A value as text: empty for None, `true` and `false` as in Java."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_FORMULA = re.compile(r"[=@\t\r]|[+-].*[(|!]", re.DOTALL)


def cell(value: JsonValue) -> str:
    """A value as the text of a cell. What a spreadsheet would execute has an apostrophe before it, and is text."""
    text = plain(value)
    return f"'{text}" if _FORMULA.match(text) else text


def quoted(text: str) -> str:
    """A field of CSV in quotes."""
    return '"' + text.replace('"', '""') + '"'


def _line(texts: Iterable[str]) -> str:
    return ",".join(map(quoted, texts)) + "\n"


_UNFIT_FOR_A_TAG = re.compile(r"[^\w.-]|^(?=[\d.-])", re.ASCII)
_UNSAFE = re.compile(r"[&<>\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escaped(value: JsonValue) -> str:
    """Text of an element. Characters that XML does not allow become blanks."""
    return _UNSAFE.sub(lambda found: _ENTITIES.get(found[0], " "), plain(value))


def _escaped(value: JsonValue) -> str:
    return escaped(value).replace("/", "&#x2f;")


def _java_class(attribute: Attribute) -> str:
    if attribute.kind is Kind.INTEGER:
        # DICOM attributes are Integer columns; counts and sizes are sums, which are Long in Hibernate.
        return "java.lang.Integer" if attribute.tag else "java.lang.Long"
    return {
        Kind.NUMBER: "java.lang.Double",
        Kind.FLAG: "java.lang.Boolean",
        Kind.DATE: "java.sql.Timestamp",
        Kind.TIMESTAMP: "java.sql.Timestamp",
    }.get(attribute.kind, "java.lang.String")
