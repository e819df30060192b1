from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bulkdl.errors import DiskError, MirrorUnwritable
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from tests.support.failing_disk import failing


@pytest.fixture
def steps(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The syncs and renames of the operating system below the mirror, in order."""
    noted: list[str] = []
    fsync, replace = os.fsync, os.replace

    def shown(path: str | os.PathLike[str]) -> str:
        return Path(path).relative_to(files.root).as_posix()

    def noting_fsync(descriptor: int) -> None:
        noted.append(f"sync {shown(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def noting_replace(source: Path, target: Path) -> None:
        noted.append(f"rename {shown(source)} to {shown(target)}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(os, "replace", noting_replace)
    return noted


def before_linux_5_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system whose syncfs does not report failed writes."""
    now = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((now[0], now[1], "5.4.0", *now[3:])))


def errors_of(jobs: list[CommitJob]) -> list[type[Exception] | None]:
    return [None if job.error is None else type(job.error) for job in jobs]


def test_bytes_are_synced_before_the_rename_and_every_folder_before_it_is_used(
    files: MirrorFiles, steps: list[str]
) -> None:
    """The order that the journal relies on: bytes, folders from the top down, the rename, its folder."""
    commit(files, [CommitJob("C/P/i.dcm", "x.part", b"DICM")])
    assert steps == [
        "sync .bulkdl/partial/x.part",
        "sync .",
        "sync C",
        "rename .bulkdl/partial/x.part to C/P/i.dcm",
        "sync C/P",
    ]


async def test_a_stream_is_synced_before_its_rename(files: MirrorFiles, steps: list[str]) -> None:
    stream = await files.partials.open_stream("x.part")
    await stream.write([b"DICM"])
    await stream.finish()
    commit(files, [CommitJob("C/P/i.dcm", "x.part")])
    assert steps == [
        "sync .bulkdl/partial/x.part",
        "sync .",
        "sync C",
        "rename .bulkdl/partial/x.part to C/P/i.dcm",
        "sync C/P",
    ]


def test_a_folder_is_synced_once_for_a_group_and_after_its_last_rename(files: MirrorFiles, steps: list[str]) -> None:
    commit(files, [CommitJob(f"{folder}/{number}.dcm", f"{number}.part", b"D") for number, folder in enumerate("CDC")])
    assert steps[-3:] == ["rename .bulkdl/partial/2.part to C/2.dcm", "sync C", "sync D"]
    assert steps.count("sync C") == steps.count("sync D") == 1


def test_a_file_at_its_place_needs_its_folder_synced_alone(files: MirrorFiles, steps: list[str]) -> None:
    commit(files, [CommitJob("C/i.dcm", "x.part", b"DICM")])
    steps.clear()
    job = CommitJob("C/i.dcm")
    commit(files, [job])
    assert steps == ["sync C"]
    assert job.mtime_ns == files.absolute("C/i.dcm").stat().st_mtime_ns


def test_the_bytes_of_many_are_synced_before_the_first_rename(
    files: MirrorFiles, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the one call of newer systems, so that its steps are seen."""
    before_linux_5_8(monkeypatch)
    commit(files, [CommitJob(f"C/{number}.dcm", f"{number}.part", b"D") for number in range(20)])
    assert steps == [
        *(f"sync .bulkdl/partial/{number}.part" for number in range(20)),
        "sync .",
        *(f"rename .bulkdl/partial/{number}.part to C/{number}.dcm" for number in range(20)),
        "sync C",
    ]


def test_many_are_committed_by_one_sync_of_the_file_system_where_it_can(files: MirrorFiles) -> None:
    jobs = [CommitJob(f"C/{number}.dcm", f"{number}.part", b"D" * number) for number in range(20)]
    commit(files, jobs)
    assert errors_of(jobs) == [None] * 20
    assert files.existing("C") == {f"{number}.dcm": number for number in range(20)}
    assert list(files.partials.folder.iterdir()) == []


def test_one_of_many_that_cannot_be_written_fails_alone(files: MirrorFiles) -> None:
    files.partials.path("3.part").mkdir()
    jobs = [CommitJob(f"C/{number}.dcm", f"{number}.part", b"D") for number in range(20)]
    commit(files, jobs)
    assert errors_of(jobs) == [MirrorUnwritable if number == 3 else None for number in range(20)]
    assert len(files.existing("C")) == 19
    assert not files.absolute("C/3.dcm").exists()


def test_many_that_cannot_be_synced_fail_and_leave_nothing(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    before_linux_5_8(monkeypatch)
    monkeypatch.setattr(os, "fsync", failing(os.fsync, errno.EIO, 12))
    jobs = [CommitJob(f"C/{number}.dcm", f"{number}.part", b"D") for number in range(20)]
    commit(files, jobs)
    assert errors_of(jobs) == [MirrorUnwritable] * 20
    assert list(files.partials.folder.iterdir()) == []
    assert files.existing("C") == {}


def test_without_a_place_it_stays_a_partial_file(files: MirrorFiles, steps: list[str]) -> None:
    commit(files, [CommitJob(None, "x.part", b"DICM")])
    assert files.partials.path("x.part").read_bytes() == b"DICM"
    assert steps == ["sync .bulkdl/partial/x.part"]


def test_a_partial_file_becomes_a_committed_one(files: MirrorFiles) -> None:
    job = CommitJob("C/P/1.2/1.2.3/1.2.3.4.dcm", "x.part", b"DICM")
    commit(files, [job])
    final = files.absolute("C/P/1.2/1.2.3/1.2.3.4.dcm")
    assert final.read_bytes() == b"DICM"
    assert (job.error, job.mtime_ns) == (None, final.stat().st_mtime_ns)
    assert list(files.partials.folder.iterdir()) == []


@pytest.mark.parametrize("others", [0, 20])
def test_committing_replaces_what_is_there(others: int, files: MirrorFiles) -> None:
    jobs = [CommitJob("C/i.dcm", "x.part", content) for content in (b"old", b"new")]
    jobs += [CommitJob(f"C/{number}.dcm", f"{number}.part", b"D") for number in range(others)]
    commit(files, jobs)
    assert errors_of(jobs) == [None] * len(jobs)
    assert files.absolute("C/i.dcm").read_bytes() == b"new"


def test_a_folder_that_vanished_is_made_again(files: MirrorFiles) -> None:
    commit(files, [CommitJob("C/P/i.dcm", "x.part", b"DICM")])
    files.absolute("C/P/i.dcm").unlink()
    files.absolute("C/P").rmdir()
    files.absolute("C").rmdir()
    job = CommitJob("C/P/i.dcm", "x.part", b"DICM")
    commit(files, [job])
    assert job.error is None
    assert files.existing("C/P") == {"i.dcm": 4}


def test_a_failed_commit_keeps_the_partial_file_and_fails_alone(files: MirrorFiles) -> None:
    files.ensure_folder("C/i.dcm")  # a folder where the file should be
    jobs = [CommitJob("C/i.dcm", "x.part", b"DICM"), CommitJob("C/j.dcm", "y.part", b"DICM")]
    commit(files, jobs)
    assert errors_of(jobs) == [MirrorUnwritable, None]
    assert files.partials.path("x.part").read_bytes() == b"DICM"
    assert files.existing("C") == {"j.dcm": 4}


def test_a_file_that_is_not_at_its_place_is_an_error(files: MirrorFiles) -> None:
    job = CommitJob("C/missing.dcm")
    commit(files, [job])
    assert isinstance(job.error, DiskError)


def test_a_folder_that_cannot_be_synced_fails_all_its_jobs(files: MirrorFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    files.ensure_folder("C")
    files.ensure_folder("D")
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if os.path.samestat(os.fstat(descriptor), files.absolute("C").stat()):
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    jobs = [CommitJob(f"{'CD'[number % 2]}/{number}.dcm", f"{number}.part", b"DICM") for number in range(6)]
    commit(files, jobs)
    assert errors_of(jobs) == [MirrorUnwritable, None] * 3
    assert len(files.existing("C")) == 3
