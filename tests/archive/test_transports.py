"""One request over each transport: what is sent and received, and its failures as errors of bulkdl."""

from __future__ import annotations

import pytest
from yarl import URL

from bulkdl.archive import aiohttp_transport, socket_transport
from bulkdl.archive.http_transport import HttpResponse
from bulkdl.archive.transports import OpenTransport
from bulkdl.archive.transports import open_transport as choose
from bulkdl.errors import ConnectFailed, ConnectionLost, RequestFailed, ShortBody
from bulkdl.model.access import Access
from tests.support.faults import (
    CERTIFICATE,
    Action,
    Exchange,
    FaultyServer,
    answer,
    cut,
    drop,
    in_turn,
    over_tls,
    redirect,
    without_body,
)


@pytest.fixture(params=[aiohttp_transport.open_transport, socket_transport.open_transport], ids=["aiohttp", "sockets"])
def open_transport(request: pytest.FixtureRequest) -> OpenTransport:
    found: OpenTransport = request.param
    return found


async def test_a_get_and_its_body(open_transport: OpenTransport) -> None:
    async with (
        FaultyServer(in_turn(answer(b"body", headers={"X-Kind": "Test"}))) as server,
        open_transport(Access()) as transport,
    ):
        response = await transport.send(URL(server.url), {"X-Sent": "1"}, None)
        assert (response.status, response.length, response.headers["x-kind"]) == (200, 4, "Test")
        assert (await response.chunk(), await response.chunk()) == (b"body", b"")
        response.release()
        assert (server.requests[0].method, server.requests[0].headers["x-sent"]) == ("GET", "1")
        assert transport.requests == 1


async def test_a_form_is_posted(open_transport: OpenTransport) -> None:
    async with FaultyServer(in_turn(answer())) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, (("list", "1"), ("list", "2")))
        assert await response.read() == b""
        response.release()
        assert (server.requests[0].method, server.requests[0].body) == ("POST", b"list=1&list=2")


async def test_a_redirect_is_a_response(open_transport: OpenTransport) -> None:
    async with FaultyServer(in_turn(redirect("/other"))) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, None)
        response.release()
        assert (response.status, response.headers["Location"], len(server.requests)) == (302, "/other", 1)


@pytest.mark.parametrize("status", [204, 304, 500])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_response_without_a_body_ends_each_time(
    open_transport: OpenTransport, status: int, *, reads: bool
) -> None:
    bodiless = without_body(status)
    async with FaultyServer(in_turn(bodiless)) as server, open_transport(Access()) as transport:
        for _ in range(3):
            response = await transport.send(URL(server.url), {}, None)
            for _ in range(2):
                assert await (response.read() if reads else response.chunk()) == b""
            response.release()


@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_body_that_is_cut_is_an_error(open_transport: OpenTransport, *, reads: bool) -> None:
    async with (
        FaultyServer(in_turn(cut(b"x" * 1000, after=10))) as server,
        open_transport(Access()) as transport,
    ):
        response = await transport.send(URL(server.url), {}, None)
        assert reads or await response.chunk() == b"x" * 10
        with pytest.raises(ShortBody):
            await (response.read() if reads else response.chunk())
        response.release()


async def _every_chunk(response: HttpResponse) -> None:
    while await response.chunk():
        pass


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_reset_does_not_end_a_body_without_a_length(
    open_transport: OpenTransport, *, reads: bool, is_tls: bool
) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        exchange.drop(reset=True)

    with over_tls(is_tls):
        async with (
            FaultyServer(in_turn(act)) as server,
            open_transport(Access(ca_bundle=str(CERTIFICATE))) as transport,
        ):
            response = await transport.send(URL(server.url), {}, None)
            with pytest.raises(ShortBody):
                await (response.read() if reads else _every_chunk(response))
            response.release()


@pytest.mark.parametrize(("action", "kind"), [(drop(), ConnectionLost), (drop(reset=True), ConnectionLost)])
async def test_a_lost_connection_is_an_error_and_counted(
    open_transport: OpenTransport, action: Action, kind: type[RequestFailed]
) -> None:
    async with FaultyServer(in_turn(action)) as server, open_transport(Access()) as transport:
        with pytest.raises(kind):
            await transport.send(URL(server.url), {}, None)
        assert transport.requests == len(server.requests) == 1


async def test_without_a_connection_nothing_is_counted(open_transport: OpenTransport) -> None:
    async with open_transport(Access()) as transport:
        with pytest.raises(ConnectFailed):
            await transport.send(URL("http://127.0.0.1:1/"), {}, None)
        assert transport.requests == 0


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        (Access(), socket_transport.SocketTransport),
        (Access(proxy="http://127.0.0.1:1"), aiohttp_transport.AiohttpTransport),
    ],
    ids=["direct", "proxy"],
)
async def test_proxies_are_for_aiohttp(access: Access, kind: type[object]) -> None:
    async with choose(access) as transport:
        assert isinstance(transport, kind)
