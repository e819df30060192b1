from __future__ import annotations

import os
from pathlib import Path

from bulkdl.server.portal.picture_cache import PictureCache


def test_keeps_pictures_for_the_owner_alone(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path / "pictures")
    assert cache.get("a") is None
    cache.put("a", b"picture")
    assert PictureCache(tmp_path / "pictures").get("a") == b"picture"
    assert (tmp_path / "pictures").stat().st_mode & 0o077 == 0


def test_the_oldest_go_first_when_there_are_too_many_bytes(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, most_bytes=1_000)
    for number in range(12):
        cache.put(str(number), b"x" * 100)
        os.utime(cache._path(str(number)), (number, number))  # noqa: SLF001 - its age decides
    kept = [number for number in range(12) if cache.get(str(number)) is not None]
    assert 0 not in kept
    assert 11 in kept
    assert sum(entry.stat().st_size for entry in tmp_path.iterdir()) <= 1_000


def test_a_folder_that_cannot_be_written_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = PictureCache(tmp_path / "file" / "folder")
    cache.put("a", b"picture")
    assert cache.get("a") is None
