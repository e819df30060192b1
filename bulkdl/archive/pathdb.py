"""PathDB, TCIA's archive of pathology slides, as an archive: a table finds slides, an HTTP server sends them.

A slide is a Series of one file, which is not DICOM. PathDB gives it no UIDs, so they are made of its path: the same
slide has the same ones at every address. Its listing gives no size and no checksum; the size comes from the server,
with one byte of the file. The key of a slide is its path at the archive, or its whole address where the archive names
another host: that is followed like a redirect.

All slides are in the cohort table, a CSV file; where the archive does not have it, collections are listed page by page,
which is slow. Source: tcia_utils 3.3.5 (`pathdb.py`), tcia-query-skill (columns of the table).
"""

from __future__ import annotations

import io
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from datetime import date, datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from bulkdl.archive.base import Body, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion
from bulkdl.archive.http import HttpClient
from bulkdl.archive.plain_archive import PlainArchive
from bulkdl.archive.plain_objects import opened, with_size
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Request
from bulkdl.errors import NotFound, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid, SopInstanceUid, derived_uid
from bulkdl.model.records import Entry, NamedSlide, Series, SeriesKind
from bulkdl.model.selection import Selection
from bulkdl.model.text import decoded, one_line, shortened

CAPABILITIES: Final = Capabilities(ranges=True, slides=True)

COHORT_TABLE: Final = "system/files/collectionmetadata/202401/cohort_builder_v1_01-16-2024.csv"
"""The path of the cohort table. Its name stays, while its content grows."""
_COLLECTIONS: Final = "collections"
_SLIDES: Final = "listofimages"
_FORMAT: Final = ("_format", "json")
_MOST_TABLE_BYTES: Final = 96 << 20
_MOST_PAGES: Final = 100_000
_BATCH: Final = 500
_ABSENT: Final = frozenset({"", "N/A"})
_PREFIX: Final = "/index.php/"
_SHOWN: Final = 120
_TABLE_COLUMNS: Final = frozenset({"collection", "wsiimage_url"})
_DOI: Final = re.compile(r"10\.\d{4,9}/\S+", re.ASCII)


class PathDbArchive(PlainArchive):
    """See `base.Archive`."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.capabilities = CAPABILITIES
        self.retrier = http.retrier
        self._http = http

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    # --- find ---------------------------------------------------------------------------------------------------------

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        return tuple(dict.fromkeys(name for name, _ in await self._collections()))

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        """See `Archive.collections_of_doi`. Only the table has DOIs."""
        rows = await self._table()
        if rows is None:
            return None
        found = (row for row in rows if row.get("collection_doi", "").lower().endswith(doi.lower()))
        return tuple(dict.fromkeys(row["collection"] for row in found))

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`. Slides that a manifest names are taken from it, without a request."""
        for part in selection.parts():
            if part.slides:
                yield self._named(part)
            else:
                async with aclosing(self._search(part)) as batches:
                    async for batch in batches:
                        yield batch

    def _named(self, selection: Selection) -> FoundSeries:
        """The slides that a manifest names; those of another archive are not found."""
        found, elsewhere = [], []
        for slide in selection.slides:
            if (key := self._key_of_named(slide)) is not None:
                found.append(_series(key, slide.collection, slide.patient_id, slide.name))
            else:
                reason = f"{shortened(one_line(slide.address), _SHOWN)}, which is not at {urlsplit(self.url).hostname}"
                elsewhere.append(SeriesQuestion({"slide": reason}))
        return FoundSeries(tuple(filter(selection.matches, found)), not_found=tuple(elsewhere))

    def _key_of_named(self, slide: NamedSlide) -> str | None:
        """The key of a slide that a manifest names; None unless its host is that of the archive."""
        key = key_of(slide.address, self.url)
        return key if key is not None and "://" not in key else None

    async def _search(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        absent = _Absent(selection)
        if selection.studies:  # which slides do not have
            yield FoundSeries(not_found=absent.questions())
            return
        failed: list[tuple[SeriesQuestion, RequestFailed]] = []
        async with aclosing(self._all(selection, failed)) as batches:
            async for batch in batches:
                absent.see(batch)
                if chosen := tuple(filter(selection.matches, batch)):
                    yield FoundSeries(chosen)
        yield FoundSeries(not_found=() if failed else absent.questions(), failed=tuple(failed))

    async def _all(
        self, selection: Selection, failed: list[tuple[SeriesQuestion, RequestFailed]]
    ) -> AsyncGenerator[list[Series], None]:
        """The slides of the table; or of the collections that the selection names, page by page, where there is none.

        `failed` receives the questions that were not answered.
        """
        if (rows := await self._table()) is not None:
            invalid = 0
            while page := list(islice(rows, _BATCH)):
                batch = [series for row in page if (series := self._of_table(row)) is not None]
                invalid += len(page) - len(batch)
                yield batch
            if invalid:
                error = UnexpectedAnswer(f"{invalid:,} rows of the table of slides have no valid address")
                failed.append((SeriesQuestion({}), error))
            return
        wanted = {name.casefold() for name in selection.collections}
        for name, number in await self._collections():
            if wanted and name.casefold() not in wanted:
                continue
            try:
                async with aclosing(self._of_collection(name, number)) as pages:
                    async for batch in pages:
                        yield batch
            except RequestFailed as error:
                failed.append((SeriesQuestion({"collection": name}), error))

    async def _table(self) -> Iterator[Mapping[str, str]] | None:
        """The rows of the cohort table; None where the archive has none.

        Raises:
            UnexpectedAnswer: it cannot be read.
        """
        request = Request("table of slides", COHORT_TABLE)
        try:
            _, content = await self._http.retrier.ask(
                request.name, lambda _: self._http.read_once(request, at_most=_MOST_TABLE_BYTES)
            )
        except (NotFound, RequestRejected) as error:
            self._http.note(f"the archive has no table of slides ({error}): collections are listed page by page")
            return None
        return read_table(content)

    def _of_table(self, row: Mapping[str, str]) -> Series | None:
        known = {name: text for name, value in row.items() if (text := (value or "").strip()) not in _ABSENT}
        if (key := key_of(known.get("wsiimage_url", ""), self.url)) is None:
            return None
        doi = _DOI.search(known.get("collection_doi", ""))
        return _series(
            key,
            known.get("collection", ""),
            known.get("patient_id", ""),
            known.get("slide_id", ""),
            modality=known.get("modality"),
            protocol=known.get("protocol"),
            body_part=known.get("cancer_location"),
            released=_date(known.get("update", "")),
            collection_uri=f"https://doi.org/{doi[0]}" if doi is not None else None,
        )

    async def _collections(self) -> list[tuple[str, int]]:
        """The collections by name, with their numbers."""
        rows = await self._rows(Request(_COLLECTIONS, _COLLECTIONS, (_FORMAT,)))
        found = [(str(_value(row, "name") or ""), _value(row, "tid")) for row in rows]
        return [(name, number) for name, number in found if name and isinstance(number, int)]

    async def _of_collection(self, name: str, number: int) -> AsyncGenerator[list[Series], None]:
        seen: set[SeriesUid] = set()
        for page in range(_MOST_PAGES):
            path = f"{_SLIDES}/{number}"
            rows = await self._rows(Request(f"slides of {name}", path, (_FORMAT, ("page", str(page)))))
            if not rows:
                return
            batch = [series for row in rows if (series := self._of_row(row, name)) is not None]
            if len(batch) < len(rows):
                raise UnexpectedAnswer(f"page {page} has slides without a valid address")
            if seen.issuperset(series.series_uid for series in batch):
                raise UnexpectedAnswer(f"page {page} repeats slides of the pages before it")
            seen.update(series.series_uid for series in batch)
            yield batch
        raise UnexpectedAnswer("the list of slides does not end")

    def _of_row(self, row: Mapping[str, Any], collection: str) -> Series | None:
        address = _value(row, "field_wsiimage", "url")
        if (key := key_of(str(address or ""), self.url)) is None:
            return None
        patient, slide = (str(_value(row, name) or "") for name in ("clinicaltrialsubjectid", "imageid"))
        changed = _date(str(_value(row, "changed") or ""))
        return _series(key, str(_value(row, "studyid") or collection), patient, slide, released=changed)

    async def _rows(self, request: Request) -> list[Mapping[str, Any]]:
        async def once(_: int) -> list[Mapping[str, Any]]:
            return [row async for rows in self._http.rows(request) for row in rows]

        return await self._http.retrier.ask(request.name, once)

    # --- list and open ------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`: the one file of a slide, with the size that the server states."""
        if series.kind is not SeriesKind.SLIDE or not series.location:
            return Listing()
        key = series.location
        entry = Entry(key, SopInstanceUid(derived_uid(f"pathdb-file:{key}")), name=file_name_of(key))
        return Listing((await with_size(self._http, Request("slide", key), entry),))

    def open(
        self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None
    ) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open`."""
        del series_uid
        return opened(self._http, Request("slide", entry.key), entry, rest)

    def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AbstractAsyncContextManager[Body]:
        """See `Archive.open_bundle`. PathDB has none."""
        del study_uid
        raise RequestRejected(f"PathDB sends no bundle of {series_uid}")


def read_table(content: bytes) -> Iterator[Mapping[str, str]]:
    """The rows of the cohort table, one after the other, by the names of its columns.

    Raises:
        UnexpectedAnswer: it is not this table.
    """
    import csv  # noqa: PLC0415 - late: of all archives only this one needs it

    try:
        text = decoded(content)
    except UnicodeDecodeError as error:
        raise UnexpectedAnswer("the table of slides is not text") from error
    table = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns = table.fieldnames or ()
    except csv.Error as error:
        raise UnexpectedAnswer(f"the table of slides cannot be read: {error}") from error
    if not _TABLE_COLUMNS.issubset(columns):
        raise UnexpectedAnswer(f"the table of slides has no columns {', '.join(sorted(_TABLE_COLUMNS))}")
    return _rows_of(table)


def _rows_of(table: Iterable[dict[Any, Any]]) -> Iterator[Mapping[str, str]]:
    import csv  # noqa: PLC0415 - as above

    try:
        for row in table:
            yield {name: value for name, value in row.items() if isinstance(name, str) and isinstance(value, str)}
    except csv.Error as error:
        raise UnexpectedAnswer(f"the table of slides cannot be read: {error}") from error


def key_of(address: str, base: str) -> str | None:
    """The key of a slide by its address: its path, below the base of the archive; None if that is not an address.

    An address at the host of the archive may say http, and `/index.php` before its path. One at another host is its own
    key, by https unless the archive itself is at http.
    """
    parts, home = urlsplit(address.strip()), urlsplit(base)
    path = quote(unquote(parts.path), safe="/")
    if parts.scheme not in {"http", "https"} or not parts.hostname or not path.rpartition("/")[2]:
        return None
    with suppress(ValueError):
        port = parts.port
        if parts.username is not None or port == 0 or {"", ".", ".."} & set(path.removeprefix("/").split("/")):
            return None
        if parts.hostname != home.hostname or (port is not None and port != home.port):
            scheme = "https" if home.scheme == "https" else parts.scheme
            return f"{scheme}://{parts.hostname}{f':{port}' if port is not None else ''}{path}"
        return path.removeprefix(_PREFIX).removeprefix("/")
    return None


def file_name_of(key: str) -> str:
    """The name of the file at a key."""
    return unquote(key.rpartition("/")[2])


def _series(key: str, collection: str, patient_id: str, slide: str, **further: Any) -> Series:
    return Series(
        series_uid=SeriesUid(derived_uid(f"pathdb:{key}")),
        patient_id=patient_id,
        collection=collection,
        description=slide or file_name_of(key).partition(".")[0],
        image_count=1,
        location=key,
        kind=SeriesKind.SLIDE,
        **further,
    )


class _Absent:
    """The values of a selection that no slide has so far, whatever else is requested."""

    def __init__(self, selection: Selection) -> None:
        self._open = {
            attribute: {str(value).casefold(): str(value) for value in values}
            for attribute, values in selection.named().items()
        }

    def see(self, batch: Iterable[Series]) -> None:
        """Take out what these slides have."""
        for series in batch:
            for attribute, values in self._open.items():
                if values:
                    values.pop(str(getattr(series, attribute) or "").casefold(), None)

    def questions(self) -> tuple[SeriesQuestion, ...]:
        """One for each value that is left."""
        return tuple(
            SeriesQuestion({attribute: value}, SeriesUid(value) if attribute == "series_uid" else None)
            for attribute, values in self._open.items()
            for value in values.values()
        )


def _value(row: Mapping[str, Any], name: str, part: str = "value") -> Any:
    """A value as Drupal writes it: the first object of a list; None where the list is empty or something else."""
    values = row.get(name)
    first = values[0] if isinstance(values, list) and values else None
    return first.get(part) if isinstance(first, Mapping) else None


def _date(text: str) -> date | None:
    with suppress(ValueError):
        return datetime.fromisoformat(text).date()
    return None
