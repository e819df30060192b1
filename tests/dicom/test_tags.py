"""The attributes of an instance as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.dicom.tags import TagText, read_tags, uid_names
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import encoded, image, pydicom_file


def test_lists_sequences_with_their_items_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(encoded(image()))
    rows = read_tags(path)
    assert rows[0].element == "(0002,0000)"
    start = rows.index(TagText("(0008,1140)", "Referenced Image Sequence", ""))
    end = rows.index(TagText("(0008,1140)", "End Referenced Image Sequence", ""))
    assert end > start + 1
    assert all(row.element.startswith(">") for row in rows[start + 1 : end])


def test_gives_the_length_of_large_values() -> None:
    rows = {row.name: row.data for row in read_tags(pydicom_file("MR_small.dcm"))}
    assert rows["Patient ID"]
    assert any(text.endswith(" bytes") for text in rows.values())


def test_writes_several_values_as_dicom_does() -> None:
    """With a backslash between them (PS3.5 §6.2), and numbers as the file has them."""
    rows = {row.name: row.data for row in read_tags(pydicom_file("CT_small.dcm"))}
    assert rows["Image Type"] == "ORIGINAL\\PRIMARY\\AXIAL"
    assert rows["Pixel Spacing"] == "0.661468\\0.661468"


def test_says_that_a_file_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(b"not DICOM")
    with pytest.raises(InvalidInstance, match=r"x\.dcm cannot be read"):
        read_tags(path)


def test_knows_the_names_of_sop_classes() -> None:
    assert uid_names("SOP Class")["1.2.840.10008.5.1.4.1.1.2"] == "CT Image Storage"


def test_no_escape_sequence_is_left_in_a_text(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    content = encoded(image(SpecificCharacterSet="ISO_IR 100", PatientName="A" * 16)).replace(
        b"ISO_IR 100", b"\\ISO2022IR"
    )
    path.write_bytes(content.replace(b"A" * 16, b"X=\x1b$)A\xd5\xc5^" + b"Y" * 7))
    assert not [row for row in read_tags(path) if "\x1b" in row.data]
