"""What can be read once only is copied to a file without a name, and opened there as often as needed."""

from __future__ import annotations

import io
import os
import threading
import zipfile
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.runtime.stored_copy import StoredCopy

CONTENT = bytes(range(256)) * 10_000


def test_a_copy_is_opened_several_times_at_once_each_with_its_own_position() -> None:
    copy = StoredCopy(io.BytesIO(CONTENT[3:]), CONTENT[:3], at_most=len(CONTENT))
    with copy.open() as first, copy.open() as second:
        assert first.read(300) == CONTENT[:300]
        assert second.read() == CONTENT
        assert first.seek(-5, os.SEEK_END) == len(CONTENT) - 5
        assert (first.read(), first.tell()) == (CONTENT[-5:], len(CONTENT))


def test_a_copy_lasts_as_long_as_a_reader() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("name", CONTENT)
    reader = StoredCopy(io.BytesIO(packed.getvalue()), at_most=1 << 30).open()
    with reader, zipfile.ZipFile(reader) as archive:
        assert archive.read("name") == CONTENT


def test_a_pipe_is_copied_to_its_end_and_leaves_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writing = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(CONTENT,))
    writing.start()
    with (tmp_path / "pipe").open("rb") as file:
        copy = StoredCopy(file, at_most=len(CONTENT), folder=tmp_path)
    writing.join()
    with copy.open() as file:
        assert file.read() == CONTENT
    assert list(tmp_path.iterdir()) == [tmp_path / "pipe"]


def test_more_than_the_limit_is_refused() -> None:
    with Path("/dev/zero").open("rb") as endless, pytest.raises(OSError, match="it has more than 3,000,000 bytes"):
        StoredCopy(endless, at_most=3_000_000)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="missing"):
        StoredCopy(io.BytesIO(CONTENT), at_most=1 << 30, folder=tmp_path / "missing")
