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
from bulkdl.store.writing import GroupWriter

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


async def test_each_lies_at_its_place_with_its_own_bytes(files: MirrorFiles, threads: ThreadPoolExecutor) -> None:
    writer = GroupWriter(files, threads)
    paths = {f"C/P{number % 7}/{number}.dcm": f"DICM{number}".encode() for number in range(300)}
    mtimes = await asyncio.gather(*(writer.write(f"{hash(path)}.part", data, path) for path, data in paths.items()))
    assert {path: files.absolute(path).read_bytes() for path in paths} == paths
    assert mtimes == [files.absolute(path).stat().st_mtime_ns for path in paths]
    assert list(files.partial_folder.iterdir()) == []


async def test_without_a_place_it_stays_a_partial_file(files: MirrorFiles, threads: ThreadPoolExecutor) -> None:
    assert await GroupWriter(files, threads).write("x.part", b"DICM", None) == 0
    assert files.partial_path("x.part").read_bytes() == b"DICM"


async def test_nobody_is_told_before_file_and_folder_are_synced(
    files: MirrorFiles, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    files.ensure_folder("C")
    monkeypatch.setattr(os, "fsync", note)
    await GroupWriter(files, threads).write("x.part", b"DICM", "C/i.dcm")
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
    writer = GroupWriter(files, threads)
    writes = [writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm") for number in range(64)]
    free.set()
    await asyncio.gather(*writes)
    assert 0 < syncs < 64


async def test_one_that_cannot_be_written_fails_alone(files: MirrorFiles, threads: ThreadPoolExecutor) -> None:
    writer = GroupWriter(files, threads)
    (files.root / "taken").write_bytes(b"")
    bad = writer.write("bad.part", b"DICM", "taken/i.dcm")
    good = writer.write("good.part", b"DICM", "C/i.dcm")
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], DiskError)
    assert files.absolute("C/i.dcm").stat().st_mtime_ns == results[1]


async def test_a_folder_that_cannot_be_synced_is_told_to_all_who_wait_for_it(
    files: MirrorFiles, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: str) -> None:
        if folder == "C":
            raise MirrorUnwritable("cannot sync C")

    monkeypatch.setattr(files, "sync_folder", fail)
    writer = GroupWriter(files, threads)
    writes = [writer.write(f"{number}.part", b"DICM", f"{'CD'[number % 2]}/{number}.dcm") for number in range(6)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(result, DiskError) for result in results] == [True, False] * 3


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(
    files: MirrorFiles, threads: ThreadPoolExecutor
) -> None:
    writer = GroupWriter(files, threads)
    gone = writer.write("gone.part", b"DICM", "C/gone.dcm")
    stays = writer.write("stays.part", b"DICM", "C/stays.dcm")
    gone.cancel()
    assert await stays == files.absolute("C/stays.dcm").stat().st_mtime_ns


async def test_what_comes_after_a_thread_has_looked_for_the_last_time_is_written_too(
    files: MirrorFiles, threads: ThreadPoolExecutor
) -> None:
    writer = GroupWriter(files, threads)
    for number in range(200):
        await writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm")
    assert len(files.existing("C")) == 200
