"""DataCite and the Collection Manager over real sockets: our readers understand the answers, and clients the errors.

The catalogue has two Collections with a DOI, one of them with an analysis result, and one that guests must not see.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bulkdl.manifest.tcia import compose
from bulkdl.model.data_sets import DataSetKind, DownloadWay
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.server.access import AccessRules
from bulkdl.server.catalogue.holdings import Holdings
from bulkdl.verbs.connections.service_clients import open_collection_manager, open_datacite
from tests.support.served import Served, served

ANSWERS = Path(__file__).parents[2] / "data" / "answers"
RESULT = "10.7937/r1-masks"
BY = {"license_name": "Creative Commons Attribution 4.0 International License"} | {
    "license_uri": "https://creativecommons.org/licenses/by/4.0/"
}


def series(number: int, collection: str, doi: str | None, **more: Any) -> Series:
    values = {"image_count": 10, "size_bytes": 1_000_000, "modality": "CT", **BY, **more}
    return Series(
        series_uid=SeriesUid(f"1.2.{number}"),
        study_uid=StudyUid(f"1.2.99{number}"),
        collection=collection,
        patient_id=f"P{number}",
        collection_uri=f"https://doi.org/{doi}" if doi else None,
        submitted=datetime(2026, 2, 3),  # noqa: DTZ001 - as in the catalogue
        **values,
    )


KNOWN = [
    series(1, "LUNG", "10.7937/K9/LUNG"),
    series(2, "LUNG", "10.7937/K9/LUNG", modality="MR"),
    series(3, "LUNG", RESULT, modality="SEG", third_party=True),
    series(4, "BRAIN <x>", "10.7937/k9/brain"),
    series(5, "BRAIN <x>", RESULT, modality="SEG", third_party=True),
    series(9, "BRAIN <x>", "10.7937/k9/brain-two"),  # of its authors, too: not an analysis result
    series(6, "PLAIN", None),
    series(7, "SECRET", "10.7937/k9/secret"),
]


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Served]:
    path = tmp_path / "catalogue.sqlite"
    rules = AccessRules(restricted=frozenset({"SECRET"}))
    async with served(catalogue=path, rules=rules) as running:
        with Holdings(running.catalogue, tmp_path).loading({"archive": "made up"}) as arrangement:
            arrangement.add_records(KNOWN)
        yield running


async def test_datacite_lists_each_doi_once_with_what_it_is_derived_from(server: Served) -> None:
    async with open_datacite(f"{server.origin}/") as datacite:
        found = {each.doi: each for each in await datacite.dois()}
        derived = await datacite.derived_from("10.7937/k9/lung")
        one = await datacite.doi("10.7937/K9/LUNG")
        searched = await datacite.search("brain")
    assert found.keys() == {"10.7937/k9/lung", "10.7937/k9/brain", RESULT}
    assert (one.short_name, one.year, one.rights[0].address) == ("LUNG", 2026, BY["license_uri"])
    assert [each.doi for each in derived] == [RESULT]
    assert {each.identifier for each in derived[0].relations} == {"10.7937/k9/lung", "10.7937/k9/brain"}
    assert {each.doi for each in searched} == {"10.7937/k9/brain", RESULT}


async def test_the_collection_manager_has_each_data_set_with_its_numbers(server: Served) -> None:
    for version in (2, 1):
        async with open_collection_manager(f"{server.origin}/api/", version=version) as manager:
            brain, lung, plain, result = await manager.data_sets()
        assert (lung.name, lung.doi, lung.patients, lung.modalities) == (
            "LUNG",
            "10.7937/k9/lung",
            3,
            ("CT", "MR", "SEG"),
        )
        assert (brain.name, plain.doi) == ("BRAIN <x>", None)
        assert (result.kind, result.doi, result.collections) == (
            DataSetKind.ANALYSIS_RESULT,
            RESULT,
            ("BRAIN <x>", "LUNG"),
        )
        (download,) = lung.downloads
        assert (download.way, download.license, download.series, download.size_bytes) == (
            DownloadWay.BULKDL,
            "CC BY 4.0",
            3,
            3_000_000,
        )
        manifest = await server.ask((download.address or "").removeprefix(server.origin))
        assert manifest.body.decode() == compose(["1.2.1", "1.2.2", "1.2.3"], archive=server.origin, name="LUNG.tcia")


@pytest.mark.parametrize("name", ["SECRET", "NONE", "..%2F..%2Fetc"])
async def test_there_is_no_manifest_of_what_is_hidden_or_unknown(server: Served, name: str) -> None:
    assert (await server.ask(f"/wp-content/uploads/{name}.tcia")).status == 404


@pytest.mark.parametrize(
    ("path", "file"),
    [
        ("/api/v2/collections/?v=1", "wordpress_v2_collections.json"),
        ("/api/v1/collections/", "wordpress_v1_collections.json"),
        ("/api/v1/downloads/", "wordpress_v1_downloads.json"),
        ("/api/v2/versions/", "wordpress_v2_versions.json"),
    ],
)
async def test_records_have_the_documented_keys(server: Served, path: str, file: str) -> None:
    def records(document: Any) -> Any:
        return document["results"] if isinstance(document, dict) else document

    documented = json.loads((ANSWERS / file).read_text())
    answered = (await server.ask(path)).document
    assert type(answered) is type(documented)
    first = {name.replace(" ", "_") for name in records(documented)[0]}
    assert first <= records(answered)[0].keys()


async def test_a_record_of_datacite_has_the_documented_keys(server: Served) -> None:
    documented = json.loads((ANSWERS / "datacite_dois.json").read_text())
    answered = (await server.ask("/dois/")).document
    assert answered.keys() == documented.keys()
    assert documented["data"][0]["attributes"].keys() <= answered["data"][0]["attributes"].keys()


async def test_pages_end_where_they_say(server: Served) -> None:
    page = (await server.ask("/dois?page[size]=2&page[number]=2")).document
    assert (len(page["data"]), page["meta"], "next" in page["links"]) == (
        1,
        {"total": 3, "totalPages": 2, "page": 2},
        False,
    )
    cursor = (await server.ask("/dois?page[size]=2&page[cursor]=1")).document
    assert "page%5Bcursor%5D=2" in cursor["links"]["next"]
    assert (await server.ask("/dois?client-id=someone.else")).document["data"] == []
    second = await server.ask("/api/v1/downloads?per_page=2&page=1&_fields=slug")
    assert (second.headers["X-WP-Total"], second.headers["X-WP-TotalPages"]) == ("4", "2")
    assert 'page=2&_fields=slug>; rel="next"' in second.headers["Link"]
    assert [each.keys() for each in second.document] == [{"id", "slug"}] * 2


async def test_fields_numbers_order_and_text_narrow_the_records(server: Served) -> None:
    async def names(query: str) -> list[str]:
        found = (await server.ask(f"/api/v2/collections/?{query}")).document["results"]
        return [each["collection_short_title"] for each in found]

    lung = (await server.ask("/api/v2/collections/?search=lung")).document["results"][0]
    assert await names(f"id={lung['id']},7") == ["LUNG"]
    assert await names("orderby=collection_short_title&order=desc") == ["PLAIN", "LUNG", "BRAIN &lt;x&gt;"]
    assert "detailed_description" not in lung


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v1/collections?page=9", 400, "rest_post_invalid_page_number"),
        ("/api/v2/collections/?per_page=101", 400, "rest_invalid_param"),
        ("/api/v2/collections/?page=0", 400, "rest_invalid_param"),
        ("/api/v2/nothing/", 404, "rest_no_route"),
    ],
)
async def test_what_is_wrong_is_an_error_of_wordpress(server: Served, path: str, status: int, code: str) -> None:
    answer = await server.ask(path)
    assert answer.document.keys() == json.loads((ANSWERS / "wordpress_error.json").read_text()).keys()
    assert (answer.status, answer.document["code"], answer.document["data"]) == (status, code, {"status": status})


async def test_an_unknown_doi_is_not_found_by_datacite_and_another_method_not_allowed(server: Served) -> None:
    answer = await server.ask("/dois/10.7937/none")
    assert (answer.status, answer.document["errors"][0]["status"]) == (404, "404")
    assert (await server.ask("/dois/10.7937/k9/secret")).status == 404
    assert (await server.ask("/dois", method="POST")).status == 405


async def test_what_is_new_is_there_after_a_change(server: Served, tmp_path: Path) -> None:
    assert (await server.ask("/dois")).document["meta"]["total"] == 3
    with Holdings(server.catalogue, tmp_path).loading({"archive": "made up"}) as arrangement:
        arrangement.add_records([series(8, "NEW", "10.7937/k9/new")])
    assert (await server.ask("/dois")).document["meta"]["total"] == 1
