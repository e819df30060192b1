"""Let a process kill itself at the n-th call of a system call: a power cut inside a commit.

`dying_at("fsync:3")` gives environment variables that make `bulkdl` send itself SIGKILL before its third fsync, with
`fsync-after:3` after it. Points are `write`, `fsync`, `rename` and `unlink` (files) and `commit` (the
journal), each also with `-after`. bulkdl does not know of it: the calls are those of `os` and of SQLite, and they are
replaced before the program begins (`site/sitecustomize.py`).

`dying_at(point, module=WORKER)` counts the calls of the worker process, and ends its whole process group with it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Final

from tests.support.commands import with_site

COMMAND: Final = "bulkdl"
WORKER: Final = "bulkdl.fetch.worker_main"


def dying_at(point: str, *, module: str = COMMAND) -> dict[str, str]:
    """Variables that make the process that runs `module` die at `point`, such as `fsync:3`."""
    return with_site(FAULT_POINT=point, FAULT_POINT_IN=module)


class Point:
    """Counts calls, and dies at one of them."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._lock = threading.Lock()

    def is_now(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left == 0


def die() -> None:
    """End almost like a process whose machine loses power: nothing is flushed or cleaned up."""
    if os.environ["FAULT_POINT_IN"] == WORKER:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(call: Callable[..., Any], point: Point, *, after: bool) -> Callable[..., Any]:
    """`call`, which kills the process before or after it at `point`."""

    def replacement(*arguments: Any, **named: Any) -> Any:
        is_now = point.is_now()
        if is_now and not after:
            die()
        result = call(*arguments, **named)
        if is_now:
            die()
        return result

    return replacement


def arm(fault: str) -> None:
    """Replace the calls of `os`, or those of SQLite's connections."""
    name, _, at = fault.partition(":")
    kind, _, after = name.partition("-")
    point, is_after = Point(int(at)), bool(after)
    match kind:
        case "write" | "fsync" | "unlink":
            setattr(os, kind, deadly(getattr(os, kind), point, after=is_after))
        case "rename":
            os.replace = deadly(os.replace, point, after=is_after)
        case "commit":

            class Connection(sqlite3.Connection):
                def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                    if sql.strip().upper() == "COMMIT":
                        return deadly(super().execute, point, after=is_after)(sql, *arguments)  # type: ignore[no-any-return]
                    return super().execute(sql, *arguments)

            connect = sqlite3.connect

            def connect_deadly(*arguments: Any, **named: Any) -> sqlite3.Connection:
                connected: Connection = connect(*arguments, **{**named, "factory": Connection})
                return connected

            sqlite3.connect = connect_deadly  # type: ignore[assignment]
        case _:
            raise SystemExit(f"no such point: {name}")
