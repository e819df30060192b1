"""A connection that the event loop watches: when bytes are read, and how many wait in the system until then."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from bulkdl.archive.http_framing import header_size

if TYPE_CHECKING:
    from bulkdl.archive.socket_response import SocketResponse

Origin: TypeAlias = tuple[str, str, int]
"""The scheme, the host and the port of an address."""

NOT_YET: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket raises where nothing has arrived, or the system takes nothing."""

HAS_LOW_WATER_MARK: Final = sys.platform == "linux"
"""Whether there is a low-water mark that `poll` heeds, and that opens the window."""

_Data = TypeVar("_Data", bytes, memoryview, bytes | memoryview)

_RECORD_BYTES: Final = 1 << 14  # the longest record of TLS
_RECORDS_AT_ONCE: Final = 16
_MOST_OF_HEADER: Final = 1 << 12  # that is looked for an end; a longer header is read with a part of the body
_UNSEEN_SECONDS: Final = 0.03
# The system opens the window of a connection while its bytes are read. Over a long line that held the sender back (seen
# with `ss -ti`: for 0.1 s of the first second), so there is room for a whole CT slice as soon as it would matter.
_WINDOW_BYTES: Final = 1 << 20


class Connection:
    """A connection to `origin`, watched by the event loop. It has one response at a time, or is idle."""

    def __init__(self, link: socket.socket, origin: Origin) -> None:
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
        except NOT_YET:
            pass
        except OSError as error:
            response.break_off(error)
        if response.is_full:
            self.unwatch()
        elif HAS_LOW_WATER_MARK:
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
        except NOT_YET:
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
        with suppress(*NOT_YET):
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


def wake_up(waiter: asyncio.Future[None]) -> None:
    """Let what waits for `waiter` go on, if it still does."""
    if not waiter.done():
        waiter.set_result(None)


def open_window(link: socket.socket) -> None:
    """Let the other side send a whole CT slice before it is read. The system may give it more room later.

    A size of the buffer (`SO_RCVBUF`) would forbid that. Linux makes room for what the low-water mark asks for.
    """
    for unseen_bytes in (_WINDOW_BYTES, 1):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, unseen_bytes)
