"""The check of a slide's container: right files pass; truncated, damaged and hostile ones do not, in bounded time."""

from __future__ import annotations

import io
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.server.demo.slides import write_slide
from bulkdl.slides.container import can_check, check_container, is_tiff, names_slide, require_tifffile
from tests.support.pathdb_server import slide_bytes

SLIDE = slide_bytes(1)
PIXELS = np.zeros((300, 400, 3), "uint8")


def written(**options: Any) -> bytes:
    """A TIFF of tifffile: an image with a smaller one in a directory below it, and a third one."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **options) as tiff:
        tiff.write(PIXELS, tile=(128, 128), subifds=1)
        tiff.write(PIXELS[::2, ::2], tile=(128, 128), subfiletype=1)
        tiff.write(PIXELS[:30, :40], rowsperstrip=10)
    return file.getvalue()


def directory(*tags: tuple[int, int, int, int], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)


def image(following: int) -> bytes:
    """A directory of 112 bytes with an image of one pixel."""
    shorts = ((256, 1), (257, 1), (258, 8), (259, 1), (262, 1))
    tags = *((code, 3, 1, value) for code, value in shorts), (273, 4, 1, 8), (279, 4, 1, 1)
    return directory(*tags, following=following).ljust(112, b"\0")


@pytest.mark.parametrize(
    "content",
    [SLIDE, written(), written(bigtiff=True), written(byteorder=">")],
    ids=["made up", "directories below", "BigTIFF", "big-endian"],
)
def test_a_right_slide_passes(content: bytes, tmp_path: Path) -> None:
    check_container(content)
    path = tmp_path / "slide.svs"
    path.write_bytes(content)
    check_container(path)


@pytest.mark.parametrize("kept", [8, 100, len(SLIDE) // 2, len(SLIDE) - 300, len(SLIDE) - 1])
def test_a_truncated_slide_does_not(kept: int) -> None:
    with pytest.raises(InvalidInstance):
        check_container(SLIDE[:kept])


def test_tiles_behind_the_end_are_named() -> None:
    content = written()
    with pytest.raises(InvalidInstance, match=r"truncated: tile \d+ of image \d \(\d+ x \d+\) ends at"):
        check_container(content[:-1000])


def test_a_jpeg_tile_begins_as_jpeg() -> None:
    content = written()
    as_jpeg = content.replace(struct.pack("<HHI", 259, 3, 1) + b"\1\0", struct.pack("<HHI", 259, 3, 1) + b"\7\0")
    assert as_jpeg != content
    with pytest.raises(InvalidInstance, match="does not begin as its compression does"):
        check_container(as_jpeg)


def test_holes_are_not_read() -> None:
    file = io.BytesIO()
    write_slide(file, 3000, 2000)
    check_container(file.getvalue())


@pytest.mark.parametrize("length", [1, 2, 150])
def test_directories_in_a_ring_end(length: int) -> None:
    ring = b"".join(image(8 + (at + 1) % length * 112) for at in range(length))
    with pytest.raises(InvalidInstance, match=r"ring|damaged"):
        check_container(b"II*\0" + struct.pack("<I", 8) + ring)


def test_a_count_of_billions_is_refused() -> None:
    tags = (256, 4, 1, 100), (257, 4, 1, 100), (322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 0x7FFFFFFF, 8)
    with pytest.raises(InvalidInstance):
        check_container(b"II*\0" + struct.pack("<I", 8) + directory(*tags))


def test_fewer_tiles_than_the_size_needs_are_refused() -> None:
    tags = (256, 4, 1, 1 << 30), (257, 4, 1, 1 << 30), (322, 4, 1, 16), (323, 4, 1, 16), (324, 4, 1, 8), (325, 4, 1, 1)
    with pytest.raises(InvalidInstance, match="names 1 of"):
        check_container(b"II*\0" + struct.pack("<I", 8) + directory((254, 4, 1, 0), *tags))


@given(st.integers(0, 2_000), st.binary(min_size=1, max_size=8))
@settings(max_examples=60)
def test_whatever_is_changed_in_the_directories_is_an_answer(at: int, change: bytes) -> None:
    place = len(SLIDE) - 1 - at % 1_200
    damaged = SLIDE[:place] + change + SLIDE[place + len(change) :]
    with suppress(InvalidInstance):
        check_container(damaged)


def test_a_slide_is_known_by_its_first_bytes_and_its_name() -> None:
    assert is_tiff(SLIDE)
    assert not is_tiff(b"<html>")
    assert names_slide("A.SVS")
    assert not names_slide("a.csv")


def test_what_is_missing_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_check()
    monkeypatch.setattr(sys, "path", [])
    assert not can_check()
    with pytest.raises(ConfigurationError, match=r"pip install 'bulkdl\[slides\]'"):
        require_tifffile()
