"""Values and rows as NBIA and TCIA v3 write them: JSON, CSV, XML and HTML. `archive.nbia.values` reads them.

Source: `FormatOutput.java` and `getData.java` of the NBIA API. Text in XML and HTML is escaped as by ESAPI's encoder,
of which `&#x2f;` for a slash is kept. For TCIA v3: `CSVResultSetInputStream.java`, `JSONFormatHandler.java`,
`XMLFormatHandler.java` and `HTMLFormatHandler.java` of sharmalab/bindaas, with two intended differences: values are
escaped in XML and HTML, and a CSV field with a comma, a quote or a line break is quoted. The example answers in the
tests hold the bytes.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any, Final, TypeAlias

from bulkdl.archive.nbia.endpoints import Attribute, Kind
from bulkdl.archive.nbia.values import MONTHS, Value

JsonValue: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any] | None
WireRow: TypeAlias = Mapping[str, JsonValue]
RowWriter: TypeAlias = Callable[[WireRow], str]

_CHUNK_CHARACTERS: Final = 1 << 16
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FORMULA: Final = re.compile(r"[=@\t\r]|[+-].*[(|!]", re.DOTALL)
_NEEDS_QUOTES: Final = re.compile(r'[",\r\n]')
_UNFIT_FOR_A_TAG: Final = re.compile(r"[^\w.-]|^(?=[\d.-])", re.ASCII)
_UNSAFE: Final = re.compile(r"[&<>\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_JAVA_CLASSES: Final = {
    Kind.NUMBER: "java.lang.Double",
    Kind.FLAG: "java.lang.Boolean",
    Kind.DATE: "java.sql.Timestamp",
    Kind.TIMESTAMP: "java.sql.Timestamp",
}
_SQL_TYPES: Final = {Kind.NUMBER: "DOUBLE", Kind.FLAG: "BIT", Kind.DATE: "DATE", Kind.TIMESTAMP: "TIMESTAMP"}

encode: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
"""A value as compact JSON."""


def to_json(document: object) -> bytes:
    """A document as the server sends it: compact JSON in UTF-8."""
    return encode(document).encode(errors="replace")


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
    return 1 if attribute.field == "authorized" else to_wire(attribute, value)  # only what the viewer may see is sent


def to_wire_tcia_v3(attribute: Attribute, value: Value) -> JsonValue:
    """Write a value as TCIA v3 does: dates as `2008-03-11`, sums of sizes (decimals in SQL) as text."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if attribute.name == "TotalSizeInBytes" and value is not None:
        return str(value)
    return to_wire(attribute, value)


def to_wire_text(attribute: Attribute, value: Value) -> str | None:
    """Write a value as NBIA's getSeriesMetaData does: always text.

    Dates and times are as by Java's `Date.toString()`, but that of the Study is as in v4.
    """
    if isinstance(value, date) and attribute.field != "study_date":
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001 - archives give no zone
        month = tuple(MONTHS)[moment.month - 1]
        return f"{_WEEKDAYS[moment.weekday()]} {month} {moment.day:02} {moment:%H:%M:%S} UTC {moment.year:04}"
    wired = to_wire_v4(attribute, value) if isinstance(value, date) else to_wire(attribute, value)
    return None if wired is None else _plain(wired)


def _plain(value: JsonValue) -> str:
    """A value as text: empty for None, `true` and `false` as in Java."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


@dataclass(frozen=True, slots=True)
class Rendering:
    """One format of search answers. `begin` gives the start of an answer, and a function that writes a row.

    Without rows, NBIA sends no bytes; TCIA v3 sends start and end (`is_never_empty`).
    """

    content_type: str
    begin: Callable[[Sequence[Attribute]], tuple[str, RowWriter]]
    end: str = ""
    between: str = ""
    is_never_empty: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    def write(self, attributes: Sequence[Attribute], rows: Iterable[WireRow]) -> Iterator[bytes]:
        """Write rows in chunks of about 64 KiB. Rows are taken only as the chunks are consumed."""
        start, write_row = self.begin(attributes)
        texts = map(write_row, rows)
        first = next(texts, None)
        if first is None and not self.is_never_empty:
            return
        chunk, size = [start, first or ""], 0
        for text in texts:
            chunk += (self.between, text)
            size += len(text)
            if size >= _CHUNK_CHARACTERS:
                yield "".join(chunk).encode(errors="replace")
                chunk, size = [], 0
        yield "".join([*chunk, self.end]).encode(errors="replace")


def _json(_attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
    """An array of flat objects. The key of a None is left out."""
    return "[", lambda row: encode({name: value for name, value in row.items() if value is not None})


def _csv(attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
    """A heading and rows with all fields quoted. As in NBIA, a single column is not quoted."""
    names = [attribute.name for attribute in attributes]
    if len(names) == 1:
        return f"{names[0]}\n", lambda row: f"{_cell(row.get(names[0]))}\n"
    heading = ",".join(map(_quoted, names)) + "\n"
    return heading, lambda row: ",".join(_quoted(_cell(row.get(name))) for name in names) + "\n"


def _csv_of_tcia(attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
    """A heading, and rows that each begin with a line break."""
    names = [attribute.name for attribute in attributes]

    def write(row: WireRow) -> str:
        texts = (_cell(row.get(name)) for name in names)
        return "\n" + ",".join(_quoted(text) if _NEEDS_QUOTES.search(text) else text for text in texts)

    return ",".join(names), write


def _cell(value: JsonValue) -> str:
    """A value as the text of a cell. What a spreadsheet would execute has an apostrophe before it, and is text."""
    text = _plain(value)
    return f"'{text}" if _FORMULA.match(text) else text


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _xml(attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
    """One line with an element with its Java class for each value that is not None.

    Characters that a tag cannot contain, as in `Date Released`, become underscores. NBIA writes them unchanged.
    """
    tags = [(attribute, _UNFIT_FOR_A_TAG.sub("_", attribute.name)) for attribute in attributes]
    elements = [(attribute.name, f"<{tag} type='{_java_class(attribute)}'>", f"</{tag}>") for attribute, tag in tags]

    def write(row: WireRow) -> str:
        found = ((row.get(name), start, end) for name, start, end in elements)
        texts = (f"{start}{_escaped(value)}{end}" for value, start, end in found if value is not None)
        return f"<Row>{''.join(texts)}</Row>"

    return '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><Results>', write


def _xml_of_tcia(attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
    """One line per element, with its SQL type. The element of a None is empty."""
    elements = [(a.name, f"<{a.name} type='{_sql_type(a)}' >", f"</{a.name}>\n") for a in attributes]

    def write(row: WireRow) -> str:
        texts = (f"{start}{_escaped_in_tcia(row.get(name))}{end}" for name, start, end in elements)
        return f"<Row>\n{''.join(texts)}</Row>\n"

    return "<Results>\n", write


def _java_class(attribute: Attribute) -> str:
    if attribute.kind is Kind.INTEGER:
        # DICOM attributes are Integer columns; counts and sizes are sums, which are Long in Hibernate.
        return "java.lang.Integer" if attribute.tag else "java.lang.Long"
    return _JAVA_CLASSES.get(attribute.kind, "java.lang.String")


def _sql_type(attribute: Attribute) -> str:
    if attribute.kind is Kind.INTEGER:
        if attribute.name == "TotalSizeInBytes":
            return "DECIMAL"  # a sum
        return "INT" if attribute.tag else "BIGINT"
    return _SQL_TYPES.get(attribute.kind, "VARCHAR")


def _html(start: str, end: str, text: Callable[[JsonValue], str], *, is_never_empty: bool = False) -> Rendering:
    """A table. `start` has a place for the cells of its heading."""

    def begin(attributes: Sequence[Attribute]) -> tuple[str, RowWriter]:
        names = [attribute.name for attribute in attributes]
        heading = start.format("".join(f"<TH>{text(name)}</TH>" for name in names))
        return heading, lambda row: f"<TR>{''.join(f'<TD>{text(row.get(name))}</TD>' for name in names)}</TR>"

    return Rendering("text/html", begin, end, is_never_empty=is_never_empty)


def _escaped_in_tcia(value: JsonValue) -> str:
    """Text of an element. Characters that XML does not allow become blanks."""
    return _UNSAFE.sub(lambda found: _ENTITIES.get(found[0], " "), _plain(value))


def _escaped(value: JsonValue) -> str:
    return _escaped_in_tcia(value).replace("/", "&#x2f;")


RENDERINGS: Final[Mapping[str, Rendering]] = {
    "JSON": Rendering("application/json", _json, "]", ","),
    "CSV": Rendering("text/csv", _csv),
    "XML": Rendering("application/xml", _xml, "</Results>"),
    "HTML": _html(
        "<P ALIGN='center'><TABLE BORDER=1><TR>{}</TR>",
        "</TABLE></P>",
        lambda value: "&nbsp;" if value is None else _escaped(value),
    ),
}
"""The formats of NBIA by the values of the `format` parameter, which is compared without case."""

TCIA_RENDERINGS: Final[Mapping[str, Rendering]] = {
    "JSON": replace(RENDERINGS["JSON"], is_never_empty=True),
    "CSV": Rendering("application/csv", _csv_of_tcia, is_never_empty=True),
    "XML": Rendering("application/xml", _xml_of_tcia, "</Results>", is_never_empty=True),
    "HTML": _html(
        "<HTML><BODY><P ALIGN='center'><TABLE id='data' BORDER=1><thead><TR>{}</TR></thead><tbody>",
        "</tbody></TABLE></P></BODY></HTML",  # Bindaas does not close the last tag either
        _escaped_in_tcia,
        is_never_empty=True,
    ),
}
"""The formats of TCIA v3."""
