"""The Collection Manager of TCIA: its data sets, their downloads and versions, and who may have them.

It is an extension of WordPress with two APIs. v2 answers with an object, whose downloads are whole objects; v1 answers
with a bare list, whose downloads are numbers. Keys are written with blanks or underscores, and values in many forms:
see `values`. Source: tcia_utils 3.3.5, and the normaliser of tcia-query-skill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from bulkdl.errors import NotFound, RequestRejected, UnexpectedAnswer
from bulkdl.model.data_sets import DataSet, DataSetDownload, DataSetKind, DownloadWay
from bulkdl.services.base import Query, ServiceAnswer, ServiceClient, read_document, unexpected
from bulkdl.services.values import address_of, cut, decimal_of, is_true, number_of, text_of, texts_of

SOURCE: Final = "collection-manager"

_Record: TypeAlias = Mapping[str, Any]

_PAGE: Final = 100  # the most that WordPress allows in v1
_MOST_PAGES: Final = 500
_BEYOND_THE_END: Final = "rest_post_invalid_page_number"
_DESCRIPTION_CHARACTERS: Final = 1_500
_UNITS: Final = {"b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
_OPEN: Final = ("creative commons", "cc by", "cc-by", "cc0")
_CONTROLLED: Final = ("controlled access", "nih controlled", "restricted", "data usage agreement", "dbgap")
_ASPERA: Final = ("faspex", "aspera")
_PATHDB: Final = "pathdb."
_LISTS_OF_SERIES: Final = (".tcia", ".s5cmd")
_FILES: Final = (
    *(".zip", ".csv", ".tsv", ".xlsx", ".xls", ".nii", ".nii.gz", ".tar", ".gz", ".7z", ".json", ".xml", ".pdf"),
    *(".txt", ".docx", ".mat", ".npy", ".h5", ".svs", ".tif", ".tiff", ".md"),
)
_PREFIX: Final = {DataSetKind.COLLECTION: "collection", DataSetKind.ANALYSIS_RESULT: "result"}
_ENDPOINT: Final = {DataSetKind.COLLECTION: "collections", DataSetKind.ANALYSIS_RESULT: "analysis-results"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetVersion:
    """One version of data sets. `updated` is a date as the page writes it."""

    version: str
    updated: str | None
    title: str
    text: str
    downloads: tuple[str, ...] = ()
    data_sets: tuple[str, ...] = ()


class CollectionManager:
    """Questions to the Collection Manager. Each may raise what `ServiceClient.get` raises, and UnexpectedAnswer.

    v2 is asked; v1 is asked from then on where the service does not have v2.
    """

    def __init__(self, client: ServiceClient, *, version: int = 2) -> None:
        self._client = client
        self._version = version

    async def data_sets(self, *, search: str | None = None) -> tuple[DataSet, ...]:
        """The Collections, and then the analysis results. Those that are hidden from TCIA's table are left out."""
        found: list[DataSet] = []
        for kind in DataSetKind:
            records = await self.records(_ENDPOINT[kind], search=search)
            shown = [each for each in records if not is_true(each.get("hide_from_browse_table"))]
            downloads = await self._downloads_by_id(shown, kind) if self._version == 1 else {}
            rows = (read_data_set(each, kind, downloads) for each in shown)
            found += (row for row in rows if row is not None)
        return tuple(found)

    async def downloads(self, *, search: str | None = None) -> tuple[DataSetDownload, ...]:
        """All downloads of all data sets."""
        return tuple(map(read_download, await self.records("downloads", search=search)))

    async def versions(self, *, search: str | None = None) -> tuple[DataSetVersion, ...]:
        """The versions of all data sets."""
        return tuple(map(_read_version, await self.records("versions", search=search)))

    async def records(self, endpoint: str, *, search: str | None = None, ids: Iterable[int] = ()) -> list[_Record]:
        """All records of an endpoint, as they come: those with a text, or with these numbers, where they are given."""
        query: Query = (("search", search),) if search else ()
        numbers = ",".join(map(str, ids))
        if self._version != 1:
            try:
                return await self._records_v2(endpoint, (*query, *((("id", numbers),) if numbers else ())))
            except (NotFound, RequestRejected):
                self._version = 1
        return await self._records_v1(endpoint, (*query, *((("include", numbers),) if numbers else ())))

    async def _records_v2(self, endpoint: str, query: Query) -> list[_Record]:
        what = f"{endpoint} of the Collection Manager"
        found: list[_Record] = []
        page, pages = 1, 1
        while page <= pages:
            records, announced = await self._page_v2(what, endpoint, (*query, ("page", str(page))))
            if not records and page < announced:
                raise UnexpectedAnswer(f"{what}: page {page} of {announced} is empty")
            found += records
            page, pages = page + 1, announced
            if pages > _MOST_PAGES:
                raise UnexpectedAnswer(f"{what}: {pages:,} pages are more than {_MOST_PAGES:,}")
        return found

    async def _page_v2(self, what: str, endpoint: str, query: Query) -> tuple[list[_Record], int]:
        def read(answer: ServiceAnswer) -> tuple[list[_Record], int]:
            document = read_document(answer, what)
            results = document.get("results") if isinstance(document, Mapping) else None
            if not isinstance(results, list):
                raise unexpected(what, document)
            return _objects(results, what), number_of(document.get("total_pages")) or 1

        return await self._client.get(what, f"v2/{endpoint}/", (("per_page", str(_PAGE)), *query), read)

    async def _records_v1(self, endpoint: str, query: Query) -> list[_Record]:
        what = f"{endpoint} of the Collection Manager, API v1"
        found: list[_Record] = []
        for page in range(1, _MOST_PAGES + 1):
            try:
                records, has_more = await self._page_v1(what, endpoint, (*query, ("page", str(page))), page)
            except RequestRejected as error:
                if page > 1 and _BEYOND_THE_END in str(error):
                    return found
                raise
            found += records
            if not has_more:
                return found
        raise UnexpectedAnswer(f"{what}: the list does not end after {_MOST_PAGES:,} pages")

    async def _page_v1(self, what: str, endpoint: str, query: Query, page: int) -> tuple[list[_Record], bool]:
        def read(answer: ServiceAnswer) -> tuple[list[_Record], bool]:
            document = read_document(answer, what)
            if not isinstance(document, list):
                raise unexpected(what, document)
            pages = number_of(answer.headers.get("X-WP-TotalPages"))
            has_next = 'rel="next"' in answer.headers.get("Link", "") or len(document) >= _PAGE
            return _objects(document, what), page < pages if pages is not None else has_next

        return await self._client.get(what, f"v1/{endpoint}/", (("per_page", str(_PAGE)), *query), read)

    async def _downloads_by_id(self, records: Iterable[_Record], kind: DataSetKind) -> dict[int, DataSetDownload]:
        """The downloads that records name by their numbers, as in v1."""
        wanted = {number for each in records for number in _numbers(each.get(f"{_PREFIX[kind]}_downloads"))}
        if not wanted:
            return {}
        known = await self.records("downloads")
        found = ((number_of(each.get("id")), each) for each in known)
        return {number: read_download(each) for number, each in found if number in wanted and number is not None}


def _objects(values: list[Any], what: str) -> list[_Record]:
    if any(not isinstance(each, Mapping) for each in values):
        raise UnexpectedAnswer(f"{what}: a record is not an object")
    return values


def _numbers(value: Any) -> list[int]:
    values = value if isinstance(value, list) else []
    return [each for each in values if isinstance(each, int) and not isinstance(each, bool)]


def read_data_set(
    record: _Record, kind: DataSetKind, downloads: Mapping[int, DataSetDownload] | None = None
) -> DataSet | None:
    """A data set from a record of v2 or v1; None if it has no short name. `downloads` are those of v1, by number."""
    prefix, known = _PREFIX[kind], downloads or {}
    if not (name := text_of(record.get(f"{prefix}_short_title"))):
        return None
    offered = record.get(f"{prefix}_downloads")
    values = offered if isinstance(offered, list) else []
    found = [read_download(each) if isinstance(each, Mapping) else known.get(number_of(each) or -1) for each in values]
    chosen = tuple(each for each in found if each is not None)
    summary = text_of(record.get(f"{prefix}_summary") or record.get(f"{prefix}_abstract"))
    return DataSet(
        name=name,
        kind=kind,
        title=text_of(record.get(f"{prefix}_title") or record.get("title")) or None,
        doi=text_of(record.get(f"{prefix}_doi")).lower() or None,
        patients=number_of(record.get("subjects")),
        modalities=texts_of(record.get("data_types")),
        licenses=tuple(dict.fromkeys(each.license for each in chosen if each.license)),
        species=texts_of(record.get("species")),
        cancer_types=texts_of(record.get("cancer_types")),
        locations=texts_of(record.get("cancer_locations")),
        collections=texts_of(record.get("collections")) if kind is DataSetKind.ANALYSIS_RESULT else (),
        version=text_of(record.get("version_number")) or None,
        updated=text_of(record.get("date_updated")) or None,
        page=address_of(record.get("link")),
        description=cut(summary, _DESCRIPTION_CHARACTERS),
        downloads=chosen,
        sources=(SOURCE,),
    )


def read_download(record: _Record) -> DataSetDownload:
    """A download from a record of either API; its keys may be written with blanks or underscores."""
    values = {key.replace(" ", "_").casefold(): value for key, value in record.items()}
    address = next(filter(None, (address_of(values.get(name)) for name in ("download_url", "download_file"))), None)
    license_name = text_of(values.get("data_license") or values.get("license")) or None
    kinds = (texts_of(values.get(name)) for name in ("download_type", "data_type", "file_type"))
    found = DataSetDownload(
        title=text_of(values.get("download_title")) or text_of(values.get("slug")) or "download",
        kinds=tuple(dict.fromkeys(text for texts in kinds for text in texts)),
        address=address or address_of(values.get("search_url")),
        license=license_name,
        requirements=_requirements(values.get("download_requirements")),
        size_bytes=_size(values),
        patients=number_of(values.get("subjects")),
        series=number_of(values.get("series_count") or values.get("series")),
    )
    return replace(found, way=way_of(found))


def way_of(download: DataSetDownload) -> DownloadWay:
    """How the files of a download are obtained: by its licence, and then by its address."""
    if is_controlled(download.license) or is_controlled(download.requirements):
        return DownloadWay.CONTROLLED
    if download.address is None:
        return DownloadWay.UNKNOWN
    parts = urlsplit(download.address)
    host, path = (parts.hostname or "").casefold(), parts.path.casefold()
    if any(word in host for word in _ASPERA):
        return DownloadWay.ASPERA
    if host.startswith(_PATHDB):
        return DownloadWay.SLIDES
    if path.endswith(_LISTS_OF_SERIES):
        return DownloadWay.BULKDL
    return DownloadWay.FILE if path.endswith(_FILES) else DownloadWay.PORTAL


def is_controlled(license_name: str | None) -> bool:
    """Whether the text of a licence says that access is controlled."""
    text = (license_name or "").casefold()
    return any(word in text for word in _CONTROLLED) and not any(word in text for word in _OPEN)


def _requirements(value: Any) -> str | None:
    if not isinstance(value, Mapping):
        return text_of(value) or None
    parts = (text_of(value.get("label")), text_of(value.get("text")), address_of(value.get("url")))
    return ": ".join(filter(None, parts)) or None


def _size(values: _Record) -> int | None:
    number = decimal_of(values.get("download_size"))
    unit = _UNITS.get(text_of(values.get("download_size_unit")).casefold())
    return round(number * unit) if number and unit else None


def _read_version(record: _Record) -> DataSetVersion:
    related = ("related_collections", "related_collection", "related_analysis_results")
    return DataSetVersion(
        version=text_of(record.get("version") or record.get("version_number")),
        updated=text_of(record.get("date") or record.get("version_date")) or None,
        title=text_of(record.get("post_title") or record.get("title") or record.get("slug")),
        text=text_of(record.get("text") or record.get("version_text")),
        downloads=texts_of(record.get("downloads")),
        data_sets=tuple(dict.fromkeys(name for key in related for name in texts_of(record.get(key)))),
    )
