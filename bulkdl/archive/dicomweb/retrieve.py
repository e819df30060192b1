"""WADO-RS, the retrieval of DICOMweb: one instance, or all of a Series, as they are stored.

`transfer-syntax=*` asks for the stored bytes: without it a server may transcode them. An instance is requested as
`application/dicom`, whose length is known; a server that refuses this type is asked for `multipart/related` from then
on, of which the one part is the instance.

Source: PS3.18 §8.7.3.5, §10.4; Orthanc answers 400 to the first type, dcm4chee 206 to what it has in part.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Final

from bulkdl.archive.base import Body, Rest
from bulkdl.archive.dicomweb.multipart import MultipartReader
from bulkdl.archive.dicomweb.paths import address, studies_path
from bulkdl.archive.http import IDENTITY, HttpClient
from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.request import Identity, Request
from bulkdl.errors import BundleError, RequestRejected, ShortBody, UnexpectedAnswer
from bulkdl.model.bundles import BundleEvent, EntryData, EntryStarted

_SINGLE: Final = "application/dicom; transfer-syntax=*"
_PARTS: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_BARE_TYPE: Final = "application/dicom"
_TEXT: Final = "text/"
_REFUSED_TYPE: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_ACCEPTABLE, HTTPStatus.UNSUPPORTED_MEDIA_TYPE})


class Retriever:
    """Requests the objects of one archive. Each method is one attempt."""

    def __init__(self, http: HttpClient, root: str) -> None:
        self._http = http
        self._root = root
        self._sends_bare = True  # until it refuses to
        self._states_lengths = True  # of parts, until one is wrong

    @asynccontextmanager
    async def instance(
        self, study_uid: str, series_uid: str, sop_uid: str, rest: Rest | None = None
    ) -> AsyncIterator[Body]:
        """Request one instance, or the `rest` of it where the archive knows ranges."""
        path = studies_path(study_uid, series_uid, sop_uid)
        async with AsyncExitStack() as stack:
            body = await self._accepted(stack, path, rest)
            yield body if body.content_type == _BARE_TYPE else await self._unpacked(stack, body)

    @asynccontextmanager
    async def series(self, study_uid: str, series_uid: str) -> AsyncIterator[HttpBody]:
        """Request all instances of a Series as `multipart/related`."""
        async with self._open("series", studies_path(study_uid, series_uid), _PARTS) as body:
            yield body

    @asynccontextmanager
    async def _open(self, name: str, path: str, accept: str, rest: Rest | None = None) -> AsyncIterator[HttpBody]:
        request = Request(
            name,
            "",
            address=address(self._root, path),
            accept=accept,
            identity=Identity.AUTHORIZATION,
            may_be_incomplete=True,
        )
        async with self._http.open(request, headers=IDENTITY, rest=rest) as body:
            yield body

    async def _accepted(self, stack: AsyncExitStack, path: str, rest: Rest | None) -> HttpBody:
        """The response in the type that the archive accepts."""
        if self._sends_bare:
            try:
                return await stack.enter_async_context(self._open("instance", path, _SINGLE, rest))
            except RequestRejected as error:
                if error.status not in _REFUSED_TYPE:
                    raise
        body = await stack.enter_async_context(self._open("instance", path, _PARTS))
        self._sends_bare = False
        return body

    async def _unpacked(self, stack: AsyncExitStack, body: HttpBody) -> PartBody:
        if body.content_type.startswith(_TEXT):
            raise UnexpectedAnswer("the archive sent a text instead of a DICOM file")
        part = PartBody(body, self._doubt_lengths, ignores_lengths=not self._states_lengths)
        stack.push_async_callback(part.close)
        await part.begin()
        return part

    def _doubt_lengths(self) -> None:
        self._states_lengths = False


class PartBody:
    """The one instance of a multipart response, or the bare file in its place: see `base.Body`. `begin` comes first.

    `on_damage` is called where the response is damaged: a length in it may be wrong.
    """

    threaded = None

    def __init__(self, body: HttpBody, on_damage: Callable[[], None], *, ignores_lengths: bool = False) -> None:
        self.length: int | None = None
        self.start = 0
        self.is_part = False
        self.validator: str | None = None  # that of the response is not one of the instance
        self.content_type = _BARE_TYPE
        self.headers: Mapping[str, str] = body.headers
        self._body = body
        self._on_damage = on_damage
        self._ignores_lengths = ignores_lengths
        self._events = self._read()

    @property
    def arrived(self) -> int:
        """See `base.Body`."""
        return self._body.arrived

    async def begin(self) -> None:
        """Wait for the header of the part. Raises RequestFailed: there is no part."""
        async for event in self._events:
            if isinstance(event, EntryStarted):
                self.length = None if self._ignores_lengths else event.size_bytes
                return
        raise UnexpectedAnswer("the response has no instance")

    async def close(self) -> None:
        """End reading."""
        await self._events.aclose()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """See `base.Body`."""
        async for event in self._events:
            if isinstance(event, EntryData):
                yield bytes(event.data)
            elif isinstance(event, EntryStarted):
                raise UnexpectedAnswer("the response has more than one instance")

    async def read(self, at_most: int) -> bytes:
        """See `base.Body`."""
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if max(len(content), self.length or 0) > at_most:
                raise UnexpectedAnswer(f"the instance is larger than {at_most:,} bytes")
        return bytes(content)

    async def _read(self) -> AsyncGenerator[BundleEvent, None]:
        try:
            reader = MultipartReader(self.headers.get("Content-Type", ""), ignores_lengths=self._ignores_lengths)
            async for chunk in self._body.chunks():
                for event in reader.feed(chunk):
                    yield event
        except BundleError as error:
            self._on_damage()
            raise UnexpectedAnswer(str(error)) from error
        try:
            for event in reader.close():
                yield event
        except BundleError as error:
            self._on_damage()
            raise ShortBody(str(error)) from error
