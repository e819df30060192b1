"""The body of a response: where it ends, how it is encoded, how slow and how large it may be, what identifies it."""

from __future__ import annotations

import asyncio
import email.utils
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Final, Self

from bulkdl.archive import http_status
from bulkdl.archive.auth import Token
from bulkdl.archive.base import Rest
from bulkdl.archive.http_transport import HttpResponse, ThreadedResponse
from bulkdl.errors import ShortBody, TimedOut, UnexpectedAnswer
from bulkdl.model.access import Access
from bulkdl.runtime.inflating import inflated
from bulkdl.runtime.tasks import in_thread

_ENCODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_ZLIB_METHOD: Final = 8  # in the low half of the first byte (RFC 1950); some servers send bare deflate instead
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_MOST_INFLATED_RATIO: Final = 200
_MOST_DEFLATED_RATIO: Final = 20  # of a server that writes byte by byte; parts without a byte could go on for ever
_FREE_RATIO_BYTES: Final = 64 << 20  # below, any ratio is accepted: an empty mask shrinks a thousand times
_LONGEST_TURN_SECONDS: Final = 0.02  # of bytes that have arrived already, before other tasks have theirs


class HttpBody:
    """See `base.Body`."""

    def __init__(self, response: HttpResponse, access: Access, token: Token | None = None) -> None:
        self._response = response
        self._access = access
        self.token = token  # the one that was sent
        self.status = response.status
        self.headers = headers = response.headers
        self.content_type = response.content_type
        encoding = headers.get("Content-Encoding", "identity").strip().lower() or "identity"
        if encoding != "identity" and encoding not in _ENCODINGS:
            raise UnexpectedAnswer("the response has a content encoding that was not requested")
        self._inflater = Inflater() if encoding in _ENCODINGS else None
        self.length = response.length if self._inflater is None else None
        self._expected = self.length
        self.start = 0
        self.is_part = response.status == http_status.PARTIAL_CONTENT
        self.object_bytes = self.length  # of the whole object, of which this may be a part
        self.validator = _validator_of(headers)
        self.received = 0
        self._encoded = 0
        self._waits = _Waits(access)

    @property
    def arrived(self) -> int:
        return self._response.arrived

    async def chunks(self) -> AsyncIterator[bytes]:
        response, clock, turn_began = self._response, time.monotonic, time.monotonic()
        while True:
            asked = clock()
            if asked - turn_began > _LONGEST_TURN_SECONDS:
                await asyncio.sleep(0)
                turn_began = asked = clock()
            if not (chunk := await response.chunk()):
                break
            self._waits.add(clock() - asked, len(chunk))
            for piece in (chunk,) if self._inflater is None else self._inflated(self._inflater, chunk):
                self.received += len(piece)
                yield piece
        self._check_end()

    @property
    def threaded(self) -> Self | None:
        is_plain = self._inflater is None and self.length is not None
        return self if is_plain and self._response.threaded is not None else None

    async def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        """See `base.ThreadedBody`. Only where `threaded` is not None."""
        response = self._response.threaded
        while response is not None and await self._is_readable(response):
            if size_bytes := await in_thread(response.receive, take, at_most):
                self._waits.add(0.0, size_bytes)
                self.received += size_bytes
                return size_bytes
        self._check_end()
        return 0

    async def _is_readable(self, response: ThreadedResponse) -> bool:
        asked = time.monotonic()
        is_readable = await response.readable()
        self._waits.add(time.monotonic() - asked, 0)
        return is_readable

    async def read(self, at_most: int) -> bytes:
        if self.length is None:
            pieces: list[bytes] = []
            async for chunk in self.chunks():
                if self.received > at_most:
                    raise _too_large(at_most)
                pieces.append(chunk)
            return b"".join(pieces)
        if self.length > at_most:
            raise _too_large(at_most)
        if self._response.arrived < self.length:
            content = await self._read_at_pace()
        else:
            content = await self._response.read()  # without a wait: a small body comes with its header
        self.received = len(content)
        self._check_end()
        return content

    async def _read_at_pace(self) -> bytes:
        """The whole body. TimedOut: it stalls or trickles."""
        try:
            async with asyncio.timeout(None) as limit:
                pace = _Pace(self._response, self._access, limit)
                try:
                    return await self._response.read()
                finally:
                    pace.end()
        except TimeoutError as error:
            arrived = f"only {self._response.arrived:,} of {self.length or 0:,} bytes arrived"
            raise TimedOut(f"{arrived}, too few of them in the last {self._access.silence_seconds:.0f} s") from error

    def _inflated(self, inflater: Inflater, chunk: bytes) -> Iterator[bytes]:
        self._encoded += len(chunk)
        for piece in inflater.feed(chunk):
            if self.received > max(_FREE_RATIO_BYTES, _MOST_INFLATED_RATIO * self._encoded):
                raise UnexpectedAnswer(f"the body expands to more than {_MOST_INFLATED_RATIO} times its size")
            yield piece
        if self._encoded > max(_FREE_RATIO_BYTES, _MOST_DEFLATED_RATIO * self.received):
            raise UnexpectedAnswer(f"the encoding of the body is more than {_MOST_DEFLATED_RATIO} times as long as it")

    def _check_end(self) -> None:
        if self._inflater is not None:
            self._inflater.close()
        if self._expected is not None and self.received != self._expected:
            raise ShortBody(f"{self.received:,} bytes arrived, {self._expected:,} were announced")

    def check_part(self, rest: Rest | None) -> None:
        """Set the start of a 206 that is the requested `rest`, to the end of the same object.

        It must repeat the validator (RFC 9110 §15.3.7): otherwise it may be the end of another object. A range of an
        encoded body is none of the object. Where the length is not known, the object may end before the `rest` does.

        Raises:
            UnexpectedAnswer: it is something else.
        """
        found = _CONTENT_RANGE.fullmatch(self.headers.get("Content-Range", ""))
        if found is None or rest is None:
            raise UnexpectedAnswer("the archive sent a part where the whole was requested")
        first, last, size = map(int, found.groups())
        length = size if rest.length is None else rest.length
        is_the_rest = (first, last + 1, size) == (rest.start, min(rest.end or length, length), length)
        self._expected = last + 1 - first
        is_whole = self._inflater is None and self.length in {None, self._expected}
        if not (is_the_rest and is_whole and self._repeats(rest.validator)):
            raise UnexpectedAnswer("the archive sent another part than the requested one")
        self.start, self.object_bytes = rest.start, size

    def _repeats(self, validator: str | None) -> bool:
        if validator is None:
            return True
        return self.headers.get("ETag" if validator.startswith('"') else "Last-Modified") == validator


class _Waits:
    """The time spent waiting for bytes, without the time that the caller needs to process them."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._seconds = 0.0
        self._received = 0

    def add(self, seconds: float, size_bytes: int) -> None:
        """Account for a wait. TimedOut: too little arrived during the last waits."""
        self._seconds += seconds
        self._received += size_bytes
        if self._seconds >= self._access.silence_seconds:
            if self._received < self._access.lowest_bytes_per_second * self._seconds:
                raise TimedOut(f"only {self._received:,} bytes arrived in {self._seconds:.0f} s")
            self._seconds, self._received = 0.0, 0


class _Pace:
    """Ends the wait for a whole body, `limit`, when the body stalls or trickles. `end` must be called."""

    def __init__(self, response: HttpResponse, access: Access, limit: asyncio.Timeout) -> None:
        self._response, self._limit = response, limit
        self._seconds = access.silence_seconds
        self._fewest = access.lowest_bytes_per_second * access.silence_seconds
        self._before = 0
        self._look_later()

    def _look_later(self) -> None:
        self._looking = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def _look(self) -> None:
        arrived = self._response.arrived
        if arrived - self._before < self._fewest:
            self._limit.reschedule(0.0)
        else:
            self._before = arrived
            self._look_later()

    def end(self) -> None:
        self._looking.cancel()


def _too_large(at_most: int) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"the answer is larger than {at_most:,} bytes, which is the most for one of its kind")


def _validator_of(headers: Mapping[str, str]) -> str | None:
    """What identifies the object: a strong entity tag, or a date that is strong (RFC 9110 §8.8).

    A weak tag may stand for other bytes with the same meaning. A date identifies the object only if it is older than
    the response: of the same second, the object may have changed once more.
    """
    tag = headers.get("ETag", "")
    if tag.startswith('"'):
        return tag
    modified = headers.get("Last-Modified")
    try:
        answered = email.utils.parsedate_to_datetime(headers.get("Date", ""))
        is_older = answered - email.utils.parsedate_to_datetime(modified or "") >= timedelta(seconds=1)
    except (ValueError, TypeError, OverflowError):  # missing, invalid, or one of them without a zone
        return None
    return modified if is_older else None


class Inflater:
    """Decodes gzip or deflate. Feed it every piece, in order, and then `close` it.

    aiohttp decodes them too, but accepts a gzip that was cut off (observed with 3.14). No decoded piece is larger than
    a fixed size, however much the body inflates.

    Raises:
        ShortBody: it is not encoded in this way, or incomplete.
    """

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_begun = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of the next piece."""
        if chunk and not self._has_begun:
            self._has_begun = True
            if chunk[0] & 0x0F != _ZLIB_METHOD and chunk[0] != 0x1F:  # noqa: PLR2004 - the first byte of gzip
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while chunk:
                if self._stream.eof:  # there may be several gzip members (RFC 1952 §2.2)
                    self._stream = zlib.decompressobj(_GZIP_OR_ZLIB)
                yield from inflated(self._stream, chunk)
                chunk = self._stream.unused_data
        except zlib.error as error:
            raise ShortBody(f"the body cannot be decoded: its encoding is damaged ({error})") from error

    def close(self) -> None:
        """The body has ended."""
        if self._has_begun and not self._stream.eof:
            raise ShortBody("the body is truncated: its encoding has no end")
