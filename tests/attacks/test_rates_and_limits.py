"""A rate is learned from what was asked and answered; every limit holds for the whole run and all its workers."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tests.attacks.hostile import DICOM, OBJECTS, HostileArchive, endpoint_of
from tests.attacks.watching import Watcher, assert_orderly
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen, answer
from tests.support.mirrors import checksums_of, checksums_on_disk

MADE_UP = list(instances(series=10, per_series=10))


@pytest.mark.parametrize(
    ("status", "number"),
    [
        (429, 1),
        (429, 2),
        (503, 1),
        (429, 40),
    ],
)
async def test_one_refusal_costs_seconds_and_not_the_run(
    status: int, number: int, bulkdl: Watcher, tmp_path: Path
) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: answer(b"", status=status) if seen.number == number else None
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", "--max-attempts", "8"), within=15)
    assert_orderly(ended, 0)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_429_for_ever_ends_when_it_is_given_up(bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP, lambda _: answer(b"", status=429)) as archive:
        words = archive.mirror_everything(tmp_path / "mirror", "--give-up-after", "3s", "--max-attempts", "1000")
        ended = await bulkdl.run(*words, within=15)
    assert_orderly(ended, 4)


async def test_429_for_all_objects_ends_when_it_is_given_up(bulkdl: Watcher, tmp_path: Path) -> None:
    async with HostileArchive(MADE_UP) as archive:
        archive.attack = lambda seen: answer(b"", status=429) if endpoint_of(seen) in OBJECTS else None
        words = archive.mirror_everything(tmp_path / "mirror", "--give-up-after", "3s", "--max-attempts", "1000")
        ended = await bulkdl.run(*words, within=15)
    assert_orderly(ended, 1, 4)


class Meter:
    """Serves objects in small pieces, and notes how many bytes went out when."""

    def __init__(self, archive: HostileArchive) -> None:
        self._archive = archive
        self.sent: list[tuple[float, int]] = []

    def attack(self, seen: Seen) -> Action | None:
        found = self._archive.find(seen.query.get("SOPInstanceUID", ""))
        if endpoint_of(seen) != "getSingleImage" or found is None:
            return None
        content = found.content

        async def act(exchange: Exchange) -> None:
            await exchange.send_head(200, {**DICOM, "Content-Length": str(len(content))})
            await exchange.send(content)
            self.sent.append((time.monotonic(), len(content)))

        return act

    def most_per_second(self, *, over: float) -> float:
        """The highest rate over any such span of the run."""
        most = 0
        for start, _ in self.sent:
            most = max(most, sum(size for moment, size in self.sent if start <= moment < start + over))
        return most / over

    def whole(self) -> float:
        """The rate over the whole run, but for its first two seconds: a burst of one second's worth is allowed."""
        start = self.sent[0][0] + 2.0
        return sum(size for moment, size in self.sent if moment > start) / (self.sent[-1][0] - start)


RATE = 1_000_000


@pytest.mark.parametrize("workers", ["1", "4"])
async def test_a_rate_limit_holds_for_all_workers_together(workers: str, bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=40, per_series=10, rows=96))  # 7.8 MB in 19 kB
    async with HostileArchive(made_up) as archive:
        meter = Meter(archive)
        archive.attack = meter.attack
        more = ("--workers", workers, "--rate-limit", "1MB/s", "--concurrency", "8")
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *more), within=25, honest_processes=5)
    assert_orderly(ended, 0)
    in_flight = 8 * len(made_up[0].content)  # sent to sockets, and not yet taken
    caught_up = RATE  # at most: what was not taken while the machine was busy
    assert meter.whole() <= 1.05 * RATE + (in_flight + caught_up) / 5
    assert meter.most_per_second(over=3.0) <= 1.05 * RATE + (in_flight + caught_up) / 3


@pytest.mark.parametrize("workers", ["1", "3"])
async def test_concurrency_holds_for_all_workers_together(workers: str, bulkdl: Watcher, tmp_path: Path) -> None:
    at_once = most = 0
    async with HostileArchive(MADE_UP) as archive:

        def slowly(seen: Seen) -> Action | None:
            if endpoint_of(seen) not in OBJECTS:
                return None

            async def act(exchange: Exchange) -> None:
                nonlocal at_once, most
                at_once += 1
                most = max(most, at_once)
                await asyncio.sleep(0.05)  # so that requests are many at once
                at_once -= 1
                await archive.right(seen)(exchange)

            return act

        archive.attack = slowly
        more = ("--workers", workers, "--concurrency", "5")
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror", *more), within=25, honest_processes=4)
    assert_orderly(ended, 0)
    assert most <= 5


ABSURD = 253_000_000_000_000


@pytest.mark.parametrize("field", ["ImageCount", "FileSize"])
async def test_one_series_with_an_absurd_count_or_size_does_not_stop_the_run(
    field: str, bulkdl: Watcher, tmp_path: Path
) -> None:
    made_up = list(instances(series=3, per_series=3))
    victim = made_up[0].series_uid
    async with HostileArchive(made_up) as archive:
        archive.row_changes = {victim: {field: ABSURD}}
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=15)
    assert_orderly(ended, 0, 1)
    assert {series for series, _, _ in ended.failures()} <= {victim}
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)


async def test_absurd_numbers_in_records_do_no_harm(bulkdl: Watcher, tmp_path: Path) -> None:
    values = [-1, 0, 1 << 63, 1 << 64, 1e999, -1e999, float("nan"), "many", "", None, [], {}, True, "9" * 5000, 0.5]
    made_up = list(instances(series=len(values), per_series=1))
    async with HostileArchive(made_up) as archive:
        uids = archive.series_uids()
        archive.row_changes = {
            uid: {"ImageCount": value, "FileSize": value, "SeriesNumber": value, "SeriesDate": value}
            for uid, value in zip(uids, values, strict=True)
        }
        ended = await bulkdl.run(*archive.mirror_everything(tmp_path / "mirror"), within=20)
    assert_orderly(ended, 0, 1)
    assert checksums_on_disk(tmp_path / "mirror") == checksums_of(made_up)
