"""Rows as Bindaas, the platform under TCIA v3, writes them. `renderings` has those of NBIA.

Source: `CSVResultSetInputStream.java`, `JSONFormatHandler.java`, `XMLFormatHandler.java`, `HTMLFormatHandler.java` of
sharmalab/bindaas. Without rows there is still a heading. Two differences are intended: values are escaped in XML and
HTML, and a CSV field with a comma, a quote or a line break is quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from bulkdl.archive.nbia.endpoints import Attribute, Kind
from bulkdl.server.nbia.renderings import JsonValue, Rendering, Rows, cell, escaped, in_chunks, json_texts, quoted

_NEEDS_QUOTES = re.compile(r'[",\r\n]')
_SQL_TYPES = {Kind.NUMBER: "DOUBLE", Kind.FLAG: "BIT", Kind.DATE: "DATE", Kind.TIMESTAMP: "TIMESTAMP"}


def rows_to_json(_attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """An array of flat objects, which may be empty. The key of a None is left out."""
    return in_chunks("[", json_texts(rows), "]")


def rows_to_csv(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """A heading, and rows that each begin with a line break."""
    names = [attribute.name for attribute in attributes]
    return in_chunks(",".join(names), ("\n" + ",".join(_field(row.get(name)) for name in names) for row in rows))


def rows_to_xml(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """One line per element, with its SQL type. The element of a None is empty."""
    elements = [(a.name, f"<{a.name} type='{_sql_type(a)}' >", f"</{a.name}>\n") for a in attributes]

    def row_text(row: Mapping[str, JsonValue]) -> str:
        return "".join(f"{start}{escaped(row.get(name))}{end}" for name, start, end in elements)

    return in_chunks("<Results>\n", (f"<Row>\n{row_text(row)}</Row>\n" for row in rows), "</Results>")


def rows_to_html(attributes: Sequence[Attribute], rows: Rows) -> Iterator[bytes]:
    """A page with a table. Its last tag is not closed, as in Bindaas."""
    names = [attribute.name for attribute in attributes]
    heading = "".join(f"<TH>{escaped(name)}</TH>" for name in names)

    def row_text(row: Mapping[str, JsonValue]) -> str:
        return "".join(f"<TD>{escaped(row.get(name))}</TD>" for name in names)

    return in_chunks(
        f"<HTML><BODY><P ALIGN='center'><TABLE id='data' BORDER=1><thead><TR>{heading}</TR></thead><tbody>",
        (f"<TR>{row_text(row)}</TR>" for row in rows),
        "</tbody></TABLE></P></BODY></HTML",
    )


RENDERINGS_V3: Mapping[str, Rendering] = {
    "JSON": Rendering("application/json", rows_to_json),
    "CSV": Rendering("application/csv", rows_to_csv),
    "XML": Rendering("application/xml", rows_to_xml),
    "HTML": Rendering("text/html", rows_to_html),
}
"""Formats by the values of the `format` parameter."""


def _field(value: JsonValue) -> str:
    text = cell(value)
    return quoted(text) if _NEEDS_QUOTES.search(text) else text


def _sql_type(attribute: Attribute) -> str:
    if attribute.kind is Kind.INTEGER:
        if attribute.name == "TotalSizeInBytes":
            return "DECIMAL"  # a sum
        return "INT" if attribute.tag else "BIGINT"
    return _SQL_TYPES.get(attribute.kind, "VARCHAR")
