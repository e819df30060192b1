"""Connections that send nothing, or never a whole request, are ended, and do not block other clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.attacks.serving import SERVICES, Server, serving
from tests.attacks.watching import Watcher
from tests.support.commands import SCRIPT
from tests.support.dicom_files import instances, write_folder

MADE_UP = list(instances(series=1, per_series=2))
FEW_FILES = ("sh", "-c", 'ulimit -n 128; exec "$@"', "sh", *SCRIPT)
ATTACKER = "127.0.0.2"  # so that a bound for each address is seen to be one
QUESTION = f"{SERVICES}/v1/getSeries"

SILENCES = {
    "nothing": b"",
    "half a line": b"GET /nbia-api",
    "half a head": b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
    "half a form": b"POST /nbia-api/oauth/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-"
    b"urlencoded\r\nContent-Length: 1000\r\n\r\nusername=",
    "half a chunk": b"POST /nbia-api/oauth/token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ff\r\nab",
    "a request, and silence": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a request, and half of another": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTT",
}


@asynccontextmanager
async def connections(
    server: Server, count: int, said: bytes
) -> AsyncIterator[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]:
    """So many connections that say this and then nothing."""
    opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        for _ in range(count):
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    pair = await asyncio.open_connection("127.0.0.1", server.port, local_addr=(ATTACKER, 0))
                opened.append(pair)
                pair[1].write(said)
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


@pytest.mark.parametrize("name", ["nothing", "half a head", "half a form"])
async def test_silent_connections_do_not_block_other_clients(name: str, bulkdl: Watcher, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", iter(MADE_UP))
    async with (
        serving(bulkdl, tmp_path / "folder", command=FEW_FILES) as server,
        connections(server, 200, SILENCES[name]),
    ):
        reply = await server.get(QUESTION, within=10)
        assert reply.status == 200
        assert len(reply.rows()) == 1


async def is_ended(server: Server, said: bytes, *, trickle: bytes = b"") -> bool:
    """Whether the server ends a connection that says this and, once a second, `trickle`, within 40 seconds."""
    async with connections(server, 1, said) as ((reader, writer),):
        reading = asyncio.create_task(reader.read(-1))
        for _ in range(40):
            with suppress(ConnectionError):
                writer.write(trickle)
            await asyncio.wait({reading}, timeout=1)
            if reading.done():
                break
        over = reading.done()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return over


@pytest.mark.slow
async def test_connections_without_a_whole_request_are_ended_within_40_seconds(bulkdl: Watcher, tmp_path: Path) -> None:
    """One of each kind, side by side: the limit is 30 seconds. A letter a second is a sign of life, and no request."""
    write_folder(tmp_path / "folder", iter(MADE_UP))
    trickling = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
    async with serving(bulkdl, tmp_path / "folder") as server:
        *silent, trickled = await asyncio.gather(
            *(is_ended(server, said) for said in SILENCES.values()), is_ended(server, trickling, trickle=b"x")
        )
    assert [name for name, is_over in zip(SILENCES, silent, strict=True) if not is_over] == []
    assert trickled


async def test_readers_that_stop_do_not_block_other_clients(bulkdl: Watcher, tmp_path: Path) -> None:
    made_up = list(instances(series=1, per_series=6, rows=1000))  # 12 MB
    write_folder(tmp_path / "folder", iter(made_up))
    zipped = f"GET {SERVICES}/v1/getImage?SeriesInstanceUID={made_up[0].series_uid} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    async with serving(bulkdl, tmp_path / "folder") as server, connections(server, 60, zipped.encode()):
        reply = await server.get(QUESTION, within=10)
        assert reply.status == 200
