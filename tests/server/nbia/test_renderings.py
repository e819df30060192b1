"""Values written and read back, and the bytes of the documented answers of NBIA and of TCIA v3."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.nbia.endpoints import NBIA_V1, TCIA_V3, Attribute, Endpoint, Kind
from bulkdl.archive.nbia.values import PADDING, Value, from_wire
from bulkdl.server.nbia.renderings import RENDERINGS, TCIA_RENDERINGS, JsonValue, Rendering, to_wire

DATA = Path(__file__).parents[2] / "data" / "answers"
EXAMPLES = sorted(path.name for path in DATA.glob("nbia_v1_get*.*"))

VALUES: dict[Kind, st.SearchStrategy[Value]] = {
    Kind.TEXT: st.text(min_size=1).map(lambda text: text.strip(PADDING)).filter(bool),  # the client takes padding off
    Kind.UID: st.text("0123456789.", min_size=1, max_size=64),
    Kind.INTEGER: st.integers(),
    Kind.NUMBER: st.floats(allow_nan=False, allow_infinity=False),
    Kind.FLAG: st.booleans(),
    Kind.YES_NO: st.booleans(),
    Kind.DATE: st.dates(),
    Kind.TIMESTAMP: st.datetimes(),
    Kind.NESTED: st.lists(st.integers()),
}


def attribute(kind: Kind) -> Attribute:
    return Attribute("Name", "name", kind)


def example_rows(name: str) -> tuple[Endpoint, list[dict[str, JsonValue]]]:
    endpoint = NBIA_V1[name.removeprefix("nbia_v1_").partition(".")[0]]
    return endpoint, json.loads((DATA / f"nbia_v1_{endpoint.name}.json").read_text())


@given(st.data())
@pytest.mark.parametrize("kind", list(Kind))
def test_reads_back_the_value_that_was_written(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(VALUES[kind] | st.none())
    sent = json.loads(json.dumps(to_wire(attribute(kind), value)))
    assert from_wire(attribute(kind), sent) == value


def test_dates_are_written_as_java_timestamps() -> None:
    assert to_wire(attribute(Kind.DATE), date(2008, 3, 11)) == "2008-03-11 00:00:00.0"
    assert to_wire(attribute(Kind.TIMESTAMP), datetime(2008, 3, 11, 1, 2, 3, 450000)) == "2008-03-11 01:02:03.45"  # noqa: DTZ001 - zoneless


def test_a_time_with_a_zone_is_written_in_utc() -> None:
    moment = datetime.fromisoformat("2008-03-11T01:00:00+02:00")
    assert to_wire(attribute(Kind.TIMESTAMP), moment) == "2008-03-10 23:00:00.0"
    assert moment.astimezone(UTC).day == 10


@pytest.mark.parametrize("name", EXAMPLES)
def test_writes_the_documented_bytes(name: str) -> None:
    endpoint, rows = example_rows(name)
    written = b"".join(RENDERINGS[name.rpartition(".")[2].upper()].write(endpoint.attributes, rows))
    assert written == (DATA / name).read_bytes()


# All values of getSeriesMetaData are texts, dates in three forms: they are read, and written by the server's own rules.
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.endswith(".json") and "MetaData" not in name])
def test_writes_the_documented_values_again_after_reading_them(name: str) -> None:
    endpoint, rows = example_rows(name)
    again = [{a.name: to_wire(a, from_wire(a, row.get(a.name))) for a in endpoint.attributes} for row in rows]
    assert [{k: v for k, v in row.items() if v is not None} for row in again] == rows


@pytest.mark.parametrize("format_name", RENDERINGS)
def test_writes_no_bytes_for_no_rows(format_name: str) -> None:
    assert list(RENDERINGS[format_name].write(NBIA_V1["getSeries"].attributes, [])) == []


@pytest.mark.parametrize("format_name", RENDERINGS)
def test_takes_rows_while_it_writes(format_name: str) -> None:
    """An archive has hundreds of thousands of series; too many to hold in memory."""
    attributes = NBIA_V1["getSOPInstanceUIDs"].attributes
    endless = ({"SOPInstanceUID": f"1.2.{number}"} for number in count())
    chunks = list(islice(RENDERINGS[format_name].write(attributes, endless), 3))
    assert all(len(chunk) < 1 << 17 for chunk in chunks)


def test_a_missing_value_leaves_its_key_out() -> None:
    assert b"".join(RENDERINGS["JSON"].write([], [{"A": None, "B": "é/"}])) == '[{"B":"é/"}]'.encode()


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_xml_is_well_formed_for_any_text(texts: list[str]) -> None:
    attributes = [Attribute(f"C{number}", "c") for number in range(len(texts))]
    row = {f"C{number}": text for number, text in enumerate(texts)}
    root = ET.fromstring(b"".join(RENDERINGS["XML"].write(attributes, [row])))  # noqa: S314 - the same
    assert len(root[0]) == len(texts)


@given(st.text())
def test_html_escapes_markup_in_a_value(text: str) -> None:
    body = b"".join(RENDERINGS["HTML"].write([attribute(Kind.TEXT)], [{"Name": text}])).decode()
    cell = body.partition("<TD>")[2].removesuffix("</TD></TR></TABLE></P>")
    assert "<" not in cell
    assert ">" not in cell


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=cmd|'/C calc'!A0", "'=cmd|'/C calc'!A0"),
        ("@SUM(1+1)", "'@SUM(1+1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3+cmd|x!A0", "'-2+3+cmd|x!A0"),
        ("\t=1+1", "'\t=1+1"),
        ("\r=1+1", "'\r=1+1"),
        ('=HYPERLINK("http://evil.example")', '\'=HYPERLINK("http://evil.example")'),
        ("+C AX T1", "+C AX T1"),
        ("-1.5", "-1.5"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("renderings", [RENDERINGS, TCIA_RENDERINGS], ids=["nbia", "tcia"])
def test_a_spreadsheet_executes_no_cell(renderings: Mapping[str, Rendering], text: str, written: str) -> None:
    """For one column and for several. Ordinary descriptions that begin with a sign are left as they are."""
    one, two = attribute(Kind.TEXT), Attribute("Other", "other", Kind.TEXT)
    for attributes in ([one], [one, two]):
        body = b"".join(renderings["CSV"].write(attributes, [{"Name": text, "Other": "x"}])).decode()
        heading = body.index("\n") + 1
        assert body[heading:].lstrip('"').startswith((written, written.replace('"', '""')))
    assert json.loads(b"".join(renderings["JSON"].write([one], [{"Name": text}]))) == [{"Name": text}]


# --- TCIA v3 ----------------------------------------------------------------------------------------------------------

NAMES = [Attribute("A", "a"), Attribute("B", "b")]
ROW = st.fixed_dictionaries({"A": st.none() | st.text(), "B": st.none() | st.text() | st.integers() | st.booleans()})


def write(form: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(TCIA_RENDERINGS[form].write(NAMES, rows))


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
def test_bytes_of_each_format_of_tcia(form: str, body: bytes) -> None:
    assert write(form, [{"A": "x", "B": None}, {"A": "y", "B": 2}]) == body


def test_sizes_are_decimals_and_counts_are_wide() -> None:
    attributes = TCIA_V3["getSeriesSize"].attributes
    text = b"".join(TCIA_RENDERINGS["XML"].write(attributes, [{"TotalSizeInBytes": "7", "ObjectCount": 1}])).decode()
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
def test_html_of_tcia_escapes_markup_in_a_value(rows: list[dict[str, object]]) -> None:
    cells = write("HTML", rows).decode().partition("<tbody>")[2]
    bare = (
        cells.replace("<TR>", "").replace("</TR>", "").replace("<TD>", "").replace("</TD>", "").partition("</tbody>")[0]
    )
    assert "<" not in bare
