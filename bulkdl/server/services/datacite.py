"""What DataCite answers, for the data sets of the catalogue that have a DOI. Pure.

Records are those of its REST API, in the order of the documented answer. Of the query language of Elasticsearch, what
clients of TCIA send is understood: words, and `field:value`, with `AND` between them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from bulkdl.model.data_sets import TEST_PREFIX
from bulkdl.server.services.offers import OfferedDataSet

CLIENT: Final = "nihnci.tcia"
_TCIA: Final = "10.7937"
NOT_FOUND: Final = {"errors": [{"status": "404", "title": "The resource you are looking for doesn't exist."}]}

_DEFAULT_SIZE: Final = 25
_MOST: Final = 1_000
_LONGEST_CITATION: Final = 2_000
_AUTHOR: Final = re.compile(r"([^,.;(]+), ((?:[A-Z]\.[ -]?)+)")
_TERM: Final = re.compile(r'(?P<field>[A-Za-z.]+):(?P<value>"(?:[^"\\]|\\.)*"|\S+)$')
_ESCAPED: Final = re.compile(r"\\(.)")


def doi_record(one: OfferedDataSet, origin: str) -> dict[str, Any]:
    """The record of a data set. `origin` is the address of this server, where its page is."""
    time = one.time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    related = [
        {"relationType": "IsDerivedFrom", "relatedIdentifier": doi, "relatedIdentifierType": "DOI"}
        for doi in one.derived_from
    ]
    attributes = {
        "doi": one.doi,
        "identifiers": [{"identifier": one.name, "identifierType": "TCIA Short Name"}],
        "creators": _creators(one.citation),
        "titles": [{"title": one.name}],
        "publisher": "The Cancer Imaging Archive",
        "publicationYear": one.time.year,
        "created": time,
        "updated": time,
        "relatedIdentifiers": related,
        "version": "1",
        "rightsList": [{"rights": name, "rightsUri": address} for name, address in one.licenses],
        "descriptions": [{"description": one.description or one.name, "descriptionType": "Abstract"}],
        "fundingReferences": [],
        "url": f"{origin}/",
        "state": "findable",
        "viewCount": 0,
        "citationCount": 0,
        "referenceCount": len(related),
    }
    return {"id": one.doi, "type": "dois", "attributes": attributes}


def _creators(citation: str) -> list[dict[str, Any]]:
    """The authors of a citation in the style of the APA; the text before the year where it names no persons."""
    names = citation[:_LONGEST_CITATION].partition(" (")[0]
    people = [(family.strip(" &"), given.strip()) for family, given in _AUTHOR.findall(names)]
    if not people:
        return [{"name": names.partition(".")[0].partition(":")[0] or "unknown", "nameIdentifiers": []}]
    return [
        {"name": f"{family}, {given}", "givenName": given, "familyName": family, "nameIdentifiers": []}
        for family, given in people
    ]


def doi_list(records: Sequence[dict[str, Any]], query: Mapping[str, str], address: str) -> dict[str, Any]:
    """One page of the records that match a query. `address` is that of the list itself."""
    found = [each for each in records if _matches(each, query)]
    size = _number(query.get("page[size]") or query.get("rows"), _DEFAULT_SIZE, _MOST)
    by_cursor = "page[cursor]" in query
    page = _number(query.get("page[cursor]" if by_cursor else "page[number]"), 1, len(found) + 1)
    start = (page - 1) * size
    links = {"self": address}
    if start + size < len(found):
        name = "page[cursor]" if by_cursor else "page[number]"
        links["next"] = f"{address}?{urlencode({**query, name: page + 1})}"
    pages = max(1, -(-len(found) // size))
    meta = {"total": len(found), "totalPages": pages, "page": page}
    return {"data": found[start : start + size], "meta": meta, "links": links}


def _number(text: str | None, default: int, most: int) -> int:
    is_number = text is not None and text.isascii() and text.isdigit() and len(text) < 10  # noqa: PLR2004 - digits
    return min(max(1, int(text or 1)), max(1, most)) if is_number else default


def _matches(record: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    client, prefix = query.get("client-id", CLIENT), query.get("prefix", "").casefold()
    # The made-up DOIs of the demonstration stand for TCIA's, which clients ask for by their prefix.
    known = (prefix, TEST_PREFIX) if prefix == _TCIA else (prefix,)
    if client.casefold() != CLIENT or (prefix and str(record["id"]).partition("/")[0] not in known):
        return False
    terms = query.get("query", "").split(" AND ")
    return all(_has(record, term.strip()) for term in terms if term.strip())


def _has(record: Mapping[str, Any], term: str) -> bool:
    """Whether a record meets a term: a field that has a value, or words that are somewhere in it."""
    found = _TERM.match(term)
    if found is not None:
        value = _ESCAPED.sub(r"\1", found["value"].strip('"')).casefold()
        return value in _values(record["attributes"], found["field"].split("."))
    text = json.dumps(record, ensure_ascii=False).casefold()
    return all(_ESCAPED.sub(r"\1", word).strip('"').casefold() in text for word in term.split())


def _values(value: Any, names: Sequence[str]) -> set[str]:
    """The values of a field in nested objects and lists, without case."""
    if isinstance(value, list):
        return {found for each in value for found in _values(each, names)}
    if names:
        return _values(value.get(names[0]), names[1:]) if isinstance(value, dict) else set()
    return {str(value).casefold()} if value is not None else set()
