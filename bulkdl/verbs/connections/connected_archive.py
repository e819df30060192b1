"""An archive as an object with one method for each endpoint; rows become records.

The methods come from the endpoint tables, so they depend on the API of the archive: `dir(archive)` and
`help(archive.get_series)` show them, and so does `bulkdl describe ENDPOINT`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from bulkdl.archive.nbia.archive import NbiaArchive
from bulkdl.archive.nbia.endpoints import Answer as AnswerKind
from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.archive.routed import parts_of
from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, RunContext, Sink, ignore
from bulkdl.model.settings import FetchSettings
from bulkdl.verbs.connections import endpoints
from bulkdl.verbs.connections.endpoint_methods import EndpointMethods
from bulkdl.verbs.connections.open_archive import FIRST_ANSWER_SECONDS, open_archive
from bulkdl.verbs.tables.records import Record, Records, columns_of, read_row

# `Any` stands for what only the endpoint decides: a Record, the bytes of a file, or text. As in typeshed, a union with
# Any lets a caller who knows the endpoint use the answer without a cast.
Answer: TypeAlias = Records | Any
"""The answer of an endpoint: a list of records, a record, the bytes of a DICOM file, zip or picture, or text."""

_QUESTIONS: Final = FetchSettings(max_attempts=3, give_up_after_seconds=30)

_TEXTS: Final = frozenset({AnswerKind.TEXT, AnswerKind.MANIFEST})

_BORDERS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


Whole = TypeVar("Whole")
Part = TypeVar("Part")


@dataclass(frozen=True, slots=True, repr=False)
class EndpointCall(Generic[Whole, Part]):
    """A call of one endpoint; the request is sent when it is awaited or iterated over.

    `await` returns the whole answer. `async for` yields the records of a list one by one, and the bytes of a DICOM file
    or a zip while they arrive, which suits large files. A list is received completely before its first record is
    yielded, so a request that is cut off is repeated; the bytes of a file are requested once.
    """

    _client: NbiaArchive
    _endpoint: Endpoint
    _parameters: tuple[tuple[str, str], ...]
    _sink: Sink

    def __await__(self) -> Generator[Any, None, Whole]:
        return self._answer().__await__()

    def __aiter__(self) -> AsyncIterator[Part]:
        has_rows = endpoints.answers_with_rows(self._endpoint)
        parts: AsyncIterator[Any] = self._records() if has_rows else self._chunks()
        return parts

    def __repr__(self) -> str:
        return f"<call of {self._endpoint.name}>"

    async def _answer(self) -> Any:
        if endpoints.answers_with_rows(self._endpoint):
            records = Records([record async for record in self._records()], columns=columns_of(self._endpoint))
            is_one = self._endpoint.answer is AnswerKind.OBJECT and len(records) == 1
            return records[0] if is_one else records
        _, body = await self._client.query(self._endpoint, self._parameters)
        return body.decode("utf-8", errors="replace") if self._endpoint.answer in _TEXTS else body

    async def _records(self) -> AsyncGenerator[Record, None]:
        _, body = await self._client.query(self._endpoint, self._parameters)
        try:
            for row in endpoints.rows_of(body):
                try:
                    yield read_row(self._endpoint, row)
                except ValueError as error:
                    self._sink(Noted(f"skipped an invalid row: {error}"))
        except ValueError as error:
            raise UnexpectedAnswer(f"{self._endpoint.name} answered {error}") from error

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async with self._client.open_endpoint(self._endpoint, self._parameters) as body:
            async for chunk in body.chunks():
                yield chunk


class ConnectedArchive(EndpointMethods):
    """An archive to call endpoints of; `bulkdl.connect` makes it, and `bulkdl.Archive` is its public name.

    Each endpoint is a method: `getSeries` is `archive.get_series(collection="TCGA-GBM")`. Criteria have the names of
    `describe` or those of the archive (`Collection="TCGA-GBM"`); dates may be `date`. `name` is the profile, or the
    address that was given; `url` is the base address.
    """

    def __init__(self, client: NbiaArchive, sink: Sink = ignore) -> None:
        self._client = client
        self._sink = sink
        self._methods = {python_name(name): entry for name, entry in client.endpoints.items()}
        self.name, self.url = client.name, client.url

    def ask(self, endpoint: str, **criteria: Any) -> EndpointCall[Answer, Any]:
        """Call the endpoint of that name, written in any case or like its method (`get_series`).

        Raises ConfigurationError: there is no such endpoint or criterion, or a required one is missing.
        """
        found = self._methods.get(endpoint) or endpoints.find_among(self._client.endpoints, endpoint, self.name)
        parameters = endpoints.wire_parameters(found, criteria)
        if found.has_format and "JSON" in found.formats:
            parameters = (*parameters, ("format", "json"))
        return EndpointCall(self._client, found, parameters, self._sink)

    if not TYPE_CHECKING:  # a type checker knows the methods by their stubs, and refuses other names

        def __getattr__(self, name: str) -> Callable[..., EndpointCall[Any, Any]]:
            if name.startswith("_") or name not in self._methods:
                raise AttributeError(f"the archive has no endpoint {name!r}")
            return _method(self, name, self._methods[name])

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._methods]

    def __repr__(self) -> str:
        return f"<archive {self.name} at {self.url}>"


@asynccontextmanager
async def open_for_questions(
    archive: ArchiveChoice, *, settings: FetchSettings = _QUESTIONS, sink: Sink = ignore
) -> AsyncIterator[NbiaArchive]:
    """A client for single questions: three attempts, and half a minute for an archive that does not answer."""
    async with open_archive(archive, RunContext(settings, sink), first_answer_seconds=FIRST_ANSWER_SECONDS) as opened:
        client = parts_of(opened.client)[-1]
        if not isinstance(client, NbiaArchive):
            raise endpoints.without_endpoints(client.name)
        yield client


def python_name(endpoint: str) -> str:
    """The name of an endpoint's method: `getSOPInstanceUIDs` is `get_sop_instance_uids`."""
    return _BORDERS.sub("_", endpoint.replace("UIDs", "Uids").replace("/", "_")).lower()


def _method(archive: ConnectedArchive, name: str, endpoint: Endpoint) -> Callable[..., EndpointCall[Any, Any]]:
    """The method of an endpoint, with signature and documentation from the table."""

    def method(**criteria: Any) -> EndpointCall[Any, Any]:
        return archive.ask(name, **criteria)

    method.__name__ = method.__qualname__ = name
    lines = [f"{endpoint.name}: {endpoint.description}."]
    for title, entries in (("Criteria", endpoint.parameters), ("Records", endpoint.attributes)):
        if entries:
            lines += ["", f"{title}:", *(f"    {entry.field}: {entry.description}" for entry in entries)]
    method.__doc__ = "\n".join(lines)
    parameters = [
        inspect.Parameter(
            each.field, inspect.Parameter.KEYWORD_ONLY, default=inspect.Parameter.empty if each.required else None
        )
        for each in endpoint.parameters
    ]
    method.__signature__ = inspect.Signature(parameters, return_annotation=EndpointCall)  # type: ignore[attr-defined] # for help()
    return method
