"""What passes without `dcmread` is what `dcmread` opens, with the same identity."""

from __future__ import annotations

import io
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.uid import UID

from bulkdl.dicom.attributes import InstanceAttributes, Tag
from bulkdl.dicom.opening import sop_uid_by_pydicom
from bulkdl.dicom.part10 import open_data_set, read_meta
from tests.support.dicom_samples import NATIVE, SOP_UID, encoded, image, pydicom_files

_SAMPLES = [*(encoded(image(SpecificCharacterSet="ISO_IR 100"), syntax) for syntax in NATIVE)]
_SAMPLES += [path.read_bytes() for path in pydicom_files() if path.stat().st_size < 50_000][:20]


def _opened(content: bytes) -> str:
    """The identity that pydicom reads, after the walk."""
    file = io.BytesIO(content)
    meta = read_meta(file)
    attributes = InstanceAttributes(open_data_set(file, meta), whole=True)
    return sop_uid_by_pydicom(file, meta, attributes, expected=attributes.uid(Tag.SOP_INSTANCE) or "")


@settings(max_examples=300)
@given(st.data())
def test_no_damaged_header_passes_that_dcmread_does_not_open(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(_SAMPLES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(128, min(len(content) - 1, 900)))
        new = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from([b"UL", b"CS", b"SQ", b"UN", b"\xff" * 4])))
        content[at : at + len(new)] = new
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = _opened(bytes(content))
        except Exception:  # noqa: BLE001 - the walk, or pydicom itself
            return
        read = dcmread(io.BytesIO(content), defer_size=4096, specific_tags=["SOPInstanceUID"])
        assert read.get_item("SOPInstanceUID").value.decode("ascii", "replace").strip(" \0") == found


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda uid: uid.keyword)
def test_the_meta_information_of_a_plain_file_is_not_read_again(syntax: UID) -> None:
    content = encoded(image(SpecificCharacterSet="ISO_IR 100"), syntax)
    file = io.BytesIO(content)
    meta = read_meta(file)
    attributes = InstanceAttributes(open_data_set(file, meta), whole=True)
    without = io.BytesIO(bytes(meta.end) + content[meta.end :])
    assert sop_uid_by_pydicom(without, meta, attributes, expected=SOP_UID) == SOP_UID


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\2\0\0\0UL\4\0", b"\2\0\0\0OB\4\0"),
        (b"\2\0\x10\0UI", b"\2\0\x10\0LO"),
    ],
    ids=["group length", "transfer syntax"],
)
def test_meta_information_with_other_vrs_is_not_plain(before: bytes, after: bytes) -> None:
    content = encoded(image())
    assert read_meta(io.BytesIO(content)).is_plain
    assert before in content
    assert not read_meta(io.BytesIO(content.replace(before, after))).is_plain
