from __future__ import annotations

import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bulkdl.errors import DiskFull, MirrorUnwritable
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import (
    disk_errors,
    is_file,
    is_folder,
    modified_ns,
    replace_file,
    shortage_errors,
    sync_file,
    sync_files,
    sync_folder,
)
from bulkdl.server.nbia.shared_lists import SharedLists
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from tests.support.failing_disk import without_folder_sync


def prepare_a_mirror(folder: Path) -> None:
    files = MirrorFiles(folder / "mirror")
    files.prepare()
    job = CommitJob("C/P/i.dcm", "x.part", b"DICM")
    commit(files, [job])
    assert job.error is None


def create_a_journal(folder: Path) -> None:
    Journal.create_or_open(folder / "journal.sqlite").close()


def keep_a_list(folder: Path) -> None:
    assert SharedLists(folder / "lists.json").create("mine", ["1.2"], owner="a", made=1) is None


SYNCING: dict[str, Callable[[Path], None]] = {
    "mirror": prepare_a_mirror,
    "journal": create_a_journal,
    "shared lists": keep_a_list,
}


def meminfo(folder: Path, lines: str = "Dirty:        100 kB\nWriteback:      0 kB\n") -> Path:
    """A state of memory, as Linux shows it."""
    path = folder / "meminfo"
    path.write_text(f"MemTotal: 1000 kB\n{lines}WritebackTmp: 7 kB\n")
    return path


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files and folders that were synced, in order."""
    paths: list[Path] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        paths.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return paths


# --- many files -------------------------------------------------------------------------------------------------------

AT_ONCE = {"ext2/ext3", "xfs", "btrfs", "f2fs", "tmpfs"}  # as stat(1) calls them


@pytest.mark.parametrize("number", [3, 30])
def test_many_files_are_synced_at_once_where_the_file_system_can(
    number: int, tmp_path: Path, synced: list[Path]
) -> None:
    paths = [tmp_path / str(each) for each in range(number)]
    for path in paths:
        path.touch()
    sync_files(paths, tmp_path, meminfo=meminfo(tmp_path))
    kind = subprocess.run(["stat", "-f", "-c", "%T", tmp_path], check=True, capture_output=True, text=True).stdout
    assert synced == ([] if number > 3 and kind.strip() in AT_ONCE else paths)


@pytest.mark.parametrize(
    "lines", [None, "", "Dirty: 600000 kB\nWriteback:   600000 kB\n"], ids=["hidden", "says nothing", "much"]
)
def test_each_file_is_synced_beside_much_that_others_have_written(
    lines: str | None, tmp_path: Path, synced: list[Path]
) -> None:
    paths = [tmp_path / str(each) for each in range(30)]
    for path in paths:
        path.touch()
    state = tmp_path / "missing" if lines is None else meminfo(tmp_path, lines)
    sync_files(paths, tmp_path, meminfo=state)
    assert synced == paths


def test_each_file_is_synced_on_any_other_file_system(tmp_path: Path, synced: list[Path]) -> None:
    paths = [tmp_path / str(each) for each in range(30)]
    for path in paths:
        path.touch()
    sync_files(paths, Path("/proc/self"), meminfo=meminfo(tmp_path))
    assert synced == paths


# --- folders that cannot be synced ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF])
@pytest.mark.parametrize("name", SYNCING)
def test_works_where_folders_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", without_folder_sync(os.fsync, number))
    SYNCING[name](tmp_path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("name", SYNCING)
def test_names_the_folder_whose_sync_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    monkeypatch.setattr(os, "fsync", without_folder_sync(os.fsync, number))
    with pytest.raises(
        (MirrorUnwritable, DiskFull), match=f"^cannot sync the folder {tmp_path}: {os.strerror(number)}"
    ):
        SYNCING[name](tmp_path)


def test_a_file_that_cannot_be_synced_is_always_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="Invalid argument"):
        sync_file(tmp_path / "file")
    with pytest.raises(MirrorUnwritable):
        replace_file(tmp_path / "other", b"x")


def test_a_folder_that_does_not_exist_cannot_be_synced(tmp_path: Path) -> None:
    with pytest.raises(MirrorUnwritable, match="cannot sync the folder"):
        sync_folder(tmp_path / "missing")


# --- files ------------------------------------------------------------------------------------------------------------


def test_replaces_a_file_and_syncs_it_and_its_folder(tmp_path: Path, synced: list[Path]) -> None:
    path = tmp_path / "lists.json"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert synced == [tmp_path / "lists.json.partial", tmp_path]
    assert [entry.name for entry in tmp_path.iterdir()] == ["lists.json"]


def test_does_not_sync_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with pytest.raises(OSError, match="symbolic links"):
        sync_file(tmp_path / "link")


def test_a_file_that_is_read_only_can_be_synced(tmp_path: Path, synced: list[Path]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    path.chmod(stat.S_IRUSR)
    sync_file(path)
    assert synced == [path]


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_space_and_no_quota_are_a_full_disk(number: int) -> None:
    with pytest.raises(DiskFull) as caught, disk_errors("write", "x"):
        raise OSError(number, os.strerror(number))
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE])
def test_other_troubles_are_an_unwritable_mirror(number: int) -> None:
    with pytest.raises(MirrorUnwritable), disk_errors("write", "x"):
        raise OSError(number, os.strerror(number))


def test_a_message_is_one_line_whatever_the_path_holds() -> None:
    with pytest.raises(MirrorUnwritable) as caught, disk_errors("write", "a\n\x1b[31mb"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")], ids=["memory", "threads"])
def test_a_shortage_of_memory_or_threads_is_named(error: Exception) -> None:
    with pytest.raises(MirrorUnwritable, match="not enough memory"), shortage_errors():
        raise error


def test_other_errors_are_not_called_a_shortage() -> None:
    with pytest.raises(RuntimeError, match="a defect"), shortage_errors():
        raise RuntimeError("a defect")


def test_what_cannot_be_seen_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert (is_file(tmp_path / "file"), is_folder(tmp_path / "file")) == (True, False)
    assert (is_file(tmp_path), is_folder(str(tmp_path))) == (False, True)
    for hidden in (tmp_path / ("d" * 300), tmp_path / "file" / "x", "\0"):
        assert (is_file(hidden), is_folder(hidden)) == (False, False)


@pytest.mark.parametrize(("seconds", "kept"), [(7, 7 * 10**9), (1 << 35, 2**63 - 1), (-(1 << 34), 1 - 2**63)])
def test_a_time_of_modification_fits_into_a_database(seconds: int, kept: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.utime(tmp_path / "file", (seconds, seconds))
    if (tmp_path / "file").stat().st_mtime != seconds:
        pytest.skip("the file system does not hold this time")
    assert modified_ns((tmp_path / "file").stat()) == kept
