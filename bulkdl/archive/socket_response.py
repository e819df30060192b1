"""The response that arrives on a connection: its header, where its body ends, and what of it waits for the reader."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Self

from bulkdl import errors
from bulkdl.archive import connection_errors
from bulkdl.archive.http_framing import MOST_HEADER_BYTES, ChunkedBody, ResponseHeader, header_size, parse_header
from bulkdl.archive.request import Upload
from bulkdl.archive.socket_connection import HAS_LOW_WATER_MARK, NOT_YET, wake_up
from bulkdl.model.text import error_text

if TYPE_CHECKING:
    from bulkdl.archive.socket_connection import Connection

_READ_BYTES: Final = 1 << 18
_FIRST_BYTES: Final = 1 << 14  # of a response: a small object comes with its header
_UNSURE_BYTES: Final = 1 << 16  # of a body that may consist of very small chunks, each of which takes a microsecond
_MOST_WAITING_BYTES: Final = 1 << 19  # of a body whose reader is slower than the network
# Each packet alone would wake the event loop, 40 times for a CT slice. It sleeps until some have come, or the end of
# the body, and looks now and then at what has, so that a slow body is neither late nor taken for one that stalls. That,
# and a large window, are for bodies that come quickly: on a narrow line a large window fills the queue, and whole
# windows are lost (measured at 10 Mbit/s: twice the time).
_QUICK_BYTES: Final = 1 << 16
_QUICK_BYTES_PER_SECOND: Final = 2_000_000
_MOST_UNSEEN_BYTES: Final = 1 << 17
_MOST_UNSEEN_OF_THREADS: Final = 1 << 19  # to wake a thread takes longer
# From a server nearby a body is read as a whole, apart from its header: pieces would be copied into one (measured: a
# twentieth of the processor time of a CT slice).
_NEARBY_BYTES_PER_SECOND: Final = 10_000_000
_WHOLE_BYTES: Final = 1 << 20  # at most
# A thread fills one buffer again and again: the cache of the core has it while it is hashed and written. That, and no
# copies in the event loop, save a fifth of the processor time of a large instance (measured).
_BUFFER_BYTES: Final = 1 << 18
_GATHERING_SECONDS: Final = 0.01  # for which bytes of a slow body gather before a thread takes them
_BEGIN_OF_HEADER: Final = b"HTTP/1."


class SocketResponse:
    """See `http_transport.HttpResponse`. The connection feeds it."""

    status = 0
    reason = ""
    content_type = ""
    length: int | None = None
    headers: Mapping[str, str]
    waited_seconds = 0.0

    def __init__(self, connection: Connection, silence_seconds: float, give_back: Callable[[Connection], None]) -> None:
        self._connection = connection
        self._silence_seconds = silence_seconds
        self._give_back = give_back
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._header: ResponseHeader | None = None
        self._head = bytearray()
        self._head_bytes = 0  # of informational headers
        self._began_at = 0.0
        self._chunked: ChunkedBody | None = None
        self._left: int | None = None  # bytes of a body of known length
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self.arrived = 0
        self._awaits_whole = False
        self.is_for_threads = False
        self._has_more = False  # a thread left bytes behind
        self._buffer: memoryview | None = None
        self._error: errors.RequestFailed | None = None
        self._ends_connection = False
        self.is_request_unsent = False
        self._is_released = False
        self.is_done = False  # its end has arrived, or an error

    # --- for the connection -------------------------------------------------------------------------------------------

    @property
    def has_begun(self) -> bool:
        """Whether its header has arrived."""
        return self._header is not None

    @property
    def wanted_bytes(self) -> int:
        """The most that is to be read next: no byte behind the end, where that is known, and 0 after it."""
        if self.is_done:
            return 0
        if self._header is None:
            return _FIRST_BYTES
        if self._left is None:
            return _UNSURE_BYTES
        return min(self._left, _WHOLE_BYTES if self._comes_whole else _READ_BYTES)

    @property
    def _comes_whole(self) -> bool:
        is_untouched = not self.arrived and not self.is_for_threads
        return self._connection.is_nearby and is_untouched and (self._left or 0) <= _WHOLE_BYTES

    @property
    def unseen_bytes(self) -> int:
        """The bytes that are to wait in the system before the next read: as many as came before, up to the end.

        1 if the body comes slowly.
        """
        if self._left is None or self.is_done:
            return 1
        if self._comes_whole:
            return max(1, self._left)
        if self.arrived < _QUICK_BYTES or self._is_slow:
            return 1
        as_before = 1 << self.arrived.bit_length() >> 1  # rounded down, as each change is a call of the system
        most = _MOST_UNSEEN_OF_THREADS if self.is_for_threads else _MOST_UNSEEN_BYTES
        return max(1, min(as_before, most, self._left))

    @property
    def _is_slow(self) -> bool:
        return self._is_slower_than(_QUICK_BYTES_PER_SECOND)

    def _is_slower_than(self, bytes_per_second: int) -> bool:
        return self.arrived < bytes_per_second * (self._loop.time() - self._began_at)

    @property
    def is_full(self) -> bool:
        """Whether no more is to be read until the reader has taken what waits."""
        return self._waiting_bytes >= _MOST_WAITING_BYTES and not self._awaits_whole and not self.is_done

    def feed(self, data: bytes) -> None:
        """Take the next bytes; empty at the end of the connection."""
        try:
            if not data:
                self._take_end()
            elif self._header is None:
                self._take_header(data)
            else:
                self._take_body(data)
        except ValueError as error:
            self.fail(connection_errors.invalid_response(str(error)))

    def break_off(self, error: OSError) -> None:
        """The connection broke: it is lost before the header; behind it the body is cut.

        TLS that ends without a closure alert has broken, too (RFC 9112 §9.8); Python may say no more of a reset.
        """
        reason = connection_errors.ENDED if isinstance(error, ssl.SSLEOFError) else error_text(error)
        self.fail(connection_errors.broken(reason) if self._header is None else connection_errors.cut(reason))

    def fail(self, error: errors.RequestFailed) -> None:
        """End with an error, which the reader gets after what has arrived."""
        self._error, self.is_done = error, True
        self.wake()

    def _take_end(self) -> None:
        if self._header is None:
            self.fail(connection_errors.broken(connection_errors.CLOSED_IN_HEADER))
        elif self._left is not None or self._chunked is not None:
            self.fail(connection_errors.cut(connection_errors.CLOSED))
        else:
            self.is_done = self._ends_connection = True
            self.wake()

    def _take_header(self, data: bytes) -> None:
        searched = len(self._head)
        self._head += data
        while self._header is None and (size := header_size(self._head, searched=searched)):
            searched = 0
            self._head_bytes += size
            self._header = parse_header(bytes(self._head[:size]))
            del self._head[:size]
        if self._header is None and not _BEGIN_OF_HEADER.startswith(self._head[: len(_BEGIN_OF_HEADER)]):
            raise ValueError("it does not begin with a status")  # else its end would be awaited
        unended = len(self._head) if self._header is None else 0
        if self._head_bytes + unended > MOST_HEADER_BYTES:
            self._header = None
            raise ValueError("its header is too long")
        if self._header is not None:
            self._begin(self._header)

    def _begin(self, header: ResponseHeader) -> None:
        self.status, self.reason, self.headers = header.status, header.reason, header.headers
        self.length, self.content_type = header.length, header.content_type
        self._left = header.length
        self._chunked = ChunkedBody() if header.is_chunked else None
        self._ends_connection = not header.keeps_alive
        self._began_at = self._loop.time()
        rest, self._head = bytes(self._head), bytearray()
        if rest or header.length == 0:
            self._take_body(rest)
        self.wake()

    def _take_body(self, data: bytes) -> None:
        self.arrived += len(data)
        if self._chunked is not None:
            self._add(b"".join(self._chunked.feed(data)))
            self.is_done = self._chunked.has_ended
            self._ends_connection |= self._chunked.is_exceeded
        elif self._left is not None:
            self._ends_connection |= len(data) > self._left  # with bytes that belong to nothing
            self._add(data[: self._left])
            self._left -= min(self._left, len(data))
            self.is_done = self._left == 0
        else:
            self._add(data)
        if self.is_done:
            is_large = self.arrived >= _QUICK_BYTES
            self._connection.is_nearby = is_large and not self._is_slower_than(_NEARBY_BYTES_PER_SECOND)
        if self.is_done or (self._pieces and not self._awaits_whole):
            self.wake()

    def _add(self, piece: bytes) -> None:
        if piece:
            self._pieces.append(piece)
            self._waiting_bytes += len(piece)

    def wake(self) -> None:
        """Let the reader look at what has arrived."""
        if self._waiter is not None:
            wake_up(self._waiter)

    # --- for the reader -----------------------------------------------------------------------------------------------

    def send(self, request: bytes) -> bool:
        """Send a short request, and return whether it was sent."""
        try:
            rest = self._connection.send(request)
        except OSError as error:
            self.break_off(error)
            return False
        if rest:
            self.fail(connection_errors.broken("the system did not take the request"))
        return not rest

    async def send_long(self, request: bytes | memoryview, seconds: float) -> bool:
        """Send any request, or a part of one; returns whether it was sent. TimedOut: none was taken for `seconds`.

        The rest is not sent where the response begins before, or the connection breaks: what comes says why.
        """
        with suppress(OSError):
            while (request := self._connection.send(request)) and not (self.has_begun or self.is_done):
                self._connection.watch_room(self.wake)
                try:
                    await self._next(seconds)
                finally:
                    self._connection.unwatch_room()
            if not request:
                return True
        self.is_request_unsent = True
        return False

    async def send_upload(self, upload: Upload, seconds: float) -> None:
        """Send the body of a request whose header was sent, in the same way."""
        async with aclosing(upload.chunks()) as chunks:
            async for chunk in chunks:
                if self.has_begun or self.is_done:
                    self.is_request_unsent = True
                    return
                if not await self.send_long(memoryview(chunk), seconds):
                    return

    async def begun(self, seconds: float) -> None:
        """Wait until the header has arrived, as a whole within `seconds`."""
        if self._header is None and not self.is_done:
            await self._next(seconds)
        if self._header is None and self._error is not None:
            raise self._error

    async def chunk(self) -> bytes:
        if not self._pieces and not self.is_done:
            await self._next(self._silence_seconds)
        if not self._pieces and self._error is not None:
            raise self._error
        return self._taken()

    async def read(self) -> bytes:
        self._awaits_whole = True
        self._connection.watch()
        while not self.is_done:
            before = self.arrived
            try:
                await self._next(self._silence_seconds)
            except errors.TimedOut:
                if self.arrived == before:
                    raise
        if self._error is not None:
            raise self._error
        return self._taken()

    def _taken(self) -> bytes:
        pieces, self._pieces, self._waiting_bytes = self._pieces, [], 0
        if not self.is_done:
            self._connection.watch()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # --- for a reader in threads --------------------------------------------------------------------------------------

    @property
    def threaded(self) -> Self | None:
        return self if HAS_LOW_WATER_MARK and self._left is not None else None

    async def readable(self) -> bool:
        self.is_for_threads = True
        if not self._pieces and not self.is_done and not self._has_more:
            self._connection.watch_for(self.unseen_bytes)
            await self._next(self._silence_seconds)
            if self._is_slow:
                await asyncio.sleep(_GATHERING_SECONDS)
        self._connection.unwatch()  # from now on a thread reads
        if not self._pieces and self._error is not None:
            raise self._error
        return bool(self._pieces) or not self.is_done

    def receive(self, take: Callable[[memoryview], None], at_most: int) -> int:
        pieces, self._pieces, self._waiting_bytes = self._pieces, [], 0  # that came with the header
        for piece in pieces:
            take(memoryview(piece))
        received = sum(map(len, pieces))
        while received < at_most and not self.is_done and (filled := self._filled(at_most - received)):
            take(filled)
            received += len(filled)
        self._has_more = received >= at_most
        return received

    def _filled(self, at_most: int) -> memoryview:
        """The buffer with what has arrived."""
        if self._buffer is None:
            self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        room, filled = self._buffer[: min(self._left or 0, at_most)], 0
        try:
            while filled < len(room):
                if not (size_bytes := self._connection.receive_into(room[filled:])):
                    self._take_end()
                    break
                filled += size_bytes
        except NOT_YET:
            pass
        except OSError as error:
            self.break_off(error)
        self.arrived += filled
        self._left = (self._left or 0) - filled
        self.is_done = self.is_done or not self._left
        return room[:filled]

    async def _next(self, seconds: float) -> None:
        """Wait to be woken. TimedOut: that did not happen within `seconds`."""
        self._waiter = waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, _time_out, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    def release(self) -> None:
        if self._is_released:
            return
        self._is_released, self._connection.response, self._buffer = True, None, None
        is_last = self._ends_connection or self.is_request_unsent or self._connection.holds_more
        if not self.is_done or self._error is not None or is_last:
            self._connection.close()
        if self.is_for_threads:
            self._connection.close_if_more_came()  # threads read no byte behind the end
            self._connection.watch_for(1)
        self._give_back(self._connection)


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(connection_errors.silent())
