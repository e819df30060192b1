"""`bulkdl` that kills itself at the n-th call of a system call: a power cut inside a commit, on order.

`python -m tests.support.fault_points POINT:N ARGUMENTS…` runs `bulkdl ARGUMENTS…` and sends itself SIGKILL before
(`fsync`) or after (`fsync-after`) the N-th such call of the process. The production code knows nothing of it: the calls
are those of `os` and of SQLite.

Points: `write`, `fsync`, `rename`, `unlink` (files), `commit` (the journal), each also with `-after`.

In runs of two workers `POINT:N:beside` dies while the worker in a process of its own is at work, and `POINT:N:worker`
counts the calls of that worker instead, and ends its whole process group with it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

POINTS = ("write", "fsync", "rename", "unlink", "commit")
_OF_WORKER: Final = "FAULT_POINT_OF_WORKER"


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
    """End like a process whose machine lost its power, or nearly so: nothing is flushed or tidied up."""
    if _OF_WORKER in os.environ:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(call: Callable[..., Any], point: Point, *, after: bool) -> Callable[..., Any]:
    """`call`, but for the one time that it is, or was, the last thing done."""

    def replacement(*arguments: Any, **named: Any) -> Any:
        is_now = point.is_now()
        if is_now and not after:
            die()
        result = call(*arguments, **named)
        if is_now:
            die()
        return result

    return replacement


def arm(name: str, at: int) -> None:
    """Replace the calls of `os`, or those of SQLite's connections."""
    kind, _, after = name.partition("-")
    point, is_after = Point(at), bool(after)
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


def be_worker() -> None:
    """Be a worker process, with the point that is meant for it."""
    name, at = os.environ[_OF_WORKER].split(":")
    arm(name, int(at))
    from bulkdl.fetch.worker_main import main as child_main  # noqa: PLC0415 - after the calls were replaced

    child_main()


def be_command_with_worker() -> int:
    """Be the command; its worker in another process begins first, and is `be_worker` where a point is meant for it."""
    from bulkdl.__main__ import main as bulkdl_main  # noqa: PLC0415 - after the calls were replaced
    from bulkdl.fetch import worker_process  # noqa: PLC0415 - the same
    from tests.support.worker_first import worker_first  # noqa: PLC0415 - the same

    if _OF_WORKER in os.environ:
        start_process = worker_process.start_process
        setattr(worker_process, "start_process", lambda _: start_process("tests.support.fault_points"))  # noqa: B010 - typed
    with worker_first():
        return bulkdl_main()


def main() -> None:
    if len(sys.argv) == 1:
        be_worker()
        return
    name, at, *where = sys.argv.pop(1).split(":")
    if where == ["worker"]:
        os.environ[_OF_WORKER] = f"{name}:{at}"
    else:
        arm(name, int(at))
    if where:
        sys.exit(be_command_with_worker())
    from bulkdl.__main__ import main as bulkdl_main  # noqa: PLC0415 - after the calls were replaced

    sys.exit(bulkdl_main())


if __name__ == "__main__":
    main()
