"""The REST services of TCIA as an archive: NBIA v1, v2 and v4, and TCIA v3. `dialects` has the differences."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from bulkdl.archive.base import BundleForm, Capabilities, FoundSeries, Listing, Rest, SeriesQuestion
from bulkdl.archive.http import IDENTITY, HttpBody, HttpClient
from bulkdl.archive.nbia.dialect import Dialect
from bulkdl.archive.nbia.dialects import DIALECTS
from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.archive.nbia.questions import completed, plan_questions
from bulkdl.archive.nbia.values import read_record
from bulkdl.archive.profiles import Profile
from bulkdl.archive.request import Identity, Request
from bulkdl.errors import AccessDenied, NotFound, RequestFailed, RequestRejected, UnexpectedAnswer
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid
from bulkdl.model.records import Entry, Series, SeriesSize
from bulkdl.model.selection import Selection
from bulkdl.model.text import one_line, shortened
from bulkdl.runtime.tasks import as_iterator, pool_results, run_pool

# The permits for requests in flight limit them further; downloads wait for the same permits, first come, first served.
_QUESTIONS_AT_ONCE: Final = 32
_ROWS_AT_ONCE: Final = 500
_MD5_BYTES: Final = 16
_SHOWN_CHARACTERS: Final = 200

_Rows: TypeAlias = list[dict[str, Any]]
_Emit: TypeAlias = Callable[[FoundSeries], Awaitable[None]]


class NbiaArchive:
    """See `base.Archive`."""

    def __init__(self, profile: Profile, http: HttpClient) -> None:
        self.name = profile.name
        self.url = profile.url
        self.dialect: Dialect = DIALECTS[profile.kind]()
        self.capabilities = capabilities_of(self.dialect)
        self.retrier = http.retrier
        self._http = http

    @property
    def requests(self) -> int:
        """See `Archive.requests`."""
        return self._http.requests

    # --- find ---------------------------------------------------------------------------------------------------------

    async def collections(self) -> tuple[str, ...]:
        """See `Archive.collections`."""
        rows = await self._all_rows(self.dialect.collections(), "the list of collections")
        return tuple(str(row["Collection"]) for row in rows if row.get("Collection"))

    async def find(self, selection: Selection) -> AsyncGenerator[FoundSeries, None]:
        """See `Archive.find`."""
        questions = plan_questions(selection, await self.collections() if selection.everything else ())
        at_once = self.dialect.series_at_once if all(question.series_uid for question in questions) else 1
        batches = (questions[start : start + at_once] for start in range(0, len(questions), at_once))
        asking = _Asking(self, selection)
        found = pool_results(as_iterator(batches), asking.ask, workers=_QUESTIONS_AT_ONCE, name="find")
        async with aclosing(found):
            async for batch in found:
                yield batch

    async def series(self, request: Request, what: str, take: Callable[[list[Series]], Awaitable[None]]) -> int:
        """Pass the Series of an answer to `take`, some hundreds at a time, and return their number.

        A list that is cut is requested again from its beginning, so `take` may get a Series twice. Invalid rows are
        noted and left out.
        """
        attributes = self.dialect.endpoints[request.name].attributes

        async def once(_: int) -> int:
            count = 0
            batch: list[Series] = []
            async with aclosing(self._rows(request)) as rows:
                async for row in rows:
                    try:
                        batch.append(read_record(Series, attributes, row))
                    except ValueError as error:
                        self._http.note(f"skipped an invalid row: {error}")
                        continue
                    count += 1
                    if len(batch) >= _ROWS_AT_ONCE:
                        await take(batch)
                        batch = []
            if batch:
                await take(batch)
            return count

        count, _ = await self.retrier.attempt(what, once)
        return count

    async def size(self, series_uid: SeriesUid) -> SeriesSize:
        """The bytes and the number of instances of a Series, None where the archive does not give them."""
        request = self.dialect.size(series_uid)
        rows = await self._all_rows(request, f"the size of series {series_uid}")
        try:
            return read_record(SeriesSize, self.dialect.endpoints[request.name].attributes, rows[0] if rows else {})
        except ValueError:  # NBIA sends one row without values for an unknown Series
            return SeriesSize(None, None)

    # --- list ---------------------------------------------------------------------------------------------------------

    async def list(self, series: Series) -> Listing:
        """See `Archive.list`."""
        uid = series.series_uid

        async def once(_: int) -> Listing:
            entries: dict[str, Entry] = {}
            invalid = 0
            async with aclosing(self._rows(self.dialect.instances(uid))) as rows:
                async for row in rows:
                    sop_uid = row.get("SOPInstanceUID")
                    if isinstance(sop_uid, str) and is_uid(sop_uid):
                        entries[sop_uid] = Entry(sop_uid, SopInstanceUid(sop_uid))
                    else:
                        invalid += 1
                        self._http.note(f"series {uid}: skipped a listed instance without a valid UID")
            return Listing(tuple(entries.values()), invalid)

        listing, _ = await self.retrier.attempt(f"the instances of series {uid}", once)
        return listing

    # --- open ---------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self, series_uid: SeriesUid, entry: Entry, *, rest: Rest | None = None) -> AsyncIterator[HttpBody]:
        """See `Archive.open`."""
        async with self._http.open(self.dialect.instance(series_uid, entry.key), headers=IDENTITY, rest=rest) as body:
            _refuse_text(body, "a DICOM file")
            yield body

    @asynccontextmanager
    async def open_bundle(self, series_uid: SeriesUid, *, study_uid: str | None = None) -> AsyncIterator[HttpBody]:
        """See `Archive.open_bundle`."""
        del study_uid
        async with self._http.open(self.dialect.bundle(series_uid), headers=IDENTITY) as body:
            _refuse_text(body, "a zip")
            yield body

    async def checksum(self, series_uid: SeriesUid, entry: Entry) -> bytes | None:
        """See `Archive.checksum`."""
        del series_uid
        request = self.dialect.checksum(entry.key)
        if request is None:
            return None
        try:
            _, content = await self._http.read_once(request)
        except RequestFailed:
            return None
        return _md5_in(content)

    async def series_checksum(self, series_uid: SeriesUid) -> bytes | None:
        """See `Archive.series_checksum`. It is what getMD5Hierarchy answers."""
        request = self.dialect.series_checksum(series_uid)
        if request is None:
            return None
        _, content = await self._http.read(request, f"the checksum of series {series_uid}")
        return _md5_in(content)

    # --- endpoints by name --------------------------------------------------------------------------------------------

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """Every endpoint by its documented name."""
        return self.dialect.endpoints

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

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def _all_rows(self, request: Request, what: str) -> _Rows:
        async def once(_: int) -> _Rows:
            async with aclosing(self._rows(request)) as rows:
                return [row async for row in rows]

        rows, _ = await self.retrier.attempt(what, once)
        return rows

    async def _rows(self, request: Request) -> AsyncGenerator[dict[str, Any], None]:
        """The rows of an answer. TCIA v3 sends errors as an object of JSON, sometimes with the status of a success."""
        async with aclosing(self._http.rows(request)) as rows:
            async for row in rows:
                if (said := row.get("errorMessage", row.get("errorDescription"))) is not None:
                    text = shortened(one_line(self._http.redacted(str(said))), _SHOWN_CHARACTERS)
                    raise UnexpectedAnswer(f"{request.name} answered with an error: {text}")
                yield row


class _Asking:
    """Puts the questions of one selection to the archive, and emits the Series that match."""

    def __init__(self, archive: NbiaArchive, selection: Selection) -> None:
        self._archive = archive
        self._named = frozenset(selection.series)  # a manifest may name many thousands
        self._selection = replace(selection, series=())

    async def ask(self, batch: Sequence[SeriesQuestion], emit: _Emit) -> None:
        """Ask one question, or several that each name a Series together."""
        if len(batch) == 1:
            await self._ask_one(batch[0], emit)
            return
        found: set[str] = set()

        async def take(answered: list[Series]) -> None:
            found.update(await self._emit_matching(answered, emit))

        request = self._archive.dialect.series_by_uids([SeriesUid(question.series_uid or "") for question in batch])
        try:
            await self._archive.series(request, f"{len(batch):,} series", take)
        except (NotFound, RequestRejected):  # the archive does not have the endpoint, or refuses one of the UIDs

            async def ask_one(question: SeriesQuestion) -> None:
                await self._ask_one(question, emit)

            await run_pool(as_iterator(batch), ask_one, workers=_QUESTIONS_AT_ONCE, name="find-singly")
        except AccessDenied:
            raise
        except RequestFailed as error:
            await emit(FoundSeries(failed=tuple((question, error) for question in batch)))
        else:
            await emit(FoundSeries(not_found=tuple(each for each in batch if each.series_uid not in found)))

    async def _ask_one(self, question: SeriesQuestion, emit: _Emit) -> None:
        found: set[str] = set()

        async def take(answered: list[Series]) -> None:
            found.update(await self._emit_matching([completed(series, question) for series in answered], emit))

        try:
            request = self._archive.dialect.series(question.criteria)
            count = await self._archive.series(request, f"the series of {question}", take)
        except (NotFound, RequestRejected):
            count = 0
        except AccessDenied:
            raise
        except RequestFailed as error:
            await emit(FoundSeries(failed=((question, error),)))
            return
        if not count or (question.series_uid and not found):
            await emit(FoundSeries(not_found=(question,)))

    async def _emit_matching(self, answered: list[Series], emit: _Emit) -> list[SeriesUid]:
        chosen = tuple(series for series in answered if self._matches(series))
        if chosen:
            await emit(FoundSeries(chosen))
        return [series.series_uid for series in chosen]

    def _matches(self, series: Series) -> bool:
        return (not self._named or series.series_uid in self._named) and self._selection.matches(series)


def capabilities_of(dialect: Dialect) -> Capabilities:
    """What an archive of this dialect can do."""
    series_uid = SeriesUid("1")
    return Capabilities(
        bundle=BundleForm.ZIP,
        ranges=True,
        checksums=dialect.checksum("1") is not None,
        series_checksums=dialect.series_checksum(series_uid) is not None,
        endpoints=True,
        takes_key=dialect.identity is Identity.KEY,
        takes_login=dialect.identity in {Identity.TOKEN, Identity.TOKEN_IF_ANY},
    )


def _md5_in(content: bytes) -> bytes | None:
    with suppress(ValueError):
        digest = bytes.fromhex(content.decode("ascii"))
        return digest if len(digest) == _MD5_BYTES else None
    return None


def _refuse_text(body: HttpBody, expected: str) -> None:
    """Refuse an error page or an error document in place of a file.

    Raises:
        UnexpectedAnswer: the body is a text.
    """
    kind = body.content_type
    if kind.startswith("text/") or kind in {"application/json", "application/xml"}:
        raise UnexpectedAnswer(f"the archive sent {kind} instead of {expected}")
