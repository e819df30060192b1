from __future__ import annotations

import contextlib
import io
import re
import tracemalloc
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    SegmentationStorage,
)

from bulkdl.dicom.part10 import open_data_set, read_meta
from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import InvalidInstance, WrongObject
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from tests.support.dicom_samples import (
    NATIVE,
    SERIES_UID,
    SOP_UID,
    encapsulated,
    encoded,
    image,
    in_syntax,
    jpeg,
    pydicom_file,
    pydicom_files,
)

_RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_EXPECTED = InstanceKey(SeriesUid(SERIES_UID), SopInstanceUid(SOP_UID))


def _structure(source: bytes | Path) -> ValidationResult:
    return validate(source, level=ValidationLevel.STRUCTURE, expected=None)


def _reason_against(source: bytes | Path) -> str:
    try:
        _structure(source)
    except InvalidInstance as error:
        return str(error)
    return "none"


def _is_valid(content: bytes) -> bool:
    return _reason_against(content) == "none"


def _is_image(path: Path) -> bool:
    content = path.read_bytes()
    return _is_valid(content) and _ends_of_pixel_data(content) != []


def _ends_of_pixel_data(content: bytes) -> list[int]:
    """Where a truncated file is still a complete image: after its pixel data and after each later element."""
    file = io.BytesIO(content)
    meta = read_meta(file)
    if meta.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        stream.decompress(content[meta.end :])
        return [len(content) - len(stream.unused_data), len(content)]
    walk = open_data_set(file, meta)
    return [element.offset + element.length for element in walk.elements() if element.tag >= 0x7FE00008]


_IMAGES = [path for path in pydicom_files() if _is_image(path)]

# --- identity ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ValidationLevel)
def test_identifies_a_valid_instance(level: ValidationLevel) -> None:
    assert validate(encoded(image()), level=level, expected=_EXPECTED) == ValidationResult(
        sop_uid=SopInstanceUid(SOP_UID),
        series_uid=SeriesUid(SERIES_UID),
        study_uid=StudyUid("1.2.3.2"),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
    )


@pytest.mark.parametrize("level", ValidationLevel)
@pytest.mark.parametrize("other", [("1.2.9", SOP_UID, "Series"), (SERIES_UID, "1.2.9", "SOP")], ids=["series", "sop"])
def test_rejects_an_instance_that_was_not_requested(level: ValidationLevel, other: tuple[str, str, str]) -> None:
    expected = InstanceKey(SeriesUid(other[0]), SopInstanceUid(other[1]))
    with pytest.raises(WrongObject, match=rf"{other[2]} Instance UID 1\.2\.3\.., expected 1\.2\.9"):
        validate(encoded(image()), level=level, expected=expected)


def test_bytes_a_memoryview_and_a_file_give_the_same_result(tmp_path: Path) -> None:
    content = encoded(image())
    path = tmp_path / "image.dcm"
    path.write_bytes(content)
    view = validate(memoryview(content), level=ValidationLevel.STRUCTURE, expected=None)
    assert _structure(content) == _structure(path) == view


def test_notes_a_different_media_storage_uid() -> None:
    verdict = _structure(pydicom_file("rtdose.dcm"))
    assert verdict.notes == ("Media Storage SOP Instance UID is 1.2.999.999.99.9.9999.9999.20030818153516",)


def test_notes_a_data_set_that_is_not_encoded_as_declared() -> None:
    assert _structure(pydicom_file("SC_rgb_jpeg.dcm")).notes == ("implicit VR, against its transfer syntax",)


def test_rejects_an_instance_that_pydicom_identifies_differently() -> None:
    second = b"\x08\x00\x18\x00UI\x08\x001.2.3.9\0"
    with pytest.raises(InvalidInstance, match="pydicom reads another SOP Instance UID"):
        validate(encoded(image()) + second, level=ValidationLevel.HEADER, expected=_EXPECTED)


@pytest.mark.parametrize(
    ("uid", "reason"),
    [
        ("1.2.x", "is not a UID"),
        ("x", "is not a UID"),
        ("1.2.840.10008.5.1.4.1.1.2", "is not that of a transfer syntax"),
        ("1.2.840.10008.1.1", "is not that of a transfer syntax"),
    ],
)
def test_rejects_what_is_not_a_transfer_syntax(uid: str, reason: str) -> None:
    with pytest.raises(InvalidInstance, match=reason):
        validate(in_syntax(uid, encoded(image())), level=ValidationLevel.HEADER, expected=None)


@pytest.mark.parametrize("level", ValidationLevel)
@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.9", "1.2.840.10008.1.2.4.999", "1.2.840.113619.5.2", "2.25.1"])
@pytest.mark.parametrize("written", NATIVE[:2], ids=lambda uid: uid.keyword)
def test_reads_an_unknown_transfer_syntax_as_it_looks(uid: str, written: UID, level: ValidationLevel) -> None:
    content = encoded(image())
    meta = read_meta(io.BytesIO(content)).end
    data_set = encoded(image(), written)
    data_set = data_set[read_meta(io.BytesIO(data_set)).end :]
    verdict = validate(in_syntax(uid, content[:meta]) + data_set, level=level, expected=_EXPECTED)
    assert verdict.transfer_syntax_uid == uid
    assert f"the transfer syntax {uid} is unknown" in verdict.notes


def test_reads_a_private_transfer_syntax_in_big_endian() -> None:
    content = encoded(image(), NATIVE[2])
    content = content.replace(b"1.2.840.10008.1.2.2\0", b"1.3.6.1.4.1.9.9".ljust(20, b"\0"))
    assert validate(content, level=ValidationLevel.STRUCTURE, expected=_EXPECTED).sop_uid == SOP_UID


def test_an_unknown_transfer_syntax_does_not_hide_a_truncated_file() -> None:
    with pytest.raises(InvalidInstance, match=r"\(7FE0,0010\) claims 32 bytes where there are 31"):
        _structure(in_syntax("1.2.840.10008.1.2.9", encoded(image()))[:-1])


@pytest.mark.parametrize("last", ["95", "205"])
def test_inflates_the_deflated_syntaxes_of_jpip(last: str) -> None:
    deflated = encoded(image(PixelData=None), DeflatedExplicitVRLittleEndian)
    content = in_syntax(f"1.2.840.10008.1.2.4.{last}", deflated, written=DeflatedExplicitVRLittleEndian)
    assert validate(content, level=ValidationLevel.HEADER, expected=_EXPECTED).sop_uid == SOP_UID


def test_says_that_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInstance, match="not readable: Is a directory"):
        _structure(tmp_path)


# --- the files of pydicom ---------------------------------------------------------------------------------------------


def test_fifty_images_without_pixels_are_invalid() -> None:
    tiny = [path for path in pydicom_files() if "TINY_ALPHA" in path.parts and path.name.startswith("IM")]
    assert len(tiny) == 50
    assert not any(_is_valid(path.read_bytes()) for path in tiny)


# --- cut files --------------------------------------------------------------------------------------------------------


def _undefined() -> bytes:
    made = image()
    made["ReferencedImageSequence"].is_undefined_length = True
    made.ReferencedImageSequence[0].is_undefined_length_sequence_item = True
    return encoded(made)


_SMALL = {
    **{syntax.keyword: encoded(image(), syntax) for syntax in NATIVE},
    "undefined lengths": _undefined(),
    "encapsulated": encapsulated([jpeg(b"one frame "), jpeg(b"another")], NumberOfFrames=2),
    "segmentation": encoded(image(SOPClassUID=SegmentationStorage, BitsAllocated=1, PixelData=b"\x0f\xf0")),
    "dose": encoded(image(SOPClassUID=_RT_DOSE, DoseUnits="GY")),
    "odd": encoded(image(Rows=3, Columns=1, BitsAllocated=8, PixelData=b"abc\0")),
}


@pytest.mark.parametrize("content", _SMALL.values(), ids=_SMALL)
def test_a_small_image_is_valid_and_invalid_if_truncated_anywhere(content: bytes) -> None:
    assert _is_valid(content)
    assert [cut for cut in range(len(content)) if _is_valid(content[:cut])] == []


@pytest.mark.parametrize("path", _IMAGES, ids=lambda path: path.name)
def test_an_image_of_pydicom_is_invalid_without_its_last_bytes(path: Path) -> None:
    content = path.read_bytes()
    whole = set(_ends_of_pixel_data(content))
    cuts = [cut for cut in range(len(content) - 40, len(content)) if cut not in whole]
    assert [cut for cut in cuts if _is_valid(content[:cut])] == []


@settings(max_examples=200)
@given(st.data())
def test_an_image_of_pydicom_is_invalid_if_truncated_anywhere(data: st.DataObject) -> None:
    content = data.draw(st.sampled_from(_IMAGES)).read_bytes()
    cut = data.draw(st.integers(0, len(content) - 1))
    assert not _is_valid(content[:cut]) or cut in _ends_of_pixel_data(content)


def test_a_truncated_file_on_disk_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "cut.dcm"
    path.write_bytes(encoded(image())[:-1])
    with pytest.raises(InvalidInstance, match=r"\(7FE0,0010\) claims 32 bytes where there are 31"):
        _structure(path)


@pytest.mark.parametrize(
    "tail",
    [
        b"\xfe\xff\x0d\xe0\0\0\0\0",
        b"<html>not found</html>",
        *(b"\0" * 8 + b"<", b"\0\1", b"\0" * 600 + b"\1", b"\r\n", b" "),
    ],
)
@pytest.mark.parametrize("syntax", [*NATIVE[:2], NATIVE[3]], ids=lambda uid: uid.keyword)
def test_what_follows_the_data_set_must_be_elements_or_zeros(syntax: UID, tail: bytes) -> None:
    assert not _is_valid(encoded(image(), syntax) + tail)


@pytest.mark.parametrize("zeros", [2, 7, 8, 9, 512, 100_001])
@pytest.mark.parametrize("syntax", NATIVE, ids=lambda uid: uid.keyword)
def test_notes_zeros_after_the_data_set(syntax: UID, zeros: int) -> None:
    """Some writers pad files to a block of the disk; all readers known accept it."""
    (note,) = _structure(encoded(image(), syntax) + bytes(zeros)).notes
    assert re.fullmatch(rf"({zeros}|{zeros + 1}) zero bytes after the data set", note)


def test_zeros_inside_of_a_sequence_do_not_end_the_data_set() -> None:
    content = _undefined()
    at = content.index(b"\xfe\xff\x0d\xe0")
    assert not _is_valid(content[:at] + bytes(len(content) - at))


@pytest.mark.parametrize("group", [1, 3, 5, 7])
def test_notes_elements_of_forbidden_groups(group: int) -> None:
    content = encoded(image())
    at = content.index(b"\x08\0\x16\0UI")
    element = group.to_bytes(2, "little") + b"\x10\0LO\x04\0TEST"
    assert _structure(content[:at] + element + content[at:]).notes == (f"elements of group {group:04X} (PS3.5 §7.8.1)",)


@pytest.mark.parametrize("group", [0, 4, 6])
def test_elements_of_commands_and_directories_are_not_part_of_an_instance(group: int) -> None:
    content = encoded(image())
    at = content.index(b"\x08\0\x16\0UI")
    element = group.to_bytes(2, "little") + b"\x10\0LO\x04\0TEST"
    assert not _is_valid(content[:at] + element + content[at:])


@settings(max_examples=200)
@given(st.data())
def test_any_bytes_give_a_result_or_one_of_two_errors(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(list(_SMALL.values()))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(InvalidInstance, WrongObject):
        validate(bytes(content), level=ValidationLevel.STRUCTURE, expected=_EXPECTED)


# --- deflated ---------------------------------------------------------------------------------------------------------


def _deflated(tail: bytes = b"", *, odd: bool | None = None) -> bytes:
    """A deflated image with `tail` instead of its padding; `odd` picks one whose stream is of odd length."""
    plain = encoded(image())
    start = read_meta(io.BytesIO(plain)).end
    head = encoded(image(), DeflatedExplicitVRLittleEndian)
    head = head[: read_meta(io.BytesIO(head)).end]
    for level in range(10):
        packer = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
        stream = packer.compress(plain[start:]) + packer.flush()
        if odd is None or len(stream) % 2 == odd:
            return head + stream + tail
    raise AssertionError


@pytest.mark.parametrize(
    ("content", "is_valid"),
    [
        (_deflated(odd=False), True),
        (_deflated(b"\0", odd=True), True),
        (_deflated(odd=True), True),
        (_deflated(b"\0", odd=False), True),
        (_deflated(b"12345678", odd=False), False),
        (_deflated(b"\1", odd=True), False),
    ],
    ids=["even", "odd and padded", "odd", "even and padded", "followed by something", "padded with one"],
)
def test_only_padding_follows_a_deflated_data_set(content: bytes, *, is_valid: bool) -> None:
    """An odd one should be padded (PS3.5 §A.5), and not all writers do; a cut stream has no end."""
    assert _is_valid(content) == is_valid
    if is_valid:
        assert _structure(content).notes == ()


def test_accepts_the_trailer_of_gzip() -> None:
    assert _structure(pydicom_file("image_dfl.dcm")).notes == ()


def test_says_that_a_deflated_data_set_is_truncated() -> None:
    with pytest.raises(InvalidInstance, match="the deflated data set is truncated"):
        _structure(_deflated()[:-10])


def test_a_large_deflated_image_is_valid() -> None:
    pixels = bytes(3 * 1024 * 1024)
    assert _is_valid(encoded(image(Rows=1536, Columns=1024, PixelData=pixels), DeflatedExplicitVRLittleEndian))


@pytest.mark.slow
def test_rejects_a_deflated_bomb() -> None:
    bomb = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    stream = b"".join(bomb.compress(bytes(1 << 24)) for _ in range(17)) + bomb.flush()
    head = _deflated()
    head = head[: read_meta(io.BytesIO(head)).end]
    with pytest.raises(InvalidInstance, match="the deflated data set has more than"):
        _structure(head + stream)


# --- sequences --------------------------------------------------------------------------------------------------------


def _nested(depth: int) -> bytes:
    made = Dataset()
    for _ in range(depth):
        outer = Dataset()
        outer.ReferencedImageSequence = [made]
        outer["ReferencedImageSequence"].is_undefined_length = True
        made = outer
    return encoded(image(ReferencedImageSequence=made.ReferencedImageSequence))


def test_limits_the_depth_of_nested_sequences() -> None:
    assert _is_valid(_nested(40))
    with pytest.raises(InvalidInstance, match="sequences nest deeper than 64"):
        _structure(_nested(70))


@pytest.mark.parametrize("syntax", NATIVE[:3], ids=lambda uid: uid.keyword)
def test_checks_sequences_of_defined_length(syntax: UID) -> None:
    content = encoded(image(), syntax)
    item = bytes.fromhex("fffee000" if syntax is NATIVE[2] else "feff00e0")
    at = content.index(item) + 4
    longer = bytearray(content)
    longer[at + (3 if syntax is NATIVE[2] else 0)] += 2
    with pytest.raises(InvalidInstance, match=r"\(FFFE,E000\) claims"):
        _structure(bytes(longer))


# --- cost -------------------------------------------------------------------------------------------------------------


def _sparse(path: Path, head: bytes, hole_bytes: int, tail: bytes = b"") -> Path:
    """A sparse file of zeros between `head` and `tail`."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + hole_bytes)
        file.seek(0, io.SEEK_END)
        file.write(tail)
    return path


def _peak_bytes(source: Path, level: ValidationLevel) -> int:
    tracemalloc.start()
    try:
        validate(source, level=level, expected=None)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


_FRAMES, _FRAME_BYTES = 256, 512 * 512 * 2


@pytest.mark.parametrize("level", ValidationLevel)
def test_a_large_file_is_not_read_into_memory(level: ValidationLevel, tmp_path: Path) -> None:
    made = encoded(image(Rows=512, Columns=512, NumberOfFrames=_FRAMES, PixelData=b"??"))
    head = made[:-6] + (_FRAMES * _FRAME_BYTES).to_bytes(4, "little")
    validate(made, level=ValidationLevel.HEADER, expected=None)  # what is imported late, is imported
    large = _sparse(tmp_path / "large.dcm", head, _FRAMES * _FRAME_BYTES)
    assert _peak_bytes(large, level) < 8 << 20


def test_a_large_fragment_is_not_read_into_memory(tmp_path: Path) -> None:
    made = encapsulated([jpeg(b"??")])
    at = made.rindex(b"\x06\0\0\0\xff\xd8??")
    validate(made, level=ValidationLevel.STRUCTURE, expected=None)
    head = made[:at] + (64 << 20).to_bytes(4, "little") + b"\xff\xd8"
    large = _sparse(tmp_path / "large.dcm", head, (64 << 20) - 4, made[at + 8 :])
    assert _peak_bytes(large, ValidationLevel.STRUCTURE) < 8 << 20
