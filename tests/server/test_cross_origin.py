"""Answers for pages of other web sites, over real sockets: those that are allowed, and the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bulkdl.errors import ConfigurationError
from bulkdl.server.cross_origin import read_origins
from bulkdl.server.nbia.apis import SERVICES_PATH
from bulkdl.verbs.serve import serve_async
from tests.support.dicom_files import MadeUp, instances, write_folder

VIEWER = "https://viewer.example.org"
ALLOWED, EXPOSED = "Access-Control-Allow-Origin", "Access-Control-Expose-Headers"


@asynccontextmanager
async def server(folder: Path, *origins: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str, MadeUp]]:
    (made,) = write_folder(folder / "served", instances(series=1, per_series=1))
    async with (
        serve_async(folder / "served", cache=folder / "catalogues", port=0, allow_origin=origins) as served,
        aiohttp.ClientSession() as session,
    ):
        yield session, served.url.removesuffix(SERVICES_PATH), made


async def test_pages_of_an_allowed_site_read_each_answer_and_others_none(tmp_path: Path) -> None:
    async with server(tmp_path, VIEWER, "http://localhost:3000") as (session, origin, made):
        instance = f"/dicom-web/studies/{made.study_uid}/series/{made.series_uid}/instances/{made.sop_uid}"
        query = f"SeriesInstanceUID={made.series_uid}&SOPInstanceUID={made.sop_uid}"
        for path, accept, status in (
            ("/dicom-web/studies", "*/*", 200),
            ("/dicom-web/studies?limit=x", "*/*", 400),
            ("/dicom-web/studies/1.2", "*/*", 404),
            (instance, "*/*", 200),
            (instance, "application/dicom", 200),
            (f"{SERVICES_PATH}/v1/getSingleImage?{query}", "*/*", 200),
            (f"{SERVICES_PATH}/v1/getCollectionValues", "*/*", 200),
            ("/nowhere", "*/*", 404),
        ):
            for sender, allowed in ((VIEWER, VIEWER), ("https://evil.example", None), (f"{VIEWER}.evil", None)):
                async with session.get(origin + path, headers={"Origin": sender, "Accept": accept}) as answer:
                    assert (answer.status, answer.headers.get(ALLOWED)) == (status, allowed), (path, sender)
                    assert answer.headers["Vary"] == "Origin"
                    assert ("ETag" in answer.headers.get(EXPOSED, "")) == (allowed is not None)
                    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_browser_may_ask_before(tmp_path: Path) -> None:
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    async with server(tmp_path, VIEWER) as (session, origin, _):
        async with session.options(f"{origin}/dicom-web/studies", headers={"Origin": VIEWER, **asked}) as answer:
            assert (answer.status, answer.headers[ALLOWED]) == (204, VIEWER)
            assert "GET" in answer.headers["Access-Control-Allow-Methods"]
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        headers = {"Origin": "https://evil.example", **asked}
        async with session.options(f"{origin}/dicom-web/studies", headers=headers) as answer:
            assert (answer.status >= 400, ALLOWED in answer.headers) == (True, False)


@pytest.mark.parametrize(("origins", "allowed"), [(("*",), "*"), ((), None)], ids=["all", "none"])
async def test_all_sites_or_none(tmp_path: Path, origins: tuple[str, ...], allowed: str | None) -> None:
    async with (
        server(tmp_path, *origins) as (session, origin, _),
        session.get(f"{origin}/dicom-web/series", headers={"Origin": "https://any.example"}) as answer,
    ):
        assert (answer.headers.get(ALLOWED), "Vary" in answer.headers) == (allowed, False)


def test_origins_are_read_as_browsers_send_them() -> None:
    assert read_origins(["HTTPS://Viewer.example.org/", "*"]) == {VIEWER, "*"}
    for wrong in ("viewer.example.org", "https://a/b", "https://a:b", "null", "", "https://a\r\nX: y"):
        with pytest.raises(ConfigurationError, match="is not an origin"):
            read_origins([wrong])
