"""Send requests over sockets that the event loop watches, with few steps between the system and the bytes of a body.

With it a small object takes a third of the processor time of aiohttp, and a CT slice two thirds. It connects directly
only. `aiohttp_transport` is the transport of proxies, and of loops that cannot watch sockets.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, Self, TypeAlias, TypeVar
from urllib.parse import urlencode

from aiohappyeyeballs import start_connection
from yarl import URL

from bulkdl import errors
from bulkdl._version import __version__
from bulkdl.archive import connection_errors
from bulkdl.archive.certificates import Certificates
from bulkdl.archive.early_connections import EarlyConnections
from bulkdl.archive.http_framing import MOST_HEADER_BYTES, ChunkedBody, ResponseHeader, header_size, parse_header
from bulkdl.archive.request import LINE_BREAK, Content, Upload, basic_authorization, header_with_break
from bulkdl.model.access import Access
from bulkdl.model.text import error_text
from bulkdl.runtime.concurrency import LONG_SECONDS
from bulkdl.runtime.disk import is_shortage
from bulkdl.runtime.tasks import Tasks

_CONNECTIONS: Final = 4  # name, several addresses, TLS
_READ_BYTES: Final = 1 << 18
_FIRST_BYTES: Final = 1 << 14  # of a response: a small object comes with its header
_UNSURE_BYTES: Final = 1 << 16  # of a body that may consist of very small chunks, each of which takes a microsecond
_RECORD_BYTES: Final = 1 << 14  # the longest record of TLS
_RECORDS_AT_ONCE: Final = 16
_MOST_WAITING_BYTES: Final = 1 << 19  # of a body whose reader is slower than the network
# The system opens the window of a connection while its bytes are read. Over a long line that held the sender back (seen
# with `ss -ti`: for 0.1 s of the first second), so there is room for a whole CT slice as soon as it would matter.
_WINDOW_BYTES: Final = 1 << 20
# There each packet alone would wake the event loop, 40 times for a CT slice. It sleeps until some have come, or the end
# of the body, and looks now and then at what has, so that a slow body is neither late nor taken for one that stalls.
# Both are for bodies that come quickly: on a narrow line a large window fills the queue, and whole windows are lost
# (measured at 10 Mbit/s: twice the time).
_QUICK_BYTES: Final = 1 << 16
_QUICK_BYTES_PER_SECOND: Final = 2_000_000
_MOST_UNSEEN_BYTES: Final = 1 << 17
_MOST_UNSEEN_OF_THREADS: Final = 1 << 19  # to wake a thread takes longer
# From a server nearby a body is read as a whole, apart from its header: pieces would be copied into one (measured: a
# twentieth of the processor time of a CT slice).
_NEARBY_BYTES_PER_SECOND: Final = 10_000_000
_WHOLE_BYTES: Final = 1 << 20  # at most
_MOST_OF_HEADER: Final = 1 << 12  # that is looked for an end; a longer header is read with a part of the body
_UNSEEN_SECONDS: Final = 0.03
# A thread fills one buffer again and again: the cache of the core has it while it is hashed and written. That, and no
# copies in the event loop, save a fifth of the processor time of a large instance (measured).
_BUFFER_BYTES: Final = 1 << 18
_GATHERING_SECONDS: Final = 0.01  # for which bytes of a slow body gather before a thread takes them
_HAS_LOW_WATER_MARK: Final = sys.platform == "linux"  # that `poll` heeds, and that opens the window
# A server on the same machine takes the core as soon as a request arrives. So those of one cycle of the event loop are
# sent one right after the other (measured with small instances: a fifth less processor time, half of it the server's).
_MOST_BYTES_TO_WAIT: Final = 1 << 11  # of a request: the system takes as many of an idle connection at once
_IDLE_SECONDS: Final = 15.0  # servers close idle connections after a time, some without notice
_MOST_ORIGINS: Final = 8  # with idle connections
_ADDRESS_SECONDS: Final = 300.0
_MOST_ADDRESSES: Final = 64
_NEXT_ADDRESS_SECONDS: Final = 0.25  # RFC 8305 §5
_BEGIN_OF_HEADER: Final = b"HTTP/1."
_HEADERS: Final = {"User-Agent": f"bulkdl/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
_NOT_YET: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

_Origin: TypeAlias = tuple[str, str, int]
_AddressInfo: TypeAlias = tuple[Any, ...]
_Data = TypeVar("_Data", bytes, memoryview, bytes | memoryview)


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
        self._is_unsent = False  # the rest of the request
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
            _set(self._waiter)

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
        self._is_unsent = True
        return False

    async def send_upload(self, upload: Upload, seconds: float) -> None:
        """Send the body of a request whose header was sent, in the same way."""
        async with aclosing(upload.chunks()) as chunks:
            async for chunk in chunks:
                if self.has_begun or self.is_done:
                    self._is_unsent = True
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
        return self if _HAS_LOW_WATER_MARK and self._left is not None else None

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
        except _NOT_YET:
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
        is_last = self._ends_connection or self._is_unsent or self._connection.holds_more
        if not self.is_done or self._error is not None or is_last:
            self._connection.close()
        if self.is_for_threads:
            self._connection.close_if_more_came()  # threads read no byte behind the end
            self._connection.watch_for(1)
        self._give_back(self._connection)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _time_out(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(connection_errors.silent())


class Connection:
    """A connection to `origin`, watched by the event loop. It has one response at a time, or is idle."""

    def __init__(self, link: socket.socket, origin: _Origin) -> None:
        self.origin = origin
        self.response: SocketResponse | None = None
        self.idle_since = 0.0
        self.is_open = True
        self.is_nearby = False  # its last body was large, and came at once
        self._loop = asyncio.get_running_loop()
        self._link = link
        self._is_watched = self._awaits_room = False
        self._unseen_bytes = 1
        self._has_open_window = False
        self._looking: asyncio.TimerHandle | None = None
        self._is_encrypted = isinstance(link, ssl.SSLSocket)
        self._held_bytes = _RECORD_BYTES if self._is_encrypted else 0  # at most, by OpenSSL: the beginning of a record
        self.watch()

    def watch_for(self, unseen_bytes: int) -> None:
        """Give the response what arrives, or tell it that so many bytes wait in the system."""
        self._wake_at(max(1, unseen_bytes - self._held_bytes))
        self.watch()

    def watch(self) -> None:
        """Give what arrives to the response."""
        if self.is_open and not self._is_watched:
            self._loop.add_reader(self._link, self._read)
            self._is_watched = True

    def unwatch(self) -> None:
        """Let what arrives wait in the system."""
        if self._is_watched:
            self._loop.remove_reader(self._link)
            self._is_watched = False

    def _read(self) -> None:
        response = self.response
        if response is None or response.is_done:
            self.close_if_more_came()
            return
        if response.is_for_threads:
            self.unwatch()
            response.wake()
            return
        try:
            if self._is_encrypted:
                if not response.has_begun:
                    response.feed(self._link.recv(_RECORD_BYTES))
                self._feed_records(response)
            else:
                response.feed(self._link.recv(self._wanted_bytes(response)))
        except _NOT_YET:
            pass
        except OSError as error:
            response.break_off(error)
        if response.is_full:
            self.unwatch()
        elif _HAS_LOW_WATER_MARK:
            self._wake_at(max(1, response.unseen_bytes - self._held_bytes))

    def _wanted_bytes(self, response: SocketResponse) -> int:
        """How many bytes to read: one more than the body has, because what comes behind it is part of no answer."""
        if response.has_begun:
            return response.wanted_bytes + 1
        return (self.is_nearby and self._header_bytes()) or response.wanted_bytes

    def _feed_records(self, response: SocketResponse) -> None:
        """Give the bytes of some records of TLS at once: one by one, they take more time than to decrypt them."""
        pieces, wanted, is_end = list[bytes](), response.wanted_bytes, False
        try:
            while wanted and len(pieces) < _RECORDS_AT_ONCE and not is_end:
                pieces.append(data := self._link.recv(min(wanted, _RECORD_BYTES)))
                wanted -= len(data)
                is_end = not data
        finally:
            if any(pieces):
                response.feed(b"".join(pieces))
        if is_end and not response.is_done:
            response.feed(b"")

    @property
    def holds_more(self) -> bool:
        """Whether OpenSSL holds bytes behind the last response. The event loop, which watches the system, sees none."""
        return self.is_open and isinstance(self._link, ssl.SSLSocket) and self._link.pending() > 0

    def _header_bytes(self) -> int:
        """The size of the header that has arrived; 0 if its end has not."""
        return header_size(self._link.recv(_MOST_OF_HEADER, socket.MSG_PEEK))

    def close_if_more_came(self) -> None:
        """Close it if it has ended, or brings bytes that were not requested.

        A server of TLS 1.3 sends tickets after a handshake (RFC 8446 §4.6.1): they end nothing, and OpenSSL takes them.
        """
        try:
            self._link.recv(1)
        except _NOT_YET:
            return
        except OSError:
            pass
        self.close()

    def _wake_at(self, unseen_bytes: int) -> None:
        """Read again when so many bytes wait in the system, or a part of a second has passed."""
        if unseen_bytes == self._unseen_bytes or not self.is_open:
            return
        if not self._has_open_window:
            self._has_open_window = True
            open_window(self._link)
        self._unseen_bytes = unseen_bytes
        self._link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, unseen_bytes)
        if self._looking is None and unseen_bytes > 1:
            self._looking = self._loop.call_later(_UNSEEN_SECONDS, self._look)

    def _look(self) -> None:
        """Read what has arrived since."""
        self._looking = None
        if self._unseen_bytes == 1:
            return
        if self.response is not None and self.response.is_for_threads:
            self._wake_at(1)
        elif self._is_watched:
            self._read()
        if self.is_open and self._unseen_bytes > 1:
            self._looking = self._loop.call_later(_UNSEEN_SECONDS, self._look)

    def receive_into(self, room: memoryview) -> int:
        """Read what has arrived; 0 at the end of the connection. OSError: nothing has, or the connection broke."""
        return self._link.recv_into(room)

    def send(self, data: _Data) -> _Data:
        """Send what the system takes now, and return the rest. OSError: the connection broke."""
        with suppress(*_NOT_YET):
            return data[self._link.send(data) :]
        return data

    def watch_room(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the system takes more."""
        self._loop.add_writer(self._link, wake)
        self._awaits_room = True

    def unwatch_room(self) -> None:
        """End that."""
        if self._awaits_room:
            self._loop.remove_writer(self._link)
            self._awaits_room = False

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self.is_open:
            self.is_open = False
            self.unwatch()
            self.unwatch_room()
            if self._looking is not None:
                self._looking.cancel()
            self._link.close()


class SocketTransport:
    """See `http_transport.HttpTransport`. Made by `open_transport`."""

    def __init__(self, access: Access, tasks: Tasks, clock: Callable[[], float]) -> None:
        self.requests = 0
        self._clock = clock
        self._access = access
        self._certificates = Certificates(access.ca_bundle)
        self._loop = asyncio.get_running_loop()
        self._idle: dict[_Origin, list[Connection]] = {}
        self._unsent: list[tuple[SocketResponse, bytes]] = []
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._early: EarlyConnections[_Origin, Connection] = EarlyConnections(tasks, self._connect, self._give_back)
        self._connect_seconds: dict[_Origin, float] = {}  # the shortest time
        self._addresses: dict[_Origin, tuple[float, list[_AddressInfo]]] = {}
        self._resolving: dict[_Origin, asyncio.Lock] = {}

    async def send(self, url: URL, headers: Mapping[str, str], content: Content | None) -> SocketResponse:
        request = _request(url, headers, content)
        origin = _origin(url)
        connection = self._take_idle(origin) or await self._early.next(origin) or await self._connect(origin)
        response = SocketResponse(connection, self._access.silence_seconds, self._give_back)
        connection.response = response
        connection.watch()
        try:
            if isinstance(content, Upload):
                is_sent = await response.send_long(request, self._access.answer_seconds)
                self.requests += is_sent
                await response.send_upload(content, self._access.silence_seconds)
            elif len(request) <= _MOST_BYTES_TO_WAIT:
                self._send_soon(response, request)
            else:
                await response.send_long(request, self._access.answer_seconds)
                self.requests += 1
            sent = time.monotonic()
            await response.begun(self._access.answer_seconds)
            response.waited_seconds = time.monotonic() - sent
        except BaseException:
            response.release()
            raise
        return response

    def _send_soon(self, response: SocketResponse, request: bytes) -> None:
        """Send a request with the others of this cycle of the event loop. `response` gets its errors."""
        if not self._unsent:
            self._loop.call_soon(self._send_all)
        self._unsent.append((response, request))

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, []
        self.requests += sum(response.send(request) for response, request in unsent)

    def open_early(self, url: URL, connections: int) -> bool:
        origin = _origin(url)
        if (seconds := self._connect_seconds.get(origin)) is None:
            return False
        if seconds >= LONG_SECONDS:
            there = sum(one.is_open and one.origin == origin for one in self._connections)
            self._early.open(origin, connections - there - self._early.under_way(origin))
        return True

    def _take_idle(self, origin: _Origin) -> Connection | None:
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_open and time.monotonic() - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        """Keep the connection for the next request, and close those that were not needed for long."""
        now = time.monotonic()
        idle = self._idle.pop(connection.origin, [])
        while idle and not (idle[0].is_open and now - idle[0].idle_since < _IDLE_SECONDS):
            idle.pop(0).close()
        if connection.is_open:
            connection.idle_since = now
            idle.append(connection)
        self._idle[connection.origin] = idle  # behind those that were used before
        while len(self._idle) > _MOST_ORIGINS:  # an archive may redirect to ever more hosts
            for unused in self._idle.pop(next(iter(self._idle))):
                unused.close()

    async def _connect(self, origin: _Origin) -> Connection:
        scheme, host, port = origin
        began = self._clock()
        bound = min(_CONNECTIONS * self._access.connect_seconds, self._access.answer_seconds)
        try:
            async with asyncio.timeout(bound):
                link = await self._link(origin, await self._resolved(origin))
                if scheme == "https":
                    link = await self._encrypted(link, host)
        except TimeoutError as error:
            raise connection_errors.no_connection_in_time() from error
        except ssl.SSLCertVerificationError as error:
            raise connection_errors.not_trusted(host, error.verify_message) from error
        except (OSError, RuntimeError) as error:  # uvloop may raise the other one
            if is_shortage(error):  # of threads, in which names are resolved: no fault of the archive
                raise
            if "WRONG_VERSION_NUMBER" in str(error):
                raise connection_errors.speaks_no_tls(f"{host}:{port}") from error
            self._addresses.pop(origin, None)
            too_many = connection_errors.too_many_files(error)
            raise too_many or connection_errors.cannot_reach(f"{host}:{port}", error_text(error)) from error
        seconds = self._clock() - began
        self._connect_seconds[origin] = min(seconds, self._connect_seconds.get(origin, seconds))
        connection = Connection(link, origin)
        self._connections.add(connection)
        return connection

    async def _resolved(self, origin: _Origin) -> list[_AddressInfo]:
        """The addresses of a host, which are asked for once in a while."""
        _, host, port = origin
        if len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.clear()
            self._resolving.clear()
            self._connect_seconds.clear()
        async with self._resolving.setdefault(origin, asyncio.Lock()):
            until, known = self._addresses.get(origin, (0.0, []))
            if time.monotonic() < until:
                return known
            try:
                found: list[_AddressInfo] = list(await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (socket.gaierror, UnicodeError) as error:
                raise connection_errors.unknown_host(host, error_text(error)) from error
            self._addresses[origin] = (time.monotonic() + _ADDRESS_SECONDS, found)
            return found

    async def _link(self, origin: _Origin, addresses: list[Any]) -> socket.socket:
        async with asyncio.timeout(self._access.connect_seconds):
            link = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return link

    async def _encrypted(self, link: socket.socket, host: str) -> ssl.SSLSocket:
        try:
            context = await self._certificates.context()
            tls = context.wrap_socket(
                link, server_hostname=host, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
        except BaseException:
            link.close()
            raise
        try:
            async with asyncio.timeout(self._access.connect_seconds):
                await self._shake_hands(tls)
        except BaseException:
            tls.close()
            raise
        return tls

    async def _shake_hands(self, tls: ssl.SSLSocket) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(self._loop.add_reader, self._loop.remove_reader, tls)
            except ssl.SSLWantWriteError:
                await _ready(self._loop.add_writer, self._loop.remove_writer, tls)
            else:
                return

    def close(self) -> None:
        """Close all connections."""
        self._early.close()
        for connection in list(self._connections):
            connection.close()


def _origin(url: URL) -> _Origin:
    return url.scheme, (url.raw_host or "").rstrip("."), url.port or 0


def open_window(link: socket.socket) -> None:
    """Let the other side send a whole CT slice before it is read. The system may give it more room later.

    A size of the buffer (`SO_RCVBUF`) would forbid that. Linux makes room for what the low-water mark asks for.
    """
    for unseen_bytes in (_WINDOW_BYTES, 1):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, unseen_bytes)


async def _ready(add: Callable[..., None], remove: Callable[..., object], link: socket.socket) -> None:
    """Wait until a socket can be read, or written: as `add` and `remove` of the loop say."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    add(link, _set, waiter)
    try:
        await waiter
    finally:
        remove(link)


def _request(url: URL, headers: Mapping[str, str], content: Content | None) -> bytes:
    """A request with its header and its body, that of an upload excepted. ConfigurationError: it cannot be sent."""
    lines = {"Host": url.host_port_subcomponent or "", **_HEADERS}
    if (identity := basic_authorization(url)) is not None:
        lines["Authorization"] = identity
    body = b""
    if isinstance(content, Upload):
        lines["Content-Type"], lines["Content-Length"] = content.content_type, str(content.length)
    elif content is not None:
        body = urlencode(content).encode("ascii")
        lines["Content-Type"], lines["Content-Length"] = "application/x-www-form-urlencoded", str(len(body))
    lines |= headers
    method = "GET" if content is None else "POST"
    texts = [f"{method} {url.raw_path_qs} HTTP/1.1", *[f"{name}: {value}" for name, value in lines.items()], "", ""]
    head = "\r\n".join(texts)
    if len(LINE_BREAK.findall(head)) != 2 * (len(texts) - 1):
        raise header_with_break()
    return head.encode("utf-8", "surrogateescape") + body


@asynccontextmanager
async def open_transport(
    access: Access, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[SocketTransport]:
    """A transport for one archive; its connections are closed at the end of the block.

    `clock` measures how long it takes to connect.

    Raises:
        ConfigurationError: the certificate bundle cannot be read.
    """
    async with Tasks() as tasks:
        transport = SocketTransport(access, tasks, clock)
        try:
            yield transport
        finally:
            transport.close()
