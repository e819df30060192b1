from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from bulkdl.store.walking import Found, FoundKind, walk

as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything, whatever the permissions say"
)


def fill(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def test_finds_every_file_in_order_and_follows_no_link(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fill(root, "B/P/2.dcm", "A/1.dcm", "B/P/1.dcm", "notes.txt", ".bulkdl/partial/left.part")
    fill(tmp_path, "outside/secret")
    (root / "A" / "link").symlink_to(tmp_path / "outside")
    (root / "A" / "loop").symlink_to(root / "A")
    os.mkfifo(root / "A" / "pipe")
    found = list(walk(root))
    assert [(one.path, one.kind) for one in found] == [
        ("notes.txt", FoundKind.FILE),
        ("A/1.dcm", FoundKind.FILE),
        ("A/link", FoundKind.LINK),
        ("A/loop", FoundKind.LINK),
        ("A/pipe", FoundKind.SPECIAL),
        ("B/P/1.dcm", FoundKind.FILE),
        ("B/P/2.dcm", FoundKind.FILE),
    ]
    status = (root / "B/P/2.dcm").stat()
    assert found[-1] == Found("B/P/2.dcm", FoundKind.FILE, status.st_size, status.st_mtime_ns)


def test_skips_the_folders_that_the_caller_names(tmp_path: Path) -> None:
    fill(tmp_path, ".bulkdl/a", "A/.bulkdl/b", "A/c")
    assert [one.path for one in walk(tmp_path)] == ["A/c"]
    assert [one.path for one in walk(tmp_path, skip=lambda path: path == ".bulkdl")] == ["A/c", "A/.bulkdl/b"]


def test_a_tree_deeper_than_the_stack_of_python_is_walked(tmp_path: Path) -> None:
    """Some libraries raise the limit; a path of so many folders would be too long for the system."""
    fill(tmp_path, "file")
    path, before = tmp_path, sys.getrecursionlimit()
    sys.setrecursionlimit(1_000)
    try:
        for _ in range(sys.getrecursionlimit() + 100):
            path = path / "d"
            path.mkdir()
        assert [one.path for one in walk(tmp_path)] == ["file"]
    finally:
        sys.setrecursionlimit(before)
        os.removedirs(path)  # pytest removes folders by recursion


def test_names_that_are_not_utf_8_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    assert [one.path for one in walk(tmp_path)] == ["caf\udce9"]


def test_a_folder_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    assert list(walk(tmp_path / "missing")) == [Found("", FoundKind.UNREADABLE, reason="No such file or directory")]


@as_root
def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    fill(tmp_path, "A/1.dcm", "B/2.dcm")
    (tmp_path / "A").chmod(0)
    try:
        assert [(one.path, one.kind) for one in walk(tmp_path)] == [
            ("A", FoundKind.UNREADABLE),
            ("B/2.dcm", FoundKind.FILE),
        ]
    finally:
        (tmp_path / "A").chmod(0o700)
