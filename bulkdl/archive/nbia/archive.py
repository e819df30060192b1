"""The REST services of TCIA as an archive: NBIA v1, v2 and v4, and TCIA v3. `dialects` has the differences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

from bulkdl.archive.base import BundleForm, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion, Take
from bulkdl.archive.http import IDENTITY, SHORT_ANSWER_BYTES, HttpClient
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.nbia.descriptions import collections_in, describes_parents, parents_in
from bulkdl.archive.nbia.dialects import DIALECTS, Dialect
from bulkdl.archive.nbia.endpoints import Attribute, Endpoint
from bulkdl.archive.nbia.questions import completed, plan_questions
from bulkdl.archive.nbia.tags import ReferenceReader
from bulkdl.archive.nbia.values import PADDING, read_record
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Identity, Request
from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.descriptions import NO_DESCRIPTIONS, Descriptions
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import Entry, References, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.availability import Refusals
from bulkdl.runtime.tasks import as_iterator, pool_results, run_pool

# The permits for requests in flight limit them further; downloads wait for the same permits, first come, first served.
_QUESTIONS_AT_ONCE: Final = 32
_ROWS_AT_ONCE: Final = 500
_MD5_BYTES: Final = 16
_MOST_ROWS: Final = 10_000_000
_MOST_INSTANCES: Final = 200_000  # of a Series, whose archive counts fewer or none; or this many times as many
_MOST_INSTANCES_RATIO: Final = 10
_KNOWN_TEXTS: Final = frozenset({"text/html", "text/plain", "text/xml", "application/json", "application/xml"})
_NAMES_OF_ERRORS: Final = ("errorMessage", "errorDescription", "error", "message")
_SHOWN_CHARACTERS: Final = 200

_Rows: TypeAlias = list[dict[str, Any]]
_Emit: TypeAlias = Callable[[FoundSeries], Awaitable[None]]
_TakeSeries: TypeAlias = Callable[[list[Series], Descriptions], Awaitable[None]]


class NbiaArchive:
    """See `base.Archive`."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.dialect: Dialect = DIALECTS[profile.kind]()
        self.endpoints = self.dialect.endpoints
        self.capabilities = capabilities_of(self.dialect)
        self.retrier = http.retrier
        self._http = http

    @property
    def requests(self) -> int:
        return self._http.requests

    async def collections(self) -> tuple[str, ...]:
        # The names are as the archive writes them, because questions must name them so.
        rows = await self._all_rows(self.dialect.collections(), "the list of collections")
        return tuple(str(name) for row in rows if (name := row.get("Collection")))

    async def collections_of_doi(self, doi: str) -> tuple[str, ...] | None:
        if (request := self.dialect.collections_of_doi(doi)) is None:
            return None
        rows = await self._all_rows(request, f"the collection of the DOI {doi}")
        return tuple(dict.fromkeys(str(name) for row in rows if (name := row.get("collection"))))

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        questions = plan_questions(selection, await self.collections() if selection.everything else ())
        at_once = self.dialect.series_at_once if all(question.series_uid for question in questions) else 1
        batches = (questions[start : start + at_once] for start in range(0, len(questions), at_once))
        asking = _Asking(self, selection)
        found = pool_results(as_iterator(batches), asking.ask, workers=_QUESTIONS_AT_ONCE, name="find")
        async with aclosing(found):
            async for batch in found:
                yield batch

    async def series(self, request: Request, what: str, take: _TakeSeries) -> int:
        """Pass the Series of an answer to `take`, some hundreds at a time, and return their number.

        With them goes what the same rows have of their Patients and Studies.

        A list that is cut is requested again from its beginning, so `take` may get a Series twice.

        Raises:
            UnexpectedAnswer: some rows cannot be read; `take` got the others.
        """
        attributes = self.endpoints[request.name].attributes
        has_parents = describes_parents(attributes)

        async def once(_: int) -> tuple[int, list[str]]:
            count = 0
            invalid: list[str] = []
            waiting: _Rows = []
            async with aclosing(self._rows(request)) as batches:
                async for rows in batches:
                    waiting += rows
                    while len(waiting) >= _ROWS_AT_ONCE:
                        count += await read(waiting[:_ROWS_AT_ONCE], invalid)
                        waiting = waiting[_ROWS_AT_ONCE:]
                        await asyncio.sleep(0)  # thousands of rows may come at once: the event loop must not wait
            return count + await read(waiting, invalid), invalid

        async def read(rows: _Rows, invalid: list[str]) -> int:
            if records := self._records(attributes, rows, invalid):
                await take(records, parents_in(attributes, rows) if has_parents else NO_DESCRIPTIONS)
            return len(records)

        count, invalid = await self.retrier.ask(what, once)
        if invalid:
            raise UnexpectedAnswer(
                self._http.redacted(f"{counted(len(invalid), 'row')} of {request.name} cannot be read: {invalid[0]}")
            )
        return count

    def _records(self, attributes: tuple[Attribute, ...], rows: _Rows, invalid: list[str]) -> list[Series]:
        """The Series of some rows. What is wrong with the others is added to `invalid`."""
        records: list[Series] = []
        for row in rows:
            try:
                records.append(series := read_record(Series, attributes, row))
            except ValueError as error:
                invalid.append(str(error))
                continue
            if not series.study_uid and (study_uid := row.get("StudyInstanceUID")):
                shown = shortened(str(study_uid), 80)
                self._http.note(f"series {series.series_uid}: StudyInstanceUID is not a UID: {shown!r}")
        return records

    async def describe(self, collection: str, take: Take, *, patient_id: str | None = None) -> None:
        """See `Archive.describe`. Asks for the Studies where the family has no descriptions of Collections."""
        if (request := self.dialect.description(collection)) is not None:
            rows = await self._all_rows(request, f"the description of collection {collection}")
            await take(Descriptions(collections=collections_in(collection, rows)))
            return
        request = self.dialect.studies(collection, patient_id)
        attributes = self.endpoints[request.name].attributes

        async def once(_: int) -> None:
            async with aclosing(self._rows(request)) as batches:
                async for rows in batches:
                    await take(parents_in(attributes, rows))

        await self.retrier.ask(f"the studies of collection {collection}", once)

    async def references(self, series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
        """See `Archive.references`. One request for the attributes of each Series; a failure leaves them unknown."""
        found: dict[SeriesUid, References] = {}

        async def ask(series_uid: SeriesUid) -> None:
            with suppress(RequestFailed):
                if (told := await self._references_of(series_uid)) is not None:
                    found[series_uid] = told

        if series_uids and self.dialect.tags(series_uids[0]) is not None:
            await run_pool(as_iterator(series_uids), ask, workers=_QUESTIONS_AT_ONCE, name="references")
        return found

    async def _references_of(self, series_uid: SeriesUid) -> References | None:
        """What the first instance of a Series refers to; None if the archive does not send its attributes."""
        request = self.dialect.tags(series_uid)
        assert request is not None  # noqa: S101 - as the caller has made sure

        async def once(_: int) -> References | None:
            reader = ReferenceReader(series_uid)
            async with aclosing(self._rows(request)) as batches:
                async for rows in batches:
                    if not reader.read(rows):
                        break
            return reader.found

        return await self.retrier.ask(f"the attributes of series {series_uid}", once)

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """The bytes and the number of instances of a Series, None where the archive does not give them."""
        request = self.dialect.size(series_uid)
        rows = await self._all_rows(request, f"the size of series {series_uid}", unknown=RequestRejected)
        try:
            return read_record(SeriesSize, self.endpoints[request.name].attributes, rows[0] if rows else {})
        except ValueError:  # NBIA sends one row without values for an unknown Series
            return SeriesSize(None, None)

    async def list(self, series: Series) -> Listing:
        uid = series.series_uid
        at_most = max(_MOST_INSTANCES, _MOST_INSTANCES_RATIO * min(series.image_count or 0, _MOST_INSTANCES))

        async def once(_: int) -> Listing:
            entries: dict[str, Entry] = {}
            invalid = 0
            async with aclosing(self._rows(self.dialect.instances(uid), at_most=at_most)) as batches:
                async for rows in batches:
                    for row in rows:
                        sop_uid = row.get("SOPInstanceUID")
                        if isinstance(sop_uid, str) and is_uid(sop_uid := sop_uid.strip(PADDING)):
                            entries[sop_uid] = Entry(sop_uid, SopInstanceUid(sop_uid))
                        else:
                            invalid += 1
            return Listing(tuple(entries.values()), invalid)

        return await self.retrier.ask(f"the instances of series {uid}", once)

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[HttpBody]:
        async with self._http.open(self.dialect.instance(series_uid, entry.key), headers=IDENTITY, rest=rest) as body:
            _refuse_text(body, "a DICOM file")
            yield body

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AsyncIterator[HttpBody]:
        async with self._http.open(self.dialect.bundle(series_uid), headers=IDENTITY) as body:
            _refuse_text(body, "a zip")
            yield body

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        request = self.dialect.checksum(entry.key)
        if request is None:
            return None
        try:
            _, content = await self._http.read_once(request, at_most=SHORT_ANSWER_BYTES)
        except RequestFailed:
            return None
        return _md5_in(content)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        # It is what getMD5Hierarchy answers.
        request = self.dialect.series_checksum(series_uid)
        if request is None:
            return None
        async with _of_question():
            _, content = await self._http.read(request, f"the checksum of series {series_uid}")
        return _md5_in(content)

    async def query(self, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]) -> tuple[str, bytes]:
        """Ask `endpoint`, with the parameter names of the archive; return content type and body as they were sent."""
        return await self._http.read(self.dialect.verbatim(endpoint, parameters))

    def open_endpoint(
        self, endpoint: Endpoint, parameters: Iterable[tuple[str, str]]
    ) -> AbstractAsyncContextManager[HttpBody]:
        """Ask `endpoint` once, with the parameter names of the archive. Leaving the block ends the request."""
        return self._http.open(self.dialect.verbatim(endpoint, parameters))

    async def metadata(self, endpoint: Endpoint) -> tuple[str, bytes] | None:
        """The archive's own description of `endpoint`: content type and body; None if it has none."""
        request = self.dialect.metadata(endpoint)
        return None if request is None else await self._http.read(request)

    async def _all_rows(self, request: Request, what: str, *, unknown: type[RequestFailed] = UnexpectedAnswer) -> _Rows:
        async def once(_: int) -> _Rows:
            async with aclosing(self._rows(request, at_most=_MOST_INSTANCES, unknown=unknown)) as batches:
                return [row async for rows in batches for row in rows]

        return await self.retrier.ask(what, once)

    async def _rows(
        self, request: Request, *, at_most: int = _MOST_ROWS, unknown: type[RequestFailed] = UnexpectedAnswer
    ) -> AsyncGenerator[_Rows, None]:
        """The rows of an answer, in batches. The first one must have a known name: an error may be JSON as well."""
        known = {attribute.name for attribute in self.endpoints[request.name].attributes}
        is_first = True
        async with aclosing(self._http.rows(request, at_most=at_most)) as batches, _of_question():
            async for rows in batches:
                if is_first and rows[0] and known.isdisjoint(rows[0]):
                    said = next((rows[0][name] for name in _NAMES_OF_ERRORS if name in rows[0]), rows[0])
                    text = shortened(one_line(self._http.redacted(str(said))), _SHOWN_CHARACTERS)
                    raise unknown(f"{request.name} answered with an error: {text}")
                is_first = False
                yield rows


class _Asking:
    """Puts the questions of one selection to the archive, and emits the Series that match."""

    def __init__(self, archive: NbiaArchive, selection: Selection) -> None:
        self._archive = archive
        self._named = frozenset(selection.series)  # a manifest may name many thousands
        self._selection = replace(selection, series=())
        self._refusals = Refusals()

    async def ask(self, batch: Sequence[SeriesQuestion], emit: _Emit) -> None:
        """Ask one question, or several that each name a Series together."""
        first, is_one = batch[0], len(batch) == 1
        found: set[str] = set()  # those that another criterion leaves out, too

        async def take(answered: list[Series], descriptions: Descriptions) -> None:
            answered = [completed(series, first) for series in answered] if is_one else answered
            found.update(series.series_uid for series in answered)
            named = [series for series in answered if not self._named or series.series_uid in self._named]
            if chosen := tuple(series for series in named if self._selection.matches(series)):
                await emit(FoundSeries(chosen, descriptions=descriptions.of(chosen)))

        if is_one:
            request, what = self._archive.dialect.series(first.criteria), f"the series of {first}"
        else:
            uids = [SeriesUid(question.series_uid or "") for question in batch]
            request, what = self._archive.dialect.series_by_uids(uids), f"{len(batch):,} series"
        try:
            count = await self._archive.series(request, what, take)
        except RequestFailed as error:
            if isinstance(error, (RequestRejected, AccessDenied)) and not is_one:
                # It lacks the endpoint, or refuses one of the UIDs.
                singles = as_iterator([question] for question in batch)
                await run_pool(singles, partial(self.ask, emit=emit), workers=_QUESTIONS_AT_ONCE, name="find-singly")
                return
            self._refusals.failed(error)
            failed = tuple((each, error) for each in batch if is_one or each.series_uid not in found)
            await emit(FoundSeries(failed=failed))
            return
        self._refusals.answered()
        if missing := tuple(each for each in batch if not count or (each.series_uid and each.series_uid not in found)):
            await emit(FoundSeries(not_found=missing))


def capabilities_of(dialect: Dialect) -> Capabilities:
    """What an archive of this dialect can do."""
    series_uid = SeriesUid("1")
    return Capabilities(
        bundle=BundleForm.ZIP,
        ranges=True,
        checksums=dialect.checksum("1") is not None,
        series_checksums=dialect.series_checksum(series_uid) is not None,
        asks_series_singly=dialect.series_at_once == 1,
        endpoints=True,
        takes_key=dialect.identity is Identity.KEY,
        takes_login=dialect.identity in {Identity.TOKEN, Identity.TOKEN_IF_ANY},
    )


@asynccontextmanager
async def _of_question() -> AsyncIterator[None]:
    """An address of the API that does not exist says nothing about the data."""
    try:
        yield
    except NotFound as error:
        raise RequestRejected(str(error), status=error.status) from error


def _md5_in(content: bytes) -> bytes | None:
    with suppress(ValueError):
        digest = bytes.fromhex(content.decode("ascii"))
        return digest if len(digest) == _MD5_BYTES else None
    return None


def _refuse_text(body: HttpBody, expected: str) -> None:
    """Refuse an error page or an error document in place of a file."""
    kind = body.content_type
    if kind.startswith("text/") or kind in {"application/json", "application/xml"}:
        shown = kind if kind in _KNOWN_TEXTS else "a text"
        raise UnexpectedAnswer(f"the archive sent {shown} instead of {expected}")
