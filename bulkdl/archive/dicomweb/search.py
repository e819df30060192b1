"""QIDO-RS, the searches of DICOMweb: rows of an answer while they arrive, page after page.

A page that is shorter than its limit is not the last one, because servers have limits of which they say nothing; the
next one begins behind the rows that were received. The search ends with a page that has nothing new, since some servers
ignore where a page begins. Nothing is believed to be complete: the caller compares counts.

Source: PS3.18 §10.6; what Orthanc, dcm4chee, Google, Microsoft and DICOMcloud do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Hashable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Generic, TypeVar

from bulkdl.archive.dicomweb.attributes import Attributes
from bulkdl.archive.dicomweb.paths import address
from bulkdl.archive.http import HttpClient
from bulkdl.archive.request import Identity, Pairs, Request
from bulkdl.errors import NotFound, RequestRejected, UnexpectedAnswer
from bulkdl.model.formatting import counted

Record = TypeVar("Record")

_JSON: Final = "application/dicom+json"  # exactly one type: some servers refuse a list (406, 400)
_MOST_ROWS: Final = 1_000_000  # of one answer
_MOST_RECORDS: Final = 10_000_000  # of a search


@dataclass(frozen=True, slots=True)
class RowSearch(Generic[Record]):
    """One search. `path` is relative to the root; `fields` are tags to include.

    `read` makes a record of a row, None of one that cannot be read; `uid_of` identifies a record. With `enough` records
    the search ends without another page.
    """

    what: str
    path: str
    query: Pairs
    fields: tuple[str, ...]
    read: Callable[[Attributes], Record | None]
    uid_of: Callable[[Record], Hashable]
    enough: int | None = None


@dataclass(frozen=True, slots=True)
class SearchPage(Generic[Record]):
    """The new records of one page, and the number of rows that cannot be read."""

    records: tuple[Record, ...]
    invalid_rows: int


@dataclass(frozen=True, slots=True)
class _QueryForm:
    """How much a query says beside its criteria. Servers refuse limits above theirs, and fields unknown to them."""

    limit: int | None = None
    has_fields: bool = False
    is_raw: bool = True


_FORMS: Final[tuple[_QueryForm, ...]] = (
    _QueryForm(limit=1_000, has_fields=True),
    _QueryForm(limit=200, has_fields=True),  # the most of Microsoft
    _QueryForm(limit=200),
    _QueryForm(),
    _QueryForm(is_raw=False),  # of servers that refuse what RFC 3986 does not have
)


class SearchClient:
    """Sends the searches of one archive, and remembers which form of a query it accepts."""

    def __init__(self, http: HttpClient, root: str) -> None:
        self._http = http
        self._root = root
        self._forms = _FORMS

    async def pages(self, search: RowSearch[Record]) -> AsyncGenerator[SearchPage[Record], None]:
        """Yield the pages of a search; each record comes once.

        Raises:
            RequestRejected: the archive does not know the search, or refuses it.
            UnexpectedAnswer: an answer is not a list of rows, or the search does not end.
        """
        seen: set[Hashable] = set()
        offset, forms = 0, self._forms
        while len(seen) < _MOST_RECORDS:
            page, received, forms = await self._page(search, offset, forms)
            fresh = {search.uid_of(record): record for record in page.records}
            records = tuple(record for uid, record in fresh.items() if uid not in seen)
            seen.update(fresh)
            offset += received
            if records or page.invalid_rows:
                yield SearchPage(records, page.invalid_rows)
            if not records or (search.enough is not None and len(seen) >= search.enough):
                return
        raise UnexpectedAnswer(f"{search.what} are more than {_MOST_RECORDS:,}: the search does not end")

    async def all(self, search: RowSearch[Record]) -> tuple[list[Record], int]:
        """All records of a search, and the number of rows that cannot be read. Raises as `pages`."""
        records: list[Record] = []
        invalid_rows = 0
        async with aclosing(self.pages(search)) as pages:
            async for page in pages:
                records += page.records
                invalid_rows += page.invalid_rows
        return records, invalid_rows

    async def first_rows(self, what: str, path: str, query: Pairs) -> list[Attributes]:
        """The rows of the first page of a search. One attempt, for callers that hold a permit already.

        Raises:
            RequestRejected: as `pages`.
        """
        request = self._request(what, address(self._root, path, query))
        async with self._rows(request) as batches:
            return [Attributes(row) async for rows in batches for row in rows]

    async def metadata(self, what: str, path: str, take: Callable[[Attributes], None]) -> None:
        """Pass the data set of each instance below `path` to `take`: `/metadata`, which may have tens of megabytes.

        A list that breaks is requested again from its beginning, so `take` may get an instance twice.

        Raises:
            RequestRejected: the archive has no such list.
        """
        request = self._request(what, address(self._root, f"{path}/metadata"))

        async def once(_: int) -> None:
            async with self._rows(request) as batches:
                async for rows in batches:
                    for row in rows:
                        take(Attributes(row))

        await self._http.retrier.ask(what, once)

    async def _page(
        self, search: RowSearch[Record], offset: int, forms: tuple[_QueryForm, ...]
    ) -> tuple[SearchPage[Record], int, tuple[_QueryForm, ...]]:
        """One page, the number of its rows, and the forms of a query from the accepted one on."""
        refusal: RequestRejected | None = None
        for position, form in enumerate(forms):
            if not form.is_raw and not any("^" in value for _, value in search.query):
                continue
            try:
                page, received = await self._http.retrier.ask(search.what, partial(self._once, search, offset, form))
            except RequestRejected as error:
                refusal = refusal or error
                if error.status != HTTPStatus.BAD_REQUEST or offset:
                    raise
                continue
            if refusal is not None and form.is_raw:
                self._forms = forms[position:]
            return page, received, forms[position:]
        assert refusal is not None  # noqa: S101 - as there are forms
        raise refusal

    async def _once(
        self, search: RowSearch[Record], offset: int, form: _QueryForm, _: int
    ) -> tuple[SearchPage[Record], int]:
        query = search.query
        query += (("includefield", ",".join(search.fields)),) if search.fields and form.has_fields else ()
        query += (("limit", str(form.limit)),) if form.limit is not None else ()
        query += (("offset", str(offset)),) if offset else ()
        request = self._request(search.what, address(self._root, search.path, query, is_raw=form.is_raw))
        records: list[Record] = []
        received = 0
        async with self._rows(request) as batches:
            async for rows in batches:
                received += len(rows)
                found = (search.read(Attributes(row)) for row in rows)
                records += (record for record in found if record is not None)
        return SearchPage(tuple(records), received - len(records)), received

    def _request(self, what: str, url: str) -> Request:
        return Request(what, "", address=url, accept=_JSON, identity=Identity.AUTHORIZATION, may_be_incomplete=True)

    @asynccontextmanager
    async def _rows(self, request: Request) -> AsyncIterator[AsyncGenerator[list[dict[str, Any]], None]]:
        """The rows of an answer. A root that does not exist says nothing about the data."""
        try:
            async with aclosing(self._http.rows(request, at_most=_MOST_ROWS)) as batches:
                yield batches
        except NotFound as error:
            raise RequestRejected(str(error), status=error.status) from error


def unreadable(rows: int, what: str) -> UnexpectedAnswer:
    """The error of an answer of which some rows cannot be read."""
    return UnexpectedAnswer(f"{counted(rows, 'row')} of {what} cannot be read")
