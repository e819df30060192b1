"""Logins, keys and quirks over real sockets."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path

import pytest
import pytest_asyncio

from bulkdl.errors import ConfigurationError
from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import Root
from bulkdl.server.nbia.apis import APIS, Credential
from bulkdl.server.nbia.quirks import Quirk, read_quirks
from tests.support.dicom_files import MadeUp, instances, write_folder
from tests.support.served import Served, served

RULES = AccessRules(
    keys=frozenset({"a key"}), users={"alice": User("alice", "open sesame")}, token_seconds=3600, refresh_seconds=7200
)
V3 = "/services/v3/TCIA/query"
BY_NAME = {api.name: api for api in APIS}


@pytest_asyncio.fixture
async def archive(tmp_path: Path) -> AsyncIterator[Served]:
    write_folder(tmp_path / "files", instances(series=1, per_series=3))
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", rules=RULES) as running:
        yield running


def token_form(**fields: str) -> dict[str, str]:
    return {"client_id": "nbia", "client_secret": "", **fields}


async def test_a_session_from_login_to_logout(archive: Served) -> None:
    token = await archive.log_in("alice", "open sesame")
    assert (await archive.nbia("v2/getCollectionValues", token=token)).document == [{"Collection": "MADE-UP"}]
    assert (await archive.nbia("logout", method="POST", token=token)).status == 204
    assert (await archive.nbia("v2/getCollectionValues", token=token)).status == 401
    assert (await archive.nbia("logout", method="POST", token=token)).status == 401


async def test_a_token_is_renewed(archive: Served) -> None:
    form = token_form(grant_type="PASSWORD", username="alice", password="open sesame")  # noqa: S106 - made up
    login = (await archive.ask("/nbia-api/oauth/token", method="POST", data=form)).document
    form = token_form(grant_type="refresh_token", refresh_token=login["refresh_token"])
    renewed = await archive.nbia("oauth/token", method="POST", data=form)
    assert renewed.document["access_token"] != login["access_token"]
    assert (await archive.nbia("v2/getSeries", token=renewed.document["access_token"])).status == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        (token_form(grant_type="password", username="alice", password="wrong"), 401, "invalid_grant"),  # noqa: S106 - made up
        (token_form(grant_type="refresh_token", refresh_token="none"), 400, "invalid_grant"),  # noqa: S106 - made up
        (token_form(grant_type="magic"), 400, "unsupported_grant_type"),
        ({}, 400, "unsupported_grant_type"),
    ],
    ids=["password", "refresh", "unknown", "nothing"],
)
async def test_a_login_that_fails_says_why(archive: Served, form: dict[str, str], status: int, error: str) -> None:
    answer = await archive.ask("/nbia-api/oauth/token", method="POST", data=form)
    assert (answer.status, answer.document["error"]) == (status, error)


@pytest.mark.parametrize(
    "api", [f for f in APIS if f.credential in {Credential.TOKEN, Credential.OPTIONAL_TOKEN}], ids=lambda api: api.name
)
async def test_a_token_that_is_bad_is_refused_by_every_endpoint(archive: Served, api: object) -> None:
    for endpoint in api.endpoints.values():
        answer = await archive.endpoint(api, endpoint, token="nonsense")  # noqa: S106 - made up
        assert (answer.status, answer.body) == ((200, b"up") if endpoint.name == "up" else (401, b"")), endpoint.name


@pytest.mark.parametrize("name", ["nbia-v2", "nbia-advanced"])
async def test_a_token_that_is_missing_is_refused(archive: Served, name: str) -> None:
    api = BY_NAME[name]
    for endpoint in api.endpoints.values():
        answer = await archive.endpoint(api, endpoint)
        assert answer.status == (200 if endpoint.name == "up" else 401), endpoint.name
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_v4_takes_whoever_has_no_token_for_the_guest(archive: Served) -> None:
    assert (await archive.nbia("v4/getCollectionValues")).status == 200


@pytest.mark.parametrize("key", ["", "?api_key=another", "/metadata", "/metadata?api_key=another"])
async def test_tcia_without_its_key_is_an_empty_401(archive: Served, key: str) -> None:
    answer = await archive.ask(f"{V3}/getCollectionValues{key}")
    assert (answer.status, answer.body, answer.headers.get("WWW-Authenticate")) == (401, b"", None)


async def test_tcia_takes_its_key_in_the_address_or_a_header_and_the_address_wins(archive: Served) -> None:
    path = f"{V3}/getCollectionValues"
    assert (await archive.ask(path, params={"api_key": "a key"})).status == 200
    assert (await archive.ask(path, headers={"API_KEY": "a key"})).status == 200
    assert (await archive.ask(path, params={"api_key": "another"}, headers={"api_key": "a key"})).status == 401
    assert (await archive.ask("/services/v4/TCIA/query/getCollectionValues")).status == 200


async def test_no_log_shows_a_key_or_a_token(archive: Served) -> None:
    await archive.ask(f"{V3}/getSeries?Collection=x&api_key=a%20key&format=json")
    await archive.ask(f"{V3}/getSeries?API_KEY=a%20key")
    token = await archive.log_in("alice", "open sesame")
    await archive.nbia("v2/getSeries", token=token)
    shown = json.dumps([record.path_qs for record in archive.log])
    assert "a%20key" not in shown
    assert token not in shown
    assert "api_key=\\u2026&format=json" in shown


# --- shared lists -----------------------------------------------------------------------------------------------------


async def test_a_shared_list_is_made_read_by_every_family_and_deleted(archive: Served, tmp_path: Path) -> None:
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


async def test_a_guest_makes_no_list_where_users_have_names(archive: Served) -> None:
    form = {"list": (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"], "name": "mine"}
    answer = await archive.nbia("createSharedList", method="POST", data=form, token=await archive.log_in())
    assert answer.status == 400


async def test_a_list_is_its_owner_s_alone_to_delete(archive: Served) -> None:
    form = {"list": (await archive.nbia("v1/getSeries")).document[0]["SeriesInstanceUID"], "name": "mine"}
    token = await archive.log_in("alice", "open sesame")
    await archive.nbia("createSharedList", method="POST", data=form, token=token)
    answer = await archive.nbia("deleteSharedList", method="POST", data=form, token=await archive.log_in())
    assert (answer.status, answer.body) == (400, b"User does not own the list")


# --- quirks -----------------------------------------------------------------------------------------------------------


def test_an_unknown_quirk_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown quirk 'odd'; known quirks: empty-token"):
        read_quirks(["odd"])
    assert read_quirks(["Empty-Token ", "short-zip"]) == {Quirk.EMPTY_TOKEN, Quirk.SHORT_ZIP}
    assert all(quirk.description for quirk in Quirk)


@pytest.fixture
def made(tmp_path: Path) -> list[MadeUp]:
    return write_folder(tmp_path / "files", instances(series=1, per_series=3))


@pytest.mark.usefixtures("made")
@pytest.mark.parametrize(
    ("path", "token", "status"),
    [
        ("v2/getSeries", None, 200),
        ("v2/getSeries", "old", 200),
        ("v2/getPatient", "old", 200),
        ("v2/getCollectionValues", None, 500),
        ("v2/getCollectionValues", "old", 401),
        ("v2/getImage?SeriesInstanceUID=1", None, 500),
        ("v2/getImage?SeriesInstanceUID=1", "old", 401),
        ("v2/getSingleImage?SeriesInstanceUID=1&SOPInstanceUID=1", "old", 401),
        ("v2/getM5HashForImage?SOPInstanceUid=1", None, 500),
        ("v4/getPatient", "old", 200),
        ("v4/getSeries", "old", 500),
        ("v4/getCollectionValues", "old", 401),
        ("v4/getImage?SeriesInstanceUID=1", "old", 401),
        ("getModalityValuesAndCounts", None, 401),
        ("getModalityValuesAndCounts", "old", 401),
    ],
)
async def test_a_bad_token_finds_nothing_where_it_does_on_the_real_one(
    tmp_path: Path, path: str, token: str | None, status: int
) -> None:
    quirks = frozenset({Quirk.EMPTY_TOKEN})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia(path, token=token)
        assert answer.status == status
        assert answer.body == (b"Server was not able to process your request\nnull" if status == 500 else b"")


async def test_an_instance_without_a_length_cannot_be_resumed(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.NO_CONTENT_LENGTH})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        query = {"SeriesInstanceUID": made[0].series_uid, "SOPInstanceUID": made[0].sop_uid}
        answer = await archive.nbia("v1/getSingleImage", params=query, headers={"Range": "bytes=1-2"})
        assert (answer.status, answer.body) == (200, made[0].content)
        assert not {"Content-Length", "ETag", "Accept-Ranges", "Last-Modified"} & set(answer.headers)


async def test_json_in_other_forms(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.SIZES_AS_STRINGS, Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES})
    async with served(Root(tmp_path / "files", "A/B"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia("v1/getSeries")
        assert (answer.document["ImageCount"], answer.document["Collection"]) == ("3", "A/B")
        assert rb"A\/B" in answer.body
        assert len((await archive.nbia(f"v1/getSOPInstanceUIDs?SeriesInstanceUID={made[0].series_uid}")).document) == 3
        assert (await archive.nbia("v1/getSeries?Collection=none")).body == b""


async def test_a_zip_that_is_short_is_well_formed(made: list[MadeUp], tmp_path: Path) -> None:
    quirks = frozenset({Quirk.SHORT_ZIP})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", quirks=quirks) as archive:
        answer = await archive.nbia(f"v1/getImageWithMD5Hash?SeriesInstanceUID={made[0].series_uid}")
        with zipfile.ZipFile(BytesIO(answer.body)) as bundle:
            assert bundle.namelist() == ["00000001.dcm", "00000002.dcm"]
            assert bundle.testzip() is None
