"""Services are asked through the one HTTP client: repeated where that helps, given up at once where nothing answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bulkdl.archive.profiles import Profile, find_profile
from bulkdl.errors import ArchiveUnreachable, ConfigurationError, NotFound
from bulkdl.model.access import Access, Credentials
from bulkdl.verbs.connections.service_clients import SERVICES, open_collection_manager, open_datacite, service_addresses
from tests.support.faults import FaultyServer, answer, in_turn, redirect
from tests.support.faults import json as json_answer

DOCUMENTED = Path(__file__).parents[2] / "data" / "answers"
EMPTY = json.dumps({"results": [], "page": 1, "total_pages": 1})


async def test_a_page_in_place_of_an_answer_is_asked_for_again() -> None:
    dois = (DOCUMENTED / "datacite_dois.json").read_text()
    script = in_turn(answer(b"<html>Maintenance</html>"), answer(b"", status=503), json_answer(dois))
    async with FaultyServer(script) as server, open_datacite(server.url) as datacite:
        assert [each.title for each in await datacite.dois()] == ["Demo lung CT"]
        assert [seen.path for seen in server.requests] == ["/dois"] * 3


async def test_no_credentials_are_sent_and_redirects_are_followed() -> None:
    access = Access(credentials=Credentials(api_key="secret-key", username="me", password="secret"))  # noqa: S106
    async with FaultyServer(in_turn(json_answer(EMPTY))) as there:
        async with (
            FaultyServer(lambda seen: redirect(f"{there.url}{seen.target[1:]}")) as here,
            open_collection_manager(f"{here.url}api/", access=access) as manager,
        ):
            assert await manager.records("collections") == []
        (seen,) = there.requests
    assert (seen.path, seen.query["per_page"]) == ("/api/v2/collections/", "100")
    assert "secret" not in f"{seen.target}{dict(seen.headers)}"


async def test_a_service_that_does_not_answer_is_given_up_at_once() -> None:
    async with FaultyServer(in_turn(json_answer(EMPTY))) as server:
        address = server.url
    async with open_datacite(address) as datacite:
        with pytest.raises(ArchiveUnreachable) as caught:
            await datacite.dois()
    assert "for 10 s" not in str(caught.value)


async def test_an_unknown_doi_is_not_found() -> None:
    body = b'{"errors":[{"status":"404","title":"not here"}]}'
    async with FaultyServer(in_turn(answer(body, status=404))) as server, open_datacite(server.url) as datacite:
        with pytest.raises(NotFound, match="not here"):
            await datacite.doi("10.7937/unknown")
        assert len(server.requests) == 1


def test_the_archives_of_tcia_and_idc_have_the_public_services_and_others_those_that_are_configured() -> None:
    lab = find_profile("nbia+http://127.0.0.1:1/nbia-api/services")
    assert [service_addresses(find_profile(name), {}) for name in ("tcia", "idc", "nbia", "idc-gcs")] == [SERVICES] * 4
    assert service_addresses(lab, {}) == {}
    assert service_addresses(lab, {"datacite": "http://127.0.0.1:2/x"}) == {"datacite": "http://127.0.0.1:2/x/"}
    demo = service_addresses(Profile("demo", "http://127.0.0.1:3/nbia-api/services/", "nbia"), {})
    assert demo == {"datacite": "http://127.0.0.1:3/", "collection-manager": "http://127.0.0.1:3/api/"}


@pytest.mark.parametrize("address", ["ftp://x/", "x", "https://me:secret@example.org/", "https://example.org/?key=1"])
def test_an_invalid_address_of_a_service_is_refused_without_being_shown(address: str) -> None:
    with pytest.raises(ConfigurationError, match="datacite") as caught:
        service_addresses(find_profile("tcia"), {"datacite": address})
    assert "secret" not in str(caught.value)
