"""Send requests over sockets that the event loop watches, with few steps between the system and the bytes of a body.

With it a small object takes a third of the processor time of aiohttp, and a CT slice two thirds. It connects directly
only. `aiohttp_transport` is the transport of proxies, and of loops that cannot watch sockets. What happens for each
byte is in `socket_connection` and `socket_response`.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlencode

from yarl import URL

from bulkdl._version import __version__
from bulkdl.archive.early_connections import EarlyConnections
from bulkdl.archive.request import LINE_BREAK, Content, Upload, basic_authorization, header_with_break
from bulkdl.archive.socket_connection import Connection, Origin
from bulkdl.archive.socket_connector import Connector
from bulkdl.archive.socket_response import SocketResponse
from bulkdl.model.access import Access
from bulkdl.runtime.concurrency import LONG_SECONDS
from bulkdl.runtime.tasks import Tasks

# A server on the same machine takes the core as soon as a request arrives. So those of one cycle of the event loop are
# sent one right after the other (measured with small instances: a fifth less processor time, half of it the server's).
_MOST_BYTES_TO_WAIT: Final = 1 << 11  # of a request: the system takes as many of an idle connection at once
_IDLE_SECONDS: Final = 15.0  # servers close idle connections after a time, some without notice
_MOST_ORIGINS: Final = 8  # with idle connections
_HEADERS: Final = {"User-Agent": f"bulkdl/{__version__}", "Accept": "*/*", "Accept-Encoding": "gzip, deflate"}


class SocketTransport:
    """See `http_transport.HttpTransport`. Made by `open_transport`."""

    def __init__(self, access: Access, tasks: Tasks, clock: Callable[[], float]) -> None:
        self.requests = 0
        self._access = access
        self._connector = Connector(access, clock)
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, list[Connection]] = {}
        self._unsent: list[tuple[SocketResponse, bytes]] = []
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._early: EarlyConnections[Origin, Connection] = EarlyConnections(tasks, self._connect, self._give_back)

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
        if (seconds := self._connector.seconds(origin)) is None:
            return False
        if seconds >= LONG_SECONDS:
            there = sum(one.is_open and one.origin == origin for one in self._connections)
            self._early.open(origin, connections - there - self._early.under_way(origin))
        return True

    def _take_idle(self, origin: Origin) -> Connection | None:
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

    async def _connect(self, origin: Origin) -> Connection:
        connection = await self._connector.connect(origin)
        self._connections.add(connection)
        return connection

    def close(self) -> None:
        """Close all connections."""
        self._early.close()
        for connection in list(self._connections):
            connection.close()


def _origin(url: URL) -> Origin:
    return url.scheme, (url.raw_host or "").rstrip("."), url.port or 0


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
