from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.store.importing import bring, remove_taken, source_files
from tests.support.failing_disk import failing

CONTENT = b"DICM" * 1000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "A" / "1.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    (tmp_path / "partial").mkdir()
    return tmp_path / "partial" / "x.part"


# --- finding ----------------------------------------------------------------------------------------------------------


def test_finds_regular_files_in_order_but_not_those_of_mirrors(source: Path) -> None:
    root = source.parents[1]
    for path in ("mirror/2.dcm", "B/.bulkdl/x.part", "B/3.dcm", "0.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    (root / "link").symlink_to(source)
    found = [(one.shown, one.size_bytes) for one in source_files(root, but=root / "mirror")]
    assert found == [("0.txt", 1), ("A/1.dcm", len(CONTENT)), ("B/3.dcm", 1)]


def test_names_that_are_not_utf_8_are_shown_with_replacements(source: Path) -> None:
    (source.parent / os.fsdecode(b"caf\xe9")).write_bytes(b"")
    (first, second) = source_files(source.parent, but=source)
    assert (first.shown, second.shown) == ("1.dcm", "caf\ufffd")
    assert second.path.exists()


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    (found,) = source_files(tmp_path / "missing", but=tmp_path)
    assert (found.path, found.shown) == (tmp_path / "missing", ".")


# --- bringing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("may_link", [True, False])
def test_a_partial_file_has_the_bytes_of_its_source(source: Path, partial: Path, *, may_link: bool) -> None:
    partial.write_bytes(b"of an earlier run")
    bring(source, partial, may_link=may_link)
    assert partial.read_bytes() == CONTENT
    assert partial.samefile(source) is may_link


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_a_file_is_copied_where_links_are_not_possible(
    source: Path, partial: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "link", failing(os.link, number, 1))
    bring(source, partial, may_link=True)
    assert partial.read_bytes() == CONTENT
    assert not partial.samefile(source)


def test_another_error_of_a_link_is_reported(source: Path, partial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(os.link, errno.ENOSPC, 1))
    with pytest.raises(DiskError, match="cannot import"):
        bring(source, partial, may_link=True)


@pytest.mark.parametrize("may_link", [True, False])
def test_a_partial_file_is_synced(
    source: Path, partial: Path, monkeypatch: pytest.MonkeyPatch, *, may_link: bool
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(Path(f"/proc/self/fd/{descriptor}").readlink()))
    bring(source, partial, may_link=may_link)
    assert synced == [partial]


# --- removing ---------------------------------------------------------------------------------------------------------


def test_removing_an_original_removes_the_folders_that_become_empty(source: Path) -> None:
    root = source.parents[1]
    other = root / "B" / "2.dcm"
    other.parent.mkdir()
    other.write_bytes(b"x")
    for _ in range(2):
        remove_taken(source, root)
    assert sorted(path.relative_to(root).as_posix() for path in root.rglob("*")) == ["B", "B/2.dcm"]


def test_removing_the_last_original_keeps_the_folder_itself(source: Path) -> None:
    root = source.parents[1]
    remove_taken(source, root)
    assert list(root.iterdir()) == []
