"""An HTTP/1.1 server that fails as a test demands: it cuts, drops, stalls, redirects, refuses, and sends wrong data.

It writes bytes to plain sockets, because a proper server would correct or refuse half of these faults. A script decides
how each request is answered:

    def script(seen: Seen) -> Action:
        if seen.ordinal == 1:
            return drop()
        return answer(b"[]", headers={"Content-Type": "application/json"})

    async with FaultyServer(script) as server:
        ...  # requests to server.url
        assert [seen.path for seen in server.requests] == ["/v1/getSeries"] * 2

`in_turn(drop(), answer(b"[]"))` is the same script: one action for each request, the last one for all that follow.
Nothing but `slowly` waits by the clock: `stall` and `drip` go on when the test says so. Leaving the block drops every
connection.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import struct
from collections import Counter
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from http.client import responses
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from tests.support import variants
from tests.support.nowhere import held_port, number_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from types import TracebackType

Action: TypeAlias = "Callable[[Exchange], Awaitable[None]]"
Script: TypeAlias = "Callable[[Seen], Action]"

CERTIFICATE = Path(__file__).parents[1] / "data" / "self_signed.pem"  # for 127.0.0.1, with its key
IS_TLS: ContextVar[bool] = ContextVar("IS_TLS", default=variants.IS_TLS)
"""Whether a server without `tls` has the TLS of `self_signed`."""


@contextmanager
def over_tls(is_wanted: bool) -> Iterator[None]:  # noqa: FBT001 - a switch
    """Servers that are made in the block have TLS, or have none."""
    before = IS_TLS.set(is_wanted)
    try:
        yield
    finally:
        IS_TLS.reset(before)


def self_signed() -> ssl.SSLContext:
    """The TLS of a server with `CERTIFICATE`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that the server received.

    `target` is the path and query as received; `ordinal` counts requests for the same target, `number` all requests;
    the first is 1. Names of `headers` are in lower case. Requests with the same `connection` number share a
    connection; `port` is the client's.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    ordinal: int
    number: int
    connection: int
    body: bytes = b""
    port: int = 0

    @property
    def path(self) -> str:
        """The path, without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The parameters, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class Exchange:
    """One request and its connection, as an action gets them."""

    def __init__(self, seen: Seen, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self._writer = writer
        self._is_tls = writer.get_extra_info("ssl_object") is not None
        self.is_over = False  # whether the connection is closed or must be closed

    async def send(self, content: bytes) -> None:
        """Send bytes; ConnectionError if the connection is closed: uvloop raises another error."""
        if self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(content)
        await self._writer.drain()
        if self._is_tls:  # `drain` returns at once when the connection is lost, until the loop says so
            await asyncio.sleep(0)

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send the status line and headers."""
        lines = [
            f"HTTP/1.1 {status} {responses.get(status, 'Odd')}",
            *(f"{name}: {value}" for name, value in headers.items()),
            "",
            "",
        ]
        await self.send("\r\n".join(lines).encode("latin-1"))

    async def send_chunk(self, content: bytes) -> None:
        """Send one chunk of a chunked body; an empty chunk ends it."""
        await self.send(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    async def trickle(self, body: bytes, until: asyncio.Event, *, every_seconds: float) -> None:
        """Send a body byte by byte, so that the connection is not silent; the rest of it as soon as `until` is set."""
        sent = 0
        while sent < len(body) - 1 and not until.is_set():
            await self.send(body[sent : sent + 1])
            sent += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), every_seconds)
        await self.send(body[sent:])

    def keep_in_flight(self, size_bytes: int) -> None:
        """Let the system buffer no more than so many bytes: as on a link that carries little at a time."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes)

    def drop(self, *, reset: bool = False) -> None:
        """Close the connection, or reset it."""
        self.is_over = True
        if reset:
            # With a linger time of 0, closing a socket sends RST.
            raw: socket.socket | None = self._writer.get_extra_info("socket")  # None over TLS that the client closed
            if raw is not None:
                with suppress(OSError):  # the client may have closed it, or have been killed
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        else:
            self._writer.close()

    def abort(self) -> None:
        """Close the connection; over TLS, without the alert that ends it."""
        self.is_over = True
        self._writer.transport.abort()


# --- actions ----------------------------------------------------------------------------------------------------------


def answer(
    body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None, chunked: bool = False
) -> Action:
    """A complete answer with Content-Length, unless it is chunked or `headers` give another length."""

    async def act(exchange: Exchange) -> None:
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
        await exchange.send_head(status, {**framing, **(headers or {})})
        if not chunked:
            await exchange.send(body)
            return
        if body:
            await exchange.send_chunk(body)
        await exchange.send_chunk(b"")

    return act


def without_body(status: int) -> Action:
    """A response without a body, and for 204 and 304 without Content-Length, as servers send it (RFC 9110 §8.6)."""
    headers = {} if status in {204, 304} else {"Content-Length": "0"}

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(status, headers)

    return act


def json(text: str, **options: bool) -> Action:
    """A complete answer with the content type of JSON."""
    return answer(text.encode(), headers={"Content-Type": "application/json"}, **options)


def zipped(body: bytes, *, headers: Mapping[str, str] | None = None, keep: int | None = None) -> Action:
    """An answer with Content-Encoding gzip, cut after `keep` encoded bytes."""
    encoded = gzip.compress(body)[:keep]
    return answer(encoded, headers={"Content-Encoding": "gzip", **(headers or {})})


def redirect(location: str, *, status: int = 302) -> Action:
    """A redirect to `location`."""
    return answer(status=status, headers={"Location": location})


def drop(*, reset: bool = False) -> Action:
    """Close the connection before any byte of the answer."""

    async def act(exchange: Exchange) -> None:
        exchange.drop(reset=reset)

    return act


def cut(
    body: bytes,
    *,
    after: int,
    announced: int | None = None,
    chunked: bool = False,
    reset: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Action:
    """An answer that ends `after` bytes of its body. `announced` replaces the Content-Length."""

    async def act(exchange: Exchange) -> None:
        length = len(body) if announced is None else announced
        framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)}
        await exchange.send_head(200, {**framing, **(headers or {})})
        if chunked and after:
            await exchange.send_chunk(body[:after])
        elif after:
            await exchange.send(body[:after])
        exchange.drop(reset=reset)

    return act


def stall(
    released: asyncio.Event, body: bytes = b"", *, after: int | None = None, headers: Mapping[str, str] | None = None
) -> Action:
    """An answer that stops `after` bytes of its body, or before its first byte, until `released` is set."""

    async def act(exchange: Exchange) -> None:
        if after is None:
            await released.wait()
        await exchange.send_head(200, {"Content-Length": str(len(body)), **(headers or {})})
        await exchange.send(body[: after or 0])
        await released.wait()
        await exchange.send(body[after or 0 :])

    return act


def drip(
    turns: asyncio.Semaphore, body: bytes, *, piece_bytes: int = 1, headers: Mapping[str, str] | None = None
) -> Action:
    """An answer in pieces; each waits for one release of `turns`."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Content-Length": str(len(body)), **(headers or {})})
        for start in range(0, len(body), piece_bytes):
            await turns.acquire()
            await exchange.send(body[start : start + piece_bytes])

    return act


def slowly(body: bytes, *, piece_bytes: int, pause_seconds: float, headers: Mapping[str, str] | None = None) -> Action:
    """An answer in pieces by the clock. Only for tests of how slow an archive may be."""

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Content-Length": str(len(body)), **(headers or {})})
        for start in range(0, len(body), piece_bytes):
            await exchange.send(body[start : start + piece_bytes])
            await asyncio.sleep(pause_seconds)

    return act


def raw(content: bytes) -> Action:
    """Send these bytes, then close the connection."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(content)
        exchange.drop()

    return act


def aborted(content: bytes) -> Action:
    """Send these bytes, then close the connection; over TLS, without the alert that ends it."""

    async def act(exchange: Exchange) -> None:
        await exchange.send(content)
        exchange.abort()

    return act


def in_turn(*actions: Action) -> Script:
    """A script with one action for each request, whatever its target; the last action repeats."""

    def script(seen: Seen) -> Action:
        return actions[min(seen.number, len(actions)) - 1]

    return script


# --- the server -------------------------------------------------------------------------------------------------------


class FaultyServer:
    """Serves `script` on a free port during the block, without or with `tls`.

    `requests` are all requests in order; `most_at_once` is the largest number of requests answered at the same time.
    """

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.script = script
        self._tls = tls or (self_signed() if IS_TLS.get() else None)
        self.requests: list[Seen] = []
        self.connections = 0
        self.at_once = 0
        self.most_at_once = 0
        self._ordinals: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._held: socket.socket | None = None  # the port, while the server is away
        self._port = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._mistakes: list[Exception] = []  # exceptions of the script; raised at the end of the block

    @property
    def url(self) -> str:
        """The address of the server, with a slash at its end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/"

    @property
    def open_connections(self) -> int:
        """How many connections are open, as far as the server has seen."""
        return len(self._serving)

    async def __aenter__(self) -> Self:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_away()
        if self._held is not None:
            self._held.close()
        if error is None and self._mistakes:
            raise self._mistakes[0]

    async def come_back(self) -> None:
        """Listen, again on the same port."""
        bound = self._held or held_port()
        self._port, self._held = number_of(bound), None
        self._server = await asyncio.start_server(self._connected, sock=bound, ssl=self._tls)

    async def go_away(self) -> None:
        """Refuse new connections and drop the existing ones; the port stays that of this server."""
        if self._server is not None:
            self._server.close()
            self._server, self._held = None, held_port(self._port)
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.connections += 1
        is_flushed = False
        try:
            # The last one: what the client sends is not TLS.
            with suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                await self._serve(reader, writer, self.connections)
                is_flushed = self._tls is not None  # `drain` does not wait for what is encrypted, `close` does
        except Exception as mistake:  # noqa: BLE001 - an error of the test, raised at its end
            self._mistakes.append(mistake)
        finally:
            self._serving.discard(task)
            is_stuck = writer.transport.get_write_buffer_size() and not is_flushed
            writer.transport.abort() if is_stuck else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        while True:
            first = await reader.readexactly(1)
            if not first.isalpha():
                return  # not HTTP: for example a TLS greeting, which never ends with an empty line
            head = first + await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            method, target, _ = line.decode("latin-1").split(" ")
            headers = {name.lower(): value for name, value in BytesHeaderParser().parsebytes(rest).items()}
            self._ordinals[target] += 1
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            port = writer.get_extra_info("peername")[1]
            seen = Seen(method, target, headers, self._ordinals[target], len(self.requests) + 1, connection, body, port)
            self.requests.append(seen)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            exchange = Exchange(seen, writer)
            try:
                await self.script(seen)(exchange)
            finally:
                self.at_once -= 1
            if exchange.is_over:
                return
