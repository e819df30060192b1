"""Workbooks written by openpyxl are read; anything else is one error."""

from __future__ import annotations

import io
import zipfile

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import read_manifest
from bulkdl.model.records import SeriesSize
from tests.support.manifest_texts import workbook

DIGEST = workbook([["Patient ID", "Series Instance UID", "Image Count", "File Size"], ["P1", "1.2.3", 7, 70018838]])


def test_a_digest_names_series_and_what_to_expect() -> None:
    manifest = read_manifest(DIGEST, source="digest.xlsx")
    assert (manifest.format, manifest.series) == ("xlsx", ("1.2.3",))
    assert manifest.expected == {"1.2.3": SeriesSize(70018838, 7)}


def test_the_first_sheet_with_a_column_of_uids_is_read() -> None:
    content = workbook([["About this table"], ["Made up"]], [[], ["Series UID"], ["1.2.3"]])
    assert read_manifest(content, source="-").series == ("1.2.3",)


def test_an_invalid_cell_is_named_by_its_row() -> None:
    with pytest.raises(ManifestError, match=r"book\.xlsx, line 4: 'x' is not a UID"):
        read_manifest(workbook([["Series UID"], ["1.2.3"], [], ["x"]]), source="book.xlsx")


@given(st.data())
def test_a_damaged_workbook_is_a_manifest_or_an_error(data: st.DataObject) -> None:
    content = bytearray(DIGEST)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    message = ""
    try:
        read_manifest(bytes(content), source="-")
    except ManifestError as error:
        message = str(error)
    assert "\n" not in message


def test_a_stray_cell_in_the_last_corner_costs_nothing() -> None:
    book = openpyxl.Workbook()
    for place, value in (("A1", "Series UID"), ("A2", "1.2.3"), ("XFD1048576", "x")):
        book.active[place] = value
    out = io.BytesIO()
    book.save(out)
    manifest = read_manifest(out.getvalue(), source="-")
    assert (manifest.series, len(manifest.notes)) == (("1.2.3",), 1)


def test_texts_that_cells_share_are_read_wherever_the_parts_are() -> None:
    office = "http://purl.oclc.org/ooxml/officeDocument/relationships"  # of the strict form
    cells = "".join(f'<row><c t="s"><v>{number}</v></c></row>' for number in (1, 0, 2))
    parts = {
        "_rels/.rels": relations(("r1", f"{office}/officeDocument", "/book/b.xml")),
        "book/b.xml": f'<workbook xmlns:r="{office}"><sheets><sheet name="A" r:id="s"/></sheets></workbook>',
        "book/_rels/b.xml.rels": relations(
            ("s", f"{office}/worksheet", "../sheets/one.xml"), ("t", f"{office}/sharedStrings", "texts.xml")
        ),
        "sheets/one.xml": f"<worksheet><sheetData>{cells}</sheetData></worksheet>",
        "book/texts.xml": "<sst><si><t>1.2.3</t></si><si><t>Series UID</t></si><si><t>1.2.4</t></si></sst>",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as members:
        for name, text in parts.items():
            members.writestr(name, text)
    assert read_manifest(out.getvalue(), source="-").series == ("1.2.3", "1.2.4")


def relations(*found: tuple[str, str, str]) -> str:
    rows = (f'<Relationship Id="{each[0]}" Type="{each[1]}" Target="{each[2]}"/>' for each in found)
    return f"<Relationships>{''.join(rows)}</Relationships>"


def test_a_workbook_that_states_a_huge_size_is_refused_before_it_is_read() -> None:
    sheet = DIGEST.index(b"PK\x01\x02")
    content = bytearray(DIGEST)
    content[sheet + 24 : sheet + 28] = (0xF0000000).to_bytes(4, "little")
    with pytest.raises(ManifestError, match="it grows to 4,026,5"):
        read_manifest(bytes(content), source="-")


def test_a_workbook_that_grows_far_more_than_a_sheet_does_is_refused_before_it_is_read() -> None:
    out = io.BytesIO(DIGEST)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as members, members.open("more.xml", "w") as member:
        for _ in range(65):
            member.write(bytes(1 << 20))
    with pytest.raises(ManifestError, match="it grows to 68,"):
        read_manifest(out.getvalue(), source="-")
