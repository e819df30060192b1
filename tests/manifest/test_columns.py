"""What the columns of a table, and the keys of an object, mean."""

from __future__ import annotations

import pytest

from bulkdl.errors import ManifestError
from bulkdl.manifest import Manifest, read_manifest


def read(text: str) -> Manifest:
    return read_manifest(text.encode(), source="t.csv")


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("Study Instance UID", "studies"),
        ("study_uid", "studies"),
        ("Patient ID", "patients"),
        ("Subject ID", "patients"),
        ("subject_id", "patients"),
        ("Collection", "collections"),
        ("Collection Name", "collections"),
        ("Project", "collections"),
    ],
)
def test_the_finest_column_says_what_a_table_names(name: str, attribute: str) -> None:
    manifest = read(f"Age,{name},Sex\n60,1.2.3,F\n61,1.2.4,M\n62,1.2.3,M\n")
    values = (("", "1.2.3"), ("", "1.2.4")) if attribute == "patients" else ("1.2.3", "1.2.4")
    assert getattr(manifest, attribute) == values


def test_a_patient_may_be_narrowed_by_the_collection() -> None:
    assert read("Collection,PatientID,Age\nA,P1,60\n,P2,61\n").patients == (("A", "P1"), ("", "P2"))


def test_the_study_id_of_dicom_is_not_a_uid() -> None:
    assert read("Study ID,Patient ID\n12,P1\n").patients == (("", "P1"),)


def test_levels_may_be_mixed() -> None:
    manifest = read(
        "collection,patient_id,study_uid,series_uid,sop_uid\nA,,,,\nB,P1,,,\n,P2,,,\n,,1.1,,\n,,,1.2,\n,,,1.3,1.3.1\n"
    )
    assert manifest.collections == ("A",)
    assert manifest.patients == (("B", "P1"), ("", "P2"))
    assert manifest.studies == ("1.1",)
    assert (manifest.series, manifest.instances) == (("1.2", "1.3"), (("1.3", ("1.3.1",)),))


@pytest.mark.parametrize(
    "text",
    [
        "PatientID,SeriesInstanceUID,Age\nP1,1.2,60\nP2,,61\n",
        "PatientID,SeriesInstanceUID\nP1,1.2\nP2,\n",
        "PatientID,StudyInstanceUID,Age\nP1,1.2,60\nP2,,61\n",
    ],
)
def test_a_patient_without_imaging_is_not_selected(text: str) -> None:
    manifest = read(text)
    assert (manifest.series or manifest.studies, manifest.patients) == (("1.2",), ())
    assert manifest.notes == ("t.csv: 1 row names no series and is left out; the first is in line 3",)


def test_a_study_in_the_place_of_a_missing_series_is_selected() -> None:
    """As NBIA exports it, with an empty first column."""
    assert read('"SeriesInstanceUID","StudyInstanceUID"\n,"1.3.6.1"\n').studies == ("1.3.6.1",)


def test_an_instance_needs_its_series() -> None:
    with pytest.raises(ManifestError, match=r"line 3: the row names the instance 1\.2\.2 without its series"):
        read("SeriesInstanceUID,SOPInstanceUID\n1.2,1.2.1\n,1.2.2\n")


def test_a_row_shifted_by_an_unquoted_comma_gives_no_count() -> None:
    text = "Series UID,Study Description,Number of Images,File Size\n1.1,CHEST,3,100\n1.2,CHEST, ABD,7,200\n"
    manifest = read(text)
    assert manifest.series == ("1.1", "1.2")
    assert list(manifest.expected) == ["1.1"]


@pytest.mark.parametrize(("cell", "name"), [("'NA", "NA"), ('"=""007"""', "007"), ("'007", "007"), ("NA", "")])
def test_a_name_protected_from_excel_is_read(cell: str, name: str) -> None:
    manifest = read(f"Collection,PatientID\nA,{cell}\n")
    assert manifest.patients == ((("A", name),) if name else ())


FOLDER = "2f77262c-3a4a-4e5a-bdc0-056dc2837f15"


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("series_aws_url", f"s3://idc-open-data/{FOLDER}/*"),
        ("gcs_url", f"gs://public-datasets-idc/{FOLDER}/"),
        ("Location", f"idc-open-data/{FOLDER}"),
    ],
)
def test_a_column_of_addresses_names_folders_of_the_idc(name: str, cell: str) -> None:
    manifest = read(f"PatientID,{name}\nP1,{cell}\n")
    assert (manifest.locations, manifest.patients) == ((f"idc-open-data/{FOLDER}",), ())


def test_a_place_in_the_body_is_not_an_address() -> None:
    manifest = read("SeriesInstanceUID,Location\n1.2,left\n1.3,\n")
    assert (manifest.series, manifest.locations, manifest.notes) == (("1.2", "1.3"), (), ())
