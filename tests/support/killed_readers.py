"""A pipe in the place of a file: whoever reads it is killed, as by a file that no process survives."""

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


async def kill_reader_of(path: Path) -> None:
    """Kill the process that reads the pipe at `path`, once there is one."""
    writing = await until(lambda: opened(path))
    (reader,) = readers_of(path)
    reader.kill()
    await until(lambda: not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE)
    os.close(writing or 0)
