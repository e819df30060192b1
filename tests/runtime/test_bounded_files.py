"""Files are read whole, and never without an end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bulkdl.runtime.bounded_files import read_all, read_file


def test_a_file_of_the_limit_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    assert read_file(tmp_path / "file", at_most=3_000_000) == b"x" * 3_000_000


@pytest.mark.parametrize("path", ["/dev/zero", "file"])
def test_more_than_the_limit_is_refused(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"xx")
    with pytest.raises(OSError, match="it has more than 1 bytes"):
        read_file(path, at_most=1)


def test_a_pipe_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret")
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        assert read_all(file, at_most=6) == b"secret"
