"""`serve --archive … --cache …`: two servers on real sockets, the archive and its cache."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import duckdb
import pytest
import pytest_asyncio
from aiohttp import web
from pydicom import dcmread

from bulkdl.errors import ArchiveUnreachable, ConfigurationError, MirrorLocked
from bulkdl.journal.journal import Journal
from bulkdl.manifest.base import Remarks
from bulkdl.manifest.locked import read_lock
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import ArchiveDown, Event, Noted
from bulkdl.model.ids import stable_uuid
from bulkdl.model.settings import FetchSettings
from bulkdl.server.app import make_app, serving
from bulkdl.server.catalogue import Catalogue, Root
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.verbs.connections.reach import reach
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.runs.options import context_of
from bulkdl.verbs.serve import Served, serve_async
from bulkdl.verbs.serving.gateway import open_gateway
from bulkdl.verbs.status import status_async
from bulkdl.verbs.verify import verify_async
from tests.support.catalogue_files import one, put
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.waiting import until

SETTINGS = FetchSettings(max_attempts=3, give_up_after_seconds=20.0, workers=1, wait_scale=0.05)
IMPATIENT = replace(SETTINGS, give_up_after_seconds=1.0)
Hook = Callable[[web.Request], Awaitable[None]]


async def nothing(_: web.Request) -> None:
    """The hook of an archive that behaves."""


@dataclass
class Upstream:
    """The archive. `hook` is awaited before each answer; `asked` are the requests so far, `heads` those of a range."""

    url: str = ""
    made: list[MadeUp] = field(default_factory=list)
    hook: Hook = nothing
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    is_up: bool = True
    rescan: Callable[[], object] = lambda: None

    @property
    def series(self) -> list[str]:
        return sorted({made.series_uid for made in self.made})

    def of(self, series_uid: str) -> list[MadeUp]:
        return [made for made in self.made if made.series_uid == series_uid]

    def fetched(self) -> Counter[str]:
        """How often each instance, or the zip of each Series, was requested."""
        counts: Counter[str] = Counter()
        for address in self.asked:
            parts = urlsplit(address)
            query = parse_qs(parts.query)
            if parts.path.endswith("/getSingleImage"):
                counts[query["SOPInstanceUID"][0]] += 1
            elif "/getImage" in parts.path:
                counts[query["SeriesInstanceUID"][0]] += 1
        return counts


@asynccontextmanager
async def archive_of(folder: Path, made: list[MadeUp]) -> AsyncIterator[Upstream]:
    upstream = Upstream(made=made)

    @web.middleware
    async def middleware(request: web.Request, handler: Callable[..., Awaitable[web.StreamResponse]]) -> Any:
        (upstream.heads if "Range" in request.headers else upstream.asked).append(request.path_qs)
        if not upstream.is_up:
            assert request.transport is not None
            request.transport.abort()
        await upstream.hook(request)
        return await handler(request)

    with Catalogue.open(folder.with_suffix(".sqlite")) as catalogue:
        catalogue.scan([Root(folder)])
        app = make_app(catalogue)
        app.middlewares.append(middleware)
        async with serving(app) as url:
            upstream.url = url
            upstream.rescan = lambda: catalogue.scan([Root(folder)])
            yield upstream


@pytest_asyncio.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    folder = tmp_path / "archive"
    made = write_folder(folder, instances(series=4, per_series=6, collection="LUNG"))
    made += write_folder(folder, instances(series=1, per_series=2, collection="SECRET"))
    async with archive_of(folder, made) as running:
        yield running


@dataclass
class Answer:
    status: int
    body: bytes
    kind: str


@dataclass
class Cache:
    """A running cache, and a client of it."""

    served: Served
    session: aiohttp.ClientSession
    events: list[Event]
    folder: Path

    async def ask(self, path: str, **more: Any) -> Answer:
        async with self.session.get(self.served.url.removesuffix(SERVICES_PATH) + path, **more) as response:
            return Answer(response.status, await response.read(), response.content_type)

    async def instance(self, made: MadeUp) -> Answer:
        query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
        return await self.ask(f"{SERVICES_PATH}/v1/getSingleImage?{query}")

    async def bundle(self, series_uid: str) -> Answer:
        return await self.ask(f"{SERVICES_PATH}/v1/getImage?SeriesInstanceUID={series_uid}")


@asynccontextmanager
async def cache_of(
    archive: str | ArchiveChoice, folder: Path, *, settings: FetchSettings = SETTINGS, **options: Any
) -> AsyncIterator[Cache]:
    events: list[Event] = []
    async with (
        serve_async(archive=archive, cache=folder, sink=events.append, settings=settings, **options) as served,
        aiohttp.ClientSession() as session,
    ):
        yield Cache(served, session, events, folder)


@pytest_asyncio.fixture
async def cache(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Cache]:
    async with cache_of(upstream.url, tmp_path / "cache") as running:
        yield running


def files_in(folder: Path) -> set[str]:
    """The names of the instances below a folder from which files may be removed meanwhile."""
    return {name for _, _, names in os.walk(folder) for name in names if name.endswith(".dcm")}


def contents(bundle: bytes) -> list[bytes]:
    """The instances in a zip, sorted."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return sorted(archive.read(name) for name in archive.namelist() if name.endswith(".dcm"))


# --- questions --------------------------------------------------------------------------------------------------------


async def test_answers_for_the_whole_archive_before_anything_is_downloaded(upstream: Upstream, cache: Cache) -> None:
    totals = cache.served.report.totals
    assert (totals.collections, totals.series, totals.instances) == (2, 5, len(upstream.made))
    asked = len(upstream.asked)
    for path in ("v1/getCollectionValues", "v1/getSeries?Collection=LUNG", "v4/getSeries", "v1/getModalityValues"):
        answer = await cache.ask(f"{SERVICES_PATH}/{path}&format=json" if "?" in path else f"{SERVICES_PATH}/{path}")
        assert (answer.status, bool(answer.body)) == (200, True), path
    v3 = await cache.ask("/services/v3/TCIA/query/getPatientStudy?Collection=LUNG&format=json")
    assert (v3.status, b"LUNG" in v3.body) == (200, True)
    assert [path for path in upstream.asked[asked:] if "getCollectionDescriptions" not in path] == []


async def test_the_collections_are_described_as_the_archive_does_which_is_asked_once(
    upstream: Upstream, cache: Cache
) -> None:
    path = f"{SERVICES_PATH}/v4/getCollectionDescriptions"

    def described() -> int:
        return sum("getCollectionDescriptions" in address for address in upstream.asked)

    await until(lambda: described() == 2)
    answers = [await cache.ask(path) for _ in range(3)]
    assert all(b"<p>LUNG</p>" in answer.body for answer in answers)
    assert described() == 2


async def test_pages_download_an_instance_that_is_looked_at_and_a_series_on_demand(
    upstream: Upstream, cache: Cache
) -> None:
    series_uid = upstream.series[0]
    sop_uid = upstream.of(series_uid)[2].sop_uid
    thumbnail = await cache.ask(f"/picture?series={series_uid}&size=64")
    words = re.sub(rb"<[^>]+>", b" ", thumbnail.body).split()
    assert (thumbnail.kind, words) == ("image/svg+xml", [b"not", b"downloaded", b"yet"])
    assert b"0 of 6 instances" in (await cache.ask(f"/series?uid={series_uid}")).body
    assert upstream.fetched() == {}
    page = await cache.ask(f"/instance?series={series_uid}&sop={sop_uid}")
    assert (page.status, b"Image" in page.body) == (200, True)
    assert (await cache.ask(f"/picture?series={series_uid}&sop={sop_uid}")).kind == "image/png"
    assert set(upstream.fetched()) == {sop_uid}
    origin = cache.served.url.removesuffix(SERVICES_PATH)
    async with cache.session.post(f"{origin}/fetch", data={"series": series_uid}) as response:
        assert response.status == 200
    await cache.bundle(series_uid)
    assert b"instances are on this server" not in (await cache.ask(f"/series?uid={series_uid}")).body
    assert (await cache.ask("/runs")).status == 200


async def page_order(cache: Cache, series_uid: str) -> list[str]:
    page = await cache.ask(f"/series?uid={series_uid}")
    return re.findall(r"/instance\?series=[0-9.]+&amp;sop=([0-9.]+)", page.body.decode())


async def viewer_order(cache: Cache, series_uid: str) -> list[str]:
    listed: list[str] = json.loads((await cache.ask(f"/instances?series={series_uid}")).body)
    return listed


async def zip_order(cache: Cache, series_uid: str) -> list[str]:
    new = await cache.ask(f"{SERVICES_PATH}/v1/getImage?NewFileNames=Yes&SeriesInstanceUID={series_uid}")
    found = members(new.body)
    return [dcmread(io.BytesIO(found[name])).SOPInstanceUID for name in sorted(found) if name.endswith(".dcm")]


@pytest.mark.parametrize("order", [page_order, viewer_order, zip_order])
async def test_the_instances_of_a_held_series_are_in_the_order_of_their_numbers(
    tmp_path: Path, order: Callable[[Cache, str], Awaitable[list[str]]]
) -> None:
    made = list(instances(series=1, per_series=12))
    series_uid = made[0].series_uid
    for number, each in enumerate(made, start=1):
        changes = {"SeriesInstanceUID": series_uid, "SOPInstanceUID": each.sop_uid, "InstanceNumber": str(number)}
        put(tmp_path / "archive", f"{each.sop_uid}.dcm", one(StudyInstanceUID=each.study_uid, **changes))
    async with (
        archive_of(tmp_path / "archive", made) as upstream,
        cache_of(upstream.url, tmp_path / "cache") as cache,
    ):
        await cache.ask(f"/download?series={series_uid}&format=zip")
        assert await order(cache, series_uid) == [each.sop_uid for each in made]


async def test_lists_the_instances_of_a_series_without_downloading_them(upstream: Upstream, cache: Cache) -> None:
    series_uid = upstream.series[0]
    path = f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID={series_uid}"
    answers = await asyncio.gather(*(cache.ask(path) for _ in range(10)))
    for answer in answers:
        assert answer.status == 200
        assert all(made.sop_uid.encode() in answer.body for made in upstream.of(series_uid))
    assert upstream.fetched() == {}
    assert sum("getSOPInstanceUIDs" in address for address in upstream.asked) == 1


async def test_the_front_page_says_that_it_is_a_cache(upstream: Upstream, cache: Cache) -> None:
    assert f"cache of {upstream.url}" in (await cache.ask("/")).body.decode()


# --- downloads --------------------------------------------------------------------------------------------------------


async def test_downloads_an_instance_when_it_is_needed_and_once(upstream: Upstream, cache: Cache) -> None:
    for _ in range(2):
        for made in upstream.of(upstream.series[0]):
            answer = await cache.instance(made)
            assert (answer.status, answer.body) == (200, made.content)
    assert set(upstream.fetched().values()) == {1}


@pytest.mark.parametrize("endpoint", ["v1/getImage", "v1/getImageWithMD5Hash", "v1/getImageOther", "v4/getImage"])
async def test_sends_a_zip_of_a_series(upstream: Upstream, cache: Cache, endpoint: str) -> None:
    series_uid = upstream.series[1]
    path = f"{SERVICES_PATH}/{endpoint}?SeriesInstanceUID={series_uid}"
    for _ in range(2):
        answer = await cache.ask(path)
        if answer.status == 404:
            pytest.skip("this API has no such endpoint")
        assert contents(answer.body) == sorted(made.content for made in upstream.of(series_uid))
    assert set(upstream.fetched().values()) == {1}


async def test_fifty_clients_cause_one_download_of_each_instance(upstream: Upstream, cache: Cache) -> None:
    of_series = upstream.of(upstream.series[0])
    singles = [cache.instance(made) for made in of_series for _ in range(5)]
    answers = await asyncio.gather(*singles, *(cache.bundle(of_series[0].series_uid) for _ in range(20)))
    for made, answer in zip([made for made in of_series for _ in range(5)], answers, strict=False):
        assert answer.body == made.content
    for answer in answers[len(singles) :]:
        assert contents(answer.body) == sorted(made.content for made in of_series)
    assert set(upstream.fetched().values()) == {1}


async def test_serves_from_the_mirror_after_a_restart_while_the_archive_is_down(
    upstream: Upstream, tmp_path: Path
) -> None:
    series_uid = upstream.series[0]
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        await cache.bundle(series_uid)
    asked = upstream.fetched()
    upstream.is_up = False
    async with cache_of(upstream.url, tmp_path / "cache", settings=IMPATIENT) as cache:
        assert any(isinstance(event, Noted) and "does not answer" in event.message for event in cache.events)
        assert "does not answer" in (await cache.ask("/")).body.decode()
        for made in upstream.of(series_uid):
            assert (await cache.instance(made)).body == made.content
        assert (await cache.bundle(upstream.series[1])).status in {502, 503, 504}
    assert upstream.fetched().keys() <= asked.keys() | set(upstream.series)


async def test_what_was_downloaded_is_a_mirror(upstream: Upstream, tmp_path: Path) -> None:
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        await cache.bundle(upstream.series[0])
    status = await status_async(tmp_path / "cache")
    assert (status.held, status.failed) == (6, 0)
    assert (await verify_async(tmp_path / "cache")).problems == ()


async def test_a_zip_begins_while_instances_are_still_missing(upstream: Upstream, cache: Cache) -> None:
    release = asyncio.Event()
    series_uid = upstream.series[0]
    last = upstream.of(series_uid)[3].sop_uid

    async def hold_back(request: web.Request) -> None:
        if "getImage" in request.path:
            raise web.HTTPInternalServerError  # one by one, then
        if last in request.path_qs:
            await release.wait()

    upstream.hook = hold_back
    url = f"{cache.served.url}/v1/getImage?SeriesInstanceUID={series_uid}"
    async with cache.session.get(url) as response:
        assert response.status == 200
        first = await response.content.readany()
        assert first.startswith(b"PK")
        release.set()
        rest = await response.read()
    assert contents(first + rest) == sorted(made.content for made in upstream.of(series_uid))


async def test_one_instance_does_not_wait_for_the_others(upstream: Upstream, cache: Cache) -> None:
    release = asyncio.Event()
    first, *_, last = upstream.of(upstream.series[0])

    async def hold_back(request: web.Request) -> None:
        if "getImage" in request.path:
            raise web.HTTPInternalServerError
        if last.sop_uid in request.path_qs:
            await release.wait()

    upstream.hook = hold_back
    assert (await cache.instance(first)).body == first.content
    release.set()
    assert (await cache.instance(last)).body == last.content


@pytest.mark.parametrize("is_bucket", [False, True], ids=["nbia", "idc"])
async def test_an_instance_is_downloaded_without_its_series(
    upstream: Upstream, tmp_path: Path, *, is_bucket: bool
) -> None:
    choice = as_idc(upstream, tmp_path / "index") if is_bucket else upstream.url
    fetched = objects if is_bucket else Upstream.fetched
    made, other, *_ = of_series = upstream.of(upstream.series[0])
    async with cache_of(choice, tmp_path / "cache") as cache:
        answers = await asyncio.gather(*(cache.instance(made) for _ in range(10)))
        assert [answer.body for answer in answers] == [made.content] * 10
        assert files_in(tmp_path / "cache") == {f"{made.sop_uid}.dcm"}
        assert list(fetched(upstream).values()) == [1]
    status = await status_async(tmp_path / "cache")
    assert (status.held, status.owed) == (1, 0)
    upstream.is_up = False
    async with cache_of(choice, tmp_path / "cache", settings=IMPATIENT) as cache:
        assert (await cache.instance(made)).body == made.content
        assert (await cache.instance(other)).status in {502, 503, 504}
    upstream.is_up = True
    upstream.asked.clear()
    async with cache_of(choice, tmp_path / "cache") as cache:
        assert contents((await cache.bundle(made.series_uid)).body) == sorted(each.content for each in of_series)
        assert (await cache.instance(made)).body == made.content
    assert sorted(fetched(upstream).values()) == [1] * (len(of_series) - 1)


async def test_an_instance_alone_whose_file_is_missing_is_downloaded_again(upstream: Upstream, cache: Cache) -> None:
    made = upstream.of(upstream.series[0])[0]
    for _ in range(2):
        assert (await cache.instance(made)).body == made.content
        (file,) = (path for path in cache.folder.rglob("*.dcm"))
        file.unlink()
    assert contents((await cache.bundle(made.series_uid)).body) == sorted(
        each.content for each in upstream.of(made.series_uid)
    )


async def test_an_instance_that_a_series_does_not_have_is_answered_as_by_the_archive(
    upstream: Upstream, cache: Cache
) -> None:
    made = upstream.of(upstream.series[0])[0]
    query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID=1.2.3"
    assert (await cache.ask(f"{SERVICES_PATH}/v1/getSingleImage?{query}")).status == 500
    assert upstream.fetched() == {}


async def test_an_unknown_series_is_not_requested_from_the_archive(upstream: Upstream, cache: Cache) -> None:
    asked = len(upstream.asked)
    assert (await cache.bundle("1.2.3")).status == 400
    assert (await cache.ask(f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID=1.2.3")).body == b""
    assert not any("1.2.3" in address for address in upstream.asked[asked:])


async def test_other_endpoints_that_read_files_download_them(upstream: Upstream, cache: Cache) -> None:
    made = upstream.of(upstream.series[0])[0]
    answer = await cache.ask(f"{SERVICES_PATH}/v4/getDicomTags?SeriesUID={made.series_uid}")
    assert (answer.status, b"PATIENT" in answer.body) == (200, True)


async def test_a_restricted_collection_is_not_downloaded(upstream: Upstream, tmp_path: Path) -> None:
    users = tmp_path / "users.toml"
    users.write_text('[restricted]\ncollections = ["SECRET"]\n')
    secret = next(made for made in upstream.made if made.collection == "SECRET")
    async with cache_of(upstream.url, tmp_path / "cache", users_file=users) as cache:
        assert (await cache.bundle(secret.series_uid)).status == 400
        assert (await cache.instance(secret)).status == 500
        assert (await cache.ask(f"/bulkdl/{stable_uuid(secret.series_uid)}/x.dcm")).status == 404
    assert upstream.fetched() == {}


# --- the bucket -------------------------------------------------------------------------------------------------------


async def test_the_bucket_downloads_what_is_listed(upstream: Upstream, cache: Cache) -> None:
    series_uid = upstream.series[0]
    folder = stable_uuid(series_uid)
    top = await cache.ask("/bulkdl?list-type=2&delimiter=/")
    assert (top.status, folder.encode() in top.body) == (200, True)
    assert upstream.fetched() == {}
    listed = await cache.ask(f"/bulkdl?list-type=2&prefix={folder}/")
    keys = {f"{folder}/{stable_uuid(made.sop_uid)}.dcm": made for made in upstream.of(series_uid)}
    assert all(key.encode() in listed.body for key in keys)
    for key, made in keys.items():
        assert (await cache.ask(f"/bulkdl/{key}")).body == made.content
    assert set(upstream.fetched().values()) == {1}


async def test_the_bucket_sends_an_object_that_was_never_listed(upstream: Upstream, cache: Cache) -> None:
    made = upstream.made[0]
    key = f"{stable_uuid(made.series_uid)}/{stable_uuid(made.sop_uid)}.dcm"
    for _ in range(2):
        assert (await cache.ask(f"/bulkdl/{key}")).body == made.content
    assert files_in(cache.folder) == {f"{made.sop_uid}.dcm"}
    assert (await cache.ask(f"/bulkdl/{key[:36]}/{stable_uuid('1.2.3')}.dcm")).status == 404


# --- downloads from the pages ----------------------------------------------------------------------------------------


def members(bundle: bytes) -> dict[str, bytes]:
    """The contents of a zip by their names."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


async def test_a_zip_of_the_cart_downloads_what_is_not_here(upstream: Upstream, cache: Cache) -> None:
    await cache.bundle(upstream.series[2])
    cart = {"bulkdl_cart": "1.2.3.4.5"}
    assert "Zip of the files" in (await cache.ask("/cart", cookies=cart)).body.decode()
    answer = await cache.ask("/download?of=cart&format=zip", cookies=cart)
    assert members(answer.body) == {f"{made.series_uid}/{made.sop_uid}.dcm": made.content for made in upstream.made}
    assert set(upstream.fetched().values()) == {1}


async def test_a_zip_begins_with_the_first_file_while_the_next_series_are_downloaded(
    upstream: Upstream, tmp_path: Path
) -> None:
    """However small the cache is: what is being sent stays in it."""
    first, *others = sorted(upstream.series)
    release, is_asked = asyncio.Event(), asyncio.Event()
    last = upstream.of(first)[-1].sop_uid

    async def hold_back(request: web.Request) -> None:
        if "getImage" in request.path:
            raise web.HTTPInternalServerError
        if last in request.path_qs:
            await release.wait()
        if others[0] in request.path_qs:
            is_asked.set()

    upstream.hook = hold_back
    async with cache_of(upstream.url, tmp_path / "cache", cache_size=1) as cache:
        url = f"{cache.served.url.removesuffix(SERVICES_PATH)}/download?of=search&format=zip"
        async with cache.session.get(url) as response:
            assert (response.status, response.content_type) == (200, "application/zip")
            begun = await response.content.readany()
            await is_asked.wait()
            release.set()
            found = members(begun + await response.read())
        await until(lambda: not files_in(tmp_path / "cache"))
    assert sorted(found.values()) == sorted(made.content for made in upstream.made)
    assert {upstream.fetched()[made.sop_uid] for made in upstream.made} == {1}


async def test_a_zip_of_which_a_later_series_fails_breaks_off(upstream: Upstream, cache: Cache) -> None:
    *_, failing = sorted(upstream.series)
    has_begun = asyncio.Event()

    async def fail(request: web.Request) -> None:
        if failing in request.path_qs:
            await has_begun.wait()
            raise web.HTTPForbidden

    upstream.hook = fail
    url = f"{cache.served.url.removesuffix(SERVICES_PATH)}/download?of=search&format=zip"
    async with cache.session.get(url) as response:
        assert (response.status, await response.content.read(2)) == (200, b"PK")
        has_begun.set()
        with pytest.raises(aiohttp.ClientError):
            await response.read()


@pytest.mark.parametrize("form", ["zip", "lock"])
async def test_a_page_says_why_the_archive_does_not_send_what_is_to_be_downloaded(
    upstream: Upstream, tmp_path: Path, form: str
) -> None:
    choice = as_idc(upstream, tmp_path / "index") if form == "lock" else upstream.url

    async def fail(request: web.Request) -> None:
        if "Image" in request.path or request.path == "/bulkdl":
            raise web.HTTPForbidden

    async with cache_of(choice, tmp_path / "cache") as cache:
        upstream.hook = fail
        answer = await cache.ask(f"/download?series={upstream.series[0]}&format={form}")
    assert (answer.status, answer.kind) == (502, "text/html")
    assert b"The archive does not answer" in answer.body
    assert b"403" in answer.body


async def test_asking_for_the_head_of_a_download_downloads_nothing(upstream: Upstream, cache: Cache) -> None:
    origin = cache.served.url.removesuffix(SERVICES_PATH)
    for form in ("zip", "tcia"):
        url = f"{origin}/download?series={upstream.series[0]}&format={form}"
        async with cache.session.head(url) as response:
            assert (response.status, "attachment" in response.headers["Content-Disposition"]) == (200, True)
    async with cache.session.head(f"{origin}/download?series=1.2.3&format=zip") as response:
        assert response.status == 404
    assert upstream.fetched() == {}


async def test_a_lock_whose_checksums_are_not_listed_is_offered_once_all_files_are_here(
    upstream: Upstream, cache: Cache
) -> None:
    made = upstream.of(upstream.series[0])[0]
    pages = [f"/series?uid={made.series_uid}", f"/study?uid={made.study_uid}"]
    link = f"/download?series={made.series_uid}&format=lock"
    for page in pages:
        text = (await cache.ask(page)).body.decode()
        assert ("format=lock" in text, "once all files are on this server" in text) == (False, True)
        assert "format=zip" in text
    refused = await cache.ask(link)
    assert (refused.status, b"once all files are on this server" in refused.body) == (404, True)
    assert upstream.fetched() == {}
    await cache.ask(f"/download?series={made.series_uid}&format=zip")
    text = (await cache.ask(pages[0])).body.decode()
    assert ("format=lock" in text, "once all files are on this server" in text) == (True, False)
    assert locked((await cache.ask(link)).body) == {one.sop_uid: md5(one) for one in upstream.of(made.series_uid)}


def locked(text: bytes) -> dict[str, bytes | None]:
    """The MD5s of a lock by SOP Instance UID."""
    _, groups = read_lock(text.decode().splitlines(keepends=True), Remarks("lock"))
    return {one.name: one.md5 for _, instances in groups for one in instances}


def md5(made: MadeUp) -> bytes:
    return hashlib.md5(made.content, usedforsecurity=False).digest()


async def test_a_lock_has_the_checksums_that_a_bucket_lists(tmp_path: Path) -> None:
    """Of large files they are listed without a download; small files are downloaded to know their UIDs."""
    large = write_folder(tmp_path / "archive", instances(series=2, per_series=3, rows=256))
    small = write_folder(tmp_path / "archive", instances(series=1, per_series=2, seed="small"))
    async with (
        archive_of(tmp_path / "archive", [*large, *small]) as upstream,
        cache_of(as_idc(upstream, tmp_path / "index"), tmp_path / "cache") as cache,
    ):
        page = await cache.ask(f"/study?uid={large[0].study_uid}")
        assert b"format=lock" in page.body
        answer = await cache.ask("/download?of=search&format=lock")
        assert locked(answer.body) == {one.sop_uid: md5(one) for one in (*large, *small)}
        assert files_in(tmp_path / "cache") == {f"{one.sop_uid}.dcm" for one in small}


async def test_a_manifest_for_s5cmd_is_for_the_bucket_of_the_cache(upstream: Upstream, cache: Cache) -> None:
    uid = upstream.series[0]
    answer = await cache.ask(f"/download?series={uid}&format=s5cmd")
    assert f'cp "s3://bulkdl/{stable_uuid(uid)}/*" .\n' in answer.body.decode()


# --- errors of the archive --------------------------------------------------------------------------------------------


async def test_says_in_the_manner_of_each_api_that_the_archive_fails(upstream: Upstream, cache: Cache) -> None:
    async def fail(request: web.Request) -> None:
        if "Image" in request.path or "SOPInstanceUIDs" in request.path:
            raise web.HTTPForbidden

    upstream.hook = fail
    series_uid = upstream.series[0]
    nbia = await cache.bundle(series_uid)
    assert (nbia.status, nbia.kind) == (502, "text/plain")
    v3 = await cache.ask(f"/services/v3/TCIA/query/getImage?SeriesInstanceUID={series_uid}")
    assert (v3.status, v3.kind) == (502, "application/json")
    assert b"errorMessage" in v3.body
    s3 = await cache.ask(f"/bulkdl?list-type=2&prefix={stable_uuid(series_uid)}/")
    assert (s3.status, b"<Code>ServiceUnavailable</Code>" in s3.body) == (502, True)
    uids = await cache.ask(f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID={upstream.series[1]}")
    assert uids.status == 502


async def test_an_outage_is_said_once_however_many_wait(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    made = write_folder(folder, instances(series=4, per_series=2, collection="LUNG"))
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(archive_of(folder, made))
        async with cache_of(upstream.url, tmp_path / "cache", settings=IMPATIENT) as cache:
            await stack.aclose()
            answers = await asyncio.gather(*map(cache.bundle, upstream.series[:3]))
            answers.append(await cache.bundle(upstream.series[3]))
            assert {answer.status for answer in answers} == {503}
            assert [type(event) for event in cache.events if isinstance(event, ArchiveDown)] == [ArchiveDown]


async def test_an_instance_that_failed_is_tried_again_at_the_next_request(upstream: Upstream, cache: Cache) -> None:
    made, other = upstream.of(upstream.series[0])[:2]
    is_broken = True

    async def fail(request: web.Request) -> None:
        if "getImage" in request.path or (is_broken and made.sop_uid in request.path_qs):
            raise web.HTTPNotFound

    upstream.hook = fail
    assert (await cache.instance(other)).body == other.content
    assert (await cache.instance(made)).status == 502
    is_broken = False
    assert (await cache.instance(made)).body == made.content
    assert (await cache.instance(other)).body == other.content


async def test_a_zip_that_cannot_be_completed_breaks_off(upstream: Upstream, cache: Cache) -> None:
    of_series = upstream.of(upstream.series[0])
    has_begun = asyncio.Event()

    async def fail(request: web.Request) -> None:
        if "getImage" in request.path:
            raise web.HTTPNotFound
        if of_series[-1].sop_uid in request.path_qs:
            await has_begun.wait()
            raise web.HTTPNotFound

    upstream.hook = fail
    url = f"{cache.served.url}/v1/getImage?SeriesInstanceUID={of_series[0].series_uid}"
    async with cache.session.get(url) as response:
        assert response.status == 200
        has_begun.set()
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_an_archive_that_cannot_be_reached_and_is_not_known_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveUnreachable):
        async with cache_of("http://127.0.0.1:1/nbia-api/services", tmp_path / "cache", settings=IMPATIENT):
            pass


# --- the mirror and its limit -----------------------------------------------------------------------------------------


async def test_a_file_that_is_missing_is_downloaded_again(upstream: Upstream, tmp_path: Path) -> None:
    made, other = upstream.of(upstream.series[0])[:2]
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        await cache.bundle(made.series_uid)
    (lost,) = (tmp_path / "cache").rglob(f"{made.sop_uid}.dcm")
    lost.unlink()
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        assert (await cache.instance(other)).body == other.content
        assert (await cache.instance(made)).body == made.content


async def test_a_catalogue_that_was_deleted_is_made_again(upstream: Upstream, tmp_path: Path) -> None:
    made = upstream.of(upstream.series[0])[0]
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        await cache.bundle(made.series_uid)
    (tmp_path / "cache/.bulkdl/catalogue.sqlite").unlink()
    asked = upstream.fetched()
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        assert (await cache.instance(made)).body == made.content
    assert upstream.fetched() == asked


@pytest.mark.parametrize("is_bucket", [False, True], ids=["nbia", "idc"])
async def test_a_series_that_changed_at_the_archive_is_downloaded_again(
    upstream: Upstream, tmp_path: Path, *, is_bucket: bool
) -> None:
    first, *_ = of_series = upstream.of(upstream.series[0])
    other = upstream.series[1]

    async def bundles() -> list[bytes]:
        choice = as_idc(upstream, tmp_path / "index") if is_bucket else upstream.url
        async with cache_of(choice, tmp_path / "cache") as cache:
            await cache.bundle(other)
            return contents((await cache.bundle(first.series_uid)).body)

    assert await bundles() == sorted(made.content for made in of_series)
    (tmp_path / "archive" / of_series[-1].path).unlink()
    await asyncio.to_thread(upstream.rescan)
    asked = len(upstream.asked)
    assert await bundles() == sorted(made.content for made in of_series[:-1])
    assert not any(name in address for address in upstream.asked[asked:] for name in (other, stable_uuid(other)))


async def test_the_series_that_was_used_least_recently_leaves(upstream: Upstream, tmp_path: Path) -> None:
    size_bytes = len(upstream.made[0].content) * 6
    first, second, third, *_ = (uid for uid in upstream.series if len(upstream.of(uid)) == 6)
    root = tmp_path / "cache"

    def held(series_uid: str) -> int:
        return len({f"{made.sop_uid}.dcm" for made in upstream.of(series_uid)} & files_in(root))

    async with cache_of(upstream.url, root, cache_size=size_bytes * 5 // 2) as cache:
        for uid in (first, second):
            assert (await cache.bundle(uid)).status == 200
        await until(lambda: held(first) + held(second) == 12)
    async with cache_of(upstream.url, root, cache_size=size_bytes * 5 // 2) as cache:
        assert (await cache.bundle(first)).status == 200
        assert contents((await cache.bundle(third)).body) == sorted(made.content for made in upstream.of(third))
        await until(lambda: held(second) == 0)
        assert (held(first), held(third)) == (6, 6)
        assert contents((await cache.bundle(second)).body) == sorted(made.content for made in upstream.of(second))
    with Journal.open_readonly(root / ".bulkdl/journal.sqlite") as journal:
        assert journal.counts(None).held_bytes <= size_bytes * 5 // 2
    assert (await verify_async(root)).problems == ()


async def test_a_series_that_is_being_sent_does_not_leave(upstream: Upstream, tmp_path: Path) -> None:
    release = asyncio.Event()
    first, second = (uid for uid in upstream.series[:2])
    last = upstream.of(first)[-1]

    async def hold_back(request: web.Request) -> None:
        if "getImage" in request.path and first in request.path_qs:
            raise web.HTTPInternalServerError
        if last.sop_uid in request.path_qs:
            await release.wait()

    upstream.hook = hold_back
    async with cache_of(upstream.url, tmp_path / "cache", cache_size=1) as cache, AsyncExitStack() as stack:
        url = f"{cache.served.url}/v1/getImage?SeriesInstanceUID={first}"
        response = await stack.enter_async_context(cache.session.get(url))
        assert contents((await cache.bundle(second)).body) == sorted(made.content for made in upstream.of(second))
        release.set()
        assert contents(await response.read()) == sorted(made.content for made in upstream.of(first))
        await until(lambda: not files_in(tmp_path / "cache"))


async def test_a_whole_series_does_not_leave_while_it_is_in_use(upstream: Upstream, tmp_path: Path) -> None:
    first, second = (frozenset(f"{made.sop_uid}.dcm" for made in upstream.of(uid)) for uid in upstream.series[:2])
    root, choice, context = tmp_path / "cache", reach(upstream.url), context_of({"settings": SETTINGS})
    async with open_gateway(choice, root, context, most_bytes=1) as gateway:
        async with gateway.using(upstream.series[0]):
            async with gateway.using(upstream.series[1]):
                assert files_in(root) == first | second
            await until(lambda: not files_in(root) & second)
            assert files_in(root) == first
        await until(lambda: not files_in(root))


async def test_another_process_may_not_work_on_the_mirror(upstream: Upstream, cache: Cache, tmp_path: Path) -> None:
    del cache
    with pytest.raises(MirrorLocked):
        async with cache_of(upstream.url, tmp_path / "cache"):
            pass
    with pytest.raises(MirrorLocked):
        await mirror_async(archive=upstream.url, to=tmp_path / "cache", collection="LUNG")


async def test_an_archive_needs_a_folder_for_its_cache(upstream: Upstream) -> None:
    with pytest.raises(ConfigurationError, match="--cache"):
        async with serve_async(archive=upstream.url):
            pass


async def test_a_download_that_was_interrupted_is_continued(upstream: Upstream, tmp_path: Path) -> None:
    of_series = upstream.of(upstream.series[0])
    stuck = asyncio.Event()

    async def hold_back(request: web.Request) -> None:
        if "getImage" in request.path:
            raise web.HTTPNotFound
        if of_series[-1].sop_uid in request.path_qs:
            stuck.set()
            await asyncio.Event().wait()

    upstream.hook = hold_back
    async with cache_of(upstream.url, tmp_path / "cache") as cache, asyncio.TaskGroup() as tasks:
        bundle = tasks.create_task(cache.bundle(of_series[0].series_uid))
        await stuck.wait()
        bundle.cancel()
    upstream.hook = nothing
    before = upstream.fetched()
    async with cache_of(upstream.url, tmp_path / "cache") as cache:
        answer = await cache.bundle(of_series[0].series_uid)
        assert contents(answer.body) == sorted(made.content for made in of_series)
    assert upstream.fetched()[of_series[0].sop_uid] == before[of_series[0].sop_uid]


# --- an archive of the IDC's form -------------------------------------------------------------------------------------


def as_idc(upstream: Upstream, folder: Path) -> ArchiveChoice:
    """The bucket of the archive, with its index."""
    origin = upstream.url.removesuffix(SERVICES_PATH)
    return reach(f"idc+{origin}", idc_index=f"{origin}/bulkdl/index/idc_index.parquet", cache=folder)


def objects(upstream: Upstream) -> Counter[str]:
    """How often each object of the bucket was requested."""
    paths = [urlsplit(address).path for address in upstream.asked]
    return Counter(path for path in paths if path.startswith("/bulkdl/") and path.endswith(".dcm"))


@pytest_asyncio.fixture
async def bucket_cache(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Cache]:
    async with cache_of(as_idc(upstream, tmp_path / "index"), tmp_path / "cache") as running:
        yield running


async def test_a_bucket_is_served_through_the_apis_of_nbia(upstream: Upstream, bucket_cache: Cache) -> None:
    collections = await bucket_cache.ask(f"{SERVICES_PATH}/v1/getCollectionValues")
    assert b'"LUNG"' in collections.body
    series = await bucket_cache.ask(f"{SERVICES_PATH}/v1/getSeries?Collection=LUNG")
    assert all(uid.encode() in series.body for uid in upstream.series if len(upstream.of(uid)) == 6)
    for made in upstream.of(upstream.series[0]):
        assert (await bucket_cache.instance(made)).body == made.content
    bundle = await bucket_cache.bundle(upstream.series[1])
    assert contents(bundle.body) == sorted(made.content for made in upstream.of(upstream.series[1]))
    assert set(objects(upstream).values()) == {1}


async def test_a_held_series_has_what_its_files_say_beside_the_index(upstream: Upstream, bucket_cache: Cache) -> None:
    series_uid, path = upstream.series[0], f"{SERVICES_PATH}/v1/getPatient?format=json"
    before = await bucket_cache.ask(path)
    await bucket_cache.bundle(series_uid)
    after = await bucket_cache.ask(path)
    assert (b"PATIENT^" in before.body, b"PATIENT^" in after.body) == (False, True)


async def test_the_uids_of_a_bucket_are_those_of_its_files(upstream: Upstream, bucket_cache: Cache) -> None:
    series_uid = upstream.series[0]
    answer = await bucket_cache.ask(f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID={series_uid}")
    assert all(made.sop_uid.encode() in answer.body for made in upstream.of(series_uid))
    assert (await bucket_cache.instance(upstream.of(series_uid)[0])).status == 200
    assert set(objects(upstream).values()) == {1}


async def test_the_uids_of_large_files_are_read_from_their_heads(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "archive", instances(series=1, per_series=3, rows=256))
    async with (
        archive_of(tmp_path / "archive", made) as upstream,
        cache_of(as_idc(upstream, tmp_path / "index"), tmp_path / "cache") as cache,
    ):
        path = f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}"
        for _ in range(2):
            answer = await cache.ask(path)
            assert all(one.sop_uid.encode() in answer.body for one in made)
        assert files_in(tmp_path / "cache") == set()
        assert (len(upstream.heads), objects(upstream)) == (3, {})
        assert (await cache.instance(made[1])).body == made[1].content
        assert made[1].sop_uid.encode() in (await cache.ask(path)).body


async def test_the_bucket_lists_large_files_without_downloading_them(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "archive", instances(series=2, per_series=3, rows=256))
    of_series = [one for one in made if one.series_uid == made[0].series_uid]
    folder = stable_uuid(made[0].series_uid)
    async with (
        archive_of(tmp_path / "archive", made) as upstream,
        cache_of(as_idc(upstream, tmp_path / "index"), tmp_path / "cache") as cache,
    ):
        before = await cache.ask(f"/bulkdl?list-type=2&prefix={folder}/")
        assert re.findall(rb"<KeyCount>(\d+)", before.body) == [b"3"]
        first = await cache.ask(f"/bulkdl?list-type=2&prefix={folder}/&max-keys=1")
        assert (first.body.count(b"<Key>"), b"<IsTruncated>true" in first.body) == (1, True)
        assert (objects(upstream), files_in(tmp_path / "cache")) == ({}, set())
        for one in of_series:
            key = f"{folder}/{stable_uuid(one.sop_uid)}.dcm"
            assert (await cache.ask(f"/bulkdl/{key}")).body == one.content
        after = await cache.ask(f"/bulkdl?list-type=2&prefix={folder}/")
    for name in (rb"Key", rb"Size", rb"ETag"):
        pattern = rb"<%b>([^<]+)" % name
        assert re.findall(pattern, before.body) == re.findall(pattern, after.body), name
    assert len(objects(upstream)) == 3


async def test_the_index_of_the_bucket_has_all_series_at_once(upstream: Upstream, bucket_cache: Cache) -> None:
    answers = await asyncio.gather(*(bucket_cache.ask("/bulkdl/index/idc_index.parquet") for _ in range(8)))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    (bucket_cache.folder / "got.parquet").write_bytes(answers[0].body)
    with duckdb.connect() as database:
        found = database.read_parquet(str(bucket_cache.folder / "got.parquet"))
        rows = dict(found.project("SeriesInstanceUID, series_aws_url").fetchall())
    assert rows == {uid: f"s3://bulkdl/{stable_uuid(uid)}/*" for uid in upstream.series}
    assert objects(upstream) == {}


async def test_a_route_is_served_from_both_archives(tmp_path: Path) -> None:
    lung = write_folder(tmp_path / "idc", instances(series=1, per_series=2, collection="LUNG"))
    brain = write_folder(tmp_path / "nbia", instances(series=1, per_series=2, collection="BRAIN", seed="b"))
    async with archive_of(tmp_path / "idc", lung) as idc, archive_of(tmp_path / "nbia", brain) as nbia:
        choice = replace(
            as_idc(idc, tmp_path / "index"),
            name="lab",
            profiles={
                "idc": f"idc+{idc.url.removesuffix(SERVICES_PATH)}",
                "lab": f"routed+{nbia.url}",
            },
        )
        async with cache_of(choice, tmp_path / "cache") as cache:
            totals = cache.served.report.totals
            assert (totals.collections, totals.series) == (2, 2)
            for made in (lung, brain):
                for one in made:
                    assert (await cache.instance(one)).body == one.content
                path = f"{SERVICES_PATH}/v1/getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}"
                assert made[1].sop_uid.encode() in (await cache.ask(path)).body
        asked = len(idc.asked), len(nbia.asked)
        idc.is_up = nbia.is_up = False
        async with cache_of(choice, tmp_path / "cache", settings=IMPATIENT) as cache:
            assert any(isinstance(event, Noted) and "does not answer" in event.message for event in cache.events)
            assert (await cache.bundle(brain[0].series_uid)).status == 200
            assert (await cache.instance(lung[0])).body == lung[0].content
        assert asked < (len(idc.asked), len(nbia.asked))


@pytest.mark.parametrize("is_bucket", [False, True], ids=["nbia", "idc"])
async def test_fifty_clients_through_all_apis_cause_one_download_of_each_instance(
    upstream: Upstream, tmp_path: Path, *, is_bucket: bool
) -> None:
    choice = as_idc(upstream, tmp_path / "index") if is_bucket else upstream.url
    of_series = upstream.of(upstream.series[0])
    series_uid = of_series[0].series_uid
    single = f"/services/v3/TCIA/query/getSingleImage?SeriesInstanceUID={series_uid}&SOPInstanceUID="
    async with cache_of(choice, tmp_path / "cache") as cache:
        answers = await asyncio.gather(
            *(cache.instance(made) for made in of_series for _ in range(2)),
            *(cache.ask(f"{single}{made.sop_uid}") for made in of_series for _ in range(2)),
            *(
                cache.ask(f"/bulkdl/{stable_uuid(series_uid)}/{stable_uuid(made.sop_uid)}.dcm")
                for made in of_series
                for _ in range(2)
            ),
            *(cache.bundle(series_uid) for _ in range(7)),
            *(cache.ask(f"{SERVICES_PATH}/v4/getImage?SeriesInstanceUID={series_uid}") for _ in range(7)),
        )
    singles, bundles = answers[:-14], answers[-14:]
    assert [answer.body for answer in singles] == [made.content for made in of_series for _ in range(2)] * 3
    assert {tuple(contents(answer.body)) for answer in bundles} == {tuple(sorted(made.content for made in of_series))}
    fetched = objects(upstream) if is_bucket else upstream.fetched()
    if set(fetched) != {series_uid}:  # nor one zip
        assert sorted(fetched.values()) == [1] * len(of_series)


async def test_the_series_of_a_release_are_loaded_once(upstream: Upstream, tmp_path: Path) -> None:
    choice = as_idc(upstream, tmp_path / "index")
    loaded = []
    for _ in range(2):
        async with cache_of(choice, tmp_path / "cache") as cache:
            assert (await cache.bundle(upstream.series[0])).status == 200
        with Catalogue.open(tmp_path / "cache/.bulkdl/catalogue.sqlite") as catalogue:
            loaded.append(catalogue.stamp())
    assert loaded[0] == loaded[1]
    assert set(objects(upstream).values()) == {1}
    with Journal.open_readonly(tmp_path / "cache/.bulkdl/journal.sqlite") as journal:
        assert (journal.last_catalogue() or "").startswith("IDC release 1")
