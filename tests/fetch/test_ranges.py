"""Large entries in parallel ranges: whole, broken off, continued by another process, changed, on one permit."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.base import Archive
from bulkdl.archive.connect import connect
from bulkdl.archive.profiles import Profile
from bulkdl.errors import ChecksumMismatch, Interrupted
from bulkdl.fetch.committer import Committer
from bulkdl.fetch.download import Downloader
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.ranges import Parts, RangedDownload, fresh, in_parts, part_size
from bulkdl.fetch.targets import FileNames, Target
from bulkdl.fetch.threads import Threads
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter
from bulkdl.runtime.rates import ByteRate
from bulkdl.store.files import MirrorFiles
from bulkdl.store.partials import KeptPartial, Partials, partial_name
from tests.support.bucket_server import BUCKET, BucketServer, Stored, key_of, part_of, range_of
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer, stall
from tests.support.waiting import until

(ONE,) = instances(series=1, per_series=1, rows=3200)  # 20 MB
ABOVE = 4 << 20  # so a part has 1 MB
LENGTH = len(ONE.content)
STORED = Stored(ONE.content)
NAME = partial_name(ONE.series_uid, f"{BUCKET}/{key_of(ONE)}")


@dataclass(frozen=True)
class Bench:
    """A downloader, the server that it asks, and the mirror that it fills."""

    server: BucketServer
    archive: Archive
    downloader: Downloader
    files: MirrorFiles
    another: Callable[[], Downloader]

    async def download(self, *, md5: bytes | None = STORED.md5) -> InstanceOutcome:
        entry = Entry(f"{BUCKET}/{key_of(ONE)}", size_bytes=LENGTH, md5=md5)
        return await self.downloader.download(Target(ONE.series_uid, entry, "folder", None, None, FileNames(())))

    @property
    def content(self) -> bytes:
        return (self.files.root / "folder" / f"{ONE.sop_uid}.dcm").read_bytes()

    @property
    def requested_bytes(self) -> int:
        return sum(end - start for start, end in (range_of(seen, LENGTH) for seen in self.server.gets))

    def kept(self) -> list[KeptPartial]:
        return list(self.files.partials.resumable().values())

    def noted(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.files.partials.folder / f"{NAME}.json").read_bytes())
        return found

    def partial_files(self) -> list[str]:
        return sorted(path.suffix for path in self.files.partials.folder.iterdir())


def after(event: asyncio.Event, action: Action) -> Action:
    """The action, once the event is set."""

    async def act(exchange: Exchange) -> None:
        await event.wait()
        await action(exchange)

    return act


Opened = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def opened(files: MirrorFiles, threads: Threads) -> Opened:
    @asynccontextmanager
    async def open_bench(
        *,
        fault: Callable[[Seen], Action | None] = lambda _: None,
        stored: Stored = STORED,
        permits: int = 8,
        is_paced: bool = False,
    ) -> AsyncIterator[Bench]:
        running = BucketServer({BUCKET: {key_of(ONE): stored}}, fault=fault)
        policy = RetryPolicy(max_attempts=4, give_up_after_seconds=600, wait_scale=0.01)
        rate = ByteRate(1e12, now=time.monotonic()) if is_paced else None
        retrier = Retrier(limiter=Limiter(ceiling=permits), policy=policy, stop=asyncio.Event(), rate=rate)
        async with (
            running.server,
            connect(Profile("idc", running.url, "idc"), retrier) as archive,
            Decoders() as decoders,
        ):
            committer = Committer(files, threads, decoders, FetchSettings())

            def make() -> Downloader:
                return Downloader(archive, files.partials, committer, threads, parallel_above_bytes=ABOVE)

            yield Bench(running, archive, make(), files, make)

    return open_bench


async def test_a_large_entry_arrives_in_parallel_ranges(opened: Opened) -> None:
    four_came = asyncio.Event()

    def fault(seen: Seen) -> Action | None:
        if seen.number == 4:
            four_came.set()
        return after(four_came, part_of(STORED, seen)) if seen.number > 1 else None

    async with opened(fault=fault) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.attempts, outcome.size_bytes) == (Outcome.FETCHED, 1, LENGTH)
        assert (outcome.md5, outcome.sha256) == (STORED.md5, hashlib.sha256(ONE.content).digest())
        assert bench.content == ONE.content
        assert bench.requested_bytes == LENGTH
        assert len(bench.server.gets) == 20
        assert {seen.headers.get("if-match") for seen in bench.server.gets[1:]} == {STORED.etag}
        assert bench.server.server.most_at_once >= 3
        assert (bench.partial_files(), bench.downloader.arrivals) == ([], set())


async def test_one_permit_is_enough(opened: Opened) -> None:
    async with opened(permits=1) as bench:
        assert (await bench.download()).outcome is Outcome.FETCHED
        assert (bench.content, bench.server.server.most_at_once) == (ONE.content, 1)


@pytest.mark.parametrize("is_paced", [False, True], ids=["threads", "paced"])
async def test_a_link_that_breaks_again_and_again_costs_little(opened: Opened, *, is_paced: bool) -> None:
    async with opened(fault=lambda seen: part_of(STORED, seen, cut_after=300_000), is_paced=is_paced) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.attempts) == (Outcome.FETCHED, 1)
        assert bench.content == ONE.content
        sent = sum(min(300_000, end - start) for start, end in (range_of(seen, LENGTH) for seen in bench.server.gets))
        assert sent <= 1.05 * LENGTH


async def test_attempts_without_progress_are_counted(opened: Opened) -> None:
    async with opened(fault=lambda seen: part_of(STORED, seen, cut_after=0)) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.error, outcome.attempts) == (Outcome.FAILED, "short-body", 4)


async def test_a_range_that_fails_is_requested_again(opened: Opened) -> None:
    others_failed = asyncio.Event()

    def fault(seen: Seen) -> Action | None:
        if 2 <= seen.number <= 4:
            if seen.number == 4:
                others_failed.set()
            return answer(b"", status=500)
        return after(others_failed, part_of(STORED, seen)) if seen.number > 4 else None

    async with opened(fault=fault) as bench:
        assert (await bench.download()).outcome is Outcome.FETCHED
        assert bench.content == ONE.content


async def test_the_bytes_of_a_range_that_broke_off_are_not_requested_again(opened: Opened) -> None:
    cut_after = dict.fromkeys((2, 3, 4), 100000)

    async with opened(fault=lambda seen: part_of(STORED, seen, cut_after=cut_after.get(seen.number))) as bench:
        assert (await bench.download()).outcome is Outcome.FETCHED
        ranges = [range_of(seen, LENGTH) for seen in bench.server.gets]
        sent = [min(cut_after.get(number, LENGTH), end - start) for number, (start, end) in enumerate(ranges, start=1)]
        assert (sum(sent), bench.content) == (LENGTH, ONE.content)


class SlowNotes(Partials):
    """Writes a note when that is `released`, and says that it is `writing` it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.writing, self.released = threading.Event(), threading.Event()

    def note(self, name: str, kept: KeptPartial) -> None:
        self.writing.set()
        self.released.wait()
        super().note(name, kept)


async def test_a_note_that_is_being_written_is_awaited(opened: Opened, files: MirrorFiles) -> None:
    """One that came later would be of no file."""
    files.partials = partials = SlowNotes(files.partials.folder)
    async with opened() as bench:
        download = asyncio.create_task(bench.download())
        await asyncio.to_thread(partials.writing.wait)
        download.cancel()
        ended, _ = await asyncio.wait([download], timeout=0.05)
        partials.released.set()
        with suppress(asyncio.CancelledError):
            await download
        assert (ended, bench.partial_files()) == (set(), [".json", ".part"])


async def test_bytes_that_arrive_during_a_sync_are_synced_after_it(
    opened: Opened, files: MirrorFiles, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing follows for a time. And the sync itself makes none of them safe."""
    length, first, part = 36 << 20, 34 << 20, 1 << 20
    released, may_sync, fsync = asyncio.Event(), threading.Event(), os.fsync
    syncs: list[tuple[int, int]] = []  # at the start of each: the bytes that have arrived, and those that are synced

    def slow(descriptor: int) -> None:
        syncs.append((download.arrival.unfinished.size_bytes, download.kept.synced_bytes))
        may_sync.wait(10)
        fsync(descriptor)

    def fault(seen: Seen) -> Action | None:
        return after(released, part_of(large, seen)) if range_of(seen, length)[0] >= first else None

    large = Stored(bytes(length), '"large"')
    async with opened(fault=fault, stored=large) as bench:
        entry = Entry(f"{BUCKET}/{key_of(ONE)}", size_bytes=length)
        target = Target(ONE.series_uid, entry, "folder", None, None, FileNames(()))
        kept = fresh(bench.archive.url, length, ABOVE)
        download = RangedDownload(bench.archive, files.partials, threads, target, NAME, kept)
        monkeypatch.setattr(os, "fsync", slow)
        receiving = asyncio.create_task(download.receive())
        await until(lambda: download.arrival.unfinished.size_bytes > first - part)  # the rest of one waits for the sync
        may_sync.set()
        await until(lambda: syncs[1:], seconds=10)
        assert syncs[1][1] <= syncs[0][0] < first - part
        await until(lambda: download.kept.synced_bytes > first - part)
        released.set()
        received = await receiving
        assert isinstance(received.source, Path)
        assert received.source.stat().st_size == length


@pytest.mark.parametrize(("answered", "share", "synced_bytes"), [(18, 0.8, 16 << 20), (10, 0.4, 0)])
async def test_another_process_continues_part_by_part(
    answered: int, share: float, synced_bytes: int, opened: Opened
) -> None:
    enough, released = asyncio.Event(), asyncio.Event()

    def fault(seen: Seen) -> Action | None:
        if seen.number <= answered or released.is_set():
            return None
        enough.set()
        return stall(released)

    async with opened(fault=fault) as bench:
        download = asyncio.create_task(bench.download())
        await enough.wait()
        await until(lambda: [kept for kept in bench.kept() if kept.synced_bytes >= share * LENGTH])
        await until(lambda: bench.noted()["synced_bytes"] >= synced_bytes)  # what a power cut would leave
        download.cancel()
        with suppress(asyncio.CancelledError):
            await download
        assert bench.partial_files() == [".json", ".part"]

        released.set()
        before = bench.requested_bytes
        again = replace(bench, downloader=bench.another())
        await again.downloader.find_kept()
        outcome = await again.download()
        assert (outcome.outcome, bench.content) == (Outcome.FETCHED, ONE.content)
        assert outcome.sha256 == hashlib.sha256(ONE.content).digest()
        assert bench.requested_bytes - before < (1.1 - share) * LENGTH
        assert bench.partial_files() == []


async def test_a_stopped_download_keeps_what_has_arrived(opened: Opened) -> None:
    released = asyncio.Event()

    def fault(seen: Seen) -> Action | None:
        if seen.number <= 12 or released.is_set():
            return None
        bench.archive.retrier.stop.set()
        return part_of(STORED, seen, cut_after=500_000)

    async with opened(fault=fault) as bench:
        with pytest.raises(Interrupted):
            await bench.download()
        assert bench.partial_files() == [".json", ".part"]
        released.set()
        bench.archive.retrier.stop.clear()
        before = bench.requested_bytes
        assert (await bench.download()).outcome is Outcome.FETCHED
        assert bench.content == ONE.content
        assert bench.requested_bytes - before < 0.8 * LENGTH  # 7 of 20 parts were not requested, 8 in flight


async def test_what_was_kept_of_a_whole_body_is_continued_in_ranges(opened: Opened, files: MirrorFiles) -> None:
    async with opened() as bench:
        (files.partials.folder / NAME).write_bytes(ONE.content[: 5 << 20])
        files.partials.note(NAME, KeptPartial(bench.archive.url, STORED.etag, LENGTH, 5 << 20))
        await bench.downloader.find_kept()
        assert (await bench.download()).outcome is Outcome.FETCHED
        assert bench.content == ONE.content
        assert bench.requested_bytes == LENGTH - (5 << 20)


@pytest.mark.parametrize("md5", [None, STORED.md5], ids=["no MD5 listed", "MD5 listed"])
async def test_an_object_that_changes_is_received_from_its_start(opened: Opened, md5: bytes | None) -> None:
    other = Stored(ONE.content.replace(b"CHEST", b"KNEE "))

    def fault(seen: Seen) -> Action | None:
        return part_of(other, seen) if seen.number <= 3 else None

    async with opened(fault=fault) as bench:
        outcome = await bench.download(md5=md5)
        assert (outcome.outcome, bench.content) == (Outcome.FETCHED, ONE.content)
        assert outcome.attempts > 1


async def test_a_kept_file_of_a_changed_object_is_received_from_its_start(opened: Opened, files: MirrorFiles) -> None:
    async with opened() as bench:
        (files.partials.folder / NAME).write_bytes(b"?" * (5 << 20))
        files.partials.note(NAME, KeptPartial(bench.archive.url, '"other"', LENGTH, 5 << 20))
        await bench.downloader.find_kept()
        outcome = await bench.download()
        assert (outcome.outcome, outcome.attempts, bench.content) == (Outcome.FETCHED, 2, ONE.content)


async def test_what_was_kept_of_another_source_is_forgotten_before_its_file_is_written(
    opened: Opened, files: MirrorFiles
) -> None:
    notes: list[list[str]] = []

    def fault(_: Seen) -> Action | None:
        notes.append(sorted(path.suffix for path in files.partials.folder.iterdir()))
        return None

    async with opened(fault=fault) as bench:
        (files.partials.folder / NAME).write_bytes(b"?" * (5 << 20))
        files.partials.note(NAME, KeptPartial("http://another.example/", STORED.etag, LENGTH, 5 << 20))
        await bench.downloader.find_kept()
        assert (await bench.download()).outcome is Outcome.FETCHED
        assert bench.content == ONE.content
        assert notes[0] == [".part"]


async def test_an_archive_without_ranges_sends_the_whole(opened: Opened) -> None:
    headers = {"ETag": STORED.etag}
    async with opened(fault=lambda _: answer(ONE.content, headers=headers)) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.attempts, bench.content) == (Outcome.FETCHED, 2, ONE.content)
        assert (await bench.download()).attempts <= 1


@pytest.mark.parametrize("status", [206, 400, 416])
async def test_an_object_whose_range_is_refused_is_requested_whole(opened: Opened, status: int) -> None:
    wrong = {"ETag": STORED.etag, "Content-Range": f"bytes 5-9/{LENGTH}"} if status == 206 else {}

    def fault(seen: Seen) -> Action | None:
        return answer(b"?" * 5, status=status, headers=wrong) if "range" in seen.headers else None

    async with opened(fault=fault) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.attempts, bench.content) == (Outcome.FETCHED, 2, ONE.content)


async def test_damage_on_the_way_is_found_by_the_md5(opened: Opened) -> None:
    damaged = Stored(ONE.content[:-100] + b"?" * 100, STORED.etag)
    async with opened(stored=damaged) as bench:
        outcome = await bench.download()
        assert (outcome.outcome, outcome.error) == (Outcome.QUARANTINED, ChecksumMismatch.code)
        assert not (bench.files.root / "folder").exists()
        assert bench.partial_files() == []


def tag_of(part_bytes: int) -> str:
    pieces = [ONE.content[start : start + part_bytes] for start in range(0, LENGTH, part_bytes)]
    md5s = b"".join(hashlib.md5(piece, usedforsecurity=False).digest() for piece in pieces)
    return f'"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(pieces)}"'


@pytest.mark.parametrize(("part_bytes", "is_said"), [(8 << 20, False), (5 << 20, True)])
async def test_a_tag_of_parts_is_compared_if_they_have_the_usual_size(
    opened: Opened, part_bytes: int, *, is_said: bool
) -> None:
    async with opened(stored=Stored(ONE.content, tag_of(part_bytes))) as bench:
        outcome = await bench.download(md5=None)
        assert outcome.outcome is Outcome.FETCHED
        assert any("by size alone" in note for note in outcome.notes) == is_said


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_an_object_without_an_md5_as_tag_is_compared_with_the_md5_beside_it(
    opened: Opened, *, is_damaged: bool
) -> None:
    stated = base64.b64encode(STORED.md5).decode()
    content = ONE.content[:-100] + b"?" * 100 if is_damaged else ONE.content
    async with opened(stored=Stored(content, '"composite"', f"crc32c=AAAAAA==,md5={stated}")) as bench:
        outcome = await bench.download(md5=None)
        error = ChecksumMismatch.code if is_damaged else None
        assert (outcome.outcome is Outcome.FETCHED, outcome.error) == (not is_damaged, error)


# --- parts ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_parts_cover_every_byte_once(length: int, part_bytes: int) -> None:
    part_bytes = max(part_bytes, length // 50)
    parts = Parts(length, part_bytes)
    covered = 0
    while (part := parts.take()) is not None:
        assert parts.start(part) == covered
        covered = parts.end(part)
        parts.written[part] = covered - parts.start(part)
    assert covered == length
    assert parts.is_complete


def test_a_part_that_is_given_back_is_taken_again() -> None:
    parts = Parts(10, 4)
    assert [parts.take(), parts.take(), parts.take(), parts.take()] == [0, 1, 2, None]
    parts.written[1] = 1
    parts.give_back(1)
    assert (parts.take(), parts.start(1), parts.end(1), parts.end(2)) == (1, 5, 8, 10)


@pytest.mark.parametrize(
    ("length", "above", "part_bytes"),
    [(100 << 20, 64 << 20, 16 << 20), (20 << 20, 4 << 20, 1 << 20), (1 << 20, 1 << 10, 64 << 10)],
)
def test_parts_have_a_bounded_size_and_number(length: int, above: int, part_bytes: int) -> None:
    assert part_size(length, above) == part_bytes
    assert -(-(1 << 40) // part_size(1 << 40, above)) <= 2_000


def test_the_beginning_of_a_whole_body_is_so_many_parts() -> None:
    kept = in_parts(KeptPartial("s", "v", 100 << 20, (33 << 20) + 5), 64 << 20)
    assert (kept.part_bytes, kept.written) == (16 << 20, (16 << 20, 16 << 20, (1 << 20) + 5))
    assert in_parts(fresh("s", 100 << 20, 64 << 20), 64 << 20).written == ()
