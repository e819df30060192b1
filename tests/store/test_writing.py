"""Commits in groups: a result means that the instance is on the disk, and a job that fails does not fail others."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import DiskError
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles
from bulkdl.store.writing import DiskPace, GroupWriter

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


def slow_disk() -> DiskPace:
    """What a writer knows after it has found its disk slow."""
    pace = DiskPace()
    pace.took(10.0, 0)
    return pace


@pytest.fixture(params=[False, True], ids=["quick", "slow"])
def writer(request: pytest.FixtureRequest, files: MirrorFiles, threads: ThreadPoolExecutor) -> GroupWriter:
    """A writer on a quick disk, and one on a slow disk."""
    return GroupWriter(files, threads, pace=slow_disk() if request.param else DiskPace())


async def test_each_instance_is_at_its_place_with_its_own_bytes(files: MirrorFiles, writer: GroupWriter) -> None:
    paths = {f"C/P{number % 7}/{number}.dcm": f"DICM{number}".encode() for number in range(300)}
    mtimes = await asyncio.gather(*(writer.write(f"{hash(path)}.part", data, path) for path, data in paths.items()))
    assert {path: files.absolute(path).read_bytes() for path in paths} == paths
    assert mtimes == [files.absolute(path).stat().st_mtime_ns for path in paths]
    assert list(files.partials.folder.iterdir()) == []


async def test_without_a_place_it_stays_a_partial_file(files: MirrorFiles, writer: GroupWriter) -> None:
    assert await writer.write("x.part", b"DICM", None) == 0
    assert files.partials.path("x.part").read_bytes() == b"DICM"


async def test_a_partial_file_that_is_written_already_is_committed(files: MirrorFiles, writer: GroupWriter) -> None:
    files.partials.write("x.part", b"DICM")
    assert await writer.write("x.part", None, "C/i.dcm") == files.mtime_ns("C/i.dcm")
    assert files.existing("C") == {"i.dcm": 4}


async def test_a_result_means_that_file_and_folder_are_synced(
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
    assert synced == [str(files.partials.path("x.part")), str(files.absolute("C"))]


async def test_jobs_that_wait_form_groups_that_sync_a_folder_once(
    files: MirrorFiles, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.ensure_folder("C")
    free, syncs = threading.Event(), 0
    fsync = os.fsync

    def held_back(descriptor: int) -> None:
        nonlocal syncs
        free.wait()
        syncs += os.path.samestat(os.fstat(descriptor), files.absolute("C").stat())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", held_back)
    writer = GroupWriter(files, threads, pace=slow_disk())
    writes = [writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm") for number in range(64)]
    free.set()
    await asyncio.gather(*writes)
    assert 0 < syncs < 64


async def test_many_files_that_are_adopted_share_the_syncs_of_their_folder(
    files: MirrorFiles, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(files, [CommitJob(f"C/{number}.dcm", "x.part", b"DICM") for number in range(64)])
    free, syncs = threading.Event(), 0
    fsync = os.fsync

    def held_back(descriptor: int) -> None:
        nonlocal syncs
        free.wait()
        syncs += 1
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", held_back)
    writer = GroupWriter(files, threads, pace=slow_disk())
    adopted = [writer.adopt(f"C/{number}.dcm") for number in range(64)]
    assert syncs == 0
    free.set()
    mtimes = await asyncio.gather(*adopted)
    assert mtimes == [files.mtime_ns(f"C/{number}.dcm") for number in range(64)]
    assert 0 < syncs < 64


async def test_one_that_cannot_be_written_fails_alone(files: MirrorFiles, writer: GroupWriter) -> None:
    (files.root / "taken").write_bytes(b"")
    bad = writer.write("bad.part", b"DICM", "taken/i.dcm")
    good = writer.write("good.part", b"DICM", "C/i.dcm")
    results = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(results[0], DiskError)
    assert files.absolute("C/i.dcm").stat().st_mtime_ns == results[1]


async def test_cancelling_one_caller_does_not_affect_the_others(files: MirrorFiles, writer: GroupWriter) -> None:
    gone = writer.write("gone.part", b"DICM", "C/gone.dcm")
    stays = writer.write("stays.part", b"DICM", "C/stays.dcm")
    gone.cancel()
    assert await stays == files.absolute("C/stays.dcm").stat().st_mtime_ns


async def test_jobs_that_arrive_after_the_last_look_of_a_thread_are_written_too(
    files: MirrorFiles, writer: GroupWriter
) -> None:
    for number in range(200):
        await writer.write(f"{number}.part", b"DICM", f"C/{number}.dcm")
    assert len(files.existing("C")) == 200


async def test_partial_files_are_committed_together(files: MirrorFiles, writer: GroupWriter) -> None:
    names = [f"{number}.part" for number in range(5)]
    for name in names:
        await writer.write(name, name.encode(), None)
    ready = [(name, f"C/P/{name}.dcm") for name in names]
    mtimes = await writer.commit(ready)
    assert mtimes == [files.absolute(relative).stat().st_mtime_ns for _, relative in ready]
    assert list(files.partials.folder.iterdir()) == []


def test_a_disk_is_quick_until_it_has_cost_time() -> None:
    pace = DiskPace()
    for _ in range(1000):
        pace.took(0.0001, 10_000)
    assert pace.is_quick
    pace.took(0.1, 10_000)
    assert not pace.is_quick


def test_occasional_pauses_do_not_make_a_disk_slow() -> None:
    """The interpreter lock may delay the loop by 5 ms."""
    pace = DiskPace()
    for number in range(1000):
        pace.took(0.005 if number % 50 == 0 else 0.0001, 10_000)
        assert pace.is_quick


def test_large_instances_may_take_longer() -> None:
    pace = DiskPace()
    for _ in range(1000):
        pace.took(0.001, 1_000_000)
    assert pace.is_quick


def test_a_core_that_others_use_does_not_make_the_disk_slow() -> None:
    pace = DiskPace()
    for _ in range(100):
        pace.took(0.1, 10_000, has_waited=False)
    assert pace.is_quick
    pace.took(0.1, 10_000)
    assert not pace.is_quick


def test_a_slow_disk_is_tried_again_at_growing_intervals_until_it_is_quick() -> None:
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
