"""Connections: host names, how long they may be silent, how many there may be. `tests/attacks` has hostile ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from bulkdl.server.connections import Connections

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass
class Gate:
    """Holds requests until it is opened."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def listening(connections: Connections, gate: Gate | None = None) -> AsyncIterator[int]:
    async def answer(request: web.BaseRequest) -> web.Response:
        if gate is not None:
            gate.reached.set()
            await gate.opened.wait()
        return web.Response(text=(await request.read()).decode())

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    assert runner.server is not None
    with connections.guarded(runner.server) as accept:
        async with await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]
    await runner.cleanup()


async def first_line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return (await reader.readline()).rstrip()


@pytest.mark.parametrize("said", [b"", GET[:20], b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab"])
async def test_a_connection_without_a_whole_request_is_ended(said: bytes) -> None:
    async with listening(Connections(wait_seconds=0.1)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        async with asyncio.timeout(10):
            with suppress(ConnectionError):
                await reader.read(-1)
        writer.close()


async def test_a_connection_that_is_being_made_while_others_are_ended_is_answered() -> None:
    """Between its acceptance and its first byte, the loop may do anything: also look for silent connections."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    with Connections(wait_seconds=1).guarded(runner.server) as accept:
        accepted = accept()
        looked = asyncio.Event()
        loop.call_later(1.1, looked.set)
        await looked.wait()
        async with await loop.create_server(lambda: accepted, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(GET)
            assert await first_line(reader) == b"HTTP/1.1 200 OK"
            writer.close()
    await runner.cleanup()


async def test_a_request_that_is_being_answered_is_not_silent() -> None:
    gate = Gate()
    async with listening(Connections(wait_seconds=0.1), gate) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        asyncio.get_running_loop().call_later(0.5, gate.opened.set)
        assert await first_line(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_a_long_body_that_grows_is_not_silent() -> None:
    """As of instances to store. A body that grows too slowly is ended like one that does not."""
    async with listening(Connections(wait_seconds=0.2)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        piece, pieces = b"x" * (48 << 10), 8
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (len(piece) * pieces))
        sent = asyncio.Event()
        for _ in range(pieces):
            sent.clear()
            asyncio.get_running_loop().call_later(0.1, sent.set)
            await sent.wait()
            writer.write(piece)
        assert await first_line(reader) == b"HTTP/1.1 200 OK"
        writer.close()


async def test_the_connection_that_has_waited_longest_makes_room_for_a_new_one() -> None:
    async with listening(Connections(most=2)) as port:
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        reader, writer = pairs[-1]
        writer.write(GET)
        assert await first_line(reader) == b"HTTP/1.1 200 OK"
        for _, each in pairs:
            each.close()


async def test_the_last_of_many_that_come_at_once_is_answered() -> None:
    """They are accepted before the first of them is made, and before those that they replace have ended."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    with Connections(most=2).guarded(runner.server) as accept:
        async with await loop.create_server(accept, "127.0.0.1", 0) as silent:
            waiting = [await asyncio.open_connection(*silent.sockets[0].getsockname()) for _ in range(2)]
            for reader, writer in waiting:  # when they are answered, they wait for their next request
                writer.write(GET)
                assert await first_line(reader) == b"HTTP/1.1 200 OK"
            accepted = [accept() for _ in range(5)]
            for each, is_answered in ((accepted[0], False), (accepted[-1], True)):
                async with await loop.create_server(lambda each=each: each, "127.0.0.1", 0) as server:  # type: ignore[misc]
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    writer.write(GET)
                    with suppress(ConnectionError):
                        assert (await first_line(reader) == b"HTTP/1.1 200 OK") is is_answered
                    writer.close()
            for _, each_writer in waiting:
                each_writer.close()
    await runner.cleanup()


async def test_a_new_connection_is_refused_while_all_others_are_answered() -> None:
    gate = Gate()
    async with listening(Connections(most=1), gate) as port:
        first = await asyncio.open_connection("127.0.0.1", port)
        first[1].write(GET)
        await gate.reached.wait()
        second = await asyncio.open_connection("127.0.0.1", port)
        assert await first_line(second[0]) == b"HTTP/1.1 503 Service Unavailable"
        gate.opened.set()
        assert await first_line(first[0]) == b"HTTP/1.1 200 OK"
        for _, each in (first, second):
            each.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost.:80", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("images.example:8080", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost:65536", 400),
        ("localhost:", 400),
        ("", 400),
    ],
)
async def test_only_the_names_of_the_server_are_answered(host: str, status: int) -> None:
    async with listening(Connections(hosts={"images.example"})) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert int((await first_line(reader)).split()[1]) == status
        writer.close()
