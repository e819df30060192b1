"""A result takes its place when it is complete; until then, and after a failure, what was there before stays."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from bulkdl.errors import DiskError, Interrupted
from bulkdl.runtime.new_files import new_file, new_text_file


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(path: Path) -> None:
    with new_text_file(path) as file:
        file.write("half")
        raise Interrupted("stopped")


def test_a_complete_file_takes_the_place_of_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("before")
    with new_text_file(tmp_path / "a.csv") as file:
        file.write("a\r\n\N{SNOWMAN}")
        assert content(tmp_path)["a.csv"] == "before"
    assert (tmp_path / "a.csv").read_bytes() == "a\r\n\N{SNOWMAN}".encode()
    assert list(content(tmp_path)) == ["a.csv"]


@pytest.mark.parametrize("before", [{}, {"a.csv": "before"}], ids=["new", "replaced"])
def test_a_file_that_cannot_be_completed_leaves_what_was_there(tmp_path: Path, before: dict[str, str]) -> None:
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(Interrupted):
        write_half(tmp_path / "a.csv")
    assert content(tmp_path) == before


def test_a_file_that_cannot_be_written_is_an_error_of_the_disk_before_the_block_begins(tmp_path: Path) -> None:
    with pytest.raises(DiskError), new_file(tmp_path / "none" / "a.csv"):
        pytest.fail("the block began")


def test_a_link_and_the_permissions_stay(tmp_path: Path) -> None:
    (tmp_path / "true.csv").write_text("before")
    (tmp_path / "true.csv").chmod(0o600)
    (tmp_path / "link.csv").symlink_to("true.csv")
    with new_file(tmp_path / "link.csv") as file:
        file.write(b"after")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "true.csv").read_text() == "after"
    assert (tmp_path / "true.csv").stat().st_mode & 0o777 == 0o600


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    with new_text_file(tmp_path / "pipe") as file:
        file.write("text")
    reader.join()
    assert (read, list(tmp_path.iterdir())) == (["text"], [tmp_path / "pipe"])
    assert (tmp_path / "pipe").is_fifo()
