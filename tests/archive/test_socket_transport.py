"""What only sockets have: answers in any pieces, readers that are slow, connections that are kept or are not."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from yarl import URL

from bulkdl.archive.http_body import HttpBody
from bulkdl.archive.socket_connection import open_window
from bulkdl.archive.socket_response import SocketResponse
from bulkdl.archive.socket_transport import SocketTransport, open_transport
from bulkdl.errors import ConnectFailed, ConnectionLost, ShortBody, TimedOut
from bulkdl.model.access import Access
from bulkdl.runtime.tasks import in_thread
from tests.support.clocks import HandMovedClock, JumpingClock
from tests.support.far_clock import FarClock
from tests.support.faults import (
    CERTIFICATE,
    Action,
    Exchange,
    FaultyServer,
    answer,
    cut,
    in_turn,
    over_tls,
    raw,
    self_signed,
    stall,
)
from tests.support.full_port import never_accepting
from tests.support.waiting import until

BODY = bytes(range(256)) * 8192


@asynccontextmanager
async def transport_to(
    *actions: Action, access: Access | None = None
) -> AsyncIterator[tuple[SocketTransport, FaultyServer]]:
    async with FaultyServer(in_turn(*actions)) as server, open_transport(access or Access()) as transport:
        yield transport, server


def _bytewise(content: bytes) -> Action:
    async def act(exchange: Exchange) -> None:
        for at in range(len(content)):
            await exchange.send(content[at : at + 1])
            await asyncio.sleep(0)

    return act


def _as_it_is(content: bytes) -> Action:
    async def act(exchange: Exchange) -> None:
        await exchange.send(content)

    return act


async def _get(transport: SocketTransport, server: FaultyServer) -> bytes:
    response = await transport.send(URL(server.url), {}, None)
    try:
        return await response.read()
    finally:
        response.release()


@asynccontextmanager
async def far_transport(access: Access | None = None) -> AsyncIterator[SocketTransport]:
    async with open_transport(access or Access(), clock=FarClock()) as transport:
        yield transport


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
async def test_connections_over_a_long_line_are_there_before_the_requests(is_tls: bool) -> None:  # noqa: FBT001 - a case
    """Over TLS the server sends tickets on them, which nothing has asked for."""
    tls, access = (self_signed(), Access(ca_bundle=str(CERTIFICATE))) if is_tls else (None, None)
    async with FaultyServer(in_turn(_as_it_is(HELLO)), tls=tls) as server, far_transport(access) as transport:
        assert not transport.open_early(URL(server.url), 5)  # nothing is known of the way
        await _get(transport, server)
        assert transport.open_early(URL(server.url), 5)
        await until(lambda: server.connections == 5)
        assert transport.open_early(URL(server.url), 5)
        await asyncio.gather(*(_get(transport, server) for _ in range(5)))
        assert server.connections == 5


async def test_requests_use_the_connections_that_are_being_opened() -> None:
    async with FaultyServer(in_turn(_as_it_is(HELLO))) as server, far_transport() as transport:
        await _get(transport, server)
        transport.open_early(URL(server.url), 4)
        await asyncio.gather(*(_get(transport, server) for _ in range(4)))
        assert server.connections == 4


async def test_no_connection_is_opened_early_over_a_short_line() -> None:
    async with (
        FaultyServer(in_turn(_as_it_is(HELLO))) as server,
        open_transport(Access(), clock=HandMovedClock()) as transport,
    ):
        await _get(transport, server)
        assert transport.open_early(URL(server.url), 5)
        await asyncio.gather(*(_get(transport, server) for _ in range(2)))
        assert server.connections == 2


async def test_early_connections_that_are_refused_are_met_again_by_requests() -> None:
    server = FaultyServer(in_turn(answer(b"hello", headers={"Connection": "close"})))
    async with far_transport() as transport:
        async with server:
            await _get(transport, server)
        transport.open_early(URL(server.url), 5)
        for _ in range(2):
            with pytest.raises(ConnectFailed):
                await _get(transport, server)


async def test_the_end_of_the_block_stops_connecting() -> None:
    async with FaultyServer(in_turn(_as_it_is(HELLO))) as server, far_transport() as transport:
        await _get(transport, server)
        transport.open_early(URL(server.url), 5)
    assert transport.requests == 1


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.mark.parametrize(
    "content",
    [
        HELLO,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: a\r\n\r\n" + HELLO,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 102 Wait\n\n" + HELLO.replace(b"\r\n", b"\n"),
    ],
    ids=["length", "informational", "chunked", "line feeds alone"],
)
async def test_an_answer_may_come_byte_by_byte_and_the_connection_is_kept(content: bytes) -> None:
    async with transport_to(_bytewise(content), _as_it_is(content)) as (transport, server):
        assert [await _get(transport, server) for _ in range(2)] == [b"hello"] * 2
        assert (transport.requests, server.connections) == (2, 1)


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_a_body_may_end_with_its_connection(*, is_tls: bool) -> None:
    access = Access(ca_bundle=str(CERTIFICATE))
    with over_tls(is_tls):
        async with transport_to(raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY), access=access) as (transport, server):
            assert await _get(transport, server) == BODY
            assert await _get(transport, server) == BODY
            assert server.connections == 2


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_a_connection_may_end_behind_a_body(*, is_tls: bool) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    with over_tls(is_tls):
        answered = raw(chunked % (len(BODY), BODY))
        async with transport_to(answered, access=Access(ca_bundle=str(CERTIFICATE))) as (transport, server):
            assert await _get(transport, server) == BODY


@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_body_comes_over_tls(*, reads: bool) -> None:
    access = Access(ca_bundle=str(CERTIFICATE))
    async with FaultyServer(in_turn(answer(BODY)), tls=self_signed()) as server, open_transport(access) as transport:
        for _ in range(2):
            response = await transport.send(URL(server.url), {}, None)
            found = await response.read() if reads else b""
            while chunk := await response.chunk():
                found += chunk
            response.release()
            assert found == BODY
        assert server.connections == 1


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not say when enough has come")


@asynccontextmanager
async def long_line(server: FaultyServer, packet_bytes: int) -> AsyncIterator[URL]:
    """Where the bytes of `server` come packet by packet, whatever records they hold."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while packet := await reader.read(packet_bytes):
                writer.write(packet)
                for _ in range(3):
                    await asyncio.sleep(0)
        finally:
            writer.close()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(url.host, url.port)
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    url = URL(server.url)
    async with await asyncio.start_server(meet, url.host, 0) as line:
        yield url.with_port(line.sockets[0].getsockname()[1])


@ON_LINUX
@pytest.mark.parametrize("packet_bytes", [1448, 60_000], ids=["packets", "bursts"])
@pytest.mark.parametrize("tls", [None, self_signed()], ids=["plain", "tls"])
async def test_packets_are_read_together_and_the_end_at_once(
    packet_bytes: int, tls: ssl.SSLContext | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, access = BODY[: 250 << 10], Access(ca_bundle=str(CERTIFICATE) if tls is not None else None)
    async with (
        FaultyServer(in_turn(answer(body), answer(b"next")), tls=tls) as server,
        long_line(server, packet_bytes) as url,
        open_transport(access) as transport,
    ):
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: now)  # no timer ends, so the reads are those that bytes cause
            response = await transport.send(url, {}, None)
            reads, before = 0, -1
            while response.arrived < len(body):
                await asyncio.sleep(0)
                reads, before = reads + (response.arrived != before), response.arrived
            assert await response.read() == body
            assert reads < 90  # of 180 packets, or 5 bursts
            response.release()
            response = await transport.send(url, {}, None)
            assert await response.read() == b"next"
            response.release()
        assert server.connections == 1


@ON_LINUX
async def test_a_body_that_comes_slowly_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A larger window would fill the queue of a narrow line, and whole windows would be lost."""
    body = BODY[: 250 << 10]
    with over_tls(is_wanted=False):  # the bytes of a record of TLS are seen when its last packet has come
        slow = FaultyServer(in_turn(answer(body)))
    async with slow as server, long_line(server, 1448) as url, open_transport(Access()) as transport:
        loop, passed = asyncio.get_running_loop(), 0.0
        began = loop.time()
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: began + passed)
            response = await transport.send(url, {}, None)
            reads, before = 0, -1
            while response.arrived < len(body):
                await asyncio.sleep(0)
                passed += 0.002
                reads, before = reads + (response.arrived != before), response.arrived
            response.release()
        assert reads > 120  # of 180 packets


@ON_LINUX
async def test_a_body_from_nearby_is_read_as_a_whole_after_one_that_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces would be copied into one. The body before, if it was large, shows how quickly the server sends."""
    body = BODY[: 400 << 10]

    async def in_pieces(exchange: Exchange) -> None:
        for piece in (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: %d\r\n\r\n" % len(body), body):
            await exchange.send(piece)

    quickly = [answer(body)] * 4
    with over_tls(is_wanted=False):  # a record of TLS is at most 16 KB
        nearby = FaultyServer(in_turn(*quickly, answer(body), answer(b"small"), answer(body), in_pieces))
    async with nearby as server, long_line(server, 1448) as url, open_transport(Access()) as transport:
        loop, passed = asyncio.get_running_loop(), 0.0
        began = loop.time()
        came_whole = []
        with monkeypatch.context() as patch:
            patch.setattr(loop, "time", lambda: began + passed)
            for seconds_each in (0, 0, 0.002, 0, 0, 0, 0, 0):
                response = await transport.send(url, {}, None)
                sizes = {0}
                while response.arrived < (response.length or 0):
                    await asyncio.sleep(0)
                    passed += seconds_each
                    sizes.add(response.arrived)
                assert await response.read() in {body, b"small"}
                response.release()
                came_whole.append(sizes == {0, len(body)})
        assert server.connections == 1
        assert came_whole == [False, True, False, False, True, False, False, True]


@ON_LINUX
async def test_a_few_bytes_that_nothing_follows_are_seen() -> None:
    """Otherwise a body that is slow would be taken for one that stalls."""
    seen = asyncio.Event()

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Content-Length": str(len(BODY))})
        await exchange.send(BODY[:300_000])
        await exchange.send(BODY[300_000:300_001])
        await seen.wait()
        await exchange.send(BODY[300_001:])

    async with transport_to(act, access=Access(silence_seconds=5)) as (transport, server):
        response = await transport.send(URL(server.url), {}, None)
        found = b""
        while len(found) < 300_001:
            found += await response.chunk()
        seen.set()
        assert found + await response.read() == BODY
        response.release()


@ON_LINUX
def test_the_window_has_room_for_a_slice_and_any_byte_is_read() -> None:
    with socket.socket() as link:
        open_window(link)
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= 1 << 20
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@asynccontextmanager
async def responses(
    *actions: Action, tls: bool = False, access: Access | None = None
) -> AsyncIterator[tuple[Callable[[], Awaitable[SocketResponse]], FaultyServer]]:
    """What sends a request and returns its response."""
    access = replace(access or Access(), ca_bundle=str(CERTIFICATE) if tls else None)
    async with (
        FaultyServer(in_turn(*actions), tls=self_signed() if tls else None) as server,
        open_transport(access) as transport,
    ):
        yield lambda: transport.send(URL(server.url), {}, None), server


async def through_threads(response: SocketResponse, *, at_most: int, found: bytearray | None = None) -> bytes:
    """The body, received in threads, also in `found`."""
    found = bytearray() if found is None else found
    assert response.threaded is not None
    while await response.readable():
        before = len(found)
        size_bytes = await in_thread(response.receive, found.extend, at_most)
        assert size_bytes == len(found) - before
    response.release()
    return bytes(found)


@ON_LINUX
@pytest.mark.parametrize("rounds", [0, 1, 200], ids=lambda rounds: f"after {rounds} rounds of the loop")
@pytest.mark.parametrize("at_most", [100, 1 << 16, 1 << 30])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_threads_receive_a_body_whatever_arrived_before(
    monkeypatch: pytest.MonkeyPatch, *, tls: bool, at_most: int, rounds: int
) -> None:
    body = BODY[: 900 << 10] if at_most > 100 else BODY[: 20 << 10]
    loop = asyncio.get_running_loop()
    now = loop.time()
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: now)  # no timer ends
        async with responses(answer(body), answer(b"next"), answer(body), tls=tls) as (request, server):
            for wanted in (body, b"next", body):
                response = await request()
                for _ in range(rounds):
                    await asyncio.sleep(0)
                if wanted is body:
                    assert await through_threads(response, at_most=at_most) == body
                else:
                    assert await response.read() == wanted
                    response.release()
                assert response.arrived == len(wanted)
            assert server.connections == 1


@ON_LINUX
async def test_threads_get_all_that_came_before_a_body_was_cut() -> None:
    async with responses(cut(BODY, after=1_000_000)) as (request, _):
        found = bytearray()
        with pytest.raises(ShortBody):
            await through_threads(await request(), at_most=1 << 16, found=found)
        assert bytes(found) == BODY[:1_000_000]


@ON_LINUX
async def test_threads_take_a_few_bytes_that_nothing_follows() -> None:
    more, end, found = asyncio.Event(), asyncio.Event(), bytearray()

    async def act(exchange: Exchange) -> None:
        await exchange.send_head(200, {"Content-Length": str(len(BODY))})
        await exchange.send(BODY[:1_000_000])
        await more.wait()
        await exchange.send(BODY[1_000_000:1_000_001])
        await end.wait()
        await exchange.send(BODY[1_000_001:])

    async with responses(act) as (request, _):
        receiving = asyncio.ensure_future(through_threads(await request(), at_most=1 << 20, found=found))
        await until(lambda: len(found) == 1_000_000)
        more.set()
        await until(lambda: len(found) == 1_000_001)
        end.set()
        assert await receiving == BODY


@ON_LINUX
async def test_a_response_is_closed_after_the_thread_that_reads_it() -> None:
    """Else the thread would read from the connection of another one."""
    began, may_end = threading.Event(), threading.Event()
    pieces: list[bytes] = []

    def take(piece: memoryview) -> None:
        began.set()
        may_end.wait(5)
        pieces.append(bytes(piece))

    async with responses(answer(BODY)) as (request, _):
        response = await request()
        body = HttpBody(response, Access())
        receiving = asyncio.ensure_future(body.receive(take, 1 << 20))
        await asyncio.to_thread(began.wait)
        receiving.cancel()
        await asyncio.sleep(0)
        assert not receiving.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        response.release()
        assert BODY.startswith(b"".join(pieces))


async def test_a_body_of_unknown_length_is_not_for_threads() -> None:
    async with responses(raw(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)) as (request, _):
        response = await request()
        assert response.threaded is None
        assert HttpBody(response, Access()).threaded is None
        response.release()


async def test_a_connection_with_more_than_was_requested_is_not_used_again() -> None:
    content = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    async with transport_to(_as_it_is(content)) as (transport, server):
        assert [await _get(transport, server) for _ in range(2)] == [b"ok"] * 2
        assert server.connections == 2


LONG_BODY = bytes(100_000)
ODD_ENDS = {
    "a line break": HELLO + b"\r\n",
    "another answer": HELLO + HELLO.replace(b"hello", b"wrong"),
    "a line break behind a long body": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + LONG_BODY + b"\r\n",
    "a line break behind chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n\r\n",
}


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("content", ODD_ENDS.values(), ids=ODD_ENDS)
async def test_bytes_behind_an_answer_harm_neither_it_nor_the_next_one(content: bytes, *, is_tls: bool) -> None:
    async def act(exchange: Exchange) -> None:
        head, end, body = content.partition(b"\r\n\r\n")
        await exchange.send(head + end)  # so that the body comes by itself
        await exchange.send(body)

    tls, access = (self_signed(), Access(ca_bundle=str(CERTIFICATE))) if is_tls else (None, Access())
    async with FaultyServer(in_turn(act), tls=tls) as server, open_transport(access) as transport:
        for _ in range(3):
            assert await _get(transport, server) in {b"hello", LONG_BODY}
        assert server.connections == 3


@pytest.mark.parametrize(
    "content",
    [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail", b"\x15\x03"],
    ids=["another protocol", "mail", "TLS"],
)
async def test_an_answer_without_a_header_is_an_error_at_once(content: bytes) -> None:
    """The other side may wait for us: the end of a header would be awaited for two minutes."""
    for act in (_as_it_is, _bytewise):
        async with transport_to(act(content)) as (transport, server):
            with pytest.raises(ConnectionLost, match="no valid response"):
                await _get(transport, server)


@ON_LINUX
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("behind", [b"\r\n", HELLO], ids=["a line break", "another answer"])
async def test_bytes_behind_a_body_that_threads_read_are_not_an_answer(behind: bytes, *, tls: bool) -> None:

    async def act(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY[:-1])
        await exchange.send(BODY[-1:] + behind)  # in one packet

    async with responses(act, tls=tls) as (request, server):
        for _ in range(3):
            assert await through_threads(await request(), at_most=1 << 30) == BODY
        assert server.connections == 3


async def test_no_more_is_read_than_a_slow_reader_has_room_for() -> None:
    async with transport_to(answer(BODY * 16)) as (transport, server):
        response = await transport.send(URL(server.url), {}, None)
        sizes = []
        while chunk := await response.chunk():
            sizes.append(len(chunk))
            for _ in range(40):
                await asyncio.sleep(0)
        response.release()
        assert sum(sizes) == 16 * len(BODY)
        assert max(sizes) < 1 << 20


async def test_a_connection_is_read_again_after_a_reader_that_was_slow_at_the_end() -> None:
    body = BODY[: 700 << 10]
    async with transport_to(answer(body)) as (transport, server):
        for _ in range(3):
            response = await transport.send(URL(server.url), {}, None)
            while response.arrived < len(body):
                waiting = response.arrived
                await asyncio.sleep(0)
                if response.is_full and response.arrived == waiting:
                    break
            found = b""
            while chunk := await response.chunk():
                found += chunk
            response.release()
            assert found == body
        assert server.connections == 1


async def test_idle_connections_to_many_hosts_are_not_kept() -> None:
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(open_transport(Access()))
        servers = [await stack.enter_async_context(FaultyServer(in_turn(answer(b"body")))) for _ in range(12)]
        for server in (*servers, servers[-1], servers[0]):
            assert await _get(transport, server) == b"body"
        assert (servers[-1].connections, servers[0].connections) == (1, 2)


async def test_a_connection_on_which_more_comes_behind_the_answer_is_not_used_again() -> None:
    read = asyncio.Event()

    async def act(exchange: Exchange) -> None:
        await exchange.send(HELLO)
        await read.wait()
        await exchange.send(HELLO)

    async with transport_to(act, answer(b"next")) as (transport, server):
        response = await transport.send(URL(server.url), {}, None)
        assert await response.read() == b"hello"
        read.set()
        for _ in range(20):
            await asyncio.sleep(0)
        response.release()
        assert await _get(transport, server) == b"next"


@pytest.mark.parametrize(("seconds", "connections"), [(10, 1), (16, 2)])
async def test_a_connection_that_was_idle_for_long_is_not_used_again(
    seconds: float, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = JumpingClock(monkeypatch)
    async with transport_to(answer(b"body")) as (transport, server):
        await _get(transport, server)
        clock.jump(seconds)
        await _get(transport, server)
        assert server.connections == connections


async def test_connections_that_are_not_needed_any_longer_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)
    async with transport_to(answer(b"body")) as (transport, server):
        await asyncio.gather(*(_get(transport, server) for _ in range(3)))
        assert server.open_connections == 3
        for _ in range(2):
            clock.jump(10)
            await _get(transport, server)
        await until(lambda: server.open_connections == 1)


async def test_a_response_that_is_released_twice_gives_its_connection_back_once() -> None:
    async with transport_to(answer(b"body")) as (transport, server):
        response = await transport.send(URL(server.url), {}, None)
        await response.read()
        response.release()
        response.release()
        assert await asyncio.gather(*(_get(transport, server) for _ in range(2))) == [b"body"] * 2
        assert server.connections == 2


async def test_a_request_that_is_cancelled_leaves_no_connection() -> None:
    async with transport_to(stall(asyncio.Event()), answer(b"body")) as (transport, server):
        request = asyncio.create_task(transport.send(URL(server.url), {}, None))
        await until(lambda: server.requests)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        assert await _get(transport, server) == b"body"
        assert server.connections == 2


async def test_the_requests_of_a_cycle_of_the_event_loop_are_all_sent() -> None:
    async with transport_to(answer(b"body")) as (transport, server):
        for requests in (1, 5, 5):
            await asyncio.gather(*(_get(transport, server) for _ in range(requests)))
        assert transport.requests == len(server.requests) == 11
        assert server.connections == 5


async def test_a_long_request_is_sent_as_a_whole() -> None:
    form = (("uid", "1.2.840." + "1" * 50),) * 200_000
    async with transport_to(answer(b"body")) as (transport, server):
        response = await transport.send(URL(server.url), {}, form)
        assert await response.read() == b"body"
        response.release()
        assert server.requests[0].body.count(b"uid=") == 200_000
        assert transport.requests == 1


def _shut(link: socket.socket) -> None:
    link.shutdown(socket.SHUT_RDWR)


def _fill(link: socket.socket) -> None:
    with suppress(BlockingIOError):
        while socket.socket.send(link, bytes(1 << 16)):  # below TLS, which would remember that it has more to write
            pass


@pytest.mark.parametrize(("damage", "reason"), [(_shut, "Broken pipe"), (_fill, "the system did not take")])
async def test_a_connection_that_takes_no_request_is_lost(damage: Callable[[socket.socket], None], reason: str) -> None:
    async with transport_to(answer(b"body")) as (transport, server):
        await _get(transport, server)
        request = asyncio.create_task(transport.send(URL(server.url), {}, None))
        await asyncio.sleep(0)  # it has the connection now
        for connection in transport._connections:  # noqa: SLF001 - damaged between two steps of the program
            damage(connection._link)  # noqa: SLF001
        with pytest.raises(ConnectionLost, match=reason):
            await request
        assert transport.requests == len(server.requests) == 1
        assert await _get(transport, server) == b"body"


async def test_headers_without_end_are_refused_though_they_come_slowly() -> None:
    async with transport_to(_as_it_is(b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)) as (transport, server):
        with pytest.raises(ConnectionLost, match="header is too long"):
            await transport.send(URL(server.url), {}, None)


async def test_a_header_that_does_not_end_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)
    async with transport_to(stall(asyncio.Event())) as (transport, server):
        request = asyncio.create_task(transport.send(URL(server.url), {}, None))
        await until(lambda: server.requests)
        clock.jump(Access().answer_seconds)
        with pytest.raises(TimedOut):
            await request


async def test_a_body_that_stops_coming_is_an_error() -> None:
    action = stall(asyncio.Event(), BODY, after=1000)
    async with transport_to(action, access=Access(silence_seconds=0.05)) as (transport, server):
        with pytest.raises(TimedOut):
            await _get(transport, server)


@ON_LINUX
async def test_a_connection_is_awaited_no_longer_than_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, seconds = JumpingClock(monkeypatch), 0
    with never_accepting() as port:
        async with open_transport(Access(connect_seconds=30, answer_seconds=10)) as transport:
            request = asyncio.create_task(transport.send(URL(f"http://127.0.0.1:{port}/"), {}, None))
            while not request.done():
                await asyncio.sleep(0)
                clock.jump(1)
                seconds += 1
            with pytest.raises(ConnectFailed, match="within the time"):
                await request
    assert 10 <= seconds < 20


async def test_a_name_in_the_address_is_sent_as_basic_authorization() -> None:
    async with transport_to(answer()) as (transport, server):
        response = await transport.send(URL(server.url).with_user("me").with_password("pass word"), {}, None)
        response.release()
        assert server.requests[0].headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
        assert server.requests[0].headers["host"] == URL(server.url).authority


# --- addresses of hosts -----------------------------------------------------------------------------------------------


class Resolver:
    """Counts the questions for addresses; every host and port is at `server`."""

    def __init__(self, server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        url, ask = URL(server.url), socket.getaddrinfo

        def answered(host: str, port: int, *options: int) -> list[Any]:
            del port
            self.asked.append(host)
            return list(ask(url.host, url.port, *options))

        monkeypatch.setattr(socket, "getaddrinfo", answered)


async def test_a_lack_of_threads_is_not_a_failure_of_the_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async with transport_to(answer(b"body")) as (transport, server):
        with monkeypatch.context() as without_threads:
            for name in ("_start_new_thread", "_start_joinable_thread"):  # before Python 3.13, and since
                without_threads.setattr(threading, name, start, raising=False)
            with pytest.raises(RuntimeError, match="start new thread"):
                await _get(transport, server)


async def test_the_addresses_of_a_host_are_asked_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = JumpingClock(monkeypatch)
    async with transport_to(answer(b"body")) as (transport, server):
        resolver = Resolver(server, monkeypatch)
        await asyncio.gather(*(_get(transport, server) for _ in range(3)))
        clock.jump(290)
        await _get(transport, server)
        assert (server.connections, len(resolver.asked)) == (4, 1)
        clock.jump(20)
        await _get(transport, server)
        assert (server.connections, len(resolver.asked)) == (5, 2)


async def test_the_addresses_of_a_host_are_asked_for_again_after_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host may have moved."""
    async with transport_to(answer(b"body", headers={"Connection": "close"})) as (transport, server):
        resolver = Resolver(server, monkeypatch)
        await _get(transport, server)
        await server.go_away()
        with pytest.raises(ConnectFailed):
            await _get(transport, server)
        await server.come_back()
        await _get(transport, server)
        assert len(resolver.asked) == 2


async def test_the_addresses_of_many_hosts_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive may redirect to ever more of them."""
    async with transport_to(answer(b"body", headers={"Connection": "close"})) as (transport, server):
        resolver = Resolver(server, monkeypatch)
        for number in (*range(1, 80), 1):
            response = await transport.send(URL(server.url).with_port(number), {}, None)
            response.release()
        assert len(resolver.asked) == 80


async def test_a_host_with_a_final_dot_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates name hosts without one."""
    async with transport_to(answer(b"body")) as (transport, server):
        resolver = Resolver(server, monkeypatch)
        for host in ("127.0.0.1", "127.0.0.1."):
            response = await transport.send(URL(server.url).with_host(host), {}, None)
            assert await response.read() == b"body"
            response.release()
        assert (server.connections, resolver.asked) == (1, ["127.0.0.1"])
