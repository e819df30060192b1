"""Many small instances in one trip to a thread: what is told is on the disk, and one that fails fails alone."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import DiskError, MirrorUnwritable
from bulkdl.store.files import MirrorFiles
from bulkdl.store.writing import DiskPace, GroupWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def files(tmp_path: Path) -> MirrorFiles:
    files = MirrorFiles(tmp_path / "mirror")
    files.prepare()
    return files


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def on_a_slow_disk(writer: GroupWriter) -> GroupWriter:
    """The same writer, after it has found out."""
    writer._pace.took(10.0, 0)
    return writer


@pytest.fixture(params=[False, True], ids=["quick", "slow"])
def writer(request: pytest.FixtureRequest, files: MirrorFiles, threads: ThreadPoolExecutor) -> GroupWriter:
    """A writer on a disk that is quick, and on one that is slow."""
    made = GroupWriter(files, threads)
    return on_a_slow_disk(made) if request.param else made


async def test_each_lies_at_its_place_with_its_own_bytes(files: MirrorFiles, writer: GroupWriter) -> None:
    paths = {f"C/P{number % 7}/{number}.dcm": f"DICM{number}".encode() for number in range(300)}
    mtimes = await asyncio.gather(*(writer.write(f"{hash(path)}.part", data, path) for path, data in paths.items()))
    assert {path: files.absolute(path).read_bytes() for path in paths} == paths
    assert mtimes == [files.absolute(path).stat().st_mtime_ns for path in paths]
    assert list(files.partial_folder.iterdir()) == []


async def test_without_a_place_it_stays_a_partial_file(files: MirrorFiles, writer: GroupWriter) -> None:
    assert await writer.write("x.part", b"DICM", None) == 0
    assert files.partial_path("x.part").read_bytes() == b"DICM"


async def test_nobody_is_told_before_file_and_folder_are_synced(
    files: MirrorFiles, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    files.ensure_folder("C")
    monkeypatch.setattr(os, "fsync", note)
    await writer.write("x.part", b"DICM", "C/i.dcm")
    assert synced == [str(files.partial_path("x.part")), str(files.absolute("C"))]


async def test_what_waits_is_taken_along_and_a_folder_is_synced_once_for_all(
    files: MirrorFiles, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, syncs = threading.Event(), 0
    sync_folder, write_partial = files.sync_folder, files.write_partial

    def counted(folder: str) -> None:
        nonlocal syncs
        syncs += 1
        sync_folder(folder)

    def slow(name: str, data: bytes) -> Path:
        free.wait()
        return write_partial(name, data)

    monkeypatch.setattr(files, "sync_folder", counted)
    monkeypatch.setattr(files, "write_partial", slow)
    writer = on_a_slow_disk(GroupWriter(files, threads))
    writes = [writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm") for number in range(64)]
    free.set()
    await asyncio.gather(*writes)
    assert 0 < syncs < 64


async def test_one_that_cannot_be_written_fails_alone(files: MirrorFiles, writer: GroupWriter) -> None:
    (files.root / "taken").write_bytes(b"")
    bad = writer.write("bad.part", b"DICM", "taken/i.dcm")
    good = writer.write("good.part", b"DICM", "C/i.dcm")
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], DiskError)
    assert files.absolute("C/i.dcm").stat().st_mtime_ns == results[1]


async def test_a_folder_that_cannot_be_synced_is_told_to_all_who_wait_for_it(
    files: MirrorFiles, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: str) -> None:
        if folder == "C":
            raise MirrorUnwritable("cannot sync C")

    monkeypatch.setattr(files, "sync_folder", fail)
    writes = [writer.write(f"{number}.part", b"DICM", f"{'CD'[number % 2]}/{number}.dcm") for number in range(6)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(result, DiskError) for result in results] == [True, False] * 3


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(
    files: MirrorFiles, writer: GroupWriter
) -> None:
    gone = writer.write("gone.part", b"DICM", "C/gone.dcm")
    stays = writer.write("stays.part", b"DICM", "C/stays.dcm")
    gone.cancel()
    assert await stays == files.absolute("C/stays.dcm").stat().st_mtime_ns


async def test_what_comes_after_a_thread_has_looked_for_the_last_time_is_written_too(
    files: MirrorFiles, writer: GroupWriter
) -> None:
    for number in range(200):
        await writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm")
    assert len(files.existing("C")) == 200


async def test_partial_files_of_a_folder_are_put_in_place_together(files: MirrorFiles, writer: GroupWriter) -> None:
    names = [f"{number}.part" for number in range(5)]
    for name in names:
        await writer.write(name, name.encode(), None)
    ready = [(files.partial_path(name), f"C/P/{name}.dcm") for name in names]
    mtimes = await writer.commit(ready)
    assert mtimes == [files.absolute(relative).stat().st_mtime_ns for _, relative in ready]
    assert list(files.partial_folder.iterdir()) == []


async def test_folders_are_synced_before_anyone_is_told_of_files_in_them(
    files: MirrorFiles, writer: GroupWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    commit, sync_folder = files.commit, files.sync_folder
    monkeypatch.setattr(files, "commit", lambda *words: (steps.append("rename"), commit(*words))[1])
    monkeypatch.setattr(files, "sync_folder", lambda folder: (steps.append(f"sync {folder}"), sync_folder(folder))[1])
    await writer.write("x.part", b"DICM", None)
    await writer.commit([(files.partial_path("x.part"), "C/i.dcm")])
    assert steps == ["rename", "sync C"]


def test_a_disk_is_quick_until_it_has_wasted_time() -> None:
    pace = DiskPace()
    for _ in range(1000):
        pace.took(0.0001, 10_000)
    assert pace.is_quick
    pace.took(0.1, 10_000)
    assert not pace.is_quick


def test_a_pause_now_and_then_makes_no_disk_slow() -> None:
    """The interpreter lock may keep the loop waiting for 5 ms."""
    pace = DiskPace()
    for number in range(1000):
        pace.took(0.005 if number % 50 == 0 else 0.0001, 10_000)
        assert pace.is_quick


def test_large_instances_may_take_their_time() -> None:
    pace = DiskPace()
    for _ in range(1000):
        pace.took(0.001, 1_000_000)
    assert pace.is_quick


def test_a_slow_disk_is_tried_again_ever_more_rarely_and_believed_when_it_is_quick() -> None:
    pace, trials = DiskPace(), []
    pace.took(1.0, 0)
    for number in range(4000):
        pace.went_to_thread()
        if pace.is_quick:
            trials.append(number)
            pace.took(1.0, 0)
    assert trials == [255, 767, 1791, 3839]
    while not pace.is_quick:
        pace.went_to_thread()
    for _ in range(1000):
        pace.took(0.0001, 0)
    assert pace.is_quick
