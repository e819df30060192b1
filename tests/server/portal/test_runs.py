"""The page of the runs on a mirror, and the events that keep it up to date."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from bulkdl.model.events import Progress
from bulkdl.server.access import AccessRules
from bulkdl.server.app import make_app, serving
from bulkdl.server.catalogue import Catalogue, Root
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.store.mirror_lock import lock_mirror
from bulkdl.store.run_progress import save_progress
from bulkdl.verbs.mirror import mirror_async
from tests.server.portal.conftest import SECRET
from tests.support.browser import browser_tab, needs_chromium
from tests.support.served import Served

PROGRESS = Progress(
    series_selected=4,
    series_done=1,
    instances_selected=12,
    instances_held=3,
    instances_failed=0,
    bytes_fetched=5_000_000,
    bytes_selected=20_000_000,
    bytes_per_second=1_000_000,
    seconds_left=15.0,
    retries=2,
    in_flight=7,
    limit=9,
    resolving=False,
)


@pytest_asyncio.fixture
async def mirror(portal: Served, tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    await mirror_async(to=folder, collection=["OPEN"], archive=portal.origin + SERVICES_PATH)
    return folder


@pytest_asyncio.fixture
async def origin(mirror: Path, tmp_path: Path) -> AsyncIterator[str]:
    with Catalogue.open(tmp_path / "mirror.sqlite") as catalogue:
        catalogue.scan([Root(mirror)])
        async with serving(make_app(catalogue, mirrors=[mirror])) as url:
            yield url.removesuffix(SERVICES_PATH)


async def next_event(response: aiohttp.ClientResponse) -> Any:
    while not (line := await response.content.readline()).startswith(b"data: "):
        assert line
    (state,) = json.loads(line.removeprefix(b"data: "))
    return state


async def test_shows_a_run_as_it_happens_and_its_end(origin: str, mirror: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{origin}/runs") as response:
            page = await response.text()
        assert re.search(
            r"No run is under way. The last one was mirror, started [-0-9]{10} [:0-9]{8} UTC: complete", page
        )
        assert "The other pages show what a run has added some seconds later" in page
        assert re.search(r"<dt>Quarantined</dt><dd [^>]*>0</dd>", page)
        assert str(mirror) not in page
        with lock_mirror(mirror):
            save_progress(mirror, PROGRESS, private=False)
            async with session.get(f"{origin}/runs/events") as response:
                assert response.content_type == "text/event-stream"
                state = await next_event(response)
                while state["progress"] is None:
                    state = await next_event(response)
        assert state["progress"]["limit"] == 9
        assert (state["name"], state["held"], state["failures"]) == ("mirror", 12, {})
        assert [(one["collection"], one["held"]) for one in state["collections"]] == [("OPEN", 12)]
        async with session.get(f"{origin}/runs/events") as response:
            while state["progress"] is not None:
                state = await next_event(response)


async def test_a_viewer_from_whom_collections_are_hidden_sees_no_runs(mirror: Path, tmp_path: Path) -> None:
    rules = AccessRules(restricted=frozenset({SECRET}))
    with Catalogue.open(tmp_path / "mirror.sqlite") as catalogue:
        catalogue.scan([Root(mirror)])
        async with (
            serving(make_app(catalogue, rules=rules, mirrors=[mirror])) as url,
            aiohttp.ClientSession() as session,
        ):
            for path in ("/runs", "/runs/events"):
                async with session.get(url.removesuffix(SERVICES_PATH) + path) as response:
                    assert response.status == 404


@needs_chromium
async def test_a_narrow_page_without_a_run_shows_every_count_and_no_empty_box(origin: str) -> None:
    async with browser_tab() as tab:
        await tab.resize(320)
        await tab.open(f"{origin}/runs")
        await tab.run("document.querySelector('[data-show=collections]').replaceChildren()")  # the next event has them
        await tab.until("document.querySelector('td[data-label=Quarantined]')?.textContent === '0'")
        shown = (
            "[...document.querySelectorAll('.facts div')].filter((box) => box.offsetHeight).map((box) => box.innerText)"
        )
        assert [text.split("\n")[0] for text in await tab.run(shown)] == ["Held", "Owed", "Failed", "Quarantined"]
        cut = "[...document.querySelectorAll('td')].filter((cell) => cell.getBoundingClientRect().right > 320).length"
        assert await tab.run(cut) == 0
        assert tab.problems == []
        await tab.open(f"{origin}/")  # ends the stream


@needs_chromium
async def test_a_browser_shows_the_rate_over_time(origin: str, mirror: Path) -> None:
    with lock_mirror(mirror):
        save_progress(mirror, PROGRESS, private=False)
        async with browser_tab() as tab:
            await tab.open(f"{origin}/runs")
            await tab.until("document.querySelector('[data-show=left]').textContent === '15 s'")
            save_progress(mirror, replace(PROGRESS, bytes_per_second=2_500_000), private=False)
            await tab.until("document.querySelector('[data-show=rate]').textContent === '2.5 MB/s'")
            await tab.until("document.querySelector('polyline.rate').getAttribute('points').split(' ').length >= 2")
            assert tab.problems == []
            await tab.open(f"{origin}/")  # ends the stream
