"""The pages in a browser: what a person does from the first page to a mirror of what was chosen.

No page may write an error to the console or ask another host, and axe-core must find no serious fault.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest_asyncio

from bulkdl.server.app import make_app, serving
from bulkdl.server.catalogue import Catalogue
from bulkdl.server.demo.catalogue import demo_roots
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.verbs.mirror import mirror_async
from tests.server.portal.conftest import HOSTILE
from tests.support.browser import Tab, browser_tab, needs_chromium
from tests.support.served import Served

AXE = Path(__file__).parents[2] / "data" / "axe" / "axe.min.js"
PHANTOM = "BULKDL-PHANTOM"


@dataclass
class Visit:
    """A browser, and the server of the phantoms that it looks at."""

    tab: Tab
    origin: str
    catalogue: Catalogue

    async def go(self, path: str) -> None:
        await self.tab.open(self.origin + path)

    def series(self, modality: str) -> str:
        return next(self.catalogue.series_uids(collection=PHANTOM, modality=modality))

    async def picture(self) -> str:
        """A digest of the pixels of the picture that is shown."""
        script = """(() => { const picture = document.getElementById("picture"), canvas = new OffscreenCanvas(64, 64);
            const context = canvas.getContext("2d"); context.drawImage(picture, 0, 0, 64, 64);
            return [...context.getImageData(0, 0, 64, 64).data].join(); })()"""
        return hashlib.sha256((await self.tab.run(script)).encode()).hexdigest()

    async def view(self, series_uid: str) -> None:
        await self.go(f"/instance?series={series_uid}")
        await self.tab.until("document.getElementById('viewer').dataset.ready === '1'")

    async def shown(self, step: int) -> None:
        await self.tab.until(f"document.getElementById('viewer').dataset.shown === '{step}'")

    async def key(self, name: str) -> None:
        await self.tab.run(
            f"document.getElementById('stage').dispatchEvent(new KeyboardEvent('keydown', {{key: {json.dumps(name)}}}))"
        )

    async def enter(self, field: str, value: str, event: str) -> None:
        """Change a field."""
        script = "((field) => { field.value = %s; field.dispatchEvent(new Event(%s)); })(document.getElementById(%s))"
        await self.tab.run(script % tuple(map(json.dumps, (value, event, field))))

    async def faults(self) -> list[str]:
        """What axe-core finds serious in the page."""
        await self.tab.run(AXE.read_text() + "; 0")
        found = json.loads(
            await self.tab.run(
                "axe.run({resultTypes: ['violations']}).then((found) => JSON.stringify(found.violations))"
            )
        )
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in {"serious", "critical"}
        ]


@pytest_asyncio.fixture
async def visit(demo_folder: Path, tmp_path: Path) -> AsyncIterator[Visit]:
    roots = [root for root in await asyncio.to_thread(demo_roots, demo_folder) if root.collection == PHANTOM]
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        await asyncio.to_thread(catalogue.scan, roots)
        async with serving(make_app(catalogue)) as url, browser_tab() as tab:
            visit = Visit(tab, url.removesuffix(SERVICES_PATH), catalogue)
            yield visit
            assert tab.problems == []
            assert tab.foreign(visit.origin) == []


@needs_chromium
async def test_from_the_first_page_to_a_mirror_of_what_was_chosen(visit: Visit, tmp_path: Path) -> None:
    tab = visit.tab
    await tab.resize(1280)
    await visit.go("/")
    await tab.click(f"main a[href='/collection?name={PHANTOM}']")
    await tab.click("dl.facts a[href^='/search']")
    await tab.click(".facets a[href*='modality=SEG']")
    assert "6 series" in await tab.run("document.querySelector('.summary').textContent")
    await tab.run("document.querySelector('input[name=q]').value = 'tumour'")
    await tab.run("document.querySelector('form.cart button').click()")
    await tab.until("document.getElementById('cart-count').textContent === '1'")
    assert await tab.run("document.querySelector('form.cart button').textContent") == "Remove from cart"
    await tab.click(".find button")
    assert "6 series" in await tab.run("document.querySelector('.summary').textContent")
    await tab.click("table.series tbody tr:nth-child(2) td:nth-child(2) a")
    await tab.run("document.querySelector('form.cart button').click()")
    await tab.until("document.getElementById('cart-count').textContent === '2'")
    await tab.click("nav a[href='/cart']")
    chosen = await tab.run("document.querySelector('a[href*=\"format=tcia\"]').href")
    manifest = tmp_path / "manifest.tcia"
    manifest.write_text(await tab.run(f"fetch({json.dumps(chosen)}).then((answer) => answer.text())"))
    report = await mirror_async(to=tmp_path / "mirror", manifest=[manifest], archive=visit.origin + SERVICES_PATH)
    assert (report.series.selected, report.series.complete) == (2, 2)


@needs_chromium
async def test_the_viewer_scrolls_windows_zooms_plays_and_draws_over_the_image(visit: Visit) -> None:
    tab, series_uid = visit.tab, visit.series("CT")
    await tab.resize(1280)
    await visit.view(series_uid)
    first, step = await visit.picture(), int(await tab.run("document.getElementById('viewer').dataset.step"))
    await visit.key("ArrowDown")
    await visit.shown(step + 1)
    second = await visit.picture()
    assert second != first
    sop_uid = await tab.run("new URL(location.href).searchParams.get('sop')")
    assert (await tab.run("document.getElementById('this-instance').href")).endswith(f"SOPInstanceUID={sop_uid}")
    await tab.run(
        "document.getElementById('stage').dispatchEvent(new WheelEvent('wheel', {deltaY: -1, cancelable: true}))"
    )
    await visit.shown(step)
    assert await visit.picture() == first
    await visit.enter("slider", "3", "input")
    await visit.shown(3)
    assert "Image 3 of" in await tab.run("document.getElementById('position').textContent")
    third, before = await visit.picture(), await tab.run("document.getElementById('picture').src")
    await tab.run(
        "[...document.querySelectorAll('a[data-centre]')].find((link) => link.textContent === 'Bone').click()"
    )
    await tab.until(f"document.getElementById('picture').src !== {json.dumps(before)}")
    assert await visit.picture() != third
    assert "centre=400" in await tab.run("location.href")
    await drag(tab)
    await tab.until("!document.getElementById('picture').src.includes('centre=400')")
    await visit.key("+")
    assert "scale(1.25)" in await tab.run("document.getElementById('layers').style.transform")
    await visit.key("0")
    await visit.key(" ")
    assert await tab.run("document.getElementById('play').textContent") == "Pause"
    await visit.shown(5)  # two images further on: it goes on by itself
    await visit.key(" ")
    assert await tab.run("document.getElementById('play').getAttribute('aria-pressed')") == "false"
    for kind, there in (
        ("RTSTRUCT", "document.querySelectorAll('#contours polygon').length > 0"),
        ("SEG", "document.getElementById('mask').naturalWidth > 1"),
    ):
        script = f"[...document.getElementById('over').options].find((one) => one.dataset.modality === '{kind}').value"
        await visit.enter("over", await tab.run(script), "change")
        await visit.key("Home")
        await visit.key("PageDown")
        await tab.until(there)


@needs_chromium
async def test_a_search_in_the_attributes_keeps_the_image_and_its_window(visit: Visit) -> None:
    tab = visit.tab
    await tab.resize(1280)
    await visit.view(visit.series("CT"))
    await visit.enter("slider", "3", "input")
    await visit.shown(3)
    await tab.run(
        "[...document.querySelectorAll('a[data-centre]')].find((link) => link.textContent === 'Bone').click()"
    )
    await tab.until("location.href.includes('centre=400')")
    await visit.enter("over", await tab.run("document.getElementById('over').options[1].value"), "change")
    before = await tab.run("[...new URL(location.href).searchParams].join()")
    await tab.run("document.getElementById('tag').value = 'Modality'")
    await tab.click("#tag-search button")
    await tab.until("document.getElementById('viewer').dataset.ready === '1'")
    assert (await tab.run("[...new URL(location.href).searchParams].join()")).startswith(f"{before},tag,Modality,over,")
    assert await tab.run("document.getElementById('position').textContent") == "Image 3 of 50"
    assert "Modality" in await tab.run("document.getElementById('tag-rows').textContent")
    assert await tab.run("document.getElementById('over').selectedIndex") == 1


async def drag(tab: Tab) -> None:
    """Drag over the image."""
    box = await tab.run("(({x, y}) => [x + 50, y + 50])(document.getElementById('stage').getBoundingClientRect())")
    for kind, by in (("mousePressed", 0), ("mouseMoved", 40), ("mouseReleased", 40)):
        place = {"x": box[0] + by, "y": box[1] + by}
        await tab.send("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **place)


@needs_chromium
async def test_an_endpoint_is_tried_on_the_page_and_commands_can_be_copied(visit: Visit) -> None:
    tab = visit.tab
    await tab.resize(1280)
    await visit.go("/api-docs")
    form = "document.querySelector('form.try[action$=\"v4/getPatientByCollectionAndModality\"]')"
    await tab.run(f"{form}.closest('details').open = true")
    await tab.run(f"{form}.elements.Collection.value = '{PHANTOM}', {form}.elements.Modality.value = 'CT'")
    await tab.run(f"{form}.requestSubmit()")
    await tab.until(f"({form}.querySelector('.answer pre')?.textContent ?? '').includes('PHANTOM-003')")
    assert (await tab.run(f"{form}.querySelector('.answer').textContent")).startswith("200 OK, application/json")
    assert await tab.run("location.pathname") == "/api-docs"
    form = "document.querySelector('form.try[action$=\"v4/getSeriesMetadata\"]')"
    await tab.run(f"{form}.elements.list.value = '{visit.series('SEG')}', {form}.requestSubmit()")
    await tab.until(f"({form}.querySelector('.answer pre')?.textContent ?? '').includes('{visit.series('SEG')}')")
    await visit.go(f"/series?uid={visit.series('SEG')}")
    assert await tab.run("document.querySelectorAll('.get .copied button').length") == 2
    assert await visit.faults() == []


@needs_chromium
async def test_every_page_is_accessible_in_light_and_dark_and_fits_narrow_and_wide_screens(visit: Visit) -> None:
    uid = visit.series("CT")
    study, patient = (
        next(visit.catalogue.studies(collection=PHANTOM)),
        next(visit.catalogue.patients(collection=PHANTOM)),
    )
    pages = [
        *(
            "/",
            f"/search?collection={PHANTOM}",
            f"/collection?name={PHANTOM}",
            f"/series?uid={uid}",
            "/cart",
            "/api-docs",
        ),
        *(
            f"/study?uid={study.study_uid}",
            f"/patient?collection={PHANTOM}&id={patient.patient_id}",
            "/help/serve",
            "/login",
        ),
        f"/instance?series={uid}",
    ]
    for number, path in enumerate(pages):
        await visit.tab.prefer(("light", "dark")[number % 2])
        await visit.tab.resize((320, 1600)[number // 2 % 2])
        await visit.go(path)
        assert await visit.faults() == [], path
        for width in (1600, 320):
            await visit.tab.resize(width)
            assert await visit.tab.run("document.documentElement.scrollWidth") <= width, path
        colours = set()
        for scheme in ("dark", "light"):
            await visit.tab.prefer(scheme)
            colours.add(await visit.tab.run("getComputedStyle(document.body).backgroundColor"))
        assert len(colours) == 2


@needs_chromium
async def test_hostile_names_and_tags_execute_nowhere(portal: Served) -> None:
    """A script of theirs would open a dialog, or be refused with an error in the console."""
    (uid, *_) = portal.catalogue.series_uids(collection="MIXED")
    detail = next(portal.catalogue.details_of([uid]))
    patient = {"collection": "MIXED", "id": detail.series.patient_id}
    async with browser_tab() as tab:
        for path in (
            *("/collection?name=MIXED", f"/search?{urlencode({'q': HOSTILE})}", f"/series?uid={uid}"),
            *(f"/patient?{urlencode(patient)}", f"/study?uid={detail.series.study_uid}", f"/instance?series={uid}"),
        ):
            await tab.open(portal.origin + path)
            assert await tab.run("document.querySelectorAll('script:not([src]), [onerror]').length") == 0, path
        assert "alert(1)" in await tab.run("document.body.innerText")
        assert (tab.problems, tab.foreign(portal.origin)) == ([], [])
