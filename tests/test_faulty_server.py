"""The server of faults: what it sends ends with the connection, and not before."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection

import pytest

from tests.support.faults import CERTIFICATE, Exchange, FaultyServer, cut, self_signed
from tests.support.waiting import until


async def _endless(exchange: Exchange) -> None:
    while True:
        await exchange.send(bytes(1000))


plain_and_tls = pytest.mark.parametrize("tls", [None, self_signed()], ids=["plain", "tls"])


def _trusting(tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    return ssl.create_default_context(cafile=CERTIFICATE) if tls is not None else None


def _port_of(server: FaultyServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


@plain_and_tls
async def test_an_answer_without_an_end_ends_with_its_connection(tls: ssl.SSLContext | None) -> None:
    trusting = _trusting(tls)
    async with FaultyServer(lambda _: _endless, tls=tls) as server:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", _port_of(server), ssl=trusting)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(1_000_000)
            writer.transport.abort()
            await until(lambda: server.at_once == 0)


@plain_and_tls
async def test_a_reset_discards_nothing_that_was_sent_before(tls: ssl.SSLContext | None) -> None:
    trusting = _trusting(tls)

    def received(port: int) -> bytes:
        there = HTTPSConnection("127.0.0.1", port, context=trusting) if trusting else HTTPConnection("127.0.0.1", port)
        with closing(there):
            there.request("GET", "/")
            return there.getresponse().read(200)

    async with FaultyServer(lambda _: cut(bytes(1000), after=200, reset=True), tls=tls) as server:
        for _ in range(3):
            assert await asyncio.to_thread(received, _port_of(server)) == bytes(200)


@plain_and_tls
async def test_a_connection_that_the_client_closed_may_be_reset(tls: ssl.SSLContext | None) -> None:
    trusting, is_closed = _trusting(tls), asyncio.Event()

    async def act(exchange: Exchange) -> None:
        await is_closed.wait()
        exchange.drop(reset=True)

    async with FaultyServer(lambda _: act, tls=tls) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", _port_of(server), ssl=trusting)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await until(lambda: server.at_once == 1)
        writer.transport.abort()
        for _ in range(5):  # until the server has seen it
            await asyncio.sleep(0)
        is_closed.set()
        await until(lambda: server.at_once == 0)
