"""Run `bulkdl serve` under attack, watched from outside, and ask it by hand on plain sockets."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.attacks.watching import Watcher, resident_bytes
from tests.support.commands import AsyncProcess, async_process_of, environment
from tests.support.cores import deadline

SERVICES = "/nbia-api/services"
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Reply:
    """An answer; status 0 and no headers where the connection ended without one."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def rows(self) -> Any:
        """The JSON in it."""
        return json.loads(self.body)


@dataclass
class Server:
    """An archive that is served. `stopped` is "memory" when it took too much and was killed."""

    process: AsyncProcess
    port: int
    most_bytes: int
    peak_bytes: int = 0
    stopped: str | None = None
    _watch: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self._watch = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while self.process.returncode is None:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(self.process.pid))
            if self.peak_bytes > self.most_bytes:
                self.stopped = "memory"
                self.process.kill()
                return
            await asyncio.sleep(0.05)

    async def send(self, request: bytes, *, within: float = 10.0, source: str = "127.0.0.1") -> Reply:
        """Send these bytes from this address, and read what comes until the connection ends."""
        answered = b""
        with suppress(ConnectionError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
            try:
                writer.write(request)
                async with deadline(within, self.process.pid):
                    answered = await reader.read(-1)
            finally:
                writer.close()
        return parsed(answered)

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None, within: float = 10.0) -> Reply:
        """Ask for a path."""
        named = {"Host": f"127.0.0.1:{self.port}", "Connection": "close", **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return await self.send(f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode(), within=within)

    async def post(self, path: str, body: bytes, *, headers: Mapping[str, str] | None = None) -> Reply:
        """Send a form."""
        named = {
            "Host": f"127.0.0.1:{self.port}",
            "Connection": "close",
            "Content-Type": "application/x-www-form-urlencoded",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        return await self.send(f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)


def parsed(answered: bytes) -> Reply:
    """The first answer in the bytes of a connection, with the pieces of a chunked body put together."""
    head, _, body = answered.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first.startswith("HTTP/"):
        return Reply(0, {}, answered)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding", "").lower() == "chunked":
        body = joined(body)
    return Reply(int(first.split(" ")[1]), headers, body)


def joined(chunked: bytes) -> bytes:
    """The chunks of a body, without their lengths."""
    pieces = []
    while chunked:
        length, _, chunked = chunked.partition(b"\r\n")
        size = int(length or b"0", 16)
        pieces.append(chunked[:size])
        chunked = chunked[size + 2 :]
    return b"".join(pieces)


@asynccontextmanager
async def serving(
    watcher: Watcher,
    *arguments: str | Path,
    command: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Server]:
    """Serve these paths for the length of the block. It must live to the end of that, and say nothing of errors."""
    process = await start(watcher, *arguments, command=command, more=more)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with deadline(_START_SECONDS, process.pid):
            line = await process.stdout.readline()
        assert line, (await process.stderr.read()).decode()
        server = Server(process, urlsplit(json.loads(line)["url"]).port or 0, watcher.most_bytes)
        yield server
        assert server.stopped is None, f"killed for {server.stopped}: {server.peak_bytes:,} bytes"
        assert process.returncode is None, f"the server ended with {process.returncode}"
        process.send_signal(signal.SIGTERM)
        async with deadline(10, process.pid):
            said = (await process.stderr.read()).decode()
        assert "Traceback" not in said, said[-2000:]
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def start(
    watcher: Watcher,
    *arguments: str | Path,
    command: Sequence[str] = (),
    more: Mapping[str, str] | None = None,
) -> AsyncProcess:
    """Start `bulkdl serve` on a free port."""
    return await async_process_of(
        ("serve", *arguments, "--port", "0", "--json"), {**environment(watcher.cache), **(more or {})}, command=command
    )


async def said_first(watcher: Watcher, *arguments: str | Path, more: Mapping[str, str] | None = None) -> str:
    """What a server says first: its address, or why it cannot serve."""
    process = await start(watcher, *arguments, more=more)
    assert process.stdout is not None
    try:
        async with deadline(_START_SECONDS, process.pid):
            if line := await process.stdout.readline():
                return line.decode()
            _, err = await process.communicate()
            return err.decode()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
