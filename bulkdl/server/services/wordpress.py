"""What the Collection Manager of TCIA answers, for the data sets of the catalogue. Pure.

Records have the keys of the documented answers, in their order. v2 wraps a page in an object, v1 sends a bare list with
the totals in its headers.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from bulkdl.model.licenses import short_license
from bulkdl.server.services.offers import OfferedDataSet

Record: TypeAlias = dict[str, Any]
NO_ROUTE: Final = ("rest_no_route", "No route was found matching the URL and request method.", 404)

_DEFAULT_SIZES: Final = {1: 10, 2: 50}
_MOST: Final = 100
_LONG: Final = frozenset({"detailed_description", "collection_abstract", "result_abstract"})
_ALWAYS: Final = frozenset({"id"})
_NOT_IN_SLUG: Final = re.compile(r"[^a-z0-9]+")
_MEGABYTE: Final = 1_000_000
_MORE_DIGITS: Final = 10


class WordPressError(Exception):
    """A request that WordPress refuses, with its code, its message and the status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.document = {"code": code, "message": message, "data": {"status": status}}
        self.status = status


@dataclass(frozen=True, slots=True)
class WordPressPage:
    """One page of records. `total` and `pages` count all."""

    records: list[Record]
    page: int
    total: int
    pages: int

    @property
    def as_v2(self) -> dict[str, Any]:
        """The object of API v2."""
        return {"results": self.records, "page": self.page, "total_pages": self.pages}


def page_of(
    version: int, endpoint: str, query: Mapping[str, str], known: Sequence[OfferedDataSet], origin: str
) -> WordPressPage:
    """The page of an endpoint that a query asks for.

    Raises:
        WordPressError: there is no such endpoint or page, or a parameter is invalid.
    """
    if (make := _ENDPOINTS.get(endpoint)) is None:
        raise WordPressError(*NO_ROUTE)
    records = _chosen(make(known, version, origin), version, query)
    size = _whole(query, "per_page", _DEFAULT_SIZES[version])
    page = _whole(query, "page", 1)
    if size > _MOST:
        raise WordPressError("rest_invalid_param", "Invalid parameter(s): per_page")
    pages = max(1, -(-len(records) // size))
    if page > pages and version == 1:
        message = "The page number requested is larger than the number of pages available."
        raise WordPressError("rest_post_invalid_page_number", message)
    shown = records[(page - 1) * size : page * size]
    return WordPressPage([_with_fields(each, version, query) for each in shown], page, len(records), pages)


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < _MORE_DIGITS and int(text)):
        raise WordPressError("rest_invalid_param", f"Invalid parameter(s): {name}")
    return int(text)


def _chosen(records: Iterable[Record], version: int, query: Mapping[str, str]) -> list[Record]:
    """The records with the wanted numbers and the wanted text, in the wanted order."""
    numbers = query.get("id" if version != 1 else "include", "")
    found = [each for each in records if not numbers or str(each["id"]) in numbers.split(",")]
    if text := query.get("search", "").casefold():
        found = [each for each in found if text in json.dumps(each, ensure_ascii=False).casefold()]
    if version != 1 and (name := query.get("orderby")):
        found.sort(key=lambda each: str(each.get(name, "")).casefold(), reverse=query.get("order") == "desc")
    return found


def _with_fields(record: Record, version: int, query: Mapping[str, str]) -> Record:
    names = query.get("fields" if version != 1 else "_fields", "")
    if names:
        wanted = {*names.split(","), *_ALWAYS}
        return {name: value for name, value in record.items() if name in wanted}
    if version != 1 and query.get("v") != "1":
        return {name: value for name, value in record.items() if name not in _LONG}
    return record


# --- records ----------------------------------------------------------------------------------------------------------


def slug_of(name: str) -> str:
    """The name of a data set in the address of its page."""
    return _NOT_IN_SLUG.sub("-", name.casefold()).strip("-") or "data-set"


def _id(kind: str, name: str) -> int:
    """A number that stays the same as long as the name does."""
    return zlib.crc32(f"{kind} {name}".encode(errors="replace"))


def _data_sets(known: Sequence[OfferedDataSet], version: int, origin: str, *, are_results: bool) -> list[Record]:
    return [_data_set(each, version, origin) for each in known if each.is_result is are_results]


def _data_set(one: OfferedDataSet, version: int, origin: str) -> Record:
    prefix = "result" if one.is_result else "collection"
    summary = f"<p>{_escaped(one.description or one.name)}</p>"
    download = _download(one, origin)
    title: Record = {"title": {"rendered": _escaped(one.name)}} if version == 1 else {}
    return {
        "id": _id(prefix, one.name),
        "slug": slug_of(one.name),
        "link": f"{origin}/",
        **title,
        f"{prefix}_title": _escaped(one.name),
        f"{prefix}_short_title": _escaped(one.name),
        f"{prefix}_doi": one.doi or False,
        f"{prefix}_summary": summary,
        f"{prefix}_abstract": summary,
        "detailed_description": summary,
        "program": ["Community"],
        "cancer_types": [],
        "cancer_locations": [],
        "species": ["Human"],
        "data_types": list(one.modalities),
        "supporting_data": [],
        "subjects": str(one.patients) if one.patients else "",
        "version_number": "1",
        "date_updated": one.time.date().isoformat(),
        "hide_from_browse_table": "0",
        f"{prefix}_page_accessibility": "Public",
        f"{prefix}_downloads": [download["id"]] if version == 1 else [download],
        "collections": list(map(_escaped, one.collections)),
    }


def _download(one: OfferedDataSet, origin: str) -> Record:
    (name, address), *_ = one.licenses or (("", ""),)
    short = short_license(name, address) or ""
    return {
        "id": _id("download", one.name),
        "slug": f"{slug_of(one.name)}-images",
        "download_title": f"Images of {_escaped(one.name)}",
        "download_type": ["Radiology Images"],
        "data_type": list(one.modalities),
        "file_type": ["DICOM"],
        "data_license": {"label": short, "url": address} if short else "",
        "download_access": "",
        "download_url": f"{origin}/wp-content/uploads/{quote(one.name, safe='')}.tcia",
        "download_file": False,
        "search_url": "",
        "download_size": f"{one.size_bytes / _MEGABYTE:.2f}",
        "download_size_unit": "mb",
        "subjects": str(one.patients) if one.patients else "",
        "study_count": str(one.studies),
        "series_count": str(one.series),
        "image_count": str(one.images),
        "date_updated": one.time.date().isoformat(),
        "description": f"<p>{one.series} series of {_escaped(one.name)}</p>",
    }


def _versions(known: Sequence[OfferedDataSet], _: int, origin: str) -> list[Record]:
    del origin
    return [
        {
            "id": _id("version", one.name),
            "slug": f"{slug_of(one.name)}-v1",
            "post_title": f"{one.name} v1",
            "version": "1",
            "date": one.time.date().isoformat(),
            "text": "<p>What is served now.</p>",
            "downloads": [f"Images of {one.name}"],
            "related_collections": list(map(_escaped, one.collections if one.is_result else (one.name,))),
            "related_analysis_results": [_escaped(one.name)] if one.is_result else False,
        }
        for one in known
    ]


def _citations(known: Sequence[OfferedDataSet], _: int, origin: str) -> list[Record]:
    del origin
    return [
        {
            "id": _id("citation", one.name),
            "slug": slug_of(one.name),
            "tcia_citation_text": f"<p>{_escaped(one.citation)}</p>",
            "tcia_citation_statement": "",
        }
        for one in known
        if one.citation
    ]


def _licenses(known: Sequence[OfferedDataSet], _: int, origin: str) -> list[Record]:
    del origin
    found = dict.fromkeys(each for one in known for each in one.licenses)
    return [
        {
            "id": _id("license", f"{name} {address}"),
            "slug": slug_of(name),
            "license_label": short_license(name, address),
            "license_url": address,
            "content": _escaped(name),
        }
        for name, address in found
    ]


def _words(kind: str, words: Callable[[OfferedDataSet], Iterable[str]]) -> Callable[..., list[Record]]:
    """An endpoint that lists the values of a vocabulary."""

    def make(known: Sequence[OfferedDataSet], _: int, origin: str) -> list[Record]:
        del origin
        found = sorted({word for one in known for word in words(one)})
        return [{"id": _id(kind, word), "slug": slug_of(word), "name": word} for word in found]

    return make


def _downloads(known: Sequence[OfferedDataSet], _: int, origin: str) -> list[Record]:
    return [_download(each, origin) for each in known]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_ENDPOINTS: Final[Mapping[str, Callable[..., list[Record]]]] = {
    "collections": lambda *given: _data_sets(*given, are_results=False),
    "analysis-results": lambda *given: _data_sets(*given, are_results=True),
    "downloads": _downloads,
    "versions": _versions,
    "version_downloads": _downloads,
    "citations": _citations,
    "licenses": _licenses,
    "download-requirements": lambda *_: [],
    "programs": _words("program", lambda _: ("Community",)),
    "cancer-types": lambda *_: [],
    "cancer-locations": lambda *_: [],
    "species": _words("species", lambda _: ("Human",)),
    "data-types": _words("data type", lambda one: one.modalities),
    "supporting-data": lambda *_: [],
    "file-types": _words("file type", lambda _: ("DICOM",)),
}
