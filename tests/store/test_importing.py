from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bulkdl.errors import DiskError
from bulkdl.store.files import MirrorFiles
from bulkdl.store.importing import ImportJob, bring, import_files, remove_taken, source_files
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
    assert Path(second.path).exists()


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path) -> None:
    (found,) = source_files(tmp_path / "missing", but=tmp_path)
    assert (Path(found.path), found.shown) == (tmp_path / "missing", ".")


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


# --- importing --------------------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(tmp_path: Path) -> list[ImportJob]:
    for number in range(3):
        (tmp_path / str(number)).write_bytes(CONTENT + str(number).encode())
    return [ImportJob(str(tmp_path / str(number)), f"{number}.part", f"C/{number}.dcm") for number in range(3)]


@pytest.mark.parametrize("may_link", [True, False])
def test_files_are_imported_together(files: MirrorFiles, jobs: list[ImportJob], *, may_link: bool) -> None:
    files.partials.path(jobs[0].partial).write_bytes(b"of a process that died")
    mtimes = import_files(files, jobs, may_link=may_link)
    places = [files.absolute(job.place) for job in jobs]
    assert mtimes == [place.stat().st_mtime_ns for place in places]
    assert [place.read_bytes() for place in places] == [Path(job.source).read_bytes() for job in jobs]
    assert {place.stat().st_nlink for place in places} == {2 if may_link else 1}
    assert list(files.partials.folder.iterdir()) == []


def test_what_lies_at_a_place_stays(files: MirrorFiles, jobs: list[ImportJob]) -> None:
    files.ensure_folder("C")
    files.absolute(jobs[0].place).write_bytes(b"another")
    files.absolute(jobs[1].place).symlink_to("nowhere")
    mtimes = import_files(files, jobs, may_link=True)
    assert [mtime is None for mtime in mtimes] == [True, True, False]
    assert files.absolute(jobs[0].place).read_bytes() == b"another"
    assert files.absolute(jobs[1].place).is_symlink()


def test_a_source_may_lie_at_its_place(files: MirrorFiles, jobs: list[ImportJob]) -> None:
    files.ensure_folder("C")
    place = files.absolute("C/x.dcm")
    place.write_bytes(CONTENT)
    here = ImportJob(str(place), "x.part", "C/x.dcm")
    assert import_files(files, [here, jobs[0]], may_link=True)[0] == place.stat().st_mtime_ns
    assert place.read_bytes() == CONTENT


def test_bytes_are_synced_before_any_name_and_names_before_the_end(
    files: MirrorFiles, jobs: list[ImportJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noting_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append("folder" if path == files.root / "C" else "bytes" if path.suffix == ".part" else "other")
        fsync(descriptor)

    def noting_replace(source: Path, target: Path) -> None:
        steps.append("name")
        replace(source, target)

    files.ensure_folder("C")
    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    import_files(files, jobs, may_link=True)
    assert steps == [*["bytes"] * 3, *["name"] * 3, "folder"]


def test_a_folder_that_cannot_be_made_is_an_error(files: MirrorFiles, jobs: list[ImportJob]) -> None:
    (files.root / "C").write_text("a file")
    with pytest.raises(DiskError, match="is a link or a file where the mirror needs a folder"):
        import_files(files, jobs, may_link=True)


def test_a_file_that_cannot_be_imported_is_an_error(files: MirrorFiles, jobs: list[ImportJob]) -> None:
    Path(jobs[1].source).unlink()
    with pytest.raises(DiskError, match="cannot import"):
        import_files(files, jobs, may_link=True)
    Path(jobs[1].source).write_bytes(CONTENT)
    assert None not in import_files(files, jobs, may_link=True)


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
