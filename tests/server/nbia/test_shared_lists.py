"""Shared lists over real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import Root
from tests.support.dicom_files import instances, write_folder
from tests.support.served import Served, served

RULES = AccessRules(
    keys=frozenset({"a key"}), users={"alice": User("alice", "open sesame")}, token_seconds=3600, refresh_seconds=7200
)


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    write_folder(tmp_path / "files", instances(series=1, per_series=3))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", rules=RULES) as running:
        yield running


async def test_a_shared_list_is_created_read_by_every_api_and_deleted(archive: Served, tmp_path: Path) -> None:
    series = (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"]
    token = await archive.log_in("alice", "open sesame")
    form = {"list": series, "name": "mine", "description": "of mine", "url": ""}
    made = await archive.nbia("createSharedList", method="POST", data=form, token=token)
    assert (made.status, made.body) == (200, b"List created")
    assert (await archive.nbia("createSharedList", method="POST", data=form, token=token)).status == 400
    for path in ("/nbia-api/services/v1/getContentsByName", "/services/v3/SharedList/query/ContentsByName"):
        answer = await archive.ask(path, params={"name": "mine"}, headers={"api_key": "a key"})
        assert [row["SeriesInstanceUID"] for row in answer.document] == [series]
    told = (await archive.nbia("getSharedList", method="POST", data={"nameValue": "mine"}, token=token)).document
    assert (told["comment"], told["userName"], told["seriesInstanceUIDs"]) == ("of mine", "alice", [series])
    assert json.loads((tmp_path / "catalog.shared-lists.json").read_text())[0]["name"] == "mine"
    gone = await archive.nbia("deleteSharedList", method="POST", data={"name": "mine"}, token=token)
    assert gone.body == b"List deleted"
    assert (await archive.nbia("getSharedList", method="POST", data={"nameValue": "mine"}, token=token)).body == b"null"


async def test_a_shared_list_outlives_the_server(tmp_path: Path) -> None:
    made = write_folder(tmp_path / "files", instances(series=1, per_series=1))
    for is_first in (True, False):
        async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite") as archive:
            if is_first:
                form = {"list": made[0].series_uid, "name": "mine"}
                await archive.nbia("createSharedList", method="POST", data=form, token=await archive.log_in())
            else:
                assert len((await archive.nbia("v1/getContentsByName?name=mine")).document) == 1


@pytest.mark.parametrize("field", ["name", "description", "url"])
async def test_the_texts_of_a_list_are_limited(archive: Served, field: str) -> None:
    """All lists are in memory, and in one file that is written anew for each."""
    series = (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"]
    token = await archive.log_in("alice", "open sesame")
    refusal = (400, b"The texts of a list have more than 10,000 characters")
    for characters, expected in ((10_001, refusal), (9_000, (200, b"List created"))):
        form = {"list": series, "name": "mine", field: "d" * characters}
        answer = await archive.nbia("createSharedList", method="POST", data=form, token=token)
        assert (answer.status, answer.body) == expected


async def test_the_guest_cannot_create_a_list_if_there_are_users(archive: Served) -> None:
    form = {"list": (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"], "name": "mine"}
    answer = await archive.nbia("createSharedList", method="POST", data=form, token=await archive.log_in())
    assert answer.status == 400


async def test_only_its_owner_can_delete_a_list(archive: Served) -> None:
    form = {"list": (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"], "name": "mine"}
    token = await archive.log_in("alice", "open sesame")
    await archive.nbia("createSharedList", method="POST", data=form, token=token)
    answer = await archive.nbia("deleteSharedList", method="POST", data=form, token=await archive.log_in())
    assert (answer.status, answer.body) == (400, b"User does not own the list")
