"""A pipe in the place of a file: the process that reads it is killed, as a damaged file may do with each."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from tests.support.waiting import until


def readers_of(path: Path) -> list[psutil.Process]:
    """The child processes that have the pipe at `path` open."""
    children = psutil.Process().children()
    return [one for one in children if any(fd.resolve() == path for fd in Path(f"/proc/{one.pid}/fd").iterdir())]


def opened(path: Path) -> int | None:
    """The pipe at `path` opened for writing; None while no process reads it."""
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return None


def state_of(process: psutil.Process) -> str:
    """The status of a process; that of a dead one if there is none any more."""
    try:
        return str(process.status())
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


async def kill_reader_of(path: Path) -> None:
    """Kill the process that reads the pipe at `path`, once there is one.

    It is stopped before the pipe is closed, whose end it would read, and killed after that: the next one that opens the
    pipe would read that end.
    """
    writing = await until(lambda: opened(path))
    (reader,) = await until(lambda: readers_of(path))
    reader.suspend()
    await until(lambda: state_of(reader) == psutil.STATUS_STOPPED)
    os.close(writing or 0)
    reader.kill()
    await until(lambda: state_of(reader) == psutil.STATUS_ZOMBIE)
