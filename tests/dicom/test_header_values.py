"""Chosen attributes of files as text."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from bulkdl.dicom.header_values import DEFAULT_KEYWORDS, checked_keywords, read_values
from bulkdl.errors import ConfigurationError


def written(path: Path, **values: object) -> str:
    data_set = Dataset()
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set.SOPInstanceUID = "1.2.3"
    data_set.SpecificCharacterSet = "ISO_IR 192"
    for name, value in values.items():
        setattr(data_set, name, value)
    data_set.SOPClassUID = "1.2"
    data_set.save_as(path, enforce_file_format=True)
    return str(path)


def test_values_are_text_with_backslashes_between_several(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.dcm",
        PatientName="Müller^A",
        ImagePositionPatient=[1, -2.5, 3],
        KVP="120",
        PatientSex="",
        ReferencedSeriesSequence=[Dataset(), Dataset()],
    )
    names = ("PatientName", "ImagePositionPatient", "KVP", "PatientSex", "ReferencedSeriesSequence", "EchoTime")
    assert read_values(((path,), names)) == [
        {
            "PatientName": "Müller^A",
            "ImagePositionPatient": "1.0\\-2.5\\3.0",
            "KVP": "120",
            "ReferencedSeriesSequence": "2 items",
        }
    ]


def test_a_file_that_cannot_be_read_takes_no_other_along(tmp_path: Path) -> None:
    good = written(tmp_path / "a.dcm", Rows=7)
    (tmp_path / "b.dcm").write_bytes(b"no DICOM")
    found = read_values(((str(tmp_path / "b.dcm"), str(tmp_path / "absent.dcm"), good), ("Rows",)))
    assert [isinstance(each, str) for each in found] == [True, True, False]
    assert found[2] == {"Rows": "7"}


def test_keywords_are_split_at_commas_and_counted_once() -> None:
    assert checked_keywords(["KVP, Rows", "Rows", ""]) == ("KVP", "Rows")
    assert checked_keywords(DEFAULT_KEYWORDS) == DEFAULT_KEYWORDS


@pytest.mark.parametrize("name", ["kvp", "0010,0010", "NotThere", "Rows;Columns"])
def test_what_is_not_a_keyword_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a keyword of DICOM"):
        checked_keywords([name])
