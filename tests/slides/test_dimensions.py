"""The size of a slide from its first directory, in every form of TIFF."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.slides.dimensions import Dimensions, read_dimensions
from tests.slides.test_container import SLIDE, written


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (SLIDE, (200, 150)),
        *((written(**options), (400, 300)) for options in ({}, {"bigtiff": True}, {"byteorder": ">"})),
        *((content, None) for content in (b"", b"II*\0", SLIDE[:1000], b"<html></html>", b"II*\0\x08\0\0\0\xff\xff")),
    ],
)
def test_the_size_is_that_of_the_first_image(content: bytes, size: tuple[int, int] | None, tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(content)
    assert read_dimensions(path) == (Dimensions(*size) if size is not None else None)


def test_a_missing_file_has_none(tmp_path: Path) -> None:
    assert read_dimensions(tmp_path / "none") is None
