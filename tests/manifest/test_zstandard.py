"""Compressed locks are read line by line, and none of them fills the memory."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import pytest

from bulkdl.errors import ManifestError
from bulkdl.manifest import read_manifest
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.zstandard import MAGIC, compressed_text, text_lines

LOCK = (Path(__file__).parents[2] / "manifests" / "cohort.lock").read_text()


def compressed(text: str) -> bytes:
    out = io.BytesIO()
    with compressed_text(out) as file:
        file.write(text)
    return out.getvalue()


def lines(content: bytes) -> list[str]:
    return list(text_lines(io.BytesIO(content), Remarks("a.lock")))


def with_window(log: int) -> bytes:
    """A frame that asks for a window of 2**`log` bytes (RFC 8878 §3.1.1.1.2), with an empty last block."""
    return MAGIC + bytes([0, (log - 10) << 3, 1, 0, 0])


@pytest.mark.parametrize("text", ["", "a\n", "a\r\nb", "é\n" * 30_000])
def test_lines_come_back_as_they_were_written(text: str) -> None:
    assert lines(compressed(text)) == lines(text.encode()) == text.splitlines(keepends=True)


def test_several_frames_are_one_text() -> None:
    assert lines(compressed("a\nb") + compressed("c\n")) == ["a\n", "bc\n"]


def test_a_compressed_lock_is_recognised_by_its_content() -> None:
    plain, small = (read_manifest(content, source="-") for content in (LOCK.encode(), compressed(LOCK)))
    assert (small.format, small) == ("lock", plain)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (compressed(LOCK)[:-40], "line [0-9]+: the Zstandard file cannot be decompressed: it is truncated"),
        (compressed(LOCK)[:30] + b"xxxx" + compressed(LOCK)[34:], "the Zstandard file cannot be decompressed"),
        (with_window(27), "the Zstandard file cannot be decompressed"),
        (MAGIC + b"\xff rest", "the Zstandard file cannot be decompressed"),
        (compressed("SeriesInstanceUID\n1.2.3\n"), "a Zstandard file that is not a lock"),
        (compressed(LOCK.partition("\n")[0] + "x" * 70_000), "line 1: the line has more than 65,536 characters"),
    ],
    ids=["truncated", "damaged", "large window", "no frame", "another manifest", "long line"],
)
def test_says_what_is_wrong_with_a_compressed_file(content: bytes, says: str) -> None:
    with pytest.raises(ManifestError, match=rf"cohort(\.zst)?(, line [0-9]+)?: .*{says}|cohort, {says}"):
        read_manifest(content, source="cohort")


def test_a_window_that_is_allowed_is_read() -> None:
    assert lines(with_window(25)) == []


def test_a_file_that_grows_without_end_is_refused_in_little_memory() -> None:
    head = LOCK[: LOCK.index("series\t1", LOCK.index("\n\n"))]
    out = io.BytesIO()
    with compressed_text(out) as file:
        file.write(head)
        for _ in range(1_500):
            file.write("-" * 60_000 + "\n")
    assert len(out.getvalue()) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match="it grows to more than 400 times its size"):
            for _ in text_lines(io.BytesIO(out.getvalue()), Remarks("bomb")):
                pass
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
