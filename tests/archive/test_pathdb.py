"""PathDB as an archive, over real sockets: what it finds, by which address a slide is known, which hosts it accepts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest

from bulkdl.archive.base import Archive
from bulkdl.archive.pathdb import COHORT_TABLE, file_name_of, key_of
from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.records import NamedSlide, SeriesKind
from bulkdl.model.selection import Selection
from tests.support.archives import found_at, found_series, opened
from tests.support.faults import Action, FaultyServer, Seen, answer, in_turn, json, redirect
from tests.support.pathdb_server import COLUMNS, PathDbServer, made_up_slide, part_of, pathdb_server, slide_bytes

CONTENT = slide_bytes(1)
EVERYTHING = Selection(everything=True)


@asynccontextmanager
async def archive_of(
    fault: Callable[[Seen], Action | None] = lambda _: None, *, notes: list[str] | None = None, **options: Any
) -> AsyncIterator[tuple[Archive, PathDbServer]]:
    async with (
        pathdb_server(None, fault, **options) as server,
        opened(server.url, kind="pathdb", max_attempts=2, notes=notes) as archive,
    ):
        yield archive, server


# --- find -------------------------------------------------------------------------------------------------------------


async def test_a_slide_is_a_series_with_what_the_table_says() -> None:
    async with archive_of() as (archive, server):
        (series, *_) = await found_series(archive, Selection(collections=("made-up",)))
        one = server.made_up[0]
        assert (series.series_uid, series.collection, series.patient_id) == (one.series_uid, "MADE-UP", "P0")
        assert (series.description, series.kind, series.image_count) == ("P0-S0", SeriesKind.SLIDE, 1)
        assert (series.protocol, series.body_part, series.released) == ("H&E", "Stomach", date(2022, 2, 3))
        assert series.collection_uri == "https://doi.org/10.7937/made.up"
        assert series.location == one.study_uid


async def test_without_the_table_pages_are_read_until_one_is_empty() -> None:
    notes: list[str] = []
    async with archive_of(notes=notes) as (archive, server):
        by_table = {series.series_uid for series in await found_series(archive, EVERYTHING)}
        server.has_table = False
        by_page = {series.series_uid for series in await found_series(archive, EVERYTHING)}
        assert by_page == by_table == {one.series_uid for one in server.made_up}
        pages = [seen.query["page"] for seen in server.server.requests if "listofimages" in seen.path]
        assert pages == ["0", "1", "2", "3"]
        assert "no table of slides" in " ".join(notes)


async def test_only_the_pages_of_the_selected_collections_are_read() -> None:
    made_up = [made_up_slide("P", f"S-{name}", CONTENT, collection=name) for name in ("A", "B")]
    async with (
        pathdb_server(made_up, has_table=False) as server,
        opened(server.url, kind="pathdb", notes=[]) as archive,
    ):
        assert [series.collection for series in await found_series(archive, Selection(collections=("b",)))] == ["B"]
        assert {seen.path for seen in server.server.requests if "listofimages" in seen.path} == {"/listofimages/102"}


@pytest.mark.parametrize(
    ("criteria", "missing"),
    [
        ({"collections": ("MADE-UP", "Other")}, "collection Other"),
        ({"patients": ("P0", "P9")}, "patient id P9"),
        ({"series": ("1.2.3",)}, "series uid 1.2.3"),
        ({"studies": ("1.2.3",)}, "study uid 1.2.3"),
    ],
)
async def test_names_what_it_does_not_have(criteria: dict[str, Any], missing: str) -> None:
    async with archive_of() as (archive, _):
        assert list(map(str, (await found_at(archive, Selection(**criteria))).not_found)) == [missing]


async def test_a_row_without_an_address_is_a_failure_and_the_others_are_found() -> None:
    rows = (
        "X,10.1/x,P,S,View,1,N/A,no",
        "X,10.1/x,P,S,View,1,ftp://a/b.svs,no",
        "X,10.1/x,P,S,View,1,http://h/../b,no",
    )
    async with archive_of(wrong_rows=rows) as (archive, server):
        found = await found_at(archive, EVERYTHING)
        assert len(found.series) == len(server.made_up)
        assert [str(error) for _, error in found.failed] == ["3 rows of the table of slides have no valid address"]


@pytest.mark.parametrize(
    "content",
    [b"<html>maintenance</html>", b"collection,other\nA,B\n", b"\xff\xfe\0", f'{COLUMNS}\n"{"x" * 200_000}'.encode()],
    ids=["page", "other columns", "not text", "a cell without end"],
)
async def test_another_document_is_not_an_empty_table(content: bytes) -> None:
    async with archive_of(lambda seen: answer(content) if COHORT_TABLE in seen.path else None) as (archive, _):
        with pytest.raises(UnexpectedAnswer, match="table of slides"):
            await found_series(archive, EVERYTHING)


async def test_pages_that_repeat_themselves_are_a_failure_of_their_collection() -> None:
    async with archive_of(has_table=False) as (archive, server):
        page = server.page(101, 0)
        server.page = lambda *_: page  # type: ignore[method-assign]
        found = await found_at(archive, EVERYTHING)
        assert ["repeats slides" in str(error) for _, error in found.failed] == [True]
        assert found.not_found == ()


async def test_dois_stand_for_collections() -> None:
    async with archive_of() as (archive, server):
        assert await archive.collections_of_doi("10.7937/made.up") == ("MADE-UP",)
        assert await archive.collections_of_doi("10.7937/other") == ()
        server.has_table = False
        assert await archive.collections_of_doi("10.7937/made.up") is None


# --- the slides of a manifest -----------------------------------------------------------------------------------------


async def test_slides_of_a_manifest_are_known_without_a_request() -> None:
    async with archive_of() as (archive, server):
        one = server.made_up[0]
        address = f"{server.url}index.php/{one.study_uid}"
        found = await found_at(archive, Selection(slides=(NamedSlide(address, "A", "P", "S"),)))
        (series,) = found.series
        assert (series.series_uid, series.collection, series.description) == (one.series_uid, "A", "S")
        assert server.server.requests == []
        assert len((await archive.list(series)).entries) == 1


@pytest.mark.parametrize(
    "address", ["http://elsewhere.example/a.svs", "https://127.0.0.1:1/a.svs", "http://h@127.0.0.1/a"]
)
async def test_an_address_of_a_manifest_is_not_obeyed_elsewhere(address: str) -> None:
    async with archive_of() as (archive, server):
        found = await found_at(archive, Selection(slides=(NamedSlide(address),)))
        assert found.series == ()
        assert list(map(str, found.not_found)) == [f"slide {address}, which is not at 127.0.0.1"]
        assert server.server.requests == []


# --- keys -------------------------------------------------------------------------------------------------------------

HOME = "https://pathdb.example.org/"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("https://pathdb.example.org/system/files/wsi/a.svs", "system/files/wsi/a.svs"),
        ("http://pathdb.example.org/index.php/system/files/wsi/a.svs", "system/files/wsi/a.svs"),
        ("http://pathdb.example.org/system/a b%2Bc.svs?itok=x#y", "system/a%20b%2Bc.svs"),
        ("http://files.example.org/a.svs", "https://files.example.org/a.svs"),
        ("https://pathdb.example.org:8443/a.svs", "https://pathdb.example.org:8443/a.svs"),
        *((bad, None) for bad in ("", "N/A", "file:///etc/passwd", "https://", "https://pathdb.example.org/a/")),
        *((f"https://pathdb.example.org/{bad}", None) for bad in ("a/../b", "a/%2e%2e/b", "a//b", "./b", "..")),
        ("https://user:secret@pathdb.example.org/a.svs", None),
        ("https://pathdb.example.org:99999/a.svs", None),
    ],
)
def test_a_key_is_the_path_at_the_archive(address: str, key: str | None) -> None:
    assert key_of(address, HOME) == key


def test_an_archive_at_http_may_name_another_host_by_http() -> None:
    assert key_of("http://files.example.org/a.svs", "http://127.0.0.1:1/") == "http://files.example.org/a.svs"


def test_a_file_has_the_last_part_of_its_key_as_its_name() -> None:
    assert file_name_of("system/files/wsi/a%20b.svs") == "a b.svs"


# --- list and open ----------------------------------------------------------------------------------------------------


async def test_the_size_comes_with_one_byte_of_the_file() -> None:
    async with archive_of() as (archive, server):
        (series, *_) = await found_series(archive, EVERYTHING)
        (entry,) = (await archive.list(series)).entries
        assert (entry.size_bytes, entry.name) == (len(server.made_up[0].content), "P0-S0.svs")
        assert server.server.requests[-1].headers["range"] == "bytes=0-0"


async def test_a_server_without_ranges_tells_the_size_too() -> None:
    async with archive_of(lambda seen: answer(CONTENT) if "/wsi/" in seen.path else None) as (archive, _):
        (series, *_) = await found_series(archive, EVERYTHING)
        (entry,) = (await archive.list(series)).entries
        assert entry.size_bytes == len(CONTENT)


async def test_a_slide_without_a_size_is_listed_all_the_same() -> None:
    async with archive_of(lambda seen: answer(status=404) if "/wsi/" in seen.path else None) as (archive, _):
        (series, *_) = await found_series(archive, EVERYTHING)
        (entry,) = (await archive.list(series)).entries
        assert entry.size_bytes is None


async def test_a_slide_that_has_changed_since_it_was_listed_is_not_received() -> None:
    async with archive_of() as (archive, server):
        (series, *_) = await found_series(archive, EVERYTHING)
        (entry,) = (await archive.list(series)).entries
        server.made_up[0] = made_up_slide("P0", "P0-S0", CONTENT + b"more")
        with pytest.raises(UnexpectedAnswer, match="the file has changed"):
            async with archive.open(series.series_uid, entry):
                pass


async def test_a_redirect_to_another_host_is_followed() -> None:
    async with FaultyServer(lambda seen: part_of(CONTENT, seen)) as elsewhere:
        target = elsewhere.url.replace("127.0.0.1", "localhost") + "slide"
        async with archive_of(lambda seen: redirect(target) if "/wsi/" in seen.path else None) as (archive, _):
            (series, *_) = await found_series(archive, EVERYTHING)
            (entry,) = (await archive.list(series)).entries
            async with archive.open(series.series_uid, entry) as body:
                assert b"".join([chunk async for chunk in body.chunks()]) == CONTENT
            assert all("authorization" not in seen.headers for seen in elsewhere.requests)


async def test_a_list_of_collections_is_asked_for_again_when_it_fails() -> None:
    flaky = in_turn(answer(status=500), json("[]"))
    async with archive_of(lambda seen: flaky(seen) if seen.path == "/collections" else None) as (archive, _):
        assert await archive.collections() == ()
