"""Logins and keys over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from bulkdl.server.access import AccessRules, User
from bulkdl.server.catalogue import Root
from bulkdl.server.nbia.apis import APIS, Api, Credential
from tests.support.dicom_files import instances, write_folder
from tests.support.served import Served, served
from tests.support.waiting import names_of, until

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


@pytest.mark.parametrize(("path", "status"), [("/nbia-api/oauth/token", 200), ("/login", 303)])
async def test_other_requests_do_not_wait_for_logins(path: str, status: int, tmp_path: Path) -> None:
    """A hash takes a tenth of a second, and who guesses passwords sends many."""
    cost, salt = {"n": 1 << 14, "r": 8, "p": 4}, b"salt"
    digest = hashlib.scrypt(b"open sesame", salt=salt, maxmem=1 << 28, **cost).hex()
    stored = f"scrypt${cost['n']}${cost['r']}${cost['p']}${salt.hex()}${digest}"
    form = {"username": "alice", "password": "open sesame", "grant_type": "password"}
    write_folder(tmp_path / "files", instances(series=1, per_series=1))
    rules = AccessRules(users={"alice": User("alice", stored)})
    async with served(Root(tmp_path / "files"), catalogue=tmp_path / "catalog.sqlite", rules=rules) as archive:
        logins = [asyncio.create_task(archive.ask(path, method="POST", data=form)) for _ in range(12)]
        await until(lambda: count_in_threads() + sum(login.done() for login in logins) == len(logins))
        assert (await archive.nbia("v1/getSeries")).status == 200
        assert sum(login.done() for login in logins) < 8  # behind all of them there would be no more than four left
        assert {answer.status for answer in await asyncio.gather(*logins)} == {status}


def count_in_threads() -> int:
    """How many tasks of the server wait for a thread."""
    return sum("ServerThreads.do" in names_of(task) for task in asyncio.all_tasks())


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
async def test_a_failed_login_says_why(archive: Served, form: dict[str, str], status: int, error: str) -> None:
    answer = await archive.ask("/nbia-api/oauth/token", method="POST", data=form)
    assert (answer.status, answer.document["error"]) == (status, error)


@pytest.mark.parametrize(
    "api", [f for f in APIS if f.credential in {Credential.TOKEN, Credential.OPTIONAL_TOKEN}], ids=lambda api: api.name
)
async def test_every_endpoint_rejects_an_invalid_token(archive: Served, api: Api) -> None:
    for endpoint in api.endpoints.values():
        answer = await archive.endpoint(api, endpoint, token="nonsense")  # noqa: S106 - made up
        assert (answer.status, answer.body) == ((200, b"up") if endpoint.name == "up" else (401, b"")), endpoint.name


@pytest.mark.parametrize("name", ["nbia-v2", "nbia-advanced"])
async def test_rejects_a_missing_token(archive: Served, name: str) -> None:
    api = BY_NAME[name]
    for endpoint in api.endpoints.values():
        answer = await archive.endpoint(api, endpoint)
        assert answer.status == (200 if endpoint.name == "up" else 401), endpoint.name
        if answer.status == 401:
            assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_v4_treats_a_client_without_token_as_the_guest(archive: Served) -> None:
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
    await archive.ask(f"{V3}/getSeries?api%5Fkey=a%20key")
    for name in ("password", "refresh_token", "client_secret"):
        await archive.ask(f"/nbia-api/oauth/token?username=alice&{name}=open%20sesame")
    token = await archive.log_in("alice", "open sesame")
    await archive.nbia("v2/getSeries", token=token)
    shown = json.dumps([record.path_qs for record in archive.log])
    assert "a%20key" not in shown
    assert token not in shown
    assert "sesame" not in shown
    assert "username=alice&password=\\u2026" in shown
    assert "api_key=\\u2026&format=json" in shown
