"""DICOMweb of a cache: two servers on real sockets, the archive and its cache."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.verbs.adopt import adopt_async
from bulkdl.verbs.serve import AccessRecord, serve_async
from bulkdl.verbs.serving.gateway import SETTINGS
from tests.server.dicomweb.conftest import parts_of, path_of
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served import Answer

IMPATIENT = replace(SETTINGS, max_attempts=2, give_up_after_seconds=2.0, wait_scale=0.05)


@dataclass
class WebCache:
    """A running cache, what its archive has, and what was asked of the archive."""

    origin: str
    session: aiohttp.ClientSession
    made: list[MadeUp]
    log: list[AccessRecord] = field(default_factory=list)

    async def ask(self, path: str, **headers: str) -> Answer:
        async with self.session.get(self.origin + path, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def found(self, path: str) -> list[dict[str, Any]]:
        answer = await self.ask(f"/dicom-web{path}")
        assert answer.status == 200, answer.body
        document: list[dict[str, Any]] = answer.document
        return document

    def fetched(self) -> int:
        return sum("/getSingleImage" in one.path_qs or "/getImage" in one.path_qs for one in self.log)


@pytest_asyncio.fixture
async def cache(tmp_path: Path) -> AsyncIterator[WebCache]:
    made = write_folder(tmp_path / "archive", instances(series=4, per_series=3))
    log: list[AccessRecord] = []
    async with (
        serve_async(tmp_path / "archive", cache=tmp_path / "one", port=0, access_log=log.append) as archive,
        serve_async(archive=archive.url, cache=tmp_path / "cache", port=0, settings=IMPATIENT) as served,
        aiohttp.ClientSession() as session,
    ):
        yield WebCache(served.url.removesuffix(SERVICES_PATH), session, made, log)


def availability(found: list[dict[str, Any]]) -> set[str]:
    return {one["00080056"]["Value"][0] for one in found}


async def test_searches_download_nothing_and_retrieval_what_is_asked_for(cache: WebCache) -> None:
    made = cache.made[0]
    studies = await cache.found("/studies")
    assert {one["0020000D"]["Value"][0] for one in studies} == {each.study_uid for each in cache.made}
    assert [one["00201208"]["Value"][0] for one in studies] == [6, 6]
    series = path_of(made, "series").removeprefix("/dicom-web")
    listed = await cache.found(f"{series}/instances")
    of_series = sorted(each.sop_uid for each in cache.made if each.series_uid == made.series_uid)
    assert [one["00080018"]["Value"][0] for one in listed] == of_series
    assert availability(listed) == {"NEARLINE"}
    (one,) = await cache.found(f"{series}/instances?SOPInstanceUID={made.sop_uid}")
    assert one["00080018"]["Value"] == [made.sop_uid]
    assert len(await cache.found(f"{series}/instances?limit=1&offset=1")) == 1
    assert (await cache.ask("/dicom-web/instances")).status == 400
    assert cache.fetched() == 0

    ((_, content),) = parts_of(await cache.ask(path_of(made)))
    assert (content, cache.fetched()) == (made.content, 1)
    (data_set,) = await cache.found(f"{series}/instances/{made.sop_uid}/metadata")
    assert data_set["00080018"]["Value"] == [made.sop_uid]
    assert (await cache.ask(f"{path_of(made)}/frames/1")).status == 200
    assert (
        await cache.ask(f"/wado?requestType=WADO&seriesUID={made.series_uid}&objectUID={made.sop_uid}")
    ).status == 200
    assert cache.fetched() == 1


async def test_a_study_arrives_whole_and_once(cache: WebCache) -> None:
    made = cache.made[0]
    of_study = {each.sop_uid: each.content for each in cache.made if each.study_uid == made.study_uid}
    for _ in range(2):
        parts = parts_of(await cache.ask(path_of(made, "studies")))
        sent = {headers["Content-Location"].rpartition("/")[2]: content for headers, content in parts}
        assert sent == of_study
    fetched = cache.fetched()
    study = path_of(made, "studies").removeprefix("/dicom-web")
    found = await cache.found(f"{study}/instances")
    assert (len(found), availability(found)) == (6, {"ONLINE"})
    assert [one["00200013"]["Value"] for one in found] == [[1]] * 6
    assert len(await cache.found(f"{study}/metadata")) == 6
    picture = await cache.ask(f"{path_of(made, 'series')}/rendered", Accept="image/png")
    assert (picture.status, picture.kind) == (200, "image/png")
    assert cache.fetched() == fetched


async def test_an_archive_that_fails_is_an_error_and_not_an_answer(cache: WebCache, tmp_path: Path) -> None:
    made = cache.made[0]
    for each in cache.made:
        (tmp_path / "archive" / each.path).unlink()
    for path in (path_of(made), path_of(made, "series"), f"{path_of(made, 'studies')}/metadata"):
        answer = await cache.ask(path)
        assert (answer.status in {502, 503, 504}, answer.kind) == (True, "application/json"), path
        assert answer.document["message"]


async def test_a_mirror_is_searched_by_numbers_that_were_read_before(tmp_path: Path) -> None:
    """The numbers of a mirror's files are not in its journal: a search for one never misses files for this reason."""
    made = write_folder(tmp_path / "archive", instances(series=2, per_series=2))
    mirror = tmp_path / "mirror"
    await adopt_async(tmp_path / "archive", to=mirror)
    async with serve_async(mirror, cache=tmp_path / "one", port=0) as served, aiohttp.ClientSession() as session:
        web = WebCache(served.url.removesuffix(SERVICES_PATH), session, made)
        everywhere = await web.ask("/dicom-web/instances?InstanceNumber=1")
        assert (everywhere.status, everywhere.document["error"]) == (400, "bad-request")
        study = path_of(made[0], "studies").removeprefix("/dicom-web")
        assert len(await web.found(f"{study}/instances?InstanceNumber=1&offset=1")) == 3
        assert len(await web.found("/instances?InstanceNumber=1")) == 4
