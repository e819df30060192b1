"""The slides of the demonstration: valid pyramids, with the same bytes on every machine, and of any size at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import tifffile

from bulkdl.server.demo.catalogue import PHANTOM_COLLECTION, demo_slides
from bulkdl.server.demo.slides import DEMO_SLIDES, write_slide
from bulkdl.slides.container import check_container
from bulkdl.slides.dimensions import read_dimensions

DIGESTS = {
    "PHANTOM-001-DX1.svs": "83f9ac353e15b35ba12d904a0ad8c5e69805bb1f57cd741a283bd8a7e6f841a7",
    "PHANTOM-002-DX1.tif": "76cd9b5403e9c29ffc226e3d45bef8c5a61856c2c135ac1e886f715abbf3617c",
}


def test_slides_have_the_same_bytes_everywhere(tmp_path: Path) -> None:
    slides = demo_slides(tmp_path)
    assert {slide.path.name: hashlib.sha256(slide.path.read_bytes()).hexdigest() for slide in slides} == DIGESTS
    assert {slide.collection for slide in slides} == {PHANTOM_COLLECTION}
    assert demo_slides(tmp_path) == slides
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["slides"]


def test_slides_are_valid_pyramids(tmp_path: Path) -> None:
    for made, slide in zip(DEMO_SLIDES, demo_slides(tmp_path), strict=True):
        check_container(slide.path)
        assert read_dimensions(slide.path) == (made.width, made.height)
        with tifffile.TiffFile(slide.path) as tiff:
            shapes = [page.shape for page in tiff.pages]
            assert shapes[0] == (made.height, made.width, 3)
            assert shapes[1] == (made.height // 2, made.width // 2, 3)
            assert len({tuple(pixel) for pixel in tiff.pages[0].asarray().reshape(-1, 3)}) == 3


def test_a_slide_of_holes_takes_no_room(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    with path.open("xb") as file:
        write_slide(file, 20_000, 10_000)
    assert path.stat().st_size > 20_000 * 10_000 * 3
    check_container(path)
