"""What a run does to a mirror that is served is served soon; errors and the end of the server leave nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bulkdl.errors import DiskFull
from bulkdl.model.events import Event, Noted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.selection import Selection
from bulkdl.runtime.disk import JOURNAL
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.plan import plan_async
from bulkdl.verbs.serve import serve_async
from bulkdl.verbs.serving.mirror_changes import following, journal_states
from tests.contract.archives import choice
from tests.support.bad_archive import QUICK, BadArchive
from tests.support.dicom_files import instances
from tests.support.pathdb_server import pathdb_server, slides
from tests.support.waiting import until

MADE_UP = list(instances(series=2, per_series=3))


@contextmanager
def hurrying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each timer of the event loop end a hundred times as soon."""
    loop = asyncio.get_running_loop()
    clock, began = loop.time, loop.time()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: began + 100 * (clock() - began))
        yield


@contextmanager
def skipping(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """What lets the timers end that the event loop has at that moment; the next ones take their time."""
    loop, skipped = asyncio.get_running_loop(), 0
    clock = loop.time

    def skip() -> None:
        nonlocal skipped
        skipped += 1000

    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: clock() + skipped)
        yield skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / JOURNAL).parent.mkdir()
    return tmp_path


def change(folder: Path) -> None:
    with (folder / JOURNAL).open("ab") as journal:
        journal.write(b"x")


async def test_what_a_run_adds_to_a_served_mirror_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    async with BadArchive(MADE_UP) as archive:

        async def add(series_uid: str) -> None:
            wanted = Selection(series=(SeriesUid(series_uid),))
            await mirror_async(wanted, to=mirror, archive=archive.choice(tmp_path), settings=QUICK)

        await add(MADE_UP[0].series_uid)
        async with serve_async(mirror, cache=tmp_path / "served") as served:

            async def count() -> int:
                return (await plan_async(everything=True, archive=served.url)).instances_selected

            assert await count() == 3
            await add(MADE_UP[-1].series_uid)
            with skipping(monkeypatch) as skip:
                while await count() < 6:
                    skip()


async def test_slides_that_a_run_adds_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = tmp_path / "mirror"
    async with pathdb_server(slides(4)) as archive:

        async def add(**wanted: Any) -> None:
            chosen = choice("pathdb", archive.url, tmp_path / "cache")
            await mirror_async(Selection(**wanted), to=mirror, archive=chosen, settings=QUICK)

        await add(patients=("P0",))
        async with serve_async(mirror, cache=tmp_path / "served") as served:
            address = f"pathdb+{served.url.partition('/nbia-api')[0]}"

            async def count() -> int:
                return (await plan_async(everything=True, archive=address)).series.selected

            assert await count() == 2
            await add(everything=True)
            with skipping(monkeypatch) as skip:
                while await count() < 4:
                    skip()


async def test_a_scan_that_fails_is_announced_and_tried_with_the_next_change(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, scans = list[Event](), 0

    def scan(_: Callable[[int], None]) -> None:
        nonlocal scans
        scans += 1
        if scans == 1:
            raise DiskFull("no space for the catalogue")

    async with following([folder], journal_states([folder]), scan, events.append):
        change(folder)
        with hurrying(monkeypatch):
            await until(lambda: scans == 1, seconds=3000)
            change(folder)
            await until(lambda: scans == 2, seconds=3000)
    assert [isinstance(event, Noted) and "no space for the catalogue" in event.message for event in events] == [True]


async def test_a_mirror_that_does_not_change_is_not_scanned_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = list[bool]()
    change(folder)
    async with following([folder], journal_states([folder]), lambda _: scans.append(True), lambda _: None):
        with hurrying(monkeypatch):
            enough = asyncio.get_running_loop().time() + 20
            await until(lambda: asyncio.get_running_loop().time() > enough, seconds=3000)
    assert scans == []


async def test_the_end_of_the_server_ends_a_scan(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, events = threading.Event(), list[Event]()

    def scan(go_on: Callable[[int], None]) -> None:
        began.set()
        while True:
            go_on(0)

    async with asyncio.timeout(60), following([folder], journal_states([folder]), scan, events.append):
        change(folder)
        with hurrying(monkeypatch):
            await until(began.is_set, seconds=3000)
    assert events == []
