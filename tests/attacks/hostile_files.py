"""DICOM files that take far more memory than they have bytes: palettes, codestreams and frames."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
from openjpeg.utils import encode_array
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from tests.support.dicom_files import MadeUp


def changed(one: MadeUp, **values: object) -> bytes:
    """The instance with other attributes."""
    dataset = dcmread(io.BytesIO(one.content))
    for name, value in values.items():
        vr = "US" if name.endswith("Descriptor") else "OW" if name.endswith("Data") else None
        if vr is None:
            setattr(dataset, name, value)
        else:
            dataset.add_new(name, vr, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def segmented_palette(one: MadeUp) -> bytes:
    """Three tables of 48 kB whose segments stand for 65,535 entries each."""
    first = struct.pack("<3H", 0, 1, 0)
    table = first + struct.pack("<3H", 1, 65_535, 0xFFFF) * 8_000
    names = ("Red", "Green", "Blue")
    return changed(
        one,
        PhotometricInterpretation="PALETTE COLOR",
        **{f"{name}PaletteColorLookupTableDescriptor": [0, 0, 16] for name in names},
        **{f"Segmented{name}PaletteColorLookupTableData": table for name in names},
    )


def codestream(width: int) -> bytes:
    """JPEG 2000 of 64 x 64 pixels that says of itself that it is this wide and high, in one tile."""
    encoded = bytes(encode_array(np.zeros((64, 64), np.uint16), use_mct=False))
    at = encoded.index(b"\xff\x51")  # SIZ: marker, length, capabilities, Xsiz, Ysiz, offsets, XTsiz, YTsiz
    size = struct.pack(">2I", width, width)
    return encoded[: at + 6] + size + encoded[at + 14 : at + 22] + size + encoded[at + 30 :]


def large_codestream(one: MadeUp) -> bytes:
    """An instance of 64 x 64 whose codestream is of 14,000 x 14,000."""
    dataset = dcmread(io.BytesIO(one.content))
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = encapsulate([codestream(14_000)])
    dataset["PixelData"].VR = "OB"
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


HOSTILE: dict[str, Callable[[MadeUp], bytes]] = {
    "a segmented palette": segmented_palette,
    "a large codestream": large_codestream,
    "many frames": lambda one: changed(one, NumberOfFrames=2_000_000_000),
    "a huge lookup table": lambda one: changed(
        one, PhotometricInterpretation="PALETTE COLOR", RedPaletteColorLookupTableDescriptor=[0, 0, 16]
    ),
    "odd numbers": lambda one: changed(one, WindowCenter="1e308", WindowWidth="1e-308", RescaleSlope="1e308"),
}
