"""Processes that are forked before this one begins to work: they have all imports, and take 2 ms instead of 200.

A fork copies the locks that other threads hold, and in the child they stay locked. So it happens only while this
process has one thread, in a program of bulkdl, and only on Linux, whose system libraries allow it. In all other cases
`processes.start_process` starts a new Python.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Final, NoReturn

from bulkdl.runtime.processes import PIPE_BYTES

_THREADS: Final = Path("/proc/self/task")


class ForkedProcess:
    """A child process with pipes to and from it, as `asyncio.subprocess.Process` has; `attach` comes first."""

    def __init__(self, pid: int, to_child: int, from_child: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin: asyncio.WriteTransport | None = None
        self.stdout: asyncio.StreamReader | None = None
        self.ends = [to_child, from_child]  # until it is attached

    async def attach(self) -> None:
        """Let the running loop watch the pipes."""
        loop, (to_child, from_child) = asyncio.get_running_loop(), self.ends
        self.ends = []
        self.stdout = reader = asyncio.StreamReader(limit=PIPE_BYTES)
        self.stdin, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(to_child, "wb", buffering=0))
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_child, "rb", buffering=0)
        )

    def kill(self) -> None:
        """End it at once. ProcessLookupError: it has ended, and that is known."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        if self.returncode is None:
            loop, ended = asyncio.get_running_loop(), asyncio.Event()
            watched = os.pidfd_open(self.pid)
            try:
                loop.add_reader(watched, ended.set)
                await ended.wait()
            finally:
                loop.remove_reader(watched)
                os.close(watched)
        if self.stdin is not None:
            self.stdin.close()
        return self.reaped()

    def reaped(self) -> int:
        """As `wait`, blocking."""
        for end in self.ends:
            os.close(end)
        self.ends = []
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


_waiting: ContextVar[list[ForkedProcess]] = ContextVar("waiting")


@contextmanager
def forked(main: Callable[[], None], processes: int = 1) -> Iterator[None]:
    """Fork processes that run `main`, for `take_forked` in this block, if that is safe. They end with the block.

    Their standard input and output are pipes. They ignore Ctrl-C, which their parent handles, and end when their input
    ends.
    """
    if not _may_fork():
        yield
        return
    children: list[ForkedProcess] = []
    for _ in range(processes):
        children.append(_fork(main, children))
    token = _waiting.set([*children])
    try:
        yield
    finally:
        _waiting.reset(token)
        for child in children:
            with suppress(ProcessLookupError):
                child.kill()
            child.reaped()


async def take_forked() -> ForkedProcess | None:
    """A process of `forked`, ready to be used; None if there is none, or not any more."""
    waiting = _waiting.get([])
    if not waiting:
        return None
    child = waiting.pop()
    await child.attach()
    return child


def _may_fork() -> bool:
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return False
    try:
        return len(list(_THREADS.iterdir())) == 1 and (sys.stdin.fileno(), sys.stdout.fileno()) == (0, 1)
    except (OSError, ValueError, AttributeError):  # no /proc; closed or replaced streams
        return False


def _fork(main: Callable[[], None], others: Sequence[ForkedProcess]) -> ForkedProcess:
    child_input, to_child = os.pipe()
    from_child, child_output = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # so that a search for garbage does not write to pages that both share
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # in the child it stays blocked
    pid = os.fork()
    if pid == 0:
        for end in (to_child, from_child, *(end for other in others for end in other.ends)):
            os.close(end)  # so that an input ends with the parent
        _run_child(main, child_input, child_output)
    signal.pthread_sigmask(signal.SIG_SETMASK, masked)
    os.close(child_input)
    os.close(child_output)
    return ForkedProcess(pid, to_child, from_child)


def _run_child(main: Callable[[], None], child_input: int, child_output: int) -> NoReturn:
    statuses: list[int] = []

    def run() -> None:
        try:
            main()
            sys.stdout.flush()
            statuses.append(0)
        except BaseException:  # noqa: BLE001 - the end of a process, as Python's own
            traceback.print_exc()

    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.dup2(child_input, 0)
        os.dup2(child_output, 1)
        os.close(child_input)
        os.close(child_output)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        # In a thread, because its stack begins anew: Python maps and unmaps 16 KB for calls at the edge of a piece of
        # the stack, and below the frames of the parent each call of the event loop was there (measured).
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        os._exit(statuses.pop() if statuses else 1)
