"""The bytes of TCIA v3's formats, compared with documented ones if there are any."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.nbia.endpoints import TCIA_V3, Attribute
from bulkdl.server.nbia.renderings_v3 import RENDERINGS_V3

NAMES = [Attribute("A", "a"), Attribute("B", "b")]
ROW = st.fixed_dictionaries({"A": st.none() | st.text(), "B": st.none() | st.text() | st.integers() | st.booleans()})


def write(form: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(RENDERINGS_V3[form].write(NAMES, rows))


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("JSON", b'[{"A":"x"},{"A":"y","B":2}]'),
        ("CSV", b"A,B\nx,\ny,2"),
        (
            "XML",
            (
                b"<Results>\n<Row>\n<A type='VARCHAR' >x</A>\n<B type='VARCHAR' ></B>\n</Row>\n"
                b"<Row>\n<A type='VARCHAR' >y</A>\n<B type='VARCHAR' >2</B>\n</Row>\n</Results>"
            ),
        ),
        (
            "HTML",
            (
                b"<HTML><BODY><P ALIGN='center'><TABLE id='data' BORDER=1><thead><TR><TH>A</TH><TH>B</TH></TR></thead>"
                b"<tbody><TR><TD>x</TD><TD></TD></TR><TR><TD>y</TD><TD>2</TD></TR></tbody></TABLE></P></BODY></HTML"
            ),
        ),
    ],
)
def test_bytes_of_each_format(form: str, body: bytes) -> None:
    assert write(form, [{"A": "x", "B": None}, {"A": "y", "B": 2}]) == body


def test_sizes_are_decimals_and_counts_are_wide() -> None:
    attributes = TCIA_V3["getSeriesSize"].attributes
    text = b"".join(RENDERINGS_V3["XML"].write(attributes, [{"TotalSizeInBytes": "7", "ObjectCount": 1}])).decode()
    assert "<TotalSizeInBytes type='DECIMAL' >7<" in text
    assert "<ObjectCount type='BIGINT' >1<" in text


@given(st.lists(ROW))
def test_json_gives_back_what_was_written(rows: list[dict[str, object]]) -> None:
    kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert json.loads(write("JSON", rows)) == kept


@given(st.lists(ROW))
def test_xml_can_be_parsed_for_any_values(rows: list[dict[str, object]]) -> None:
    assert len(ET.fromstring(write("XML", rows))) == len(rows)  # noqa: S314 - our own


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="+-")), min_size=1))
def test_csv_gives_back_what_was_written_and_no_formula(texts: list[str]) -> None:
    rows = [{"A": text, "B": "b"} for text in texts]
    read = list(csv.reader(io.StringIO(write("CSV", rows).decode(), newline="")))
    assert read == [["A", "B"], *([f"'{text}" if text.startswith(("=", "@")) else text, "b"] for text in texts)]


@given(st.lists(ROW, min_size=1))
def test_html_escapes_markup_in_a_value(rows: list[dict[str, object]]) -> None:
    cells = write("HTML", rows).decode().partition("<tbody>")[2]
    bare = (
        cells.replace("<TR>", "").replace("</TR>", "").replace("<TD>", "").replace("</TD>", "").partition("</tbody>")[0]
    )
    assert "<" not in bare
