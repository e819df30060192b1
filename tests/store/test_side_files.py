from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.store.files import MirrorFiles
from bulkdl.store.side_files import SideFiles


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path)
    files.prepare()
    return files


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_writes_a_text_and_replaces_only_that(files: MirrorFiles) -> None:
    first = SideFiles(files, {})
    first.put("A/LICENSE", ["one\n", "ä\n"])
    assert first.written == {"A/LICENSE": digest("one\nä\n")}
    second = SideFiles(files, first.written)
    second.put("A/LICENSE", ["two\n"])
    assert (files.root / "A/LICENSE").read_text() == "two\n"
    assert not (files.root / ".bulkdl/side-file.partial").exists()


def test_does_not_touch_a_file_that_has_the_text_already(files: MirrorFiles) -> None:
    first = SideFiles(files, {})
    first.put("README.txt", ["one"])
    os.utime(files.root / "README.txt", ns=(1, 1))
    second = SideFiles(files, first.written)
    second.put("README.txt", ["one"])
    assert (files.root / "README.txt").stat().st_mtime_ns == 1
    assert second.written == first.written


@pytest.mark.parametrize("known", [{}, {"README.txt": digest("before")}])
def test_leaves_alone_what_another_program_wrote_or_changed(files: MirrorFiles, known: dict[str, str]) -> None:
    (files.root / "README.txt").write_text("of a user")
    side = SideFiles(files, known)
    side.put("README.txt", ["ours"])
    side.remove_others()
    assert (files.root / "README.txt").read_text() == "of a user"
    assert (side.left_alone, side.written) == (["README.txt"], {})


def test_leaves_alone_folders_and_links(files: MirrorFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "file"
    elsewhere.write_text("x")
    (files.root / "README.txt").symlink_to(elsewhere)
    (files.root / "metadata.csv").mkdir()
    side = SideFiles(files, {})
    for path in ("README.txt", "metadata.csv"):
        side.put(path, ["ours"])
    assert side.left_alone == ["README.txt", "metadata.csv"]
    assert elsewhere.read_text() == "x"


def test_does_not_write_behind_a_link(files: MirrorFiles, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (files.root / "A").symlink_to(elsewhere)
    with pytest.raises(DiskError):
        SideFiles(files, {}).put("A/LICENSE", ["ours"])
    assert list(elsewhere.iterdir()) == []


def test_removes_what_is_not_written_any_more_unless_it_was_changed(files: MirrorFiles) -> None:
    first = SideFiles(files, {})
    for path in ("A/LICENSE", "B/LICENSE"):
        first.put(path, ["text"])
    (files.root / "B/LICENSE").write_text("changed")
    second = SideFiles(files, first.written)
    second.remove_others()
    assert not (files.root / "A").exists()
    assert (files.root / "B/LICENSE").read_text() == "changed"


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_texts_of_a_private_mirror_are_private(tmp_path: Path) -> None:
    files = MirrorFiles(tmp_path / "m", private=True)
    files.prepare()
    SideFiles(files, {}).put("A/LICENSE", ["text"])
    assert (files.root / "A/LICENSE").stat().st_mode & 0o777 == 0o600
    assert (files.root / "A").stat().st_mode & 0o777 == 0o700
