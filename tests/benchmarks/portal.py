"""Goals of the pages of `bulkdl serve`: what each page takes, and the memory, with many Series.

`python -m tests.benchmarks.portal` measures 50,000 Series in one folder and all of IDC by its real index, offline, and
prints a table of all pages, and what a click in the viewer takes. `--series 1000` is a short form. `make bench` has the
same goals.

A page is asked for three times, the first time with nothing of it kept; the slowest counts. Of a page or a file that is
longer than 64 KiB the first 64 KiB count. The processes that read files run before, started by a thumbnail as on the
way to an image. The memory is that of the server and of these processes, at its peak.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
import urllib.request
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import psutil
from pydicom import dcmread

from bulkdl.archive.idc.index import installed_index
from tests.benchmarks.goals import Goal
from tests.benchmarks.serving import bulkdl_server
from tests.support.browser import CHROMIUM, browser_tab
from tests.support.dicom_files import instances, uid

_MOST_SECONDS: Final = 0.3
_MOST_MB: Final = 400
_SERIES: Final = 50_000
_ROUNDS: Final = 3
_CART: Final = 400
_FIRST_BYTES: Final = 1 << 16
_PARTS: Final = ("CHEST ", "LIVER ", "BRAIN ", "BREAST", "PELVIS")
_MOST_CLICK_SECONDS: Final = 0.1
_FRAMES: Final = 50
_CLICK: Final = """new Promise((done) => {
    const slider = document.getElementById("slider"), started = performance.now();
    const look = () => document.getElementById("viewer").dataset.shown === "%s" ? done(performance.now() - started)
        : setTimeout(look, 1);
    slider.value = "%s";
    slider.dispatchEvent(new Event("input"));
    look();
})"""
_NOWHERE: Final = "idc+http://127.0.0.1:9"  # a request to it fails


@dataclass(frozen=True)
class PageCost:
    """The slowest of all requests for a page, in seconds: since the request, and of CPU of all processes."""

    path: str
    seconds: float
    cpu_seconds: float
    sent_bytes: int


@dataclass(frozen=True)
class Measured:
    """All pages of a server, how many Series it has, and the most memory that it took."""

    series: int
    pages: list[PageCost]
    peak_bytes: int

    @property
    def slowest(self) -> PageCost:
        """The page that takes the most CPU."""
        return max(self.pages, key=lambda page: page.cpu_seconds)


def goals(disk: Path, *, series: int = _SERIES) -> list[Goal]:
    """The goals of both servers, and of the viewer."""
    return [*(goal for name, found in _measure(disk, series) for goal in _goals_of(name, found)), *frames(disk)]


def frames(disk: Path) -> list[Goal]:
    """How long after a click Chromium shows another frame of a CT that nothing was read of before; none without it."""
    if CHROMIUM is None:
        return []
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        folder = Path(cache, "served")
        uid_of_series = _write_ct(folder)
        with bulkdl_server([str(folder)], cache) as (url, _):
            taken = asyncio.run(_clicks(f"{url.partition('/nbia-api')[0]}/instance?series={uid_of_series}&sop="))
    found = statistics.median(taken)
    text = f"{found * 1e3:.0f} ms; {max(taken) * 1e3:.0f} ms at most, of {len(taken)} clicks"
    wanted = f"a frame of a 512 x 512 CT within {_MOST_CLICK_SECONDS * 1e3:.0f} ms of the click"
    return [Goal("portal, frame", wanted, text, found <= _MOST_CLICK_SECONDS)]


def _write_ct(folder: Path) -> str:
    """A Series of images of 512 x 512 pixels of noise, which compresses badly; its UID."""
    folder.mkdir()
    noise = random.Random(1)  # noqa: S311 - the same at each run
    for number, one in enumerate(instances(series=1, per_series=_FRAMES, rows=512)):
        dataset = dcmread(io.BytesIO(one.content))
        dataset.InstanceNumber = str(number + 1)
        dataset.PixelData = array(
            "H", (value & 0x0FFF for value in memoryview(noise.randbytes(1 << 19)).cast("H"))
        ).tobytes()
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return one.series_uid


async def _clicks(address: str) -> list[float]:
    """Seconds from a click until the frame is shown, for frames that are far from each other."""
    async with browser_tab() as tab:
        await tab.open(address.removesuffix("&sop="))
        await tab.until("document.getElementById('viewer').dataset.ready === '1'")
        return [await tab.run(_CLICK % (number, number)) / 1e3 for number in range(1, _FRAMES, 5)]


def _measure(disk: Path, series: int) -> Iterator[tuple[str, Measured]]:
    yield "portal, folder", measure_folder(disk, series)
    if find_spec("idc_index_data") is not None:
        yield "portal, IDC", measure_gateway(disk)


def _goals_of(name: str, found: Measured) -> list[Goal]:
    page, megabytes = found.slowest, found.peak_bytes / 1e6
    wanted = f"every page within {_MOST_SECONDS * 1e3:.0f} ms of CPU, of {found.series:,} series"
    text = f"{page.cpu_seconds * 1e3:.0f} ms for {page.path.partition('?')[0]} of {len(found.pages)} pages"
    return [
        Goal(f"{name}: pages", wanted, text, page.cpu_seconds <= _MOST_SECONDS),
        Goal(f"{name}: memory", f"below {_MOST_MB} MB", f"{megabytes:.0f} MB", megabytes < _MOST_MB),
    ]


def measure_folder(disk: Path, series: int) -> Measured:
    """The pages of one folder of so many Series of one instance each, whose descriptions are all different."""
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        folder = Path(cache, "served")
        _write(folder, series)
        with bulkdl_server([str(folder)], cache) as (url, server):
            return _measured(url.partition("/nbia-api")[0], server, Path(cache), has_files=True)


def measure_gateway(disk: Path) -> Measured:
    """The pages of a cache of all of IDC, by the index that is installed. Nothing is downloaded."""
    index = installed_index()
    assert index is not None
    with tempfile.TemporaryDirectory(dir=disk) as cache:
        words = ["--archive", _NOWHERE, "--idc-index", str(index.series.parent), "--cache", f"{cache}/mirror"]
        with bulkdl_server(words, cache):
            pass  # it has made its catalogue
        with bulkdl_server(words, cache) as (url, server):
            return _measured(url.partition("/nbia-api")[0], server, Path(cache), has_files=False)


def _write(folder: Path, series: int) -> None:
    """Files that differ in what facets and words are about: two Series a Study and a Patient."""
    (first,) = instances(series=1, per_series=1)
    dataset = dcmread(io.BytesIO(first.content))
    dataset.SeriesDescription = "Description 00000"
    dataset.Manufacturer, dataset.BodyPartExamined = "MAKER000", _PARTS[0]
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    template = buffer.getvalue()
    for number in range(series):
        content = template.replace(first.sop_uid.encode(), uid("sop", number).encode())
        for old, new in (
            (first.series_uid, uid("series", number)),
            (first.study_uid, uid("study", number // 2)),
            (first.patient_id, f"PATIENT-{number // 2:08}"),
            ("Description 00000", f"Description {number:05}"),
            ("MAKER000", f"MAKER{number % 40:03}"),
            (_PARTS[0], _PARTS[number % len(_PARTS)]),
        ):
            content = content.replace(old.encode(), new.encode())
        path = folder / "MADE-UP" / str(number // 500) / f"{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _measured(origin: str, server: psutil.Process, cache: Path, *, has_files: bool) -> Measured:
    (catalogue,) = [*cache.rglob("catalogues/*.sqlite"), *cache.rglob("catalogue.sqlite")]
    with closing(sqlite3.connect(f"file:{catalogue}?mode=ro", uri=True)) as database:
        addresses = list(_addresses(database, has_files=has_files))
        (series,) = database.execute("SELECT count(*) FROM series").fetchone()
        (any_series,) = database.execute("SELECT series_uid FROM series").fetchone()
        cart = [number for (number,) in database.execute("SELECT number FROM series LIMIT ?", (_CART,))]
    cookie = "bulkdl_cart=" + ".".join(map(str, cart))
    peak, pages = 0.0, list[PageCost]()
    if has_files:
        _asked(server, f"{origin}/picture?series={any_series}&size=64", cookie)
    for path in addresses:
        costs = []
        for _ in range(_ROUNDS):
            costs.append(_asked(server, origin + path, cookie))
            peak = max(peak, sum(_each(server, lambda one: one.memory_info().rss)))
        pages.append(PageCost(path, max(one[0] for one in costs), max(one[1] for one in costs), costs[0][2]))
    return Measured(series, pages, round(peak))


def _addresses(database: sqlite3.Connection, *, has_files: bool) -> Iterator[str]:
    """Every kind of page, with the most that it can have."""

    def one(query: str, *values: str) -> tuple[str, ...]:
        return tuple(str(value) for value in database.execute(query, values).fetchone())

    (largest,) = one("SELECT name FROM collection JOIN series USING (collection_key) GROUP BY 1 ORDER BY count(*) DESC")
    (patients,) = one("SELECT count(*) / 2 FROM patient WHERE collection_key = upper(?)", largest)
    of_largest = "SELECT patient_key FROM patient WHERE collection_key = upper(?) ORDER BY 1 LIMIT 1 OFFSET ?"
    (middle_patient,) = one(of_largest, largest, patients)
    owner, patient = one(
        "SELECT p.collection_key, p.patient_key FROM patient AS p JOIN series AS s ON s.patient = p.number "
        "GROUP BY p.number ORDER BY count(*) DESC"
    )
    (study,) = one("SELECT study_uid FROM study ORDER BY series_count DESC")
    series, number = one("SELECT series_uid, number FROM series ORDER BY image_count DESC, number")
    kind, last = one("SELECT kind, number FROM series ORDER BY kind DESC, number DESC")
    half, middle = one(
        "SELECT kind, number FROM series ORDER BY kind, number LIMIT 1 OFFSET (SELECT count(*) / 2 FROM series)"
    )
    name = quote(largest)
    yield from ("/", "/search", "/cart", "/api-docs", "/openapi.json", "/help/", "/help/options", "/health", "/metrics")
    yield from ("/login", "/search?q=chest", "/search?q=CT+axial+chest", "/search?q=description+7", "/search?q=zzzzzz")
    yield from (f"/search?q={patient}", f"/search?q={series}", f"/search?q={study}", "/search?q=1.2.3.4")
    yield from ("/search?modality=CT", "/search?modality=CT&q=chest", "/search?body_part=CHEST&modality=CT&modality=MR")
    yield from (f"/search?collection={name}", "/search?species=&year=2026", "/search?license=&manufacturer=")
    yield f"/search?{urlencode({'kind': half, 'number': middle})}"
    yield f"/search?{urlencode({'kind': kind, 'number': int(last) - 1})}"
    yield f"/search?{urlencode({'q': 'a', 'kind': half, 'number': middle})}"
    yield from (
        f"/collection?name={name}",
        f"/collection?name={name}&patient=1",
        f"/collection?name={name}&patient=zzz",
    )
    yield f"/collection?{urlencode({'name': largest, 'after': middle_patient})}"
    yield f"/collection?{urlencode({'name': largest, 'after': 'ZZZZZZ'})}"
    yield f"/patient?{urlencode({'collection': owner, 'id': patient})}"
    yield from (f"/study?uid={study}", f"/study?uid={study}&after={number}", f"/series?uid={series}")
    for form in ("tcia", "s5cmd", "csv"):
        yield f"/download?of=search&format={form}"
        yield f"/download?of=cart&format={form}"
    yield "/download?of=search&format=tcia&q=chest"
    if has_files:
        yield from (
            f"/instance?series={series}",
            f"/instance?series={series}&tag=patient",
            f"/instances?series={series}",
        )
        yield from (f"/picture?series={series}&size=64", f"/picture?series={series}", f"/facts?series={series}")
        yield from ("/download?of=cart&format=zip", "/download?of=cart&format=lock")


def _asked(server: psutil.Process, address: str, cookie: str) -> tuple[float, float, int]:
    """What an answer takes until its first 64 KiB: seconds, seconds of CPU, and bytes."""
    request = urllib.request.Request(address, headers={"Cookie": cookie})  # noqa: S310 - our own server
    before, started = sum(_each(server, _cpu)), time.perf_counter()
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        size = len(answer.read(_FIRST_BYTES))
    seconds = time.perf_counter() - started
    return seconds, sum(_each(server, _cpu)) - before, size


def _cpu(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


def _each(server: psutil.Process, value: Callable[[psutil.Process], float]) -> Iterator[float]:
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            yield value(process)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=_SERIES)
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="where files are written")
    given = parser.parse_args()
    sys.stdout.write(f"load of the machine: {os.getloadavg()[0]:.1f}\n")
    is_met = True
    for goal in frames(given.disk):
        sys.stdout.write(f"{'met' if goal.met else 'MISSED'}: {goal.name}: {goal.wanted}: {goal.found}\n")
        is_met &= goal.met
    for name, found in _measure(given.disk, given.series):
        sys.stdout.write(f"\n{name}: {found.series:,} series; ms in all, ms of CPU, bytes, page\n")
        for page in sorted(found.pages, key=lambda page: -page.cpu_seconds):
            numbers = f"{page.seconds * 1e3:8.0f} {page.cpu_seconds * 1e3:8.0f} {page.sent_bytes:8}"
            sys.stdout.write(f"{numbers}  {page.path[:120]}\n")
        for goal in _goals_of(name, found):
            sys.stdout.write(f"{'met' if goal.met else 'MISSED'}: {goal.name}: {goal.wanted}: {goal.found}\n")
            is_met &= goal.met
    sys.exit(not is_met)


if __name__ == "__main__":
    main()
