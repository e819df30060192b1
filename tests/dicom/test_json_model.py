"""The DICOM JSON model, against pydicom's reading of it, on all files of pydicom."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from bulkdl.dicom.json_model import INLINE_BYTES, read_json
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import encoded, image, pydicom_file, pydicom_files

URL = "http://localhost/instances/1/bulkdata"


def put(path: Path, made: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    path.write_bytes(encoded(made, syntax))
    return path


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        read_json(path, URL), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )
    return document


@pytest.mark.filterwarnings("ignore")
def test_files_are_read_as_pydicom_reads_them() -> None:
    compared = 0
    for path in pydicom_files():
        try:
            document = read(path)
        except InvalidInstance:
            continue
        bulk = [each for each in document.values() if "BulkDataURI" in each]
        assert all(each["BulkDataURI"].startswith(URL) for each in bulk), path
        wanted = dcmread(path, stop_before_pixels=True)
        given = Dataset.from_json(document, bulk_data_uri_handler=lambda *_: None)
        for element in wanted:
            if element.VR in {"SQ", "UN"} or element.tag == 0x00080005 or element.tag.element == 0:
                continue
            assert f"{element.tag:08X}" in document, (path, element)
            is_invalid = element.VR == "IS" and not isinstance(element.value, int)
            is_plain = isinstance(element.value, str | int | bytes) and not is_invalid
            if is_plain and "BulkDataURI" not in document[f"{element.tag:08X}"]:
                compared += 1
                assert given[element.tag].value == element.value or not element.value, (path, element)
    assert compared > 2_000


@pytest.mark.parametrize(
    ("name", "alphabetic", "ideographic"),
    [
        ("chrH31.dcm", "Yamada^Tarou", "山田^太郎"),
        ("chrKoreanMulti.dcm", "김희중", None),
        ("chrGerm.dcm", "Äneas^Rüdiger", None),
    ],
)
def test_names_are_utf_8_whatever_the_file_has(name: str, alphabetic: str, ideographic: str | None) -> None:
    document = read(pydicom_file(name))
    (found,) = document["00100010"]["Value"]
    assert (found["Alphabetic"], found.get("Ideographic")) == (alphabetic, ideographic)
    assert document["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}


def test_bulk_data_has_an_address_also_within_sequences(tmp_path: Path) -> None:
    item = Dataset()
    item.EncapsulatedDocument = bytes(INLINE_BYTES + 2)
    item.ICCProfile = b"ab" * (INLINE_BYTES // 2)
    made = image(DerivationCodeSequence=[Dataset(), item])
    document = read(put(tmp_path / "file.dcm", made))
    assert document["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{URL}/7FE00010"}
    of_item = document["00089215"]["Value"][1]
    assert of_item["00420011"] == {"vr": "OB", "BulkDataURI": f"{URL}/00089215/2/00420011"}
    assert base64.b64decode(of_item["00282000"]["InlineBinary"]) == item.ICCProfile


def test_invalid_values_do_not_hide_the_others(tmp_path: Path) -> None:
    made = image(
        SliceThickness="11111111", InstanceNumber="22", ExposureTime="33", RescaleSlope="4444", StudyDate="20200101"
    )
    path = put(tmp_path / "file.dcm", made)
    content = path.read_bytes()
    for old, new in ((b"11111111", b"1\\oops\\2"), (b"22", b"x "), (b"4444", b"nan ")):
        assert content.count(old) == 1
        content = content.replace(old, new)
    path.write_bytes(content)
    document = read(path)
    assert document["00180050"] == {"vr": "DS"}
    assert document["00200013"] == {"vr": "IS"}
    assert document["00281053"]["Value"] == ["NaN"]
    assert document["00181150"]["Value"] == [33]


def test_a_file_without_its_end_is_not_read(tmp_path: Path) -> None:
    path = put(tmp_path / "file.dcm", image())
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InvalidInstance):
        read(path)
