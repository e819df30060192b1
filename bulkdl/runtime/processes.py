"""Processes of bulkdl: the one place that starts them, exchanges messages with them, and tunes them.

Parent and child exchange pickled values over the child's standard input and output, each with its length before it.
Only our own parent and children are at the other end: nothing here reads data from outside. Secrets go that way alone,
never by arguments or environment. A child whose input ends, because its parent ended or died, exits at once.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Protocol, Self

from bulkdl.errors import ConfigurationError, MirrorUnwritable
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.disk import disk_errors

PIPE_BYTES: Final = 1 << 22
READER_DIED: Final = "its reader died"
"""Why a file could not be read that ends each process that reads it."""

_MOST_READERS: Final = 8  # keep the disk busy; more bring little
_SECRETS: Final = frozenset({"BULKDL_PASSWORD", "BULKDL_API_KEY"})
_ERROR_BYTES: Final = 1 << 13  # of standard error, that are kept
_GRACE_SECONDS: Final = 3.0  # for a command that is asked to end
_LENGTH: Final = struct.Struct(">I")
_GREETING: Final = "ready"

# Parameters of mallopt(3) and their values, for glibc. Bodies of all sizes come and go in several threads. glibc reacts
# by raising the size above which it returns memory at once, and by a heap for each thread, and its heaps fragment: the
# resident size of a mirror grew by 10 MB for each 30,000 instances while Python held no more objects than before
# (measured). With these values it stays constant. The two sizes are larger than any body in memory: to map and unmap
# its pages each time would cost more than its bytes (measured, CT slices on loopback: half of the system time).
_TRIM_THRESHOLD: Final = (-1, 1 << 25)
_MMAP_THRESHOLD: Final = (-3, 1 << 22)
_ARENA_MAX: Final = (-8, 2)
# After each system call the event loop waits for the interpreter lock, 5 ms by default, while another thread computes
# (observed: 200 requests a second while a thread imported pydicom).
_SWITCH_SECONDS: Final = 0.0005


async def start_process(module: str) -> asyncio.subprocess.Process:
    """Start a process that runs `module`, with pipes to and from it.

    It imports from where this process does, but never from the current folder, which other users may be able to write.
    It never gets the Ctrl-C of a terminal: its parent handles that.

    Raises:
        MirrorUnwritable: it cannot be started: too many files are open, or memory or processes are short.
        ConfigurationError: this program does not run in a Python that could run another one.
    """
    if not sys.executable:
        raise ConfigurationError("this program cannot start processes of Python; use --workers 1, and not pixels")
    with disk_errors("start a process of", module), _deaf_to_ctrl_c() as flags:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(_import_path())},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=PIPE_BYTES,
            creationflags=flags,
        )


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[int]:
    """Start a process in this block, with these flags: it ignores Ctrl-C from its start, before any code of ours runs.

    On POSIX it inherits the mask of this thread, in which the signal waits until the end of the block. Blocks of
    several tasks may overlap: the one that masked the signal unmasks it.
    """
    if sys.platform == "win32":
        yield subprocess.CREATE_NEW_PROCESS_GROUP
        return
    was_heard = signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield 0
    finally:
        if was_heard:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _import_path() -> list[str]:
    """The folders from which a process that we start may import."""
    ours, here = Path(__file__).parents[2].resolve(), Path.cwd()
    path = [folder for folder in sys.path if Path(folder).is_absolute() and Path(folder).resolve() not in {here, ours}]
    return [*path, str(ours)]


class CommandEnd(NamedTuple):
    """How a command of the user ended: its exit status, negative for a signal, and the last line of standard error.

    `timed_out`: it was ended, because it took longer than it may.
    """

    status: int
    last_line: str
    timed_out: bool = False


async def run_command(
    words: Sequence[str], content: bytes, *, stop: asyncio.Event, timeout_seconds: float | None = None
) -> CommandEnd:
    """Run a command of the user, without a shell, with `content` on its standard input.

    Its standard output is dropped. It is ended, with all that it started, when `stop` is set, after `timeout_seconds`,
    and when this task is cancelled. It does not get our secrets from the environment.

    Raises:
        MirrorUnwritable: it cannot be started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    with disk_errors("start", words[0]):
        process = await asyncio.create_subprocess_exec(
            *words,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            **_as_group(),
        )
    talking, stopped = asyncio.ensure_future(_talk(process, content)), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([talking, stopped], timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        timed_out = not stopped.done() and process.returncode is None and not talking.done()
        if not talking.done():
            _end_group(process, forcibly=False)
            await asyncio.wait([talking], timeout=_GRACE_SECONDS)
    finally:
        stopped.cancel()
        if not talking.done():
            _end_group(process, forcibly=True)
            await asyncio.wait([talking], timeout=_GRACE_SECONDS)
            talking.cancel()  # what has left the group keeps the pipe open
            process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public closes its pipes
    return CommandEnd(await process.wait(), _last_line(talking), timed_out)


def _as_group() -> dict[str, Any]:
    """How a process is started that leads its own group, which the Ctrl-C of a terminal does not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


async def _talk(process: asyncio.subprocess.Process, content: bytes) -> str:
    """Write to the standard input of a process and close it; read its standard error to the end, for the last line."""

    async def write() -> None:
        assert process.stdin is not None  # noqa: S101 - as it was started
        with suppress(BrokenPipeError, ConnectionResetError):  # it need not read its input
            process.stdin.write(content)
            await process.stdin.drain()
        process.stdin.close()

    async def read() -> str:
        assert process.stderr is not None  # noqa: S101 - as it was started
        end = b""
        while chunk := await process.stderr.read(_ERROR_BYTES):
            end = (end + chunk)[-_ERROR_BYTES:]
        lines = end.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    last_line, _ = await asyncio.gather(read(), write())
    return last_line


def _last_line(talking: asyncio.Future[str]) -> str:
    return talking.result() if talking.done() and not talking.cancelled() else ""


def _end_group(process: asyncio.subprocess.Process, *, forcibly: bool) -> None:
    """End a process that leads its own group, and the group."""
    with suppress(ProcessLookupError, PermissionError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL if forcibly else signal.SIGTERM)


class ChildProcess(Protocol):
    """A child process with pipes to and from it."""

    @property
    def stdin(self) -> asyncio.StreamWriter | asyncio.WriteTransport | None:
        """What it reads."""

    @property
    def stdout(self) -> asyncio.StreamReader | None:
        """What it writes."""

    def kill(self) -> None:
        """End it at once. ProcessLookupError: it has ended."""

    async def wait(self) -> int:
        """Its exit status, once it has ended."""


class AnsweringProcess:
    """A process that runs `module`, whose main part is `answer_all`, and answers one question at a time.

    It is started at the beginning of the block, unless it is a `running` one, and killed at the end, even if it still
    works. If it died before, `status` is its exit status.
    """

    def __init__(self, module: str, running: ChildProcess | None = None) -> None:
        self._module = module
        self._running = running
        self._has_greeted = False
        self.status: int | None = None

    async def __aenter__(self) -> Self:
        self._process = self._running or await start_process(self._module)
        assert self._process.stdin and self._process.stdout  # noqa: S101, PT018 - they were asked for
        self._questions, self._answers = self._process.stdin, self._process.stdout
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._answers.at_eof():
            self.status = await self._process.wait()
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def ask(self, question: object) -> Any:
        """The answer; None if the process has died.

        Raises:
            MirrorUnwritable: it died before it could work: that says nothing about any question.
        """
        try:
            self._questions.write(packed(question))
            if isinstance(self._questions, asyncio.StreamWriter):
                await self._questions.drain()
        except ConnectionError:
            if self._has_greeted:
                return None
        if not self._has_greeted and await receive(self._answers) != _GREETING:
            raise MirrorUnwritable(
                f"a process of {self._module} cannot start: memory may be short, or this Python cannot run it; "
                "everything finished is saved"
            )
        self._has_greeted = True
        return await receive(self._answers)


def readers_at_once() -> int:
    """How many processes read files: one for each core, and no more than keep the disk busy."""
    return min(usable_cores(), _MOST_READERS)


class AnsweringProcesses:
    """Processes that run `module` and share questions, as `AnsweringProcess` answers them.

    Each starts when a question needs it, and ends with the block. One that has died is replaced. `at_once` is how many
    questions they answer at a time.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self.at_once = readers_at_once()
        self._idle: list[AnsweringProcess] = []
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def ask(self, question: object) -> Any:
        """The answer; None if the process that got the question has died.

        Raises:
            MirrorUnwritable: no process can be started.
        """
        process = self._idle.pop() if self._idle else await self._start()
        if (answer := await process.ask(question)) is not None:
            self._idle.append(process)
        return answer

    async def ask_about(
        self, files: Sequence[str], question: Callable[[tuple[str, ...]], object]
    ) -> list[tuple[Sequence[str], Any]]:
        """The answers, with the files that each is about: one for all, or one for each if a file kills its process.

        That of such a file is None. Raises as `ask`.
        """
        answer = await self.ask(question(tuple(files)))
        if answer is not None or len(files) == 1:
            return [(files, answer)]
        return [found for file in files for found in await self.ask_about([file], question)]

    async def _start(self) -> AnsweringProcess:
        return await self._running.enter_async_context(AnsweringProcess(self._module))


def packed(message: object) -> bytes:
    """A message in the form that a pipe carries."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


async def receive(stream: asyncio.StreamReader) -> Any:
    """The next message; None if the other side has ended."""
    try:
        (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
        return pickle.loads(await stream.readexactly(length))  # noqa: S301 - from our own parent or child
    except asyncio.IncompleteReadError:
        return None


def answer_all(answer: Callable[[Any], object], questions: BinaryIO, answers: BinaryIO) -> None:
    """Greet, and answer questions until there are no more. Blocking: the main part of a process, after its imports."""
    answers.write(packed(_GREETING))
    answers.flush()
    while len(head := questions.read(_LENGTH.size)) == _LENGTH.size:
        (length,) = _LENGTH.unpack(head)
        content = questions.read(length)
        if len(content) < length:
            return
        answers.write(packed(answer(pickle.loads(content))))  # noqa: S301 - from our own parent
        answers.flush()


def limit_memory(more_bytes: int) -> None:
    """Limit the address space of this process to `more_bytes` above what it has now. Only Linux has such a limit."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - Windows does not have it

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = pages * resource.getpagesize() + more_bytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))


def tune_process() -> None:
    """Tune the allocator and the interpreter lock of this process for a run of days: never in a user's own process."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - only long runs need it

    with suppress(OSError, AttributeError):  # another C library
        set_option = ctypes.CDLL(None).mallopt
        for option, value in (_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX):
            set_option(option, value)
