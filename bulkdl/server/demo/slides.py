"""Made-up slides for the demonstration archive: pyramidal TIFFs with tiles, the same bytes on every machine.

The picture is tissue in the colours of a stain, with round nuclei; each further image has half the size. Nothing is
compressed, so that no version of a library changes the bytes. Without a picture the tiles are holes of the file, which
makes slides of any size at once.

Source: TIFF 6.0, sections 2 (directories) and 15 (tiles).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import BinaryIO, Final

TILE: Final = 128
_SAMPLES: Final = 3
_LEAST: Final = 64  # pixels of the smallest image
_BACKGROUND: Final = bytes((243, 240, 245))
_TISSUE: Final = bytes((226, 176, 208))
_NUCLEUS: Final = bytes((92, 58, 134))
_NUCLEI: Final = 40
_ALIGNMENT: Final = 16
_SHORT, _LONG, _ASCII = 3, 4, 2
_FORMATS: Final = {_SHORT: "H", _LONG: "I"}


@dataclass(frozen=True, slots=True)
class DemoSlide:
    """A slide of the demonstration: where it belongs, its file name, and its size in pixels."""

    patient_id: str
    slide_id: str
    file_name: str
    width: int
    height: int


DEMO_SLIDES: Final = (
    DemoSlide("PHANTOM-001", "PHANTOM-001-DX1", "PHANTOM-001-DX1.svs", 640, 480),
    DemoSlide("PHANTOM-002", "PHANTOM-002-DX1", "PHANTOM-002-DX1.tif", 384, 512),
)


def write_demo_slides(folder: Path) -> None:
    """Write all slides of the demonstration. Raises OSError."""
    for seed, slide in enumerate(DEMO_SLIDES, start=1):
        with (folder / slide.file_name).open("xb") as file:
            write_slide(file, slide.width, slide.height, seed=seed)


def write_slide(file: BinaryIO, width: int, height: int, *, seed: int | None = None) -> None:
    """Write a slide of this size at the beginning of an empty file; without `seed` its tiles are holes.

    Less than 4 GB: it is a classic TIFF.
    """
    file.write(b"II*\0\0\0\0\0")
    levels = list(_levels(width, height))
    places = [_write_tiles(file, *level, seed) for level in levels]
    link = 4  # where the offset of the next directory is
    for number, (size, tiles) in enumerate(zip(levels, places, strict=True)):
        link = _write_directory(file, size, tiles, link=link, is_first=number == 0)


def _levels(width: int, height: int) -> Iterator[tuple[int, int]]:
    while True:
        yield width, height
        if min(width, height) // 2 < _LEAST:
            return
        width, height = width // 2, height // 2


def _aligned(file: BinaryIO) -> int:
    """The position of the next part of the file."""
    return file.seek(-(-file.tell() // _ALIGNMENT) * _ALIGNMENT)


def _write_tiles(file: BinaryIO, width: int, height: int, seed: int | None) -> tuple[int, int]:
    """Write the tiles of one image; the position of the first, and their number."""
    start, across, down = _aligned(file), -(-width // TILE), -(-height // TILE)
    if seed is None:
        file.seek(start + across * down * TILE * TILE * _SAMPLES)
        return start, across * down
    for top in range(0, down * TILE, TILE):
        rows = [_row(top + y, width, height, across * TILE, seed) for y in range(TILE)]
        for left in range(0, across * TILE * _SAMPLES, TILE * _SAMPLES):
            file.writelines(row[left : left + TILE * _SAMPLES] for row in rows)
    return start, across * down


def _row(y: int, width: int, height: int, padded: int, seed: int) -> bytearray:
    """One row of the picture, whose shapes keep their places in images of every size."""
    row = bytearray(_BACKGROUND * padded)
    if y < height:
        _paint(row, (width // 2, height // 2, min(width, height) * 2 // 5), y, _TISSUE)
        for number in range(1, _NUCLEI):
            x, up = (number * 61 + seed * 37) % 100, (number * number * 17 + seed * 53) % 100
            centre, middle = width * (20 + x * 6 // 10) // 100, height * (20 + up * 6 // 10) // 100
            _paint(row, (centre, middle, width // 50), y, _NUCLEUS)
    return row


def _paint(row: bytearray, disc: tuple[int, int, int], y: int, colour: bytes) -> None:
    """Paint the part of a disc (x, y, radius) that is in a row."""
    centre, middle, radius = disc
    if abs(y - middle) <= radius:
        half = isqrt(radius * radius - (y - middle) ** 2)
        left, right = max(0, centre - half), min(len(row) // _SAMPLES, centre + half)
        row[left * _SAMPLES : right * _SAMPLES] = colour * max(0, right - left)


def _write_directory(
    file: BinaryIO, size: tuple[int, int], tiles: tuple[int, int], *, link: int, is_first: bool
) -> int:
    """Write the directory of one image, and its position at `link`; the position of its link to the next one."""
    (width, height), (start, count) = size, tiles
    tile_bytes = TILE * TILE * _SAMPLES
    text = b"bulkdl: a made-up slide\0"
    values: list[tuple[int, int, bytes]] = [
        (254, _LONG, _packed(_LONG, 0 if is_first else 1)),  # whether it is a smaller form of another image
        (256, _LONG, _packed(_LONG, width)),
        (257, _LONG, _packed(_LONG, height)),
        (258, _SHORT, _packed(_SHORT, 8, 8, 8)),  # bits
        (259, _SHORT, _packed(_SHORT, 1)),  # no compression
        (262, _SHORT, _packed(_SHORT, 2)),  # RGB
        (270, _ASCII, text),
        (277, _SHORT, _packed(_SHORT, _SAMPLES)),
        (284, _SHORT, _packed(_SHORT, 1)),  # samples side by side
        (322, _LONG, _packed(_LONG, TILE)),
        (323, _LONG, _packed(_LONG, TILE)),
        (324, _LONG, _packed(_LONG, *(start + number * tile_bytes for number in range(count)))),
        (325, _LONG, _packed(_LONG, *([tile_bytes] * count))),
    ]
    at = _aligned(file)
    beyond = at + 2 + 12 * len(values) + 4
    head, tail = struct.pack("<H", len(values)), b""
    for tag, kind, value in values:
        number = len(value) // struct.calcsize(_FORMATS.get(kind, "B"))
        if len(value) <= 4:  # noqa: PLR2004 - the room in a tag
            head += struct.pack("<HHI4s", tag, kind, number, value)
        else:
            head += struct.pack("<HHII", tag, kind, number, beyond + len(tail))
            tail += value + b"\0" * (len(value) % 2)
    file.write(head + b"\0\0\0\0" + tail)
    end = file.tell()
    file.seek(link)
    file.write(struct.pack("<I", at))
    file.seek(end)
    return beyond - 4


def _packed(kind: int, *values: int) -> bytes:
    return struct.pack(f"<{len(values)}{_FORMATS[kind]}", *values)
