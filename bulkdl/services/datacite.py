"""DataCite: the DOIs of TCIA, with titles, authors, licences and relations.

Source: the documentation of its REST API (JSON:API), and what tcia_utils 3.3.5 asks. Every list of a record may be
empty, and every value null.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from bulkdl.errors import UnexpectedAnswer, UserError
from bulkdl.services.base import Query, ServiceAnswer, ServiceClient, read_document, unexpected
from bulkdl.services.values import address_of, number_of, objects_of, text_of

TCIA_PREFIX: Final = "10.7937"
"""The prefix of TCIA's DOIs. Older pages name other clients and providers, but the prefix stays."""

_DOI: Final = re.compile(r"10\.\d{4,9}/\S{1,400}", re.ASCII)
_SHORT_NAME: Final = "tcia short name"
_PAGE: Final = 1_000
_MOST_BY_NUMBER: Final = 10_000  # beyond, DataCite has pages by cursor alone
_MOST_RECORDS: Final = 100_000
_SPECIAL: Final = re.compile(r'([+\-=&|><!(){}\[\]^"~*?:\\/])')


@dataclass(frozen=True, slots=True)
class Creator:
    """An author: a person, or an organisation, which has a `name` alone. `identifiers` are ORCIDs and the like."""

    name: str
    given_name: str | None = None
    family_name: str | None = None
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relation:
    """How a data set is related to something else: `IsDerivedFrom`, `IsCitedBy` and others of DataCite's schema."""

    kind: str
    identifier: str
    identifier_type: str | None = None


@dataclass(frozen=True, slots=True)
class Rights:
    """A licence, and its address."""

    name: str
    address: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoiRecord:
    """What DataCite knows of one DOI, which is in lower case. `short_name` is TCIA's for the data set.

    `views`, `citations` and `references` are counts, None where they are not given.
    """

    doi: str
    title: str = ""
    other_titles: tuple[str, ...] = ()
    short_name: str | None = None
    creators: tuple[Creator, ...] = ()
    publisher: str | None = None
    year: int | None = None
    version: str | None = None
    state: str | None = None
    address: str | None = None
    created: str | None = None
    updated: str | None = None
    descriptions: tuple[str, ...] = ()
    rights: tuple[Rights, ...] = ()
    relations: tuple[Relation, ...] = ()
    funders: tuple[str, ...] = ()
    views: int | None = None
    citations: int | None = None
    references: int | None = None


class DataCite:
    """Questions to DataCite. Every method may raise what `ServiceClient.get` raises, and UnexpectedAnswer."""

    def __init__(self, client: ServiceClient) -> None:
        self._client = client

    async def dois(self, *, prefix: str = TCIA_PREFIX) -> tuple[DoiRecord, ...]:
        """All DOIs of a prefix, each once."""
        return await self._all("the DOIs of TCIA", (("prefix", prefix),))

    async def search(self, text: str, *, prefix: str = TCIA_PREFIX) -> tuple[DoiRecord, ...]:
        """The DOIs of a prefix whose records contain all words of a text."""
        words = " AND ".join(_SPECIAL.sub(r"\\\1", word) for word in text.split())
        if not words:
            raise UserError("there is no text to search for")
        return await self._all(f"the DOIs with {text!r}", (("prefix", prefix), ("query", words)))

    async def derived_from(self, doi: str, *, prefix: str = TCIA_PREFIX) -> tuple[DoiRecord, ...]:
        """The DOIs of a prefix that state that they are derived from `doi`."""
        query = (
            f'relatedIdentifiers.relatedIdentifier:"{checked(doi)}" AND relatedIdentifiers.relationType:IsDerivedFrom'
        )
        return await self._all(f"what is derived from {doi}", (("prefix", prefix), ("query", query)))

    async def doi(self, doi: str) -> DoiRecord:
        """The record of one DOI, in any case.

        Raises:
            NotFound: DataCite does not know it.
        """
        what = f"the DOI {checked(doi)}"

        def read(answer: ServiceAnswer) -> DoiRecord:
            document = read_document(answer, what)
            record = read_doi(document.get("data") if isinstance(document, Mapping) else None)
            if record is None or record.doi != doi.lower():
                raise UnexpectedAnswer(f"{what}: DataCite sent another record")
            return record

        return await self._client.get(what, f"dois/{quote(doi.lower(), safe='')}", (), read)

    async def _all(self, what: str, query: Query) -> tuple[DoiRecord, ...]:
        found: dict[str, DoiRecord] = {}
        total = 0
        async with aclosing(self._pages(what, query)) as pages:
            async for document in pages:
                total = max(total, number_of(document["meta"].get("total")) or 0)
                records = (read_doi(each) for each in document["data"])
                found |= {record.doi: record for record in records if record is not None}
        if len(found) < total:
            raise UnexpectedAnswer(f"{what}: DataCite announced {total:,} records, and sent {len(found):,}")
        return tuple(found.values())

    async def _pages(self, what: str, query: Query) -> AsyncGenerator[Mapping[str, Any], None]:
        """The pages of an answer: by number, or by cursor where they are too many for numbers."""
        first = await self._page(what, (*query, ("page[number]", "1")))
        total = number_of(first["meta"].get("total")) or 0
        if total > _MOST_RECORDS:
            raise UnexpectedAnswer(f"{what}: {total:,} records are more than {_MOST_RECORDS:,}")
        if total > _MOST_BY_NUMBER:
            async with aclosing(self._pages_by_cursor(what, query)) as pages:
                async for page in pages:
                    yield page
            return
        yield first
        for number in range(2, -(-total // _PAGE) + 1):
            yield await self._page(what, (*query, ("page[number]", str(number))))

    async def _pages_by_cursor(self, what: str, query: Query) -> AsyncGenerator[Mapping[str, Any], None]:
        cursor = "1"
        for _ in range(_MOST_RECORDS // _PAGE + 1):
            page = await self._page(what, (*query, ("page[cursor]", cursor)))
            yield page
            following = _next_cursor(page)
            if not page["data"] or following is None or following == cursor:
                return
            cursor = following
        raise UnexpectedAnswer(f"{what}: the list does not end")

    async def _page(self, what: str, query: Query) -> Mapping[str, Any]:
        def read(answer: ServiceAnswer) -> Mapping[str, Any]:
            document = read_document(answer, what)
            if not isinstance(document, Mapping) or not isinstance(document.get("data"), list):
                raise unexpected(what, document)
            meta = document.get("meta")
            return {**document, "meta": meta if isinstance(meta, Mapping) else {}}

        return await self._client.get(what, "dois", (*query, ("page[size]", str(_PAGE))), read)


def checked(doi: str) -> str:
    """A DOI without its resolver, such as `10.7937/k9/tcia.2016.eln8ygle`. Raises UserError: it is not one."""
    if _DOI.fullmatch(doi) is None or '"' in doi or "\\" in doi:
        raise UserError(f"{doi!r} is not a DOI: it begins with 10. and a number")
    return doi


def read_doi(data: Any) -> DoiRecord | None:
    """The record of an object of JSON:API; None if it has no DOI. What cannot be read of it is left out."""
    attributes = data.get("attributes") if isinstance(data, Mapping) else None
    if not isinstance(data, Mapping) or not isinstance(attributes, Mapping):
        return None
    doi = text_of(attributes.get("doi")) or text_of(data.get("id"))
    if _DOI.fullmatch(doi) is None:
        return None
    titles = [text for each in objects_of(attributes.get("titles")) if (text := text_of(each.get("title")))]
    return DoiRecord(
        doi=doi.lower(),
        title=titles[0] if titles else "",
        other_titles=tuple(titles[1:]),
        short_name=_short_name(attributes),
        creators=tuple(map(_creator, objects_of(attributes.get("creators")))),
        publisher=_text(attributes, "publisher"),
        year=number_of(attributes.get("publicationYear")),
        **{name: _text(attributes, name) for name in ("version", "state", "created", "updated")},
        address=address_of(attributes.get("url")),
        descriptions=tuple(_texts(attributes, "descriptions", "description")),
        rights=tuple(
            Rights(text_of(each.get("rights")), address_of(each.get("rightsUri")))
            for each in objects_of(attributes.get("rightsList"))
        ),
        relations=_relations(attributes),
        funders=tuple(_texts(attributes, "fundingReferences", "funderName")),
        views=number_of(attributes.get("viewCount")),
        citations=number_of(attributes.get("citationCount")),
        references=number_of(attributes.get("referenceCount")),
    )


def _text(values: Mapping[str, Any], name: str) -> str | None:
    return text_of(values.get(name)) or None


def _texts(values: Mapping[str, Any], name: str, inner: str) -> list[str]:
    return [text for each in objects_of(values.get(name)) if (text := text_of(each.get(inner)))]


def _short_name(attributes: Mapping[str, Any]) -> str | None:
    """The alternate identifier of the type that TCIA uses; the first one, which is used where no type says more."""
    found = [
        (text_of(each.get("identifierType") or each.get("alternateIdentifierType")).casefold(), name)
        for key in ("identifiers", "alternateIdentifiers")
        for each in objects_of(attributes.get(key))
        if (name := text_of(each.get("identifier") or each.get("alternateIdentifier")))
    ]
    return next((name for kind, name in found if kind == _SHORT_NAME), None)


def _creator(values: Mapping[str, Any]) -> Creator:
    given, family = _text(values, "givenName"), _text(values, "familyName")
    name = text_of(values.get("name")) or " ".join(filter(None, (given, family)))
    return Creator(name, given, family, tuple(_texts(values, "nameIdentifiers", "nameIdentifier")))


def _relations(attributes: Mapping[str, Any]) -> tuple[Relation, ...]:
    return tuple(
        Relation(kind, identifier, _text(each, "relatedIdentifierType"))
        for each in objects_of(attributes.get("relatedIdentifiers"))
        if (kind := text_of(each.get("relationType"))) and (identifier := text_of(each.get("relatedIdentifier")))
    )


def _next_cursor(document: Mapping[str, Any]) -> str | None:
    """The cursor in the address of the next page. The address itself is not followed: it may be anywhere."""
    links = document.get("links")
    address = links.get("next") if isinstance(links, Mapping) else None
    if not isinstance(address, str):
        return None
    try:
        found = parse_qs(urlsplit(address).query).get("page[cursor]")
    except ValueError:
        return None
    return found[0] if found else None
