from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bulkdl.errors import MirrorUnwritable
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.walking import FoundKind, walk

as_root = pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere, whatever the permissions say"
)


def put(files: MirrorFiles, path: str, data: bytes = b"DICM") -> None:
    job = CommitJob(path, "put.part", data)
    commit(files, [job])
    assert job.error is None


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_prepare_makes_the_mirror_and_can_be_repeated(tmp_path: Path) -> None:
    for _ in range(2):
        MirrorFiles(tmp_path / "a" / "b").prepare()
    assert below(tmp_path) == ["a", "a/b", "a/b/.bulkdl", "a/b/.bulkdl/partial", "a/b/.bulkdl/quarantine"]


def test_a_folder_is_made_below_one_that_was_removed_meanwhile(files: MirrorFiles) -> None:
    """Another thread, or another program, removes a folder as soon as it is empty."""
    put(files, "C/P/S1/i.dcm")
    shutil.rmtree(files.root / "C")
    put(files, "C/P/S2/i.dcm")
    assert [path for path in below(files.root) if path.startswith("C")] == ["C", "C/P", "C/P/S2", "C/P/S2/i.dcm"]


@pytest.mark.parametrize("seconds", [1 << 35, -(1 << 34)])
def test_the_date_of_a_file_fits_into_the_journal(files: MirrorFiles, seconds: int) -> None:
    put(files, "C/P/i.dcm")
    os.utime(files.root / "C/P/i.dcm", (seconds, seconds))
    (found,) = (found for found in walk(files.root) if found.kind is FoundKind.FILE)
    assert files.mtime_ns("C/P/i.dcm") == found.mtime_ns
    assert abs(found.mtime_ns) < 1 << 63
    partial = files.partials.path("x.part")
    partial.write_bytes(b"DICM")
    os.utime(partial, (seconds, seconds))
    assert abs(files.rename_partial("x.part", "C/P/j.dcm")) < 1 << 63


def test_a_private_mirror_is_for_its_owner_alone(tmp_path: Path) -> None:
    files = MirrorFiles(tmp_path / "mirror", private=True)
    files.prepare()
    put(files, "C/P/i.dcm")
    files.quarantine.keep(b"bad", sop_uid="1.2", details={})
    for path in (files.root, *files.root.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux has a folder in which nothing can be made")
def test_a_mirror_that_cannot_be_made_has_begun_nothing() -> None:
    with pytest.raises(MirrorUnwritable, match="; nothing was begun"):
        MirrorFiles(Path("/proc/none/mirror")).prepare()


@as_root
def test_a_folder_without_write_permission_is_reported_in_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(MirrorUnwritable, match="Permission denied"):
            MirrorFiles(tmp_path / "mirror").prepare()
    finally:
        tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_mirror_is_named(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("")
    with pytest.raises(MirrorUnwritable, match="mirror"):
        MirrorFiles(tmp_path / "mirror").prepare()


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "a//x", "", ".", ".bulkdl/journal.sqlite", "a\\..\\x", "a\0"]
)
def test_no_path_leads_out_of_the_mirror_or_into_its_bookkeeping(files: MirrorFiles, path: str) -> None:
    with pytest.raises(MirrorUnwritable, match="is not a place"):
        files.absolute(path)


def test_a_link_in_the_place_of_a_folder_is_not_written_through(files: MirrorFiles, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (files.root / "C").symlink_to(tmp_path / "outside")
    with pytest.raises(MirrorUnwritable, match="is a link or a file"):
        files.ensure_folder("C/P")
    assert below(tmp_path / "outside") == []


def test_a_link_in_the_place_of_a_file_is_replaced_not_followed(files: MirrorFiles, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    files.ensure_folder("C")
    (files.root / "C" / "i.dcm").symlink_to(victim)
    put(files, "C/i.dcm")
    assert victim.read_text() == "mine"
    assert not (files.root / "C" / "i.dcm").is_symlink()


def test_many_threads_can_make_the_same_folders(files: MirrorFiles) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(files.ensure_folder, [f"C/P{n % 4}/S/{n}" for n in range(64)]))
    assert len(below(files.root / "C")) == 4 + 4 + 64


def test_existing_lists_files_and_sizes(files: MirrorFiles) -> None:
    put(files, "C/a.dcm", b"12345")
    files.ensure_folder("C/folder")
    (files.root / "C" / "link").symlink_to(files.root / "C" / "a.dcm")
    assert files.existing("C") == {"a.dcm": 5}
    assert files.existing("nowhere") == {}
    assert files.existing("C/a.dcm") == {}


def test_an_existing_folder_is_synced_too(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that was killed may have made it without syncing it."""
    (files.root / "C").mkdir()
    count = 0
    fsync = os.fsync

    def counting_fsync(descriptor: int) -> None:
        nonlocal count
        count += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counting_fsync)
    files.ensure_folder("C")
    assert count == 1
