"""What is said of an endpoint: by its archive where that can, by the tables elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.archive.nbia.endpoints import NBIA_V1, TCIA_V3
from bulkdl.errors import ArchiveRefused, BulkdlError, ConfigurationError
from bulkdl.model.access import Access, ArchiveChoice, Credentials
from bulkdl.verbs.describe import describe_async, document_of
from tests.support.faults import FaultyServer, answer, in_turn, json


def choice(name: str) -> ArchiveChoice:
    access = Access(credentials=Credentials(api_key="the-key"))
    return ArchiveChoice(name=name, access=access, cache=Path("not-used"))


def v3(server: FaultyServer) -> ArchiveChoice:
    return choice(f"tcia-v3+{server.url}services/v3")


async def test_nbia_is_not_asked() -> None:
    found = await describe_async("getseries", archive=choice("nbia-v1+http://127.0.0.1:9/nbia-api/services"))
    assert (found.source, found.document) == ("tables", document_of(NBIA_V1["getSeries"]))


async def test_tcia_v3_is_asked_with_the_key() -> None:
    async with FaultyServer(in_turn(json('{"name": "getSeries", "odd": [1]}'))) as server:
        found = await describe_async("getSeries", archive=v3(server))
    assert (found.source, found.document) == ("archive", {"name": "getSeries", "odd": [1]})
    (seen,) = server.requests
    assert seen.target == "/services/v3/TCIA/query/getSeries/metadata"
    assert seen.headers["api_key"] == "the-key"


@pytest.mark.parametrize(
    "reply", [answer(status=404), json("[]"), json("<html>")], ids=["not there", "no object", "a page"]
)
async def test_the_tables_stand_in_for_what_the_archive_does_not_say(reply: object) -> None:
    async with FaultyServer(in_turn(reply)) as server:  # type: ignore[arg-type]
        found = await describe_async("getSeries", archive=v3(server))
    assert (found.source, found.document) == ("tables", document_of(TCIA_V3["getSeries"]))
    assert found.unavailable


async def test_a_refused_key_is_an_error() -> None:
    async with FaultyServer(in_turn(answer(status=401))) as server:
        with pytest.raises(BulkdlError) as caught:
            await describe_async("getSeries", archive=v3(server))
    assert isinstance(caught.value, ArchiveRefused) or caught.value.code == "access-denied"


async def test_an_unknown_endpoint_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="did you mean getSeries"):
        await describe_async("getSerie", archive=choice("nbia-v1"))


@pytest.mark.parametrize("endpoint", [*NBIA_V1.values(), *TCIA_V3.values()], ids=lambda entry: entry.name)
def test_each_attribute_is_described(endpoint: object) -> None:
    document = document_of(endpoint)  # type: ignore[arg-type]
    assert document["description"]
    assert all(entry["description"] for entry in [*document["queryParameters"], *document["attributes"]])


def test_a_tag_is_written_as_tcia_writes_it() -> None:
    attributes = {entry["name"]: entry["dicomTag"] for entry in document_of(NBIA_V1["getSeries"])["attributes"]}
    assert (attributes["SeriesInstanceUID"], attributes["Collection"]) == ("0020 000E", "NA")
