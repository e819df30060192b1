"""Run a command as a fork of a process that has imported what commands need, instead of in a new Python.

`Forked` is used like `subprocess.Popen`, and `AsyncForked` like a process of asyncio, with text and bytes from their
pipes and nothing to read. `can_fork` tells where a new Python is needed.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from tests.support.fork_server import NUMBER, SITE

ROOT: Final = Path(__file__).parents[2]
# Python reads these when it starts, and the C library and OpenSSL when they are loaded.
_READ_AT_START: Final = ("PYTHON", "LC_", "LANG", "TZ", "SSL_", "OPENSSL_")
_NO_MATTER: Final = "PYTHONDONTWRITEBYTECODE"  # tests change it


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    read = {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)}
    return {"PYTHONPATH": "", **{name: value for name, value in read.items() if name != _NO_MATTER}}


_OURS: Final = _read_at_start(os.environ)


def can_fork(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
    """Whether a fork is the same as a new Python: on Linux, with our settings of Python, and without numpy.

    The server runs `site/sitecustomize.py` where Python would, but cannot hide modules that it has imported.
    """
    read = _read_at_start(environment)
    if read["PYTHONPATH"].partition(os.pathsep)[0] == SITE and "MISSING_MODULES" not in environment:
        read["PYTHONPATH"] = _OURS["PYTHONPATH"]
    return sys.platform == "linux" and read == _OURS and not _needs_numpy(arguments, environment)


def _needs_numpy(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> bool:
    """Whether the command generates the phantoms of the demonstration archive, which no cache has yet."""
    uses_demo = any(str(word).lstrip("-").startswith("demo") for word in arguments)
    cache = Path(environment.get("XDG_CACHE_HOME", "missing"), "bulkdl")
    return uses_demo and not any(cache.glob("phantoms-????????????????"))


@cache
def _server() -> socket.socket:
    """The server for this process, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            stdin=subprocess.PIPE,  # pipes, so that its streams are set up like those of a command
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            cwd=ROOT,
        )

    def stop() -> None:
        ours.close()
        server.communicate()

    atexit.register(stop)
    return ours


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe, whose second end is closed at the end of the block."""
    ours, of_command = os.pipe()
    try:
        yield ours, of_command
    finally:
        os.close(of_command)


def _start(
    module: str, arguments: Sequence[str | Path], environment: Mapping[str, str], files: Sequence[int]
) -> tuple[int, int]:
    """Start the module with `files` as its files 0 to 2; return its process ID, and the pipe for its exit status."""
    request = {
        "module": module,
        "arguments": list(map(str, arguments)),
        "environment": dict(environment),
        "folder": str(Path.cwd()),
    }
    with _pipe() as (status, of_server):
        socket.send_fds(_server(), [json.dumps(request).encode()], [*files, of_server])
    return _number(os.read(status, NUMBER.size)), status


def _start_with_pipes(
    module: str, arguments: Sequence[str | Path], environment: Mapping[str, str], pipes: Sequence[int]
) -> tuple[int, int]:
    """The same with `pipes` as its files 1 and 2, and nothing to read."""
    with Path(os.devnull).open("rb") as nothing:
        return _start(module, arguments, environment, (nothing.fileno(), *pipes))


def _number(written: bytes) -> int:
    if not written:
        raise RuntimeError("the server of forked commands has ended")
    number: int = NUMBER.unpack(written)[0]
    return number


class Forked:
    """A command. Its `stdout` and `stderr` are text."""

    def __init__(self, module: str, arguments: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        with _pipe() as (out, of_out), _pipe() as (err, of_err):
            self.pid, self._status = _start_with_pipes(module, arguments, environment, (of_out, of_err))
            self.stdout: IO[str] = os.fdopen(out)
            self.stderr: IO[str] = os.fdopen(err)
        self.returncode: int | None = None
        self._output: list[Future[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()
        for one in self._output:
            one.result()
        self.stdout.close()
        self.stderr.close()
        os.close(self._status)

    def poll(self) -> int | None:
        """The exit status, if it has ended."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit status; `subprocess.TimeoutExpired` after that time."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a fork", timeout or 0)
            self.returncode = _number(os.read(self._status, NUMBER.size))
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """All that it writes until it ends. After a `subprocess.TimeoutExpired` it may be called again."""
        if not self._output:
            with_threads = ThreadPoolExecutor(2)
            self._output = [with_threads.submit(pipe.read) for pipe in (self.stdout, self.stderr)]
            with_threads.shutdown(wait=False)
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            out, err = (one.result(deadline and max(0, deadline - time.monotonic())) for one in self._output)
        except TimeoutError:
            raise subprocess.TimeoutExpired("a fork", timeout or 0) from None
        self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class ForkedOnTerminal:
    """A command that reads from a terminal, and writes to it."""

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str], terminal: int) -> None:
        self.pid, self._status = _start("bulkdl", arguments, environment, [terminal] * 3)

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """The exit status, to be asked for once."""
        with os.fdopen(self._status, "rb") as status:
            return _number(status.read(NUMBER.size))


class AsyncForked:
    """A command, for a running loop. Its `stdout` and `stderr` are streams."""

    def __init__(self, pid: int, status: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._status = status
        self._has_ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(status, self._end)

    @classmethod
    async def start(cls, module: str, arguments: Sequence[str | Path], environment: Mapping[str, str]) -> Self:
        """Start it."""
        with _pipe() as (out, of_out), _pipe() as (err, of_err):
            pid, status = await asyncio.to_thread(_start_with_pipes, module, arguments, environment, (of_out, of_err))
            return cls(pid, status, await _stream(out), await _stream(err))

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._status)
        self.returncode = _number(os.read(self._status, NUMBER.size))
        os.close(self._status)
        self._has_ended.set()

    async def wait(self) -> int:
        """The exit status."""
        await self._has_ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        """All that it writes until it ends."""
        out, err = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, err

    def send_signal(self, number: int) -> None:
        """Send it a signal; ProcessLookupError if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it; ProcessLookupError if it has ended."""
        self.send_signal(signal.SIGKILL)


async def _stream(pipe: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", 0)
    )
    return reader
