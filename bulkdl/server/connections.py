"""Who may connect to the server, and for how long: host names, silent connections, and how many there may be.

A browser sends the name in its address bar as Host. A page from elsewhere whose name is made to resolve to this machine
(DNS rebinding) could otherwise read what is served to this machine alone. So only the names of the server are answered.

A connection waits while it has not sent a whole request. It may wait for a limited time, of which a body that grows
quickly enough begins another. When there are too many
connections, the one that has waited longest is ended; if none waits, the new one is answered 503.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import Final, TypeAlias

from aiohttp import web

from bulkdl.server.responses import NO_GUESSING, NotedResponse, client_left

_WAIT_SECONDS: Final = 30.0
_STALL_SECONDS: Final = 60
HANDSHAKE_SECONDS: Final = 10.0
"""How long a client may take for the handshake of TLS."""
_ACCEPTING_SECONDS: Final = HANDSHAKE_SECONDS + 5.0  # at most, until an accepted connection is known to be open
_RESERVED_FILES: Final = 64
_MOST_CONNECTIONS: Final = 10_000
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST: Final = re.compile(r"(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?", re.ASCII | re.IGNORECASE)
_MOST_KNOWN_HOSTS: Final = 100  # the forms of the names, with and without ports
_LAST_PORT: Final = 65_535
_CLIENT_LEFT: Final = 499  # before an answer: the number that nginx has for it, in its log alone
_PROGRESS_BYTES: Final = 32 << 10  # a body of which so many have arrived meanwhile is not silent
_Handle: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def _most_connections() -> int:
    """Half of the files that this process may open, since each connection may have a file that is sent."""
    try:
        import resource  # noqa: PLC0415 - Windows does not have it
    except ImportError:
        return _MOST_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST_CONNECTIONS if files < 0 else max(8, min(_MOST_CONNECTIONS, (files - _RESERVED_FILES) // 2))


@dataclass(slots=True)
class _ClientConnection:
    """What is known of a connection: its request, and since when it waits for one, by the clock of the loop."""

    since: float
    request: web.BaseRequest | None = None
    seen_bytes: int = 0  # of the body of the request

    def look(self, now: float) -> None:
        """Let the wait begin anew where a long body, of instances to store, has grown."""
        arrived = self.request.content.total_bytes if self.request is not None else 0
        if arrived - self.seen_bytes >= _PROGRESS_BYTES:
            self.since, self.seen_bytes = now, arrived


@dataclass(slots=True, kw_only=True)
class Connections:
    """The connections of one server. `hosts` are the names that it answers to, besides its addresses.

    `count` is called at the end of each request, with its response, None if it has none, and the seconds that it took.
    """

    hosts: Collection[str] = ()
    most: int = field(default_factory=_most_connections)
    wait_seconds: float = _WAIT_SECONDS
    count: Callable[[web.BaseRequest, web.StreamResponse | None, float], None] = lambda *_: None
    _known_hosts: set[str] = field(default_factory=set)
    _known: dict[web.RequestHandler, _ClientConnection] = field(default_factory=dict)

    @contextmanager
    def guarded(self, server: web.Server) -> Iterator[Callable[[], asyncio.Protocol]]:
        """A factory of protocols for a listening socket. For the length of the block, silent connections are ended."""
        loop = asyncio.get_running_loop()
        timer = loop.call_soon(lambda: None)
        server.request_handler = partial(self._answer, server.request_handler, loop.time)
        server.connection_made = partial(self._made, server.connection_made)  # type: ignore[method-assign]
        server.connection_lost = partial(self._lost, server.connection_lost)  # type: ignore[method-assign]

        def look() -> None:
            nonlocal timer
            self._end(server, before=loop.time() - self.wait_seconds)
            timer = loop.call_later(min(1.0, self.wait_seconds), look)

        look()
        try:
            yield partial(self._accept, server)
        finally:
            timer.cancel()

    def _accept(self, server: web.Server) -> asyncio.Protocol:
        loop = asyncio.get_running_loop()
        if len(self._known) >= self.most:
            longest = min(self._waiting(), key=lambda handler: self._known[handler].since, default=None)
            if longest is None:
                return _Refusal()
            del self._known[longest]
            _abort(longest)
        protocol = server()
        self._known[protocol] = _ClientConnection(loop.time())
        return protocol

    def _made(self, made: Callable[..., None], handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        made(handler, transport)
        if handler not in self._known:  # it was ended between its acceptance and now
            transport.abort()

    def _lost(self, lost: Callable[..., None], handler: web.RequestHandler, *error: BaseException | None) -> None:
        self._known.pop(handler, None)
        lost(handler, *error)

    async def _answer(
        self, handle: _Handle, clock: Callable[[], float], request: web.BaseRequest
    ) -> web.StreamResponse:
        host = request.headers.get("Host", "")
        if host not in self._known_hosts and (refusal := self._refusal(request, host)) is not None:
            return refusal
        if (connection := self._known.get(request.protocol)) is None:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)  # it was ended
        connection.request, connection.since, connection.seen_bytes = request, (begun := clock()), 0
        response = None
        try:
            response = await handle(request)
        except ConnectionError as error:
            if request.transport is not None and not request.transport.is_closing():
                raise
            return NotedResponse(client_left(error), status=_CLIENT_LEFT)
        finally:
            connection.request, connection.since = None, clock()
            self.count(request, response, connection.since - begun)
        if not response.prepared:
            response.headers.update(NO_GUESSING)
        return response

    def _refusal(self, request: web.BaseRequest, host: str) -> web.Response | None:
        found = _HOST.fullmatch(host)
        if found is None or int(found[3] or 0) > _LAST_PORT:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text="The Host header is missing or invalid.")
        name = (found[1] or found[2]).lower().removesuffix(".")
        if name in _LOCAL_NAMES or name in self.hosts:
            if len(self._known_hosts) < _MOST_KNOWN_HOSTS:
                self._known_hosts.add(host)
            return None
        if request.transport is not None and name == request.transport.get_extra_info("sockname")[0]:
            return None
        text = f"This server has no name {name}. To answer to it, start it with --allowed-host {name}"
        return web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)

    def _end(self, server: web.Server, *, before: float) -> None:
        for handler in self._waiting():
            known = self._known[handler]
            known.look(asyncio.get_running_loop().time())
            if known.since < before:
                _abort(handler)
        open_ones, just_now = set(server.connections), asyncio.get_running_loop().time() - _ACCEPTING_SECONDS
        self._known = {
            handler: known for handler, known in self._known.items() if handler in open_ones or known.since > just_now
        }

    def _waiting(self) -> list[web.RequestHandler]:
        """The connections that wait for a whole request, or to be accepted. What still sends does not wait."""
        return [
            handler
            for handler, known in self._known.items()
            if (known.request is None or not known.request.content.is_eof())
            and (handler.transport is None or not handler.transport.get_write_buffer_size())
        ]


class _Refusal(asyncio.Protocol):
    """A connection that is not served, because there are too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what sockets have
        transport.write(_FULL)
        transport.close()


def end_stalled_readers(listening: socket.socket) -> None:
    """Let the system end connections whose client reads nothing for a minute; where it can, as Linux does."""
    with suppress(AttributeError, OSError):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALL_SECONDS * 1000)


def _abort(handler: web.RequestHandler) -> None:
    if handler.transport is not None:
        handler.transport.abort()
