"""The bodies of objects of a data commons: compared with their records, continued where they break, or one member."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from bulkdl.archive.base import Body, Rest
from bulkdl.archive.drs.checksums import ComparedBytes
from bulkdl.archive.drs.records import DrsRecord
from bulkdl.archive.drs.zip_directory import MemberReader, ZipMember
from bulkdl.errors import ConnectionLost, ShortBody, TimedOut, UnexpectedAnswer

_BROKE_OFF: Final = (ConnectionLost, ShortBody, TimedOut)
_WORTH_BYTES: Final = 1 << 20  # of progress, after which a broken body is continued at once
_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})

Reopen = Callable[[Rest], Awaitable[Body]]
"""Requests the rest of an object, and returns its body, which is closed with the first one."""


class WholeBody:
    """The body of a whole object: see `base.Body`. Its end raises ChecksumMismatch if it is not that of the record.

    With `reopen`, a body that breaks after some progress is continued, if the archive identifies the object.
    """

    threaded = None

    def __init__(self, first: Body, record: DrsRecord, reopen: Reopen | None = None) -> None:
        self.length, self.start, self.is_part = first.length, first.start, first.is_part
        self.validator, self.content_type, self.headers = first.validator, first.content_type, first.headers
        self._first = first
        self._record = record
        self._reopen = reopen

    @property
    def arrived(self) -> int:
        """See `base.Body`."""
        return self._first.arrived

    async def chunks(self) -> AsyncIterator[bytes]:
        """See `base.Body`."""
        body, compared, began = self._first, ComparedBytes(self._record), 0
        while True:
            try:
                async for chunk in body.chunks():
                    compared.update(chunk)
                    yield chunk
                break
            except _BROKE_OFF:
                is_worth = compared.count - began >= _WORTH_BYTES and compared.count < self._record.size_bytes
                if self._reopen is None or self.validator is None or not is_worth:
                    raise
            began = compared.count
            body = await self._reopen(Rest(began, self._record.size_bytes, self.validator))
            if not body.is_part:
                raise UnexpectedAnswer("the object changed while it was downloaded, or its rest is not sent")
        compared.compare()

    async def read(self, at_most: int) -> bytes:
        """See `base.Body`."""
        content, compared = await self._first.read(at_most), ComparedBytes(self._record)
        compared.update(content)
        compared.compare()
        return content


class MemberBody:
    """The body of one member of a zip, out of a part of the zip that begins with it: see `base.Body`."""

    threaded = None

    def __init__(self, body: Body, member: ZipMember) -> None:
        self.length: int | None = member.size_bytes
        self.start = 0
        self.is_part = False
        self.validator: str | None = None
        self.content_type = "application/octet-stream"
        self.headers = _NO_HEADERS
        self._body = body
        self._member = member

    @property
    def arrived(self) -> int:
        """See `base.Body`."""
        return self._body.arrived

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """See `base.Body`."""
        reader, left = MemberReader(self._member), self._member.size_bytes
        skipped = 0 if self._body.is_part else self._member.offset  # the whole zip is sent where ranges are not known
        async for chunk in self._body.chunks():
            rest, skipped = chunk[skipped:], max(0, skipped - len(chunk))
            for data in reader.feed(rest):
                left -= len(data)
                yield data
            if not left:
                break
        reader.close()

    async def read(self, at_most: int) -> bytes:
        """See `base.Body`."""
        if self._member.size_bytes > at_most:
            raise UnexpectedAnswer(f"the instance is larger than {at_most:,} bytes")
        return b"".join([chunk async for chunk in self.chunks()])
