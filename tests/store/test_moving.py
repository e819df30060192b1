"""Move the files of one Series: what is known, what is not, what is in the way, and a call that did not end."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.errors import MirrorUnwritable
from bulkdl.store.files import MirrorFiles
from bulkdl.store.moving import in_the_way, move_folder, names_in

KNOWN = frozenset({"1.dcm", "2.dcm"})


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path)
    files.prepare()
    files.ensure_folder("a/b")
    for name in (*KNOWN, "notes.txt"):
        (tmp_path / "a" / "b" / name).write_text(name)
    return files


def test_files_are_renamed_and_others_move_along(files: MirrorFiles) -> None:
    moved = move_folder(files, "a/b", "c/d", {"1.dcm": "x.dcm"}, KNOWN)
    assert (moved.files, moved.others, moved.left_count) == (2, 1, 0)
    assert names_in(files.root / "c" / "d") == {"x.dcm", "2.dcm", "notes.txt"}
    assert (files.root / "c" / "d" / "x.dcm").read_text() == "1.dcm"
    assert not (files.root / "a").exists()


def test_a_second_call_finishes_the_first(files: MirrorFiles) -> None:
    files.ensure_folder("c/d")
    (files.root / "a/b/1.dcm").rename(files.root / "c/d/2.dcm")
    assert move_folder(files, "a/b", "c/d", {"1.dcm": "2.dcm", "2.dcm": "1.dcm"}, KNOWN).files == 1
    assert move_folder(files, "a/b", "c/d", {"1.dcm": "2.dcm", "2.dcm": "1.dcm"}, KNOWN).files == 0
    assert (files.root / "c/d/2.dcm").read_text() == "1.dcm"
    assert (files.root / "c/d/1.dcm").read_text() == "2.dcm"


def test_in_the_same_folder_only_named_files_change(files: MirrorFiles) -> None:
    assert move_folder(files, "a/b", "a/b", {"1.dcm": "3.dcm"}, KNOWN).files == 1
    assert names_in(files.root / "a/b") == {"3.dcm", "2.dcm", "notes.txt"}


@pytest.mark.parametrize(("place", "found"), [("c/d/x.dcm", "c/d/x.dcm"), ("c", "c"), ("c/d/9.dcm", None)])
def test_says_what_is_in_the_way(files: MirrorFiles, place: str, found: str | None) -> None:
    (files.root / place).parent.mkdir(parents=True, exist_ok=True)
    (files.root / place).write_text("mine")
    assert in_the_way(files, "a/b", "c/d", {"1.dcm": "x.dcm", "2.dcm": "2.dcm"}) == found


def test_nothing_is_overwritten(files: MirrorFiles) -> None:
    files.ensure_folder("c/d")
    (files.root / "c/d/2.dcm").write_text("mine")
    (files.root / "c/d/notes.txt").write_text("mine")
    with pytest.raises(MirrorUnwritable, match="is in the way"):
        move_folder(files, "a/b", "c/d", {}, KNOWN)
    moved = move_folder(files, "a/b", "c/d", {"2.dcm": "3.dcm"}, KNOWN)
    assert (moved.left_count, moved.left) == (1, ["a/b/notes.txt"])
    assert (files.root / "c/d/notes.txt").read_text() == (files.root / "c/d/2.dcm").read_text() == "mine"


def test_files_behind_a_link_are_left_alone(files: MirrorFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    (files.root / "c").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    assert in_the_way(files, "a/b", "c/d", {}) == "c"
    with pytest.raises(MirrorUnwritable, match="is a link or a file"):
        move_folder(files, "a/b", "c/d", {}, KNOWN)
    assert names_in(files.root / "a/b") == {*KNOWN, "notes.txt"}
