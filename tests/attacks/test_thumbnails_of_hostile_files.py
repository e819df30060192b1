"""A picture of a hostile file costs the server neither its memory nor its life."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher
from tests.support.dicom_files import MadeUp, instances

pydicom = pytest.importorskip("pydicom")
MADE_UP = list(instances(series=1, per_series=4, rows=64))
R13 = pytest.mark.xfail(strict=True, reason="R13: pydicom and decoders draw hostile files in the server's process")


def changed(one: MadeUp, **values: object) -> bytes:
    """The instance with other attributes."""
    dataset = pydicom.dcmread(io.BytesIO(one.content))
    for name, value in values.items():
        setattr(dataset, name, value)
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
    openjpeg = pytest.importorskip("openjpeg.utils")
    numpy = pytest.importorskip("numpy")
    encoded: bytes = openjpeg.encode_array(numpy.zeros((64, 64), numpy.uint16), use_mct=False)[1]
    at = encoded.index(b"\xff\x51")  # SIZ: marker, length, capabilities, Xsiz, Ysiz, offsets, XTsiz, YTsiz
    size = struct.pack(">2I", width, width)
    return encoded[: at + 6] + size + encoded[at + 14 : at + 22] + size + encoded[at + 30 :]


def large_codestream(one: MadeUp) -> bytes:
    """An instance of 64 x 64 whose codestream is of 14,000 x 14,000."""
    from pydicom.encaps import encapsulate  # noqa: PLC0415 - only where pydicom is

    dataset = pydicom.dcmread(io.BytesIO(one.content))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
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


async def draw(server: Server, one: MadeUp) -> int:
    form = f"seriesUID={one.series_uid}&objectUID={one.sop_uid}".encode()
    return (await server.post(f"{SERVICES}/v4/getThumbnail", form)).status


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[R13] if name in {"a segmented palette", "a large codestream"} else [])
        for name in HOSTILE
    ],
)
async def test_a_picture_of_a_hostile_file_is_refused_or_drawn_in_little_memory(
    name: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    for number, one in enumerate(MADE_UP):
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(one.content if number == 3 else HOSTILE[name](one))
    async with serving(bulkdl, folder) as server:
        for one in MADE_UP[:3]:
            assert await draw(server, one) in {200, 400, 404, 415, 422, 500}
        assert await draw(server, MADE_UP[3]) == 200
