"""One request over aiohttp: what is sent and received, and the errors of the library as errors of bulkdl."""

from __future__ import annotations

import pytest
from yarl import URL

from bulkdl.archive.aiohttp_transport import open_transport
from bulkdl.errors import ConnectFailed, ConnectionLost, RequestFailed, ShortBody
from bulkdl.model.access import Access
from tests.support.faults import Action, FaultyServer, answer, cut, drop, in_turn, redirect, without_body


async def test_a_get_and_its_body() -> None:
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


async def test_a_form_is_posted() -> None:
    async with FaultyServer(in_turn(answer())) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, (("list", "1"), ("list", "2")))
        assert await response.read() == b""
        response.release()
        assert (server.requests[0].method, server.requests[0].body) == ("POST", b"list=1&list=2")


async def test_a_redirect_is_a_response() -> None:
    async with FaultyServer(in_turn(redirect("/other"))) as server, open_transport(Access()) as transport:
        response = await transport.send(URL(server.url), {}, None)
        response.release()
        assert (response.status, response.headers["Location"], len(server.requests)) == (302, "/other", 1)


@pytest.mark.parametrize("status", [204, 304, 500])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_response_without_a_body_ends_each_time(status: int, *, reads: bool) -> None:
    bodiless = without_body(status)
    async with FaultyServer(in_turn(bodiless)) as server, open_transport(Access()) as transport:
        for _ in range(3):
            response = await transport.send(URL(server.url), {}, None)
            for _ in range(2):
                assert await (response.read() if reads else response.chunk()) == b""
            response.release()


@pytest.mark.parametrize("reads", [True, False], ids=["read", "chunks"])
async def test_a_body_that_is_cut_is_an_error(*, reads: bool) -> None:
    async with (
        FaultyServer(in_turn(cut(b"x" * 1000, after=10))) as server,
        open_transport(Access()) as transport,
    ):
        response = await transport.send(URL(server.url), {}, None)
        assert reads or await response.chunk() == b"x" * 10
        with pytest.raises(ShortBody):
            await (response.read() if reads else response.chunk())
        response.release()


@pytest.mark.parametrize(("action", "kind"), [(drop(), ConnectionLost), (drop(reset=True), ConnectionLost)])
async def test_a_lost_connection_is_an_error_and_counted(action: Action, kind: type[RequestFailed]) -> None:
    async with FaultyServer(in_turn(action)) as server, open_transport(Access()) as transport:
        with pytest.raises(kind):
            await transport.send(URL(server.url), {}, None)
        assert transport.requests == len(server.requests) == 1


async def test_without_a_connection_nothing_is_counted() -> None:
    async with open_transport(Access()) as transport:
        with pytest.raises(ConnectFailed):
            await transport.send(URL("http://127.0.0.1:1/"), {}, None)
        assert transport.requests == 0
