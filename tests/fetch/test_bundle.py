"""The bundle of a Series: its entries are found by their content, and what it lacks is left to the caller."""

from __future__ import annotations

import asyncio
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from bulkdl.archive.base import BundleForm, Capabilities
from bulkdl.errors import ConnectionLost, NotFound
from bulkdl.fetch.arrivals import Unfinished, total
from bulkdl.fetch.bundle import BundleDownloader
from bulkdl.fetch.committer import Committer
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.fetch.targets import targets_of
from bulkdl.fetch.threads import Threads
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome, SeriesWork
from bulkdl.model.records import Entry
from bulkdl.model.settings import FetchSettings
from bulkdl.store.files import MirrorFiles
from tests.support.bad_archive import zip_of
from tests.support.dicom_files import MadeUp, instances
from tests.support.memory_archive import MemoryArchive, MemoryBody

MADE_UP = list(instances(series=1, per_series=4))
(LARGE,) = instances(series=1, per_series=1, rows=1600)  # of the same Series; too large for memory
(OF_ANOTHER_SERIES,) = instances(series=1, per_series=1, seed="another series")
MEMBERS = [(f"{number}.dcm", one.content) for number, one in enumerate(MADE_UP)]

Open = Callable[[MemoryArchive], BundleDownloader]


def work(made_up: list[MadeUp] = MADE_UP) -> SeriesWork:
    return SeriesWork(
        series_uid=SeriesUid(MADE_UP[0].series_uid),
        study_uid=None,
        folder="folder",
        entries=tuple(Entry(one.sop_uid, SopInstanceUid(one.sop_uid)) for one in made_up),
        names=tuple(f"{one.sop_uid}.dcm" for one in made_up),
        whole=True,
    )


@pytest.fixture
async def bundles(files: MirrorFiles, threads: Threads) -> AsyncIterator[Open]:
    async with Decoders() as decoders:

        def make(archive: MemoryArchive) -> BundleDownloader:
            committer = Committer(files, threads, decoders, FetchSettings())
            return BundleDownloader(archive, files.partials, committer, threads)

        yield make


async def download(bundles: BundleDownloader, what: SeriesWork) -> tuple[set[str], list[InstanceOutcome]]:
    """The keys that the bundle contained, and the outcomes that it delivered."""
    outcomes: list[InstanceOutcome] = []

    async def deliver(outcome: InstanceOutcome) -> None:
        outcomes.append(outcome)

    return set(await bundles.download(what, targets_of(what), deliver)), outcomes


def in_each_cycle(look: Callable[[], bool]) -> None:
    """Call `look` in each cycle of the event loop, as long as it is true."""
    if look():
        asyncio.get_running_loop().call_soon(in_each_cycle, look)


def committed(files: MirrorFiles) -> set[str]:
    folder = files.root / "folder"
    return {path.stem for path in folder.iterdir()} if folder.exists() else set()


def uids(made_up: list[MadeUp]) -> set[str]:
    return {one.sop_uid for one in made_up}


@pytest.mark.parametrize("hashes", ["with-md5hashes", "without"])
async def test_a_bundle_brings_every_instance(bundles: Open, files: MirrorFiles, hashes: str) -> None:
    made_up = [*MADE_UP[1:], LARGE]
    members = [*MEMBERS[1:], ("large.dcm", LARGE.content)]
    archive = MemoryArchive({}, bundle=zip_of(members, hashes=hashes == "with-md5hashes"))
    done, outcomes = await download(bundles(archive), work(made_up))
    assert done == uids(made_up) == committed(files)
    assert {outcome.outcome for outcome in outcomes} == {Outcome.FETCHED}
    assert {outcome.key for outcome in outcomes} == done
    assert list(files.partials.folder.iterdir()) == []


async def test_a_bundle_takes_the_memory_of_some_instances_alone(bundles: Open) -> None:
    made_up = list(instances(series=1, per_series=20, rows=512))  # of half a MB
    archive = MemoryArchive({}, bundle=zip_of([(f"{number}.dcm", one.content) for number, one in enumerate(made_up)]))
    await download(bundles(archive), work())  # what is imported and made once is not counted
    tracemalloc.start()
    try:
        done, _ = await download(bundles(archive), work(made_up))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done == uids(made_up)
    assert peak < sum(len(one.content) for one in made_up) / 2


async def test_what_arrives_of_a_bundle_is_seen_until_it_is_delivered(bundles: Open) -> None:
    archive = MemoryArchive({}, bundle=zip_of([*MEMBERS, ("LICENSE", b"text")]))
    made, seen, delivered = bundles(archive), list[Unfinished](), list[Unfinished]()

    def change(key: str, body: MemoryBody) -> None:
        del key
        body.piece_bytes, body.watch = 500, lambda: seen.append(total(made.arrivals))

    async def deliver(outcome: InstanceOutcome) -> None:
        del outcome
        delivered.append(total(made.arrivals))

    archive.change = change
    await made.download(work(), targets_of(work()), deliver)
    sizes, count, size = [state.size_bytes for state in seen], len(MADE_UP), len(MADE_UP[0].content)
    assert len(set(sizes)) > count
    assert seen[-1] == Unfinished(count * size, count)
    assert delivered == [Unfinished(left * size, left) for left in reversed(range(count))]
    assert made.arrivals == set()


async def test_other_work_goes_on_between_the_instances_of_a_bundle(bundles: Open) -> None:
    made_up = list(instances(series=1, per_series=50, rows=8))
    archive = MemoryArchive({}, bundle=zip_of([(one.sop_uid, one.content) for one in made_up]))
    downloader, unpacked = bundles(archive), [0.0]

    def look() -> bool:
        unpacked.append(total(downloader.arrivals).instances)
        return unpacked[-1] < len(made_up)

    archive.change = lambda _key, _body: in_each_cycle(look)
    await download(downloader, work(made_up))
    assert max(round(after - before) for before, after in pairwise(unpacked)) <= 5


async def test_the_bundle_that_was_begun_first_is_unpacked_first(bundles: Open) -> None:
    first, second = (list(instances(series=1, per_series=50, rows=8, seed=seed)) for seed in ("first", "second"))
    zips = [zip_of([(one.sop_uid, one.content) for one in made_up]) for made_up in (first, second)]
    works = [replace(work(made_up), series_uid=SeriesUid(made_up[0].series_uid)) for made_up in (first, second)]
    archive = MemoryArchive({}, bundle=zips[0])
    downloader, unpacked = bundles(archive), [0]

    def look() -> bool:
        unpacked[:] = sorted(round(total([arrival]).instances) for arrival in downloader.arrivals)
        return unpacked[-1] < len(first)

    def change(_key: str, _body: MemoryBody) -> None:
        archive.bundle = zips[1]
        in_each_cycle(look)

    archive.change = change
    found = await asyncio.gather(*(download(downloader, what) for what in works))
    assert [done for done, _ in found] == [uids(first), uids(second)]
    assert unpacked[0] <= 5


@pytest.mark.parametrize(
    "extra",
    [
        ("x.dcm", OF_ANOTHER_SERIES.content),
        ("x.dcm", MADE_UP[0].content),
        ("x.dcm", MADE_UP[1].content[:-9]),
        ("LICENSE", b"text"),
    ],
    ids=["another-series", "twice", "damaged", "text"],
)
async def test_other_members_cost_no_instance(bundles: Open, files: MirrorFiles, extra: tuple[str, bytes]) -> None:
    archive = MemoryArchive({}, bundle=zip_of([*MEMBERS, extra]))
    done, _ = await download(bundles(archive), work())
    assert done == uids(MADE_UP) == committed(files)
    assert list(files.partials.folder.iterdir()) == []


async def test_a_member_that_differs_from_its_checksum_is_left_to_the_caller(bundles: Open, files: MirrorFiles) -> None:
    wrong = "1.dcm,00000000000000000000000000000000\n"
    members = [*MEMBERS, ("md5hashes.csv", wrong.encode())]
    done, _ = await download(bundles(MemoryArchive({}, bundle=zip_of(members, hashes=False))), work())
    assert done == uids(MADE_UP) - uids(MADE_UP[1:2]) == committed(files)
    assert len(list(files.quarantine.folder.glob("*.dcm"))) == 1


async def test_a_member_that_differs_from_the_list_is_left_to_the_caller(bundles: Open, files: MirrorFiles) -> None:
    listed = [Entry(one.sop_uid, one.sop_uid, md5=hashlib.md5(b"", usedforsecurity=False).digest()) for one in MADE_UP]
    entries = (*work().entries[1:], listed[0])
    what = replace(work(), entries=entries, names=tuple(f"{entry.key}.dcm" for entry in entries))
    done, _ = await download(bundles(MemoryArchive({}, bundle=zip_of(MEMBERS))), what)
    assert done == uids(MADE_UP[1:]) == committed(files)


async def test_a_bundle_that_breaks_off_keeps_what_was_complete(bundles: Open, files: MirrorFiles) -> None:
    content = zip_of(MEMBERS)
    archive = MemoryArchive({}, bundle=content)
    archive.change = lambda _, body: setattr(body, "cut", (len(content) // 2, ConnectionLost("broken off")))
    done, outcomes = await download(bundles(archive), work())
    assert 0 < len(done) < len(MADE_UP)
    assert done == committed(files) == {outcome.key for outcome in outcomes}
    assert list(files.partials.folder.iterdir()) == []


async def test_a_bundle_of_which_nothing_arrived_is_requested_again(bundles: Open) -> None:
    archive = MemoryArchive({}, bundle=zip_of(MEMBERS))

    def change(key: str, body: MemoryBody) -> None:
        if archive.asked[key] == 1:
            body.cut = (10, ConnectionLost("broken off"))

    archive.change = change
    done, outcomes = await download(bundles(archive), work())
    assert done == uids(MADE_UP)
    assert {outcome.attempts for outcome in outcomes} == {2}


@pytest.mark.parametrize("content", [b"", b"not a zip", zip_of([])], ids=["empty", "no-zip", "no-members"])
async def test_a_useless_bundle_is_not_a_failure_of_an_instance(
    bundles: Open, files: MirrorFiles, content: bytes
) -> None:
    done, outcomes = await download(bundles(MemoryArchive({}, bundle=content)), work())
    assert (done, outcomes, committed(files)) == (set(), [], set())


async def test_a_bundle_that_the_archive_does_not_have_is_not_requested_again(bundles: Open) -> None:
    archive = MemoryArchive({}, bundle=b"")
    archive.change = lambda _, body: setattr(body, "cut", (0, NotFound("no such series")))
    done, _ = await download(bundles(archive), work())
    assert done == set()
    assert archive.asked["bundle"] == 1


@pytest.mark.parametrize("cut", [0, 20], ids=["complete", "cut"])
async def test_a_multipart_response_brings_every_complete_part(bundles: Open, files: MirrorFiles, cut: int) -> None:
    parts = [b"--x\r\nContent-Type: application/dicom\r\n\r\n" + one.content + b"\r\n" for one in MADE_UP]
    content = b"".join(parts) + b"--x--"
    archive = MemoryArchive({}, bundle=content[: len(content) - cut])
    archive.capabilities = Capabilities(bundle=BundleForm.MULTIPART)

    def change(_: str, body: MemoryBody) -> None:
        body.headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}

    archive.change = change
    done, _ = await download(bundles(archive), work())
    assert done == (uids(MADE_UP[:-1]) if cut else uids(MADE_UP)) == committed(files)


def test_a_bundle_is_for_archives_that_send_one_and_entries_with_known_uids(bundles: Open) -> None:
    assert bundles(MemoryArchive({}, bundle=b"")).can_download(work())
    assert not bundles(MemoryArchive({})).can_download(work())
    unknown = replace(work(), entries=(Entry("k"),), names=(None,))
    assert not bundles(MemoryArchive({}, bundle=b"")).can_download(unknown)
