"""One command, measured: wall clock, CPU and memory of all its processes, and what it asked of the archive."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.benchmarks.archive import Archive

_LONGEST_SECONDS: Final = 300.0
_EVERY_SECONDS: Final = 0.05
_CLOSED_BY_CLIENT: Final = 499  # in the log of nginx


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one command. Seconds and bytes.

    `first_request_seconds` is from the start to the first request, `first_seconds` to the first object requested,
    `last_seconds` to the moment at which the last file `*.dcm` was in its place. `sent_bytes` are those of the bodies
    of all objects.
    """

    seconds: float
    user_seconds: float
    system_seconds: float
    peak_bytes: int
    requests: int
    refused: int
    status: int
    first_seconds: float | None = None
    first_request_seconds: float | None = None
    last_seconds: float | None = None
    sent_bytes: int = 0


def run(command: Sequence[str], archive: Archive, *, inside: Sequence[str] = (), out: Path | None = None) -> Run:
    """Run `command`, which writes to `out`, to its end, or kill it after five minutes; its words go nowhere."""
    mark, started_at, started = archive.mark(), time.time(), time.perf_counter()
    # As it is where it was installed: Python keeps what it compiled.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        [*inside, *command], stdin=subprocess.DEVNULL, stdout=-3, stderr=-3, env=environment, start_new_session=True
    )
    peak, ended = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, ended))
    watcher.start()
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        _kill(process.pid)
        raise
    finally:
        seconds = time.perf_counter() - started
        ended.set()
        watcher.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    asked = archive.since(mark)
    objects = [one for one in asked if one.is_object]
    placed = max((path.stat().st_ctime for path in out.rglob("*.dcm")), default=None) if out is not None else None
    return Run(
        seconds=seconds,
        user_seconds=used.ru_utime,
        system_seconds=used.ru_stime,
        peak_bytes=peak[0] or used.ru_maxrss * 1024,
        requests=len(asked),
        refused=sum(one.status >= 400 and one.status != _CLOSED_BY_CLIENT for one in asked),
        status=process.returncode,
        first_seconds=min(one.at for one in objects) - started_at if objects else None,
        first_request_seconds=min(one.at for one in asked) - started_at if asked else None,
        last_seconds=placed - started_at if placed is not None else None,
        sent_bytes=sum(one.size_bytes for one in objects),
    )


def _watch(pid: int, peak: list[int], ended: threading.Event) -> None:
    until = time.monotonic() + _LONGEST_SECONDS
    while not ended.wait(_EVERY_SECONDS):
        total = 0
        with suppress(psutil.Error):
            root = psutil.Process(pid)
            for member in (root, *root.children(recursive=True)):
                with suppress(psutil.Error):
                    total += member.memory_info().rss
        peak[0] = max(peak[0], total)
        if time.monotonic() > until:
            _kill(pid)
            return


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
