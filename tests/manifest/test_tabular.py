from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import ManifestError
from bulkdl.manifest import tabular
from bulkdl.manifest.base import Manifest, Remarks, collect
from bulkdl.model.records import NamedSlide, SeriesSize
from tests.support.manifest_texts import text_of


def parse(text: str) -> Manifest:
    return collect(tabular.read(text_of(text), Remarks("t.csv")))


@pytest.mark.parametrize(
    "name",
    [
        "SeriesInstanceUID",
        "Series Instance UID",
        "Series UID",
        "Series ID",
        "series_instance_uid",
        '"Series UID"',
        " seriesinstanceuid ",
        "pet_series_instance_uid",
    ],
)
def test_the_column_may_have_many_spellings(name: str) -> None:
    assert parse(f"PatientID,{name},Modality\nP1,1.2.3,CT\nP2,1.2.4,MR\n").series == ("1.2.3", "1.2.4")


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n,;\t|\"'"), max_size=20)


@given(st.lists(CELLS, min_size=1, max_size=8), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_separators_quotes_and_texts_change_nothing(texts: list[str], delimiter: str, end: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end)
    writer.writerow(["Series Description", "SeriesInstanceUID"])
    writer.writerows([text, f"1.2.{number}"] for number, text in enumerate(texts))
    assert parse(out.getvalue()).series == tuple(f"1.2.{number}" for number in range(len(texts)))


@pytest.mark.parametrize(("delimiter", "file_format"), [(",", "csv"), (";", "csv"), ("\t", "tsv")])
def test_says_what_kind_of_table_it_was(delimiter: str, file_format: str) -> None:
    assert parse(f"Modality{delimiter}SeriesInstanceUID\nCT{delimiter}1.2.3\n").format == file_format


def test_the_separator_is_the_one_that_shows_a_column_of_series() -> None:
    assert parse("SeriesInstanceUID;Size, in mm, of a, b, c\n1.2.3;4\n").series == ("1.2.3",)


def test_comments_and_excels_separator_line_may_come_first() -> None:
    assert parse("sep=;\n# comment; with one\n\nModality;Series UID\nCT;1.2.3\n").series == ("1.2.3",)


def test_pairs_are_read_row_by_row_and_once() -> None:
    text = "pet_series_uid,ct_series_uid,series_instance_uid\n1.1,1.2,1.1\n,2.2,NA\n3.1,nan,1.1\n"
    assert parse(text).series == ("1.1", "1.2", "2.2", "3.1")


def test_a_column_of_instances_narrows_the_series() -> None:
    text = "SeriesInstanceUID,SOP Instance UID\n1.1,1.1.1\n1.2,1.2.1\n1.1,1.1.2\n1.1,1.1.1\n1.3,\n1.2,\n"
    manifest = parse(text)
    assert manifest.series == ("1.1", "1.2", "1.3")
    assert manifest.instances == (("1.1", ("1.1.1", "1.1.2")),)


def test_exact_sizes_and_counts_are_expected() -> None:
    text = "Series UID,Number of Images,File Size\n1.1,118.0,62000000\n1.2,1,17.89 MB\n1.3,,\n1.1,7,7\n"
    assert parse(text).expected == {"1.1": SeriesSize(62_000_000, 118), "1.2": SeriesSize(None, 1)}


def test_the_size_of_an_instance_is_not_the_size_of_its_series() -> None:
    assert parse("SeriesInstanceUID,SOPInstanceUID,FileSize\n1.1,1.1.1,5\n").expected == {}


def test_without_a_header_uids_made_of_uuids_are_read() -> None:
    """PS3.5 §B.2: `2.25.` and the UUID as an integer."""
    assert parse("P1,2.25.1020269\nP2,2.25.77\n").series == ("2.25.1020269", "2.25.77")


@pytest.mark.parametrize("cell", ["'1.2.3", '"=""1.2.3"""', "=1.2.3", "\"'1.2.3'\"", "1.2.3'", "\t1.2.3 "])
def test_a_uid_protected_from_excel_is_read(cell: str) -> None:
    assert parse(f"PatientID;SeriesInstanceUID;SOPInstanceUID\n'P1;{cell};{cell}\n").instances == (
        ("1.2.3", ("1.2.3",)),
    )


def test_without_a_header_columns_of_uids_are_read() -> None:
    text = "1001,3.5,1.2.3.4,1.2.3.5\n1002,3.7,1.2.3.6,\n"
    assert parse(text).series == ("1.2.3.4", "1.2.3.5", "1.2.3.6")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "SeriesInstanceUID,Modality\n1.2.3,CT\n,CT\n",
            "1 row names no series and is left out; the first is in line 3",
        ),
        ("Modality,SeriesInstanceUID\nCT\nCT,1.2.3\n", "1 row names no series and is left out; the first is in line 2"),
        (
            "PatientID,SeriesInstanceUID,Age\nPH 1,1.2.3,60\nPH 2,,61\nPH 3,NA,62\nPH 4,-,63\n",
            "3 rows name no series and are left out; the first is in line 3",
        ),
        ("1.2.840.1\tA\n\tB\n", "1 row names no series and is left out; the first is in line 2"),
    ],
    ids=["empty cell", "short row", "patients without imaging", "no header"],
)
def test_rows_without_a_series_are_left_out_and_counted(text: str, note: str) -> None:
    read = parse(text)
    assert len(read.series) == 1
    assert read.notes == (f"t.csv: {note}",)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("SeriesInstanceUID\n1.2.3\n1.2.x\n", 3, "'1.2.x' is not a UID"),
        ('Note,SeriesInstanceUID\n"two\nlines",1.2.3\nx,y\n', 4, "'y' is not a UID"),
        ("SeriesInstanceUID,Modality\n,CT\n,CT\n", 2, "no row names a series"),
        ("SeriesInstanceUID,SOPInstanceUID\n1.2.3,abc\n", 2, "'abc' is not a UID"),
        ("SeriesInstanceUID,Note\n1.2.3," + "x" * 200_000, 2, "field larger than"),
    ],
    ids=["not a UID", "below a cell of two lines", "no row at all", "instance", "huge cell"],
)
def test_says_which_line_is_invalid(text: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError, match=f"t.csv, line {line}: ") as caught:
        parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("SeriesInstanceUID,Modality\n", "a header but no rows"),
        ("Age,Modality\n60,CT\n", "no column names a collection, patient, study or series"),
        ("StudyInstanceUID,SOPInstanceUID\n1.1,1.1.1\n", "no column of series UIDs and one of SOP Instance UIDs"),
        ("name,drs_uri\nx,drs://y\n", "'drs://y' is not a DRS identifier"),
        ("collectionName\timageUrl\nx\thttp://y\n", "not the address of an image"),
        ("collectionName\timageUrl\nx\t\n", "no row names a series"),
        ("ct_series_uid,pet_series_uid,SOPInstanceUID\n1.1,1.2,1.1.1\n", "not clear which belong together"),
        ("just some words\nand more\n", "no column names a collection"),
        ("# only a comment\n", "empty"),
    ],
)
def test_says_what_a_table_without_series_looks_like(text: str, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        parse(text)


def test_names_slides_in_both_forms_that_tables_of_them_have() -> None:
    by_client = parse(
        "collectionName,collectionId,subjectId,imageId,slideId,imageUrl\nC,10,P,S,2060,http://h/index.php/a.svs\n"
    )
    by_portal = parse("collection,patient_id,slide_id,camic_id,wsiimage_url\nC,P,S,2060,http://h/index.php/a.svs\n")
    assert by_client.slides == by_portal.slides == (NamedSlide("http://h/index.php/a.svs", "C", "P", "S"),)


def test_a_repeated_slide_counts_once() -> None:
    found = parse("imageUrl\nhttp://h/a.svs\nhttp://h/a.svs\n")
    assert (len(found.slides), found.repeated) == (1, 1)


def test_a_column_of_series_is_read_before_one_of_images() -> None:
    found = parse("SeriesInstanceUID,imageUrl\n1.2,http://h/a.svs\n")
    assert (found.series, found.slides) == (("1.2",), ())
