from __future__ import annotations

import io
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.uid import (
    JPEG2000,
    UID,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from bulkdl.dicom.part10 import read_meta
from bulkdl.dicom.pictures import PictureOptions, first_number, picture, thumbnail
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.server.demo.catalogue import samples_of
from tests.support.dicom_samples import NATIVE, encapsulated, encoded, image, pydicom_file, pydicom_files

NEAR = 6  # JPEG is lossy
LOSSLESS = (RLELossless, JPEGLSLossless, JPEGLosslessSV1, JPEG2000Lossless)
LOSSY = (JPEGBaseline8Bit, JPEGLSNearLossless, JPEG2000)
_OF_EACH = 6
Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[Any]]


def grey(path: Path, content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """The grey values of the thumbnail of `content`."""
    path.write_bytes(content)
    with Image.open(io.BytesIO(thumbnail(path))) as shown:
        assert shown.mode == "L"
        return np.asarray(shown).astype(int)


def halves(left: int, right: int, **attributes: object) -> dict[str, object]:
    """Attributes of an image of 16 by 16, the halves of which are even."""
    row = struct.pack("<16h", *[left] * 8, *[right] * 8)
    return {"Rows": 16, "Columns": 16, "PixelRepresentation": 1, "PixelData": row * 16, **attributes}


@pytest.mark.parametrize("syntax", [NATIVE[0], NATIVE[1], NATIVE[3]], ids=lambda uid: uid.keyword)
def test_shows_the_range_of_values_without_a_window(tmp_path: Path, syntax: UID) -> None:
    shown = grey(tmp_path / "x", encoded(image(**halves(-1000, 3000)), syntax))
    assert shown.shape == (16, 16)
    assert shown[:, :7].max() < NEAR
    assert shown[:, 9:].min() > 255 - NEAR


def test_shows_an_image_by_its_first_window_after_rescaling(tmp_path: Path) -> None:
    attributes = halves(
        *(0, 50), RescaleSlope="2", RescaleIntercept="-50", WindowCenter=["0", "900"], WindowWidth=["201", "1"]
    )
    shown = grey(tmp_path / "x", encoded(image(**attributes)))
    assert abs(int(shown[0, 0]) - 64) < NEAR  # -50 in a window from -100 to 100
    assert abs(int(shown[0, 15]) - 191) < NEAR


def test_monochrome1_shows_small_values_white(tmp_path: Path) -> None:
    shown = grey(tmp_path / "x", encoded(image(**halves(0, 100, PhotometricInterpretation="MONOCHROME1"))))
    assert shown[0, 0] > 255 - NEAR
    assert shown[0, 15] < NEAR


def test_the_middle_frame_is_shown(tmp_path: Path) -> None:
    dark, bright = (struct.pack("<h", value) * 256 for value in (0, 100))
    attributes = halves(0, 0, NumberOfFrames="3", PixelData=dark + bright + dark)
    attributes |= {"WindowCenter": "50", "WindowWidth": "101"}
    assert grey(tmp_path / "x", encoded(image(**attributes))).min() > 255 - NEAR


def test_keeps_colours(tmp_path: Path) -> None:
    attributes = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "Rows": 16, "Columns": 16}
    path = tmp_path / "x"
    path.write_bytes(encoded(image(PixelData=bytes((200, 100, 20)) * 256, **attributes, **bits)))
    with Image.open(io.BytesIO(thumbnail(path))) as shown:
        assert np.abs(np.asarray(shown).astype(int) - (200, 100, 20)).max() < NEAR


def test_is_at_most_as_large_as_requested_and_keeps_its_shape() -> None:
    with Image.open(io.BytesIO(thumbnail(pydicom_file("CT_small.dcm"), size=32))) as shown:
        assert shown.size == (32, 32)
    with Image.open(io.BytesIO(thumbnail(pydicom_file("examples_overlay.dcm"), size=64))) as shown:
        assert shown.size == (64, 40)


def test_does_not_use_gdcm(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encapsulated([b"no JPEG"], JPEGLossless))
    with pytest.raises(InvalidInstance, match=r"no installed decoder for JPEG Lossless.* is safe"):
        thumbnail(path)


def test_does_not_decode_a_frame_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encoded(image(Rows=65535, Columns=65535)))
    with pytest.raises(InvalidInstance, match="too large for a picture"):
        thumbnail(path)


def test_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigurationError, match="numpy and Pillow"):
        thumbnail(pydicom_file("CT_small.dcm"))


def test_says_that_a_file_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInstance, match="not readable: No such file"):
        thumbnail(tmp_path / "missing.dcm")


def test_makes_a_thumbnail_or_says_that_the_file_is_invalid() -> None:
    drawn = 0
    for path in pydicom_files():
        try:
            content = thumbnail(path)
        except InvalidInstance:
            continue
        with Image.open(io.BytesIO(content)) as shown:
            assert max(shown.size) <= 128, path.name
        drawn += 1
    assert drawn > 40


def test_a_modality_table_whose_values_exceed_its_bits_is_not_applied(tmp_path: Path) -> None:
    """Observed in a public ultrasound image: 8 bits, and values up to 270."""
    table = Dataset()
    table.LUTDescriptor = [256, 0, 8]
    table.ModalityLUTType = "US"
    table.add_new("LUTData", "US", [*range(15, 271)])
    path = tmp_path / "x"
    values = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PixelData": bytes(range(0, 256, 16))}
    path.write_bytes(encoded(image(ModalityLUTSequence=[table], **values)))
    with Image.open(io.BytesIO(thumbnail(path))) as shown:
        assert shown.size == (4, 4)


# --- pictures ---------------------------------------------------------------------------------------------------------


def shown_picture(path: Path, **options: Any) -> Array:
    with Image.open(io.BytesIO(picture(path, PictureOptions(**options)))) as shown:
        assert shown.format == "PNG"
        return np.asarray(shown).astype(int)


def expected(data_set: Dataset, frame: Array) -> Array:
    """A frame as pydicom decodes it, as 8-bit grey or colour, by pydicom's transformations."""
    if data_set.PhotometricInterpretation == "PALETTE COLOR":
        coloured = apply_color_lut(frame, data_set)
        return np.asarray(coloured >> (coloured.dtype.itemsize * 8 - 8)).astype(int)
    if frame.ndim > 2:
        return np.asarray(frame >> max(data_set.BitsStored - 8, 0)).astype(int)
    grey = apply_modality_lut(frame, data_set).astype(float)
    least, most = grey.min(), grey.max()
    if "VOILUTSequence" in data_set:
        grey = apply_voi(apply_modality_lut(frame, data_set), data_set).astype(float)
        least, most = grey.min(), grey.max()
    elif (window := first_number(data_set.get("WindowWidth"))) is not None and window >= 1:
        centre = first_number(data_set.WindowCenter) or 0
        least, most = centre - 0.5 - (window - 1) / 2, centre - 0.5 + (window - 1) / 2
    bright = np.clip((np.nan_to_num(grey) - least) / (max(most - least, 1e-6)), 0, 1)
    if data_set.PhotometricInterpretation == "MONOCHROME1":
        bright = 1 - bright
    return np.asarray(np.floor(bright * 255 + 0.5).astype(int))


def demonstration() -> dict[str, list[Path]]:
    """The smallest images of the demonstration archive of each transfer syntax. Its phantoms are in one of these."""
    found: dict[str, list[Path]] = {}
    for package in ("pydicom", "data_store"):
        folder = samples_of(package)
        assert folder is not None
        for path in folder.rglob("*"):
            with suppress(InvalidInstance, OSError), path.open("rb") as file:
                found.setdefault(read_meta(file).transfer_syntax_uid or "", []).append(path)
    return {uid: list(islice(images(paths), _OF_EACH)) for uid, paths in found.items() if uid}


def images(paths: list[Path]) -> Iterator[Path]:
    """Those that have rows of pixels, the smallest first."""
    for path in sorted(paths, key=lambda path: path.stat().st_size):
        with suppressed_pydicom_warnings, suppress(Exception):
            if "Rows" in dcmread(path, specific_tags=["Rows"], stop_before_pixels=True):
                yield path


def test_a_picture_is_what_pydicom_decodes_in_every_transfer_syntax_of_the_demonstration() -> None:
    """Exactly, where the syntax is lossless. What pydicom does not decode is refused with a reason."""
    compared = set()
    for syntax, paths in demonstration().items():
        for path in paths:
            with suppressed_pydicom_warnings:
                data_set = dcmread(path)
                try:
                    frames = data_set.pixel_array
                except Exception:  # noqa: BLE001 - pydicom and decoders raise many kinds
                    with pytest.raises(InvalidInstance, match=r"\w+ \w+"):
                        picture(path, PictureOptions())
                    continue
                count = int(data_set.get("NumberOfFrames") or 1)
                wanted = expected(data_set, frames[count // 2] if count > 1 else frames)
            compared.add(syntax)
            error = (shown_picture(path) - wanted).astype(float)
            noise = float(np.mean(error**2)) if syntax in LOSSY else 255.0**2 * float(np.abs(error).max())
            assert noise == 0 or 10 * np.log10(255**2 / noise) >= 40, path.name
    assert compared >= {*NATIVE, *LOSSLESS, *LOSSY}


def test_a_window_may_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(encoded(image(**halves(0, 100, WindowCenter="0", WindowWidth="1"))))
    assert shown_picture(path, centre=50.0, width=201.0)[0, 0] == round((0 - 49.5) / 200 * 255 + 127.5)
    assert shown_picture(path, centre=1000.0, width=2.0).max() == 0


def test_a_frame_may_be_chosen_and_must_exist(tmp_path: Path) -> None:
    dark, bright = (struct.pack("<h", value) * 256 for value in (0, 100))
    attributes = halves(0, 0, NumberOfFrames="2", PixelData=dark + bright, WindowCenter="50", WindowWidth="101")
    path = tmp_path / "x"
    path.write_bytes(encoded(image(**attributes)))
    assert [shown_picture(path, frame=frame).max() > 128 for frame in (0, 1)] == [False, True]
    with pytest.raises(InvalidInstance, match="there are 2 frames only"):
        picture(path, PictureOptions(frame=2))


def test_a_picture_of_lossless_jpeg_is_decoded_by_what_can_do_it() -> None:
    path = pydicom_file("SC_rgb_jpeg_gdcm.dcm")
    assert shown_picture(path).shape == dcmread(path).pixel_array.shape
