"""Pixel data: as long as its attributes require, and decodable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    MPEG2MPML,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
    SegmentationStorage,
)

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.outcomes import NOT_DECODED
from bulkdl.model.settings import ValidationLevel
from tests.support.dicom_samples import (
    encapsulated,
    encoded,
    image,
    in_syntax,
    jpeg,
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


def test_native_and_encapsulated_pixel_data_are_not_confused() -> None:
    encapsulated_inside = encapsulated([jpeg()]).replace(b"1.2.840.10008.1.2.4.80", b"1.2.840.10008.1.2.1\0\0\0")
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
    content = encapsulated([jpeg(b"no JPEG-LS at all")])
    assert _is_valid(content)
    with pytest.raises(InvalidInstance, match=r"frame 1 cannot be decoded: pyjpegls says: .*; gdcm says: no result"):
        _pixels(content)


def test_a_frame_that_decodes_to_too_few_bytes_is_invalid() -> None:
    content = pydicom_file("MR_small_jpeg_ls_lossless.dcm").read_bytes()
    rows = b"\x28\x00\x10\x00US\x02\x00"
    taller = content.replace(rows + b"\x40\x00", rows + b"\x80\x00")
    assert _is_valid(taller)
    with pytest.raises(InvalidInstance, match="frame 1 cannot be decoded: a frame of 8192 bytes is too short"):
        _pixels(taller)


_HTJ2K = encapsulated([b"\xff\x4f\xff\x51\xff\xd9"], HTJ2KLossless)


def test_says_which_decoder_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_decoder(HTJ2KLossless), "_available", {})
    with pytest.raises(ConfigurationError, match=r"no decoder for High-Throughput.*bulkdl\[pixels\]"):
        _pixels(_HTJ2K)


def test_says_that_numpy_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ConfigurationError, match=r"bulkdl\[pixels\]"):
        _pixels(_HTJ2K)


_RLE_ONE_BIT = (1).to_bytes(4, "little") + (64).to_bytes(4, "little") + bytes(56) + b"\x01\x0f\xf0\0"


@pytest.mark.parametrize(
    "content",
    [
        encapsulated([b"frame"], MPEG2MPML),
        encapsulated([jpeg()], UID("1.2.840.10008.1.2.4.55")),
        encapsulated([jpeg()], JPEGExtended12Bit, BitsStored=12),
        encapsulated([jpeg()], JPEGLSLossless, BitsAllocated=8, BitsStored=7),
        encapsulated([jpeg()], SamplesPerPixel=4, BitsAllocated=8, BitsStored=8),
        encapsulated([jpeg()], PhotometricInterpretation="PRIVATE"),
        encapsulated([_RLE_ONE_BIT], RLELossless, BitsAllocated=1, BitsStored=1, SOPClassUID=SegmentationStorage),
        pydicom_file("JPGExtended.dcm").read_bytes(),
    ],
    ids=["video", "JPEG process 10", "12 bits", "7 bits", "samples", "photometric", "single bits", "of pydicom"],
)
def test_notes_what_no_decoder_supports(content: bytes) -> None:
    """A limit of the decoder is not damage, and does not depend on the words of its message."""
    assert [note for note in _pixels(content).notes if note.startswith(NOT_DECODED)] != []


@pytest.mark.parametrize("last", ["94", "95", "204", "205"])
def test_pixels_on_a_server_are_not_decoded(last: str) -> None:
    syntax = UID(f"1.2.840.10008.1.2.4.{last}")
    head = DeflatedExplicitVRLittleEndian if last in {"95", "205"} else ExplicitVRLittleEndian
    made = encoded(image(PixelData=None), head)
    (note,) = _pixels(in_syntax(syntax, made, written=head)).notes[-1:]
    assert note == f"{NOT_DECODED}: the pixels are on a server (JPIP)"


@pytest.mark.parametrize(
    "attributes",
    [
        {"SamplesPerPixel": 4, "PhotometricInterpretation": "ARGB", "BitsAllocated": 8, "BitsStored": 8, "Rows": 2},
        {"BitsAllocated": 12, "BitsStored": 12},
        {"NumberOfFrames": None},
        {"PhotometricInterpretation": "PRIVATE"},
    ],
    ids=["samples", "12 bits allocated", "blank", "photometric"],
)
def test_the_length_decides_where_nothing_needs_decoding(attributes: dict[str, object]) -> None:
    frames = attributes.pop("NumberOfFrames", 1)
    content = encoded(image(**attributes, **({} if frames else {"NumberOfFrames": ""})))
    assert not any(note.startswith(NOT_DECODED) for note in _pixels(content).notes)


@pytest.mark.parametrize("keyword", ["BitsStored", "PixelRepresentation", "PhotometricInterpretation"])
def test_pixels_need_the_attributes_that_give_them_a_meaning(keyword: str) -> None:
    with pytest.raises(InvalidInstance, match="pixel data without"):
        _pixels(encoded(image(**{keyword: None})))


@pytest.mark.parametrize(
    "plugins",
    [("pylibjpeg", "pillow", "gdcm"), ("gdcm",)],
    ids=["the first refuses", "only the last is left"],
)
def test_asks_another_decoder_before_a_frame_is_invalid(
    plugins: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugins of pydicom are replaced: which of them refuses a valid frame depends on their versions."""
    decoder = get_decoder(JPEG2000Lossless)
    available = dict(vars(decoder)["_available"])

    def refuse(*_: object) -> bytes:
        raise ValueError("not mine")

    monkeypatch.setattr(
        decoder, "_available", {name: refuse if name != plugins[-1] else available[name] for name in plugins}
    )
    notes = _pixels(pydicom_file("MR_small_jp2klossless.dcm")).notes
    assert [note.partition(" only; ")[0] for note in notes] == (["decoded by gdcm"] if len(plugins) > 1 else [])


@pytest.mark.parametrize("text", ["+1", "001", " 1 ", "1", "", "0"])
def test_reads_every_way_to_write_one_frame(text: str) -> None:
    content = encoded(image(NumberOfFrames="12345678"))
    written = content.replace(b"IS\x08\x0012345678", b"IS\x08\0" + text.encode().ljust(8))
    assert _is_valid(written)
    assert _pixels(written).notes == ()


@pytest.mark.parametrize("text", ["-1", "1A", "one", "+", "1.5", "++1", "1\\2"])
def test_says_that_number_of_frames_is_not_a_number(text: str) -> None:
    content = encoded(image(NumberOfFrames="12345678"))
    with pytest.raises(InvalidInstance, match="Number of Frames is not a number"):
        _structure(content.replace(b"IS\x08\x0012345678", b"IS\x08\0" + text.encode().ljust(8)))
