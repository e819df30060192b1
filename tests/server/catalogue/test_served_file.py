"""Opening a file as it was scanned."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.server.catalogue import ServedFile, open_served


def served(path: Path, content: bytes = b"", *, acquisition: int | None = None) -> ServedFile:
    path.write_bytes(content)
    return ServedFile(1, path, "1.2", "1.2.3", len(content), 0, None, acquisition, None)


def test_opens_only_a_regular_file_of_the_scanned_size(tmp_path: Path) -> None:
    file = served(tmp_path / "x", b"content")
    with open_served(file) as source:
        assert source.read() == b"content"
    with pytest.raises(OSError, match="instead of the 9"):
        open_served(replace(file, size_bytes=9))


def test_rejects_a_pipe_without_blocking(tmp_path: Path) -> None:
    file = served(tmp_path / "x")
    file.path.unlink()
    os.mkfifo(file.path)
    with pytest.raises(OSError, match="not a regular file"):
        open_served(file)
