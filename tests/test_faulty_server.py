"""The server of faults: what it sends ends with the connection."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from tests.support.faults import CERTIFICATE, Exchange, FaultyServer, self_signed
from tests.support.waiting import until


async def _endless(exchange: Exchange) -> None:
    while True:
        await exchange.send(bytes(1000))


@pytest.mark.parametrize("tls", [None, self_signed()], ids=["plain", "tls"])
async def test_an_answer_without_an_end_ends_with_its_connection(tls: ssl.SSLContext | None) -> None:
    trusting = ssl.create_default_context(cafile=CERTIFICATE) if tls is not None else None
    async with FaultyServer(lambda _: _endless, tls=tls) as server:
        for _ in range(5):
            port = int(server.url.rstrip("/").rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(1_000_000)
            writer.transport.abort()
            await until(lambda: server.at_once == 0)
