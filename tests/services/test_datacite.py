"""DataCite's records are read as documented; pages are followed to their announced end, and never beyond."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bulkdl.errors import UnexpectedAnswer, UserError
from bulkdl.services.datacite import Creator, DataCite, Relation, Rights, read_doi
from tests.support.made_up_service import MadeUpService

DOCUMENTED = Path(__file__).parents[1] / "data" / "answers" / "datacite_dois.json"


def record(number: int, **attributes: Any) -> dict[str, Any]:
    doi = f"10.7937/K9/TCIA.2099.{number}"
    return {"id": doi.lower(), "type": "dois", "attributes": {"doi": doi, **attributes}}


def pages(total: int, *, size: int | None = None) -> MadeUpService:
    """A service with so many records, in pages of the size that is asked for."""

    def answer(_: str, query: Mapping[str, str]) -> Any:
        length = size or int(query["page[size]"])
        cursor = query.get("page[cursor]")
        number = int(cursor or query["page[number]"])
        first = (number - 1) * length
        meta = {"total": total, "totalPages": -(-total // length)}
        following = f"https://elsewhere.example.org/dois?{urlencode({'page[cursor]': number + 1})}"
        data = [record(each) for each in range(first, min(total, first + length))]
        return {
            "data": data,
            "meta": meta,
            "links": {"next": following} if cursor and data[-1:] != [record(total - 1)] else {},
        }

    return MadeUpService(answer)


def test_a_record_is_read_as_documented() -> None:
    found = read_doi(json.loads(DOCUMENTED.read_text())["data"][0])
    assert found is not None
    assert (found.doi, found.title) == ("10.7937/k9/tcia.2099.example1", "Demo lung CT")
    assert found.creators == (Creator("Doe, Jane", "Jane", "Doe"),)
    assert found.relations == (Relation("IsDerivedFrom", "10.7937/k9/tcia.2098.example0"),)
    address = "https://creativecommons.org/licenses/by/4.0/"
    assert found.rights == (Rights("Creative Commons Attribution 4.0 International License", address),)
    assert (found.version, found.citations, found.views, found.references) == ("2", 3, 0, 1)
    assert found.descriptions == ("Made-up collection.",)


@pytest.mark.parametrize(
    "attributes",
    [
        dict.fromkeys(("titles", "creators", "rightsList", "relatedIdentifiers", "publisher", "identifiers")),
        {"titles": [None, {"title": None}], "creators": "Doe", "rightsList": [[]], "publicationYear": "soon"},
        {"relatedIdentifiers": [{"relationType": "IsCitedBy"}, 7], "url": "javascript:x", "viewCount": -1},
    ],
    ids=["null", "other types", "incomplete"],
)
def test_any_value_may_be_missing_or_of_another_type(attributes: dict[str, Any]) -> None:
    found = read_doi(record(1, **attributes))
    assert found is not None
    assert (found.doi, found.title, found.creators, found.rights) == ("10.7937/k9/tcia.2099.1", "", (), ())
    assert (found.relations, found.address, found.views, found.year) == ((), None, None, None)


@pytest.mark.parametrize("data", [None, [], {"id": "10.7937/x"}, {"attributes": {"doi": "x"}}, {"attributes": None}])
def test_what_has_no_doi_is_not_a_record(data: Any) -> None:
    assert read_doi(data) is None


def test_the_publisher_may_be_an_object_and_the_short_name_has_its_type() -> None:
    identifiers = [
        {"identifier": "x-1", "identifierType": "Other"},
        {"identifier": "DEMO-LUNG", "identifierType": "TCIA Short Name"},
    ]
    found = read_doi(record(1, publisher={"name": "The Cancer Imaging Archive"}, identifiers=identifiers))
    assert found is not None
    assert (found.publisher, found.short_name) == ("The Cancer Imaging Archive", "DEMO-LUNG")


async def test_all_pages_are_followed() -> None:
    service = pages(2_500)
    found = await DataCite(service).dois()
    assert len({each.doi for each in found}) == 2_500
    assert [query["page[number]"] for _, query in service.asked] == ["1", "2", "3"]
    assert all(query["prefix"] == "10.7937" for _, query in service.asked)


async def test_more_than_ten_thousand_records_come_by_cursor_from_the_same_service() -> None:
    service = pages(10_001)
    assert len(await DataCite(service).dois()) == 10_001
    assert [query.get("page[cursor]") for _, query in service.asked][1:] == [str(each) for each in range(1, 12)]


async def test_fewer_records_than_announced_are_an_error() -> None:
    short = MadeUpService(lambda *_: {"data": [record(1)], "meta": {"total": 2}})
    with pytest.raises(UnexpectedAnswer, match="announced 2 records, and sent 1"):
        await DataCite(short).dois()


@pytest.mark.parametrize("total", [10**9, "1000001"])
async def test_a_list_that_never_ends_is_refused(total: Any) -> None:
    service = MadeUpService(lambda *_: {"data": [], "meta": {"total": total}})
    with pytest.raises(UnexpectedAnswer, match="are more than"):
        await DataCite(service).dois()


async def test_a_text_is_searched_for_word_by_word_without_its_operators() -> None:
    service = pages(1)
    await DataCite(service).search("lung (CT) a:b")
    assert service.asked[0][1]["query"] == r"lung AND \(CT\) AND a\:b"
    with pytest.raises(UserError):
        await DataCite(service).search("  ")


async def test_what_is_derived_from_a_doi_is_asked_for() -> None:
    service = pages(1)
    assert len(await DataCite(service).derived_from("10.7937/x")) == 1
    assert 'relatedIdentifier:"10.7937/x" AND' in service.asked[0][1]["query"]
    with pytest.raises(UserError, match="is not a DOI"):
        await DataCite(service).derived_from('10.7937/x" OR "')


async def test_one_doi_is_asked_for_with_its_slash_encoded_and_must_be_the_one_sent() -> None:
    service = MadeUpService(lambda *_: {"data": record(1)})
    assert (await DataCite(service).doi("10.7937/K9/TCIA.2099.1")).doi == "10.7937/k9/tcia.2099.1"
    assert service.asked[0][0] == "dois/10.7937%2Fk9%2Ftcia.2099.1"
    with pytest.raises(UnexpectedAnswer, match="another record"):
        await DataCite(service).doi("10.7937/other")
