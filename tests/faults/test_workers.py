"""Worker processes that die cost their unfinished work and nothing else; Ctrl-C keeps what was finished."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from bulkdl.model.events import Event
from bulkdl.model.reports.base import RunOutcome
from bulkdl.verbs.verify import verify_async
from tests.support.bad_archive import QUICK, BadArchive, command, endpoint_of, start_command
from tests.support.cores import deadline
from tests.support.dicom_files import instances
from tests.support.faults import Action, Exchange, Seen
from tests.support.mirrors import checksums_of, checksums_on_disk, journalled_checksums
from tests.support.processes import children_of
from tests.support.waiting import until

MADE_UP = list(instances(series=12, per_series=10))
OBJECTS = {"getSingleImage", "getImageWithMD5Hash"}


class Gate:
    """Lets `first` requests for instances pass, and holds the others until it is opened."""

    def __init__(self, archive: BadArchive, *, first: int) -> None:
        self._archive = archive
        self._left = first
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        archive.fault = self._fault

    def _fault(self, seen: Seen) -> Action | None:
        if endpoint_of(seen) not in OBJECTS or self.opened.is_set():
            return None
        self._left -= 1
        if self._left >= 0:
            return None
        self.reached.set()

        async def act(exchange: Exchange) -> None:
            await self.opened.wait()
            await self._archive.right(seen)(exchange)

        return act


@pytest.mark.parametrize("first", [0, 1, 40, 119])
async def test_a_worker_that_is_killed_costs_its_unfinished_work_alone(tmp_path: Path, first: int) -> None:
    events: list[Event] = []
    async with BadArchive(MADE_UP) as archive, asyncio.TaskGroup() as group:
        gate = Gate(archive, first=first)

        async def kill() -> None:
            await gate.reached.wait()
            for worker in await until(lambda: children_of(os.getpid(), "bulkdl.fetch.worker_main")):
                os.kill(worker, signal.SIGKILL)
            gate.opened.set()

        group.create_task(kill())
        report = await archive.mirror(tmp_path, sink=events.append, workers=3, concurrency=9)
    assert report.outcome is RunOutcome.COMPLETE
    assert report.instances.fetched + report.instances.reused == len(MADE_UP)
    assert archive.object_requests() <= len(MADE_UP) + 2 * (9 + 4)
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


async def test_a_repair_does_the_work_of_workers_that_are_killed(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive, asyncio.TaskGroup() as group:
        await archive.mirror(tmp_path, workers=1)
        for path in mirror.glob("*/**/*.dcm"):
            path.unlink()
        gate, before = Gate(archive, first=0), archive.object_requests()

        async def kill() -> None:
            await until(lambda: archive.object_requests() > before + 3)  # which is what one of the workers may request
            for worker in children_of(os.getpid(), "bulkdl.fetch.worker_main"):
                os.kill(worker, signal.SIGKILL)
            gate.opened.set()

        group.create_task(kill())
        settings = replace(QUICK, workers=3, concurrency=9)
        report = await verify_async(mirror, repair=True, archive=archive.choice(tmp_path), settings=settings)
    assert report.repair is not None
    assert (report.repair.outcome, report.repair.instances.fetched) == (RunOutcome.COMPLETE, len(MADE_UP))
    assert archive.object_requests() <= before + len(MADE_UP) + 2 * (9 + 4)
    assert checksums_on_disk(mirror) == journalled_checksums(mirror) == checksums_of(MADE_UP)


@pytest.mark.parametrize(("workers", "concurrency"), [(1, 3), (4, 8), (8, 2)])
async def test_all_workers_together_keep_to_the_concurrency(tmp_path: Path, workers: int, concurrency: int) -> None:
    """The archive answers none before as many are in flight as are allowed, and never sees more."""
    async with BadArchive(MADE_UP) as archive:
        in_flight, most, all_are_used = 0, 0, asyncio.Event()

        def fault(seen: Seen) -> Action | None:
            if endpoint_of(seen) not in OBJECTS:
                return None

            async def act(exchange: Exchange) -> None:
                nonlocal in_flight, most
                in_flight += 1
                most = max(most, in_flight)
                if in_flight == concurrency:
                    all_are_used.set()
                await all_are_used.wait()
                try:
                    await archive.right(seen)(exchange)
                finally:
                    in_flight -= 1

            return act

        archive.fault = fault
        report = await archive.mirror(tmp_path, workers=workers, concurrency=concurrency)
    assert report.outcome is RunOutcome.COMPLETE
    assert most == concurrency


def words(archive: BadArchive, mirror: Path, *more: str) -> tuple[str | Path, ...]:
    series = [word for uid in sorted({one.series_uid for one in archive.made_up}) for word in ("--series", uid)]
    return ("mirror", "--archive", archive.address, *series, "--to", mirror, "--progress", "none", "--yes", *more)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize(
    "options",
    ["--transport single", "--transport single --workers 2", "--transport zip", "--transport zip --workers 2"],
)
async def test_finished_work_is_kept_when_the_run_is_stopped(
    tmp_path: Path, options: str, number: signal.Signals
) -> None:
    async with BadArchive(MADE_UP) as archive:
        gate = Gate(archive, first=6 if "zip" in options else 60)
        # Few at once, so that what is in flight when the signal comes is not all that is left.
        at_once = "2" if "zip" in options else "6"
        arguments = words(archive, tmp_path / "mirror", *options.split(), "--concurrency", at_once)
        process = await start_command(*arguments, cache=tmp_path / "cache")
        await gate.reached.wait()
        process.send_signal(number)
        gate.opened.set()
        _, err = await process.communicate()
        assert process.returncode == 130
        assert len(err.splitlines()) == 1
        assert b"resume" in err
        held = journalled_checksums(tmp_path / "mirror")
        assert 0 < len(held) < len(MADE_UP)
        assert checksums_on_disk(tmp_path / "mirror") == held  # in good order: nothing is left to adopt
        done = await command("resume", tmp_path / "mirror", "--progress", "none", cache=tmp_path / "cache")
        assert (done.code, done.err) == (0, "")
        assert archive.object_requests() <= len(MADE_UP) + 6 + 4
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_second_ctrl_c_stops_at_once_and_loses_nothing(tmp_path: Path, workers: str) -> None:
    async with BadArchive(MADE_UP) as archive:
        gate = Gate(archive, first=40)
        arguments = words(
            archive, tmp_path / "mirror", "--workers", workers, "--concurrency", "6", "--transport", "single"
        )
        process = await start_command(*arguments, cache=tmp_path / "cache")
        await gate.reached.wait()
        process.send_signal(signal.SIGINT)
        ended = asyncio.ensure_future(process.wait())
        async with deadline(4, process.pid):  # seconds before what hangs would be cut off
            while not ended.done():
                await asyncio.wait([ended], timeout=0.05)  # the first may not have been handled yet
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                await asyncio.wait([ended], timeout=1.0)
        err = await process.stderr.read() if process.stderr else b""
        assert b"Traceback" not in err
        gate.opened.set()
        visible, held = checksums_on_disk(tmp_path / "mirror"), journalled_checksums(tmp_path / "mirror")
        assert held.items() <= visible.items() <= checksums_of(MADE_UP).items()
        assert len(visible) >= 30
        done = await command("resume", tmp_path / "mirror", "--progress", "none", cache=tmp_path / "cache")
        assert done.code == 0
        assert archive.object_requests() <= len(MADE_UP) + 6 + 4
    assert checksums_on_disk(tmp_path / "mirror") == journalled_checksums(tmp_path / "mirror") == checksums_of(MADE_UP)
