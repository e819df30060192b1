"""The API of PathDB over real sockets: shaped as the reference, served of a mirror as its archive did, with ranges."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bulkdl.archive.pathdb import COHORT_TABLE
from bulkdl.errors import ConfigurationError
from bulkdl.model.selection import Selection
from bulkdl.verbs.mirror import mirror_async
from bulkdl.verbs.serve import serve_async
from tests.contract.archives import choice
from tests.contract.run import SETTINGS
from tests.support.archives import found_series, opened
from tests.support.pathdb_server import made_up_slide, pathdb_server, slide_bytes

ANSWERS = Path(__file__).parents[2] / "data" / "answers"
HIDDEN = made_up_slide("P", "S-SECRET", slide_bytes(9), collection="SECRET")


async def mirror_of_slides(to: Path, *, more: bool = False) -> None:
    async with pathdb_server() as server:
        server.made_up += [HIDDEN] if more else []
        archive = choice("pathdb", server.url, to.with_name("cache"))
        await mirror_async(Selection(everything=True), to=to, archive=archive, settings=SETTINGS)


async def got(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


def shape(value: Any) -> Any:
    """The keys and the types of a document."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else type(value).__name__


async def test_answers_are_shaped_as_the_reference(tmp_path: Path) -> None:
    await mirror_of_slides(tmp_path / "mirror")
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "served") as served:
        origin = served.url.partition("/nbia-api")[0]
        _, headers, listed = await got(f"{origin}/collections?_format=json")
        assert (headers["Content-Type"], listed[:10]) == ("application/json", b'[{"tid":[{')
        collections = json.loads(listed)
        assert shape(collections) == shape(json.loads((ANSWERS / "pathdb_collections.json").read_text()))
        number = collections[0]["tid"][0]["value"]
        _, _, page = await got(f"{origin}/listofimages/{number}?_format=json&page=0")
        given, wanted = (json.loads(text)[0] for text in (page, (ANSWERS / "pathdb_listofimages.json").read_text()))
        for may_be_empty in ("referencepixelphysicalvaluex", "referencepixelphysicalvaluey"):
            del given[may_be_empty], wanted[may_be_empty]
        assert shape(given) == shape(wanted)
        assert (given["imagedvolumeheight"], given["imagedvolumewidth"]) == ([{"value": 150}], [{"value": 200}])
        assert json.loads((await got(f"{origin}/listofimages/{number}?_format=json&page=1"))[2]) == []
        assert json.loads((await got(f"{origin}/listofimages/9?_format=json&page=0"))[2]) == []
        _, _, table = await got(f"{origin}/{COHORT_TABLE}")
        (wanted_columns, *_) = csv.reader((ANSWERS / "pathdb_cohort_builder.csv").read_text().splitlines())
        assert (await got(f"{served.url}/v1/getSeries?format=json"))[2].strip() in {b"", b"[]"}  # which are of DICOM
        rows = list(csv.DictReader(io.StringIO(table.decode())))
        assert list(rows[0]) == wanted_columns
        assert (rows[0]["update"], rows[0]["protocol"], rows[0]["data_format"]) == ("2022-02-03", "H&E", "SVS")


async def test_a_served_mirror_has_the_slides_of_its_archive(tmp_path: Path) -> None:
    await mirror_of_slides(tmp_path / "mirror")
    async with pathdb_server() as server:
        made_up = {one.series_uid: one.content for one in server.made_up}
    async with (
        serve_async(tmp_path / "mirror", cache=tmp_path / "served") as served,
        opened(served.url.partition("nbia-api")[0], kind="pathdb") as archive,
    ):
        for series in await found_series(archive, Selection(everything=True)):
            (entry,) = (await archive.list(series)).entries
            async with archive.open(series.series_uid, entry) as body:
                assert b"".join([chunk async for chunk in body.chunks()]) == made_up.pop(series.series_uid)
    assert made_up == {}


async def test_ranges_of_slides_are_sent_and_other_paths_are_not_there(tmp_path: Path) -> None:
    await mirror_of_slides(tmp_path / "mirror")
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "served") as served:
        origin = served.url.partition("/nbia-api")[0]
        _, _, page = await got(f"{origin}/listofimages/101?_format=json&page=0")
        address = json.loads(page)[0]["field_wsiimage"][0]["url"]
        status, headers, content = await got(address, Range="bytes=8-15")
        assert (status, content) == (206, slide_bytes(0)[8:16])
        assert headers["Content-Range"].startswith("bytes 8-15/")
        assert (await got(address.replace("/system/", "/index.php/system/")))[2] == slide_bytes(0)
        for path in ("/system/files/wsi/other", "/system/files/wsi/%2e%2e/%2e%2e/etc/passwd"):
            assert (await got(origin + path))[0] == 404
        assert (await got(f"{origin}/collections"))[0] == 406


async def test_guests_do_not_see_the_slides_of_restricted_collections(tmp_path: Path) -> None:
    await mirror_of_slides(tmp_path / "mirror", more=True)
    users = tmp_path / "users.toml"
    users.write_text('[restricted]\ncollections = ["SECRET"]\n')
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "served", users_file=users) as served:
        origin = served.url.partition("/nbia-api")[0]
        answers = [
            await got(f"{origin}/{path}")
            for path in ("collections?_format=json", COHORT_TABLE, HIDDEN.study_uid, "listofimages/102?_format=json")
        ]
        assert not any(b"SECRET" in content for _, _, content in answers)
        assert [status for status, _, _ in answers] == [200, 200, 404, 200]


async def test_a_slide_that_was_changed_is_not_served(tmp_path: Path) -> None:
    await mirror_of_slides(tmp_path / "mirror")
    (tmp_path / "mirror/MADE-UP/P0/P0-S0/P0-S0.svs").write_bytes(b"other")
    async with serve_async(tmp_path / "mirror", cache=tmp_path / "served") as served:
        origin = served.url.partition("/nbia-api")[0]
        _, _, table = await got(f"{origin}/{COHORT_TABLE}")
        assert b"P0-S1" in table
        assert b"P0-S0" not in table


async def test_no_link_that_is_newer_than_the_list_leads_out_of_a_mirror(tmp_path: Path) -> None:
    mirror, secret = tmp_path / "mirror", tmp_path / "secret"
    secret.write_bytes(b"secret")
    await mirror_of_slides(mirror)
    async with serve_async(mirror, cache=tmp_path / "served") as served:
        origin = served.url.partition("/nbia-api")[0]
        _, _, table = await got(f"{origin}/{COHORT_TABLE}")
        address = next(csv.DictReader(io.StringIO(table.decode())))["wsiimage_url"]
        status, _, slide = await got(address)
        assert status == 200
        path = next(path for path in mirror.rglob("*") if path.is_file() and path.read_bytes() == slide)
        path.unlink()
        path.symlink_to(secret)
        assert (await got(address))[::2] == (500, b"Internal Server Error")


async def test_slides_are_not_served_through_a_cache(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="slides are not served through a cache"):
        async with serve_async(archive="demo-pathdb", cache=tmp_path / "cache"):
            pass
    assert not (tmp_path / "cache").exists()
