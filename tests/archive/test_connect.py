"""From a profile to an open archive: the form, what it can do, and the end of its login."""

from __future__ import annotations

import json as jsons
from contextlib import suppress

import pytest

from bulkdl.archive.base import BundleForm
from bulkdl.archive.connect import capabilities, connect
from bulkdl.archive.drs.archive import DrsArchive
from bulkdl.archive.idc.archive import IdcArchive
from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.pathdb import PathDbArchive
from bulkdl.archive.profiles import BUILT_IN, Profile, find_profile
from bulkdl.archive.routed import RoutedArchive
from bulkdl.errors import RequestFailed
from bulkdl.model.access import Access, Credentials
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from tests.contract.archives import FORMS, KeysArchive
from tests.support.archives import make_retrier
from tests.support.faults import Action, FaultyServer, Seen, answer, json
from tests.support.idc_index import uuid


@pytest.mark.parametrize("name", BUILT_IN)
async def test_every_built_in_profile_can_be_opened(name: str) -> None:
    profile = find_profile(name)
    async with connect(profile, make_retrier()) as archive:
        kinds = {"idc": IdcArchive, "idc-gcs": IdcArchive, "routed": RoutedArchive, "drs": DrsArchive}
        kinds["pathdb"] = PathDbArchive
        assert isinstance(archive, kinds.get(profile.kind, NbiaArchive))
        assert (archive.name, archive.url) == (profile.name, profile.url)
        assert archive.capabilities == capabilities(profile)


async def test_a_login_is_sent_to_the_part_of_a_route_that_takes_it() -> None:
    login = Access(credentials=Credentials(username="me", password="secret"))  # noqa: S106 - made up

    def script(seen: Seen) -> Action:
        return json(jsons.dumps({"access_token": "token", "expires_in": 60}) if "oauth" in seen.path else "[]")

    async with FaultyServer(script) as nbia, FaultyServer(script) as bucket:
        configured = {"idc": f"idc+{bucket.url}", "nbia": f"nbia-v2+{nbia.url}"}
        async with connect(find_profile("tcia", configured), make_retrier(), access=login) as archive:
            await archive.list(Series(series_uid=SeriesUid("1.2.3")))
            with suppress(RequestFailed):
                await archive.list(Series(series_uid=SeriesUid("1.2.3"), location=f"idc-open-data/{uuid(1)}"))
    assert "authorization" in nbia.requests[-2].headers
    assert bucket.requests
    assert all("authorization" not in seen.headers for seen in bucket.requests)


async def test_a_form_that_is_passed_in_is_opened() -> None:
    profile = find_profile("keys+http://127.0.0.1:1", forms=FORMS)
    async with connect(profile, make_retrier()) as archive:
        assert isinstance(archive, KeysArchive)


def test_capabilities_are_known_without_a_request() -> None:
    found = capabilities(find_profile("tcia-v3"))
    assert (found.takes_key, found.takes_login, found.bundle) == (True, False, BundleForm.ZIP)
    assert not capabilities(find_profile("keys+http://127.0.0.1:1", forms=FORMS)).endpoints


async def test_the_login_ends_with_the_block_even_after_an_error() -> None:
    def script(seen: Seen) -> Action:
        is_token = seen.path.endswith("/oauth/token")
        return json(jsons.dumps({"access_token": "t", "expires_in": 60})) if is_token else answer(b"[]")

    access = Access(credentials=Credentials(username="me", password="secret"))  # noqa: S106 - made up
    async with FaultyServer(script) as server:
        profile = Profile("x", f"{server.url}services/", "nbia-v2")
        with suppress(LookupError):
            async with connect(profile, make_retrier(), access=access) as archive:
                await archive.collections()
                raise LookupError
        assert server.requests[-1].path == "/services/logout"
