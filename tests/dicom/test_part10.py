from __future__ import annotations

import io

import pytest
from pydicom.uid import UID

from bulkdl.dicom.part10 import Element, Walk, open_data_set, read_meta
from bulkdl.errors import InvalidInstance
from tests.support.dicom_samples import NATIVE, SOP_UID, encoded, image, pydicom_file


def _walk(content: bytes) -> Walk:
    file = io.BytesIO(content)
    return open_data_set(file, read_meta(file))


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_finds_the_elements_that_pydicom_finds(syntax: UID) -> None:
    made = image()
    walk = _walk(encoded(made, syntax))
    assert [element.tag for element in walk.elements()] == sorted(made.keys())


def test_gives_the_position_of_a_value() -> None:
    walk = _walk(encoded(image()))
    (found,) = walk.elements(frozenset({0x00080018}))
    assert walk.value(found) == SOP_UID.encode() + b"\0"


def test_counts_the_items_of_a_value_without_a_length() -> None:
    walk = _walk(pydicom_file("MR_small_RLE.dcm").read_bytes())
    (pixel_data,) = walk.elements(frozenset({0x7FE00010}))
    assert (pixel_data.vr, pixel_data.items) == (b"OB", 2)  # the offset table, and a fragment


def test_reads_the_meta_information_without_its_group_length() -> None:
    content = pydicom_file("no_meta_group_length.dcm").read_bytes()
    assert read_meta(io.BytesIO(content)).transfer_syntax_uid == "1.2.840.10008.1.2"


def test_says_where_the_data_set_ends() -> None:
    content = encoded(image())
    with pytest.raises(InvalidInstance, match=rf"claims 32 bytes where there are 2 \(at byte {len(content) - 32}\)"):
        list(_walk(content[:-30]).elements())


@pytest.mark.parametrize("syntax", [uid for uid in NATIVE if not uid.is_deflated], ids=lambda uid: uid.keyword)
def test_a_short_element_may_not_claim_more_bytes_than_there_are(syntax: UID) -> None:
    content = encoded(image(), syntax)
    (patient_id,) = _walk(content).elements(frozenset({0x00100020}))
    end = patient_id.offset + patient_id.length
    assert list(_walk(content[:end]).elements())[-1] == patient_id
    with pytest.raises(InvalidInstance, match=rf"\(0010,0020\) claims {patient_id.length} bytes where there are"):
        list(_walk(content[: end - 1]).elements())


def test_a_sequence_without_items_has_no_first_item() -> None:
    walk = _walk(encoded(image(ReferencedImageSequence=[])))
    (sequence,) = walk.elements(frozenset({0x00081140}))
    assert list(walk.first_item(sequence)) == []


def test_says_that_a_first_item_is_truncated() -> None:
    walk = _walk(encoded(image()))
    (sequence,) = walk.elements(frozenset({0x00081140}))
    cut = Element(sequence.tag, sequence.vr, sequence.offset, sequence.length - 1, None)
    with pytest.raises(InvalidInstance, match=r"\(FFFE,E000\) claims"):
        list(walk.first_item(cut))


_ITEM, _ITEM_END, _SEQUENCE_END = (bytes.fromhex(tag) for tag in ("feff00e0", "feff0de0", "feffdde0"))
_NO_LENGTH = b"\xff" * 4
_AT_PATIENT_ID = bytes.fromhex("10002000")


def _before_patient_id(element: bytes, syntax: UID = NATIVE[1]) -> bytes:
    """An image with `element`, which replaces its sequence."""
    made = image()
    del made.ReferencedImageSequence
    content = encoded(made, syntax)
    at = content.index(_AT_PATIENT_ID)
    return content[:at] + element + content[at:]


def test_a_short_element_may_not_claim_more_bytes_than_its_item_has() -> None:
    item = bytes.fromhex("08005011 5549 0400") + b"1."
    value = _ITEM + len(item).to_bytes(4, "little") + item
    sequence = bytes.fromhex("08004011 5351 0000") + len(value).to_bytes(4, "little") + value
    with pytest.raises(InvalidInstance, match=r"\(0008,1150\) claims 4 bytes where there are 2"):
        list(_walk(_before_patient_id(sequence)).elements())


def test_walks_an_item_in_implicit_vr_inside_explicit_vr() -> None:
    """Some writers switch inside a sequence (PS3.5 §6.2.2 allows it for VR UN)."""
    item = _ITEM + _NO_LENGTH + bytes.fromhex("08005511 08000000") + b"1.2.3.9\0" + _ITEM_END + bytes(4)
    sequence = bytes.fromhex("08004011") + b"UN\0\0" + _NO_LENGTH + item + _SEQUENCE_END + bytes(4)
    walk = _walk(_before_patient_id(sequence))
    (found,) = walk.elements(frozenset({0x00081140}))
    assert found.items == 1
    assert [element.tag for element in walk.first_item(found)] == [0x00081155]


def test_an_item_inside_implicit_vr_is_never_in_explicit_vr() -> None:
    """A length may look like a VR: 0x4141 is AA."""
    text = bytes.fromhex("08000401 41410000") + b" " * 0x4141
    sequence = bytes.fromhex("08004011") + _NO_LENGTH + _ITEM + _NO_LENGTH + text + _ITEM_END + bytes(4)
    walk = _walk(_before_patient_id(sequence + _SEQUENCE_END + bytes(4), NATIVE[0]))
    assert 0x00100020 in [element.tag for element in walk.elements()]


@pytest.mark.parametrize("cut", [8, 4], ids=["without its delimiter", "with half of it"])
def test_an_item_must_be_closed_inside_its_sequence(cut: int) -> None:
    item = _ITEM + _NO_LENGTH + bytes.fromhex("08005511") + b"UI\x08\x001.2.3.9\0" + _ITEM_END + bytes(4)
    sequence = bytes.fromhex("08004011") + b"SQ\0\0" + (len(item) - cut).to_bytes(4, "little") + item[:-cut]
    with pytest.raises(InvalidInstance, match=r"an item is not closed|truncated in the head of an element"):
        list(_walk(_before_patient_id(sequence + b"\0" * 4)).elements(frozenset()))


def test_reads_a_missing_vr_like_pydicom() -> None:
    """An implicit length of 66 looks like the VR "B": pydicom then reads a length of 0, and fails."""
    element = bytes.fromhex("08000800 42000000") + b"\xff" * 66
    with pytest.raises(InvalidInstance):
        list(_walk(_before_patient_id(element)).elements())
