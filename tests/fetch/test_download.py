"""Entries on their way from the archive to the mirror: streamed, resumed, retried, compared with the archive's MD5."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.archive.base import Rest
from bulkdl.errors import ConnectionLost, UnexpectedAnswer
from bulkdl.fetch.arrivals import Unfinished, total
from bulkdl.fetch.committer import Committer
from bulkdl.fetch.digests import digests_of
from bulkdl.fetch.download import MEMORY_BYTES, Downloader, Incoming
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.ranges import CHECKPOINT_BYTES
from bulkdl.fetch.targets import FileNames, Target
from bulkdl.fetch.threads import Threads
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import Outcome
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings
from bulkdl.runtime.rates import ByteRate
from bulkdl.store.files import MirrorFiles
from bulkdl.store.partials import partial_name
from tests.support.dicom_files import MadeUp, instances
from tests.support.memory_archive import MemoryArchive, MemoryBody
from tests.support.waiting import until

(ONE,) = instances(series=1, per_series=1)
(LARGE,) = instances(series=1, per_series=1, rows=3200)  # 20 MB: more than a checkpoint
KEY = "../../a key/and not a path"
CUT = ONE.content[:-10]

Open = Callable[[MemoryArchive], Downloader]


@pytest.fixture
async def downloader(files: MirrorFiles, threads: Threads) -> AsyncIterator[Open]:
    async with Decoders() as decoders:

        def make(archive: MemoryArchive) -> Downloader:
            committer = Committer(files, threads, decoders, FetchSettings())
            return Downloader(archive, files.partials, committer, threads)

        yield make


def target(*, key: str = KEY, md5: bytes | None = None) -> Target:
    return Target(SeriesUid(ONE.series_uid), Entry(key, md5=md5), "folder", None, None, FileNames(()))


def target_of_large() -> Target:
    return Target(SeriesUid(LARGE.series_uid), Entry(KEY), "folder", None, None, FileNames(()))


def files_in(files: MirrorFiles) -> list[str]:
    return sorted(path.relative_to(files.root).as_posix() for path in files.root.rglob("*") if path.is_file())


def md5_of(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


async def test_an_entry_becomes_the_instance_that_its_header_names(downloader: Open, files: MirrorFiles) -> None:
    outcome = await downloader(MemoryArchive({KEY: [ONE.content]})).download(target())
    assert (outcome.outcome, outcome.key, outcome.sop_uid, outcome.attempts) == (Outcome.FETCHED, KEY, ONE.sop_uid, 1)
    assert files_in(files) == [f"folder/{ONE.sop_uid}.dcm"]


async def test_a_missing_entry_fails_by_its_key(downloader: Open, files: MirrorFiles) -> None:
    outcome = await downloader(MemoryArchive({})).download(target())
    assert (outcome.outcome, outcome.key, outcome.sop_uid, outcome.error) == (Outcome.FAILED, KEY, None, "not-found")
    assert files_in(files) == []


async def test_an_invalid_body_is_requested_again(downloader: Open) -> None:
    outcome = await downloader(MemoryArchive({KEY: [CUT, ONE.content]})).download(target())
    assert (outcome.outcome, outcome.attempts) == (Outcome.FETCHED, 2)


async def test_a_body_that_differs_from_the_listed_md5_is_requested_again(downloader: Open) -> None:
    archive = MemoryArchive({KEY: [ONE.content.replace(b"CHEST", b"KNEE "), ONE.content]})
    outcome = await downloader(archive).download(target(md5=md5_of(ONE.content)))
    assert (outcome.outcome, outcome.attempts) == (Outcome.FETCHED, 2)
    assert archive.asked["checksum"] == 0


@pytest.mark.parametrize(
    ("checksum", "error", "attempts"),
    [(None, "unsound-at-source", 2), (md5_of(CUT), "unsound-at-source", 1), (b"0" * 16, "checksum-mismatch", 4)],
    ids=["no-checksum", "its-own", "damaged-on-the-way"],
)
async def test_the_archives_checksum_tells_whose_the_damage_is(
    downloader: Open, checksum: bytes | None, error: str, attempts: int
) -> None:
    archive = MemoryArchive({KEY: [CUT]})
    if checksum is not None:
        archive.checksums[KEY] = checksum
    outcome = await downloader(archive).download(target())
    assert (outcome.outcome, outcome.error, outcome.attempts) == (Outcome.QUARANTINED, error, attempts)


@pytest.mark.parametrize("content", [b"", b"  <html>", b'{"error": 1}', b"[]"])
async def test_a_text_is_not_quarantined_as_a_file(downloader: Open, files: MirrorFiles, content: bytes) -> None:
    outcome = await downloader(MemoryArchive({KEY: [content]})).download(target())
    assert (outcome.outcome, outcome.error) == (Outcome.FAILED, UnexpectedAnswer.code)
    assert files_in(files) == []


@pytest.mark.parametrize("is_paced", [False, True])
async def test_what_arrives_of_an_instance_is_seen_before_it_is_complete(downloader: Open, *, is_paced: bool) -> None:
    rate = ByteRate(1e9, now=0.0)
    archive = MemoryArchive({KEY: [ONE.content]}, rate=rate if is_paced else None)
    made, seen = downloader(archive), list[Unfinished]()

    def change(key: str, body: MemoryBody) -> None:
        del key
        body.piece_bytes, body.watch = 100, lambda: seen.append(total(made.arrivals))

    archive.change = change
    outcome = await made.download(target())
    length = len(ONE.content)
    sizes = [*range(100, length, 100), length]
    assert seen == [Unfinished(size, size / length, length - size, 1) for size in sizes]
    assert (outcome.outcome, made.arrivals) == (Outcome.FETCHED, set())
    assert (rate.wait_seconds(0, now=0.0) > 0) == is_paced  # the bytes were accounted for


# --- large bodies -----------------------------------------------------------------------------------------------------


IN_THREADS = pytest.mark.parametrize("in_threads", [False, True], ids=["loop", "threads"])


def broken_once(archive: MemoryArchive, at: int, *, in_threads: bool = False) -> None:
    """Let the first body break off after `at` bytes."""

    def change(key: str, body: MemoryBody) -> None:
        body.is_for_threads = in_threads
        if archive.asked[key] == 1:
            body.cut = (at, ConnectionLost("broken off"))

    archive.change = change


@IN_THREADS
async def test_a_large_body_that_breaks_off_is_resumed(
    downloader: Open, files: MirrorFiles, *, in_threads: bool
) -> None:
    archive = MemoryArchive({KEY: [LARGE.content]})
    broken_once(archive, CHECKPOINT_BYTES + 1000, in_threads=in_threads)
    outcome = await downloader(archive).download(target_of_large())
    assert (outcome.outcome, outcome.attempts) == (Outcome.FETCHED, 2)
    assert outcome.sha256 == hashlib.sha256(LARGE.content).digest()
    assert archive.rests == [None, Rest(CHECKPOINT_BYTES + 1000, len(LARGE.content), '"one"')]
    assert files_in(files) == [f"folder/{LARGE.sop_uid}.dcm"]


@IN_THREADS
async def test_a_later_run_resumes_by_the_hash_of_the_key(
    downloader: Open, files: MirrorFiles, *, in_threads: bool
) -> None:
    def change(_: str, body: MemoryBody) -> None:
        body.is_for_threads, body.cut = in_threads, (CHECKPOINT_BYTES, ConnectionLost("broken off"))

    archive = MemoryArchive({KEY: [LARGE.content]})
    archive.change = change
    assert (await downloader(archive).download(target_of_large())).outcome is Outcome.FAILED
    name = partial_name(LARGE.series_uid, KEY)
    assert files_in(files) == [f".bulkdl/partial/{name}", f".bulkdl/partial/{name}.json"]
    later = MemoryArchive({KEY: [LARGE.content]})
    resumed = downloader(later)
    await resumed.find_kept()
    assert (await resumed.download(target_of_large())).outcome is Outcome.FETCHED
    assert [rest.start for rest in later.rests if rest is not None] == [CHECKPOINT_BYTES]
    assert files_in(files) == [f"folder/{LARGE.sop_uid}.dcm"]


async def test_an_object_that_changed_is_downloaded_from_its_start(downloader: Open) -> None:
    archive = MemoryArchive({KEY: [LARGE.content]})

    def change(key: str, body: MemoryBody) -> None:
        if archive.asked[key] == 1:
            body.cut = (CHECKPOINT_BYTES, ConnectionLost("broken off"))
        elif archive.asked[key] == 2:
            raise UnexpectedAnswer("another object")

    archive.change = change
    outcome = await downloader(archive).download(target_of_large())
    assert (outcome.outcome, outcome.attempts) == (Outcome.FETCHED, 3)
    assert [rest is not None for rest in archive.rests] == [False, True, False]


@pytest.mark.parametrize("is_listed", [False, True], ids=["asked for", "listed"])
async def test_a_resumed_body_is_compared_with_the_md5_of_the_archive(
    downloader: Open, files: MirrorFiles, *, is_listed: bool
) -> None:
    """Its two parts may be of two versions of the object."""
    before = LARGE.content.replace(b"CHEST", b"KNEE ")
    archive, md5 = MemoryArchive({KEY: [before, LARGE.content]}), md5_of(LARGE.content)
    if not is_listed:
        archive.checksums[KEY] = md5
    broken_once(archive, CHECKPOINT_BYTES)
    wanted = target_of_large()
    outcome = await downloader(archive).download(
        wanted._replace(entry=replace(wanted.entry, md5=md5)) if is_listed else wanted
    )
    digest = hashlib.sha256(LARGE.content).digest()
    assert (outcome.outcome, outcome.attempts, outcome.sha256) == (Outcome.FETCHED, 3, digest)
    assert files_in(files) == [f"folder/{LARGE.sop_uid}.dcm"]  # what changed is not quarantined as damaged


@pytest.mark.parametrize("size", [0, 1, MEMORY_BYTES, MEMORY_BYTES + 1, MEMORY_BYTES + (3 << 20)])
async def test_incoming_bytes_are_kept_in_memory_or_in_a_file(files: MirrorFiles, threads: Threads, size: int) -> None:
    incoming = Incoming(files.partials, threads, "one.part")
    content = bytes(range(256)) * (size // 256) + bytes(size % 256)
    for at in range(0, size, 1 << 20):
        await incoming.take(content[at : at + (1 << 20)])
    received = await incoming.complete()
    await incoming.drop()
    source = received.source
    assert isinstance(source, bytes) is (size <= MEMORY_BYTES)
    assert (source if isinstance(source, bytes) else source.read_bytes()) == content
    if received.digests is not None:
        assert received.digests.md5 == md5_of(content)


@pytest.mark.parametrize("checkpoints", [1.9, 3])
async def test_a_large_body_is_received_while_the_drive_writes(
    files: MirrorFiles, threads: Threads, checkpoints: float
) -> None:
    content = bytes(round(checkpoints * CHECKPOINT_BYTES))
    incoming, may_sync = Incoming(files.partials, threads, "one.part"), threading.Event()
    incoming.is_of("archive", '"one"', len(content))
    received_bytes = min(len(content), 2 * CHECKPOINT_BYTES)  # what is not synced is lost with the process
    for _ in range(64):  # all threads that sync are taken
        threads.submit(may_sync.wait)
    try:
        receiving = asyncio.ensure_future(incoming.receive(MemoryBody(content)))
        await until(lambda: incoming.arrival.unfinished.size_bytes >= received_bytes, seconds=10)
        for _ in range(100):
            await asyncio.to_thread(bool)
        assert incoming.arrival.unfinished.size_bytes == received_bytes
        assert files.partials.resumable() == {}
    finally:
        may_sync.set()
    await receiving
    noted = files.partials.resumable()["one.part"].synced_bytes
    assert noted == CHECKPOINT_BYTES or checkpoints > 2  # what was written during a sync may not be on the drive
    received = await incoming.complete()
    assert received.digests == digests_of(content)
    assert isinstance(received.source, Path)
    assert received.source.read_bytes() == content


async def test_dropped_bytes_leave_no_file(files: MirrorFiles, threads: Threads) -> None:
    incoming = Incoming(files.partials, threads, "one.part")
    for _ in range(6):
        await incoming.take(bytes(1 << 20))
    await incoming.drop()
    assert files_in(files) == []


@pytest.mark.parametrize("one", [ONE, LARGE], ids=["small", "large"])
async def test_a_body_is_compared_with_the_md5_in_its_header(downloader: Open, one: MadeUp) -> None:
    archive = MemoryArchive({KEY: [one.content[:-2] + b"??", one.content]})

    def state(_: str, body: MemoryBody) -> None:
        body.headers = {"x-goog-hash": f"md5={base64.b64encode(md5_of(one.content)).decode()}"}

    archive.change = state
    wanted = Target(SeriesUid(one.series_uid), Entry(KEY), "folder", None, None, FileNames(()))
    outcome = await downloader(archive).download(wanted)
    assert (outcome.outcome, outcome.attempts, outcome.size_bytes) == (Outcome.FETCHED, 2, len(one.content))


async def test_a_crc_that_cannot_be_compared_is_said(downloader: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crc32c", None)
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    archive = MemoryArchive({KEY: [ONE.content]})
    archive.change = lambda _, body: setattr(body, "headers", {"x-goog-hash": "crc32c=AAAAAA=="})
    outcome = await downloader(archive).download(target())
    assert outcome.outcome is Outcome.FETCHED
    assert any("CRC-32C" in note for note in outcome.notes)
