"""An archive as an object: one method for each endpoint it has, in our words, with records for answers.

The methods come from the endpoint tables, so each family of APIs has its own: `dir(archive)` and
`help(archive.get_series)` show them. `bulkdl describe ENDPOINT` shows the same.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

from bulkdl.archive.http import ArchiveClient
from bulkdl.archive.nbia.endpoints import Answer as AnswerKind
from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.errors import UnexpectedAnswer
from bulkdl.model.access import ArchiveChoice
from bulkdl.model.events import Noted, Sink, ignore
from bulkdl.verbs.query import asking, find_among, rows_of, wire_parameters
from bulkdl.verbs.records import Record, Records, columns_of, read_row

Answer: TypeAlias = Records | Record | bytes | str
"""What an endpoint answers with: a list of records or one; a DICOM file, a zip, a picture; a text."""

_LISTS: Final = frozenset({AnswerKind.ROWS, AnswerKind.OBJECT})
_TEXTS: Final = frozenset({AnswerKind.TEXT, AnswerKind.MANIFEST})

_BORDERS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Question:
    """A question to one endpoint, asked when it is awaited or iterated over.

    `await` gives the whole answer. `async for` gives a list's records one by one, and of a DICOM file or a zip the
    bytes as they come, which is the way for what is large. A list is read to its end before its first record comes, so
    that one that is cut is asked for again; the bytes of a file are asked for once.
    """

    def __init__(
        self, client: ArchiveClient, endpoint: Endpoint, parameters: tuple[tuple[str, str], ...], sink: Sink
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._parameters = parameters
        self._sink = sink

    def __await__(self) -> Generator[Any, None, Answer]:
        return self._answer().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._records() if self._endpoint.answer in _LISTS else self._chunks()

    def __repr__(self) -> str:
        return f"<question to {self._endpoint.name}>"

    async def _answer(self) -> Answer:
        if self._endpoint.answer in _LISTS:
            records = Records([record async for record in self._records()], columns=columns_of(self._endpoint))
            is_one = self._endpoint.answer is AnswerKind.OBJECT and len(records) == 1
            return records[0] if is_one else records
        _, body = await self._client.query(self._endpoint, self._parameters)
        return body.decode("utf-8", errors="replace") if self._endpoint.answer in _TEXTS else body

    async def _records(self) -> AsyncGenerator[Record, None]:
        _, body = await self._client.query(self._endpoint, self._parameters)
        try:
            for row in rows_of(body):
                try:
                    yield read_row(self._endpoint, row)
                except ValueError as error:
                    self._sink(Noted(f"the archive sent a row that cannot be right, left out: {error}"))
        except ValueError as error:
            raise UnexpectedAnswer(f"{self._endpoint.name} answered {error}") from error

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async with self._client.open(self._endpoint, self._parameters) as body:
            async for chunk in body.chunks():
                yield chunk


class Archive:
    """An archive that questions can be put to; `bulkdl.connect` makes it.

    Each endpoint is a method: `getSeries` is `archive.get_series(collection="TCGA-GBM")`. Criteria are named in our
    words or as they go over the wire (`Collection="TCGA-GBM"`); dates may be dates.
    """

    def __init__(self, client: ArchiveClient, sink: Sink = ignore) -> None:
        self._client = client
        self._sink = sink
        self._methods = {python_name(name): entry for name, entry in client.dialect.endpoints.items()}

    @property
    def name(self) -> str:
        """The profile, or the address it was named by."""
        return self._client.profile.name

    @property
    def url(self) -> str:
        """The base address."""
        return self._client.profile.url

    def ask(self, endpoint: str, **criteria: Any) -> Question:
        """A question to the endpoint of that name, written in any case, or as a method is (`get_series`).

        Raises:
            ConfigurationError: no such endpoint or criterion, or a required one is missing.
        """
        found = self._methods.get(endpoint) or find_among(self._client.dialect.endpoints, endpoint, self.name)
        parameters = wire_parameters(found, criteria)
        if found.has_format and "JSON" in found.formats:
            parameters = (*parameters, ("format", "json"))
        return Question(self._client, found, parameters, self._sink)

    def __getattr__(self, name: str) -> Callable[..., Question]:
        if name.startswith("_") or name not in self._methods:
            raise AttributeError(f"the archive has no endpoint {name!r}")
        return _method(self, name, self._methods[name])

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._methods]

    def __repr__(self) -> str:
        return f"<archive {self.name} at {self.url}>"


@asynccontextmanager
async def connect(archive: ArchiveChoice, *, sink: Sink = ignore) -> AsyncIterator[Archive]:
    """An archive to put questions to, for as long as the block lasts.

    Raises:
        ConfigurationError: no such archive.
    """
    async with asking(archive, sink=sink) as client:
        yield Archive(client, sink)


def python_name(endpoint: str) -> str:
    """The name of an endpoint's method: `getSOPInstanceUIDs` is `get_sop_instance_uids`."""
    return _BORDERS.sub("_", endpoint.replace("UIDs", "Uids").replace("/", "_")).lower()


def _method(archive: Archive, name: str, endpoint: Endpoint) -> Callable[..., Question]:
    """The method of an endpoint, with the signature and the documentation that the table gives."""

    def method(**criteria: Any) -> Question:
        return archive.ask(name, **criteria)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = _documentation(endpoint)
    method.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # what help() looks for
        [
            inspect.Parameter(
                parameter.field,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if parameter.required else None,
            )
            for parameter in endpoint.parameters
        ],
        return_annotation=Question,
    )
    return method


def _documentation(endpoint: Endpoint) -> str:
    lines = [f"{endpoint.name}: {endpoint.description}."]
    if endpoint.parameters:
        lines += ["", "Criteria:", *(f"    {entry.field}: {entry.description}" for entry in endpoint.parameters)]
    if endpoint.attributes:
        lines += ["", "Records:", *(f"    {entry.field}: {entry.description}" for entry in endpoint.attributes)]
    return "\n".join(lines)
