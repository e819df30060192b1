"""Pixel data: as long as its attributes require, and decodable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    MPEG2MPML,
    HTJ2KLossless,
    JPEG2000Lossless,
    SegmentationStorage,
)

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.settings import ValidationLevel
from tests.support.dicom_samples import (
    encapsulated,
    encoded,
    image,
    pydicom_file,
)

_RT_DOSE = "1.2.840.10008.5.1.4.1.1.481.2"
_BASIC_TEXT_SR = "1.2.840.10008.5.1.4.1.1.88.11"


def _structure(source: bytes | Path) -> ValidationResult:
    return validate(source, level=ValidationLevel.STRUCTURE, expected=None)


def _is_valid(content: bytes) -> bool:
    try:
        _structure(content)
    except InvalidInstance:
        return False
    return True


@pytest.mark.parametrize(
    ("attributes", "needed"),
    [
        ({}, 32),
        ({"NumberOfFrames": 3}, 96),
        ({"SamplesPerPixel": 3}, 96),
        ({"BitsAllocated": 1}, 2),
        ({"BitsAllocated": 1, "Rows": 3, "Columns": 3, "NumberOfFrames": 3}, 4),
        ({"BitsAllocated": 8, "SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422"}, 32),
        ({"BitsAllocated": 32}, 64),
    ],
    ids=["plain", "frames", "samples", "single bits", "bits across frames", "subsampled", "long"],
)
def test_native_pixel_data_is_as_long_as_its_attributes_require(attributes: dict[str, object], needed: int) -> None:
    assert _structure(encoded(image(PixelData=bytes(needed), **attributes))).notes == ()
    longer = _structure(encoded(image(PixelData=bytes(needed + 2), **attributes)))
    assert longer.notes == (f"{needed + 2} bytes of pixel data where the image needs {needed}",)
    with pytest.raises(InvalidInstance, match=f"{needed - 2} bytes of pixel data where the image needs {needed}"):
        _structure(encoded(image(PixelData=bytes(needed - 2), **attributes)))


def test_accepts_the_padding_of_pixel_data() -> None:
    assert _structure(encoded(image(Rows=3, Columns=1, BitsAllocated=8, PixelData=b"abc\0"))).notes == ()


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated", "SamplesPerPixel"])
def test_pixel_data_needs_the_attributes_that_define_its_length(keyword: str) -> None:
    with pytest.raises(InvalidInstance, match="pixel data without"):
        _structure(encoded(image(**{keyword: None})))


@pytest.mark.parametrize(("keyword", "bits"), [("FloatPixelData", 32), ("DoubleFloatPixelData", 64)])
def test_pixels_may_be_floating_point(keyword: str, bits: int) -> None:
    attributes = {"PixelData": None, "BitsAllocated": bits, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.30"}
    assert _is_valid(encoded(image(**attributes, **{keyword: bytes(16 * bits // 8)})))
    assert not _is_valid(encoded(image(**attributes, **{keyword: bytes(15 * bits // 8)})))


@pytest.mark.parametrize(
    ("attributes", "valid"),
    [
        ({}, False),
        ({"SOPClassUID": SegmentationStorage}, False),
        ({"SOPClassUID": _BASIC_TEXT_SR}, True),
        ({"SOPClassUID": _RT_DOSE, "DoseUnits": "GY"}, False),
        ({"SOPClassUID": _RT_DOSE, "DoseUnits": "GY", "Rows": None}, True),
        ({"SOPClassUID": _RT_DOSE, "Rows": None}, False),
        ({"SOPClassUID": "1.2.3.4.5"}, True),
    ],
    ids=["CT", "SEG", "SR", "dose grid", "dose curves", "half a dose", "private"],
)
def test_only_images_need_pixel_data(attributes: dict[str, object], *, valid: bool) -> None:
    assert _is_valid(encoded(image(PixelData=None, **attributes))) is valid


def test_every_frame_needs_a_fragment() -> None:
    with pytest.raises(InvalidInstance, match="1 fragments of pixel data for 2 frames"):
        _structure(encapsulated([b"only one"], NumberOfFrames=2))


def test_a_video_may_be_one_fragment() -> None:
    assert _is_valid(encapsulated([b"many frames in one"], MPEG2MPML, NumberOfFrames=200))


def test_notes_an_offset_table_of_another_length() -> None:
    content = encapsulated([b"frame"])
    at = content.index(b"\xfe\xff\x00\xe0\x04\0\0\0\0\0\0\0")
    odd = content[: at + 4] + b"\x08\0\0\0" + bytes(8) + content[at + 12 :]
    assert _structure(odd).notes == ("a Basic Offset Table of 8 bytes for 1 frames",)


def test_native_and_encapsulated_pixel_data_are_not_confused() -> None:
    encapsulated_inside = encapsulated([b"frame"]).replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.1\0\0\0")
    with pytest.raises(InvalidInstance, match="undefined length in a native transfer syntax"):
        _structure(encapsulated_inside)
    native_inside = encoded(image()).replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x14\x001.2.840.10008.1.2.5\0")
    with pytest.raises(InvalidInstance, match="defined length in an encapsulated transfer syntax"):
        _structure(native_inside)


def _pixels(source: bytes | Path) -> ValidationResult:
    return validate(source, level=ValidationLevel.PIXELS, expected=None)


@pytest.mark.parametrize(
    "file",
    [
        *(
            "MR_small_RLE.dcm",
            "MR_small_jp2klossless.dcm",
            "MR_small_jpeg_ls_lossless.dcm",
            "SC_rgb_small_odd_jpeg.dcm",
        ),
        *("MR_small_bigendian.dcm", "image_dfl.dcm", "SC_ybr_full_422_uncompressed.dcm", "liver_1frame.dcm"),
        *("J2K_pixelrep_mismatch.dcm", "SC_rgb_rle_16bit_2frame.dcm", "SC_rgb_jpeg.dcm"),
    ],
)
def test_decodes_the_transfer_syntaxes_of_archives(file: str) -> None:
    assert not any("decoded" in note for note in _pixels(pydicom_file(file)).notes)


def test_pixel_data_that_cannot_be_decoded_is_invalid() -> None:
    content = encapsulated([b"no JPEG-LS at all"])
    assert _is_valid(content)
    with pytest.raises(InvalidInstance, match="pixel data cannot be decoded"):
        _pixels(content)


def test_a_frame_that_decodes_to_too_few_bytes_is_invalid() -> None:
    content = pydicom_file("MR_small_jpeg_ls_lossless.dcm").read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    taller = content.replace(rows + b"\x40\x00", rows + b"\x80\x00")
    assert _is_valid(taller)
    with pytest.raises(InvalidInstance, match="pixel data cannot be decoded"):
        _pixels(taller)


def test_says_which_decoder_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_decoder(HTJ2KLossless), "_available", {})
    with pytest.raises(ConfigurationError, match=r"no decoder for High-Throughput.*bulkdl\[pixels\]"):
        _pixels(encapsulated([b"frame"], HTJ2KLossless))


def test_says_that_numpy_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ConfigurationError, match=r"bulkdl\[pixels\]"):
        _pixels(encapsulated([b"frame"], JPEG2000Lossless))


@pytest.mark.parametrize("content", [encapsulated([b"frame"], MPEG2MPML), pydicom_file("JPGExtended.dcm").read_bytes()])
def test_notes_what_no_decoder_supports(content: bytes) -> None:
    (note,) = _pixels(content).notes
    assert note.startswith("pixels not decoded")
