"""The XML of workbooks, as different programs write it, and as none should."""

from __future__ import annotations

import io

import pytest

from bulkdl.manifest.sheet_xml import attributes_of, rows_in, strings_in

HEAD = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'


def rows(body: str, strings: list[str] | None = None) -> list[tuple[int, list[str]]]:
    return list(rows_in(io.BytesIO(f"{HEAD}{body}</sheetData></worksheet>".encode()), strings or []))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('<c r="A1" t="s"><v>1</v></c>', "second"),
        ('<c r="A1" t="inlineStr"><is><t>1.2.3 </t></is></c>', "1.2.3"),
        ('<c r="A1" t="inlineStr"><is><r><t>1.2</t></r><r><t>.3</t></r></is></c>', "1.2.3"),
        ('<c r="A1" t="str"><f>B1&amp;"x"</f><v>1.2.3</v></c>', "1.2.3"),
        ('<c r="A1"><v>133</v></c>', "133"),
        ('<c r="A1"><v>133.0</v></c>', "133"),
        ('<c r="A1" t="n"><v>7.0018838E7</v></c>', "70018838"),
        ('<c r="A1"><v>0.5</v></c>', "0.5"),
        ('<c r="A1" t="b"><v>1</v></c>', "1"),
        ('<c r="A1" t="e"><v>#N/A</v></c>', "#N/A"),
    ],
)
def test_every_kind_of_cell_is_text(cell: str, text: str) -> None:
    assert rows(f'<row r="1">{cell}</row>', ["first", "second"]) == [(1, [text])]


def test_cells_and_rows_without_a_place_follow_the_last_one() -> None:
    body = '<row><c><v>1</v></c><c r="C1"><v>3</v></c><c><v>4</v></c></row><row r="5"><c><v>5</v></c></row><row/>'
    assert rows(body) == [(1, ["1", "", "3", "4"]), (5, ["5"])]


def test_a_prefix_is_left_out() -> None:
    text = '<x:worksheet xmlns:x="a"><x:row r="2"><x:c r="B2" t="str"><x:v>1.2</x:v></x:c></x:row></x:worksheet>'
    assert list(rows_in(io.BytesIO(text.encode()), [])) == [(2, ["", "1.2"])]


def test_the_longest_row_ends_at_the_last_column_of_excel() -> None:
    ((_, cells),) = rows('<row><c r="XFD1"><v>1</v></c></row>')
    assert len(cells) == 1 << 14
    with pytest.raises(ValueError, match="more than 16,384 cells"):
        rows('<row><c r="XFE1"><v>1</v></c></row>')


def test_shared_texts_are_joined_without_their_pronunciation() -> None:
    text = "<sst><si><t>a</t></si><si><r><t>b</t></r><r><t>c</t></r><rPh><t>no</t></rPh></si><si/></sst>"
    assert list(strings_in(io.BytesIO(text.encode()))) == ["a", "bc", ""]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "declares types or entities"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "declares types or entities"),
        (b'<a b="' + b"x" * (3 << 20), "an element of its XML has more than 1,048,576 bytes"),
        (b"<row><c><v>" + b"x" * (3 << 20), "a text has more than 1,048,576 characters"),
        (b'<row><c r="12"><v>1</v></c></row>', "'' is not a column"),
        (b'<row><c r="ABCD1"><v>1</v></c></row>', "'ABCD' is not a column"),
    ],
    ids=["entity", "external", "long element", "long text", "no column", "far column"],
)
def test_what_would_fill_the_memory_or_read_files_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        list(rows_in(io.BytesIO(content), []))


def test_a_text_that_no_cell_refers_to_is_an_error_of_the_cell() -> None:
    with pytest.raises(IndexError):
        rows('<row><c t="s"><v>7</v></c></row>', ["first"])


def test_attributes_are_read_by_the_name_of_their_element() -> None:
    content = b'<a:sheets xmlns:a="x"><a:sheet name="One"/><other name="Two"/></a:sheets>'
    assert attributes_of(io.BytesIO(content), "sheet") == [{"name": "One"}]
