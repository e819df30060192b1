"""Opening a file as it was scanned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.server.catalogue import ServedFile, open_served


def served(path: Path, content: bytes = b"") -> ServedFile:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    status = path.stat()
    return ServedFile(1, path, None, "1.2", "1.2.3", status.st_size, status.st_mtime_ns, None, None, None)


def test_opens_only_a_regular_file_of_the_scanned_size_and_time(tmp_path: Path) -> None:
    file = served(tmp_path / "x", b"content")
    with open_served(file) as source:
        assert source.read() == b"content"
    for changed in (replace(file, size_bytes=9), replace(file, mtime_ns=file.mtime_ns - 1)):
        with pytest.raises(OSError, match="has changed since the scan"):
            open_served(changed)


def test_opens_the_target_of_a_link_and_not_the_link(tmp_path: Path) -> None:
    file = served(tmp_path / "x", b"content")
    link = tmp_path / "link"
    link.symlink_to(file.path)
    with open_served(replace(file, path=link, target=file.path)) as source:
        assert source.read() == b"content"
    with pytest.raises(OSError, match="link"):
        open_served(replace(file, path=link))


def test_opens_nothing_behind_a_folder_that_is_now_a_link(tmp_path: Path) -> None:
    file = served(tmp_path / "folder" / "x", b"content")
    (tmp_path / "folder").rename(tmp_path / "elsewhere")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="a link leads to it"):
        open_served(file)


def test_rejects_a_pipe_without_blocking(tmp_path: Path) -> None:
    file = served(tmp_path / "x")
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(OSError, match="not a regular file"):
        open_served(file)
