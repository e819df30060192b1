"""Find the steps of an event loop that block: asyncio's debug mode, with limits that a busy machine does not move.

asyncio's debug mode reports each step of a task, from one `await` to the next, that took longer than
`slow_callback_duration` by the clock. On a busy machine that is mostly time in which the thread, or the thread or
process it waits for, was not running on a core. So a step is judged by two figures instead:

- What it computed: the CPU time of the loop's thread, without garbage collection, which depends on the size of the
  whole test run. This figure does not depend on other processes.
- What it waited for (files, locks, other threads): the time by the clock, without its CPU time and without the time in
  which it was ready to run (`schedstat` of `proc(5)`). It counts only if no process of the machine waited for a core
  during the step (`/proc/pressure/cpu`). So a wait may be missed on a busy machine and is found on a quiet one.

Both are measured on Linux; elsewhere CPU time alone. Steps of tasks that tests start themselves are not judged.

This proves that no step of bulkdl computed longer than the limit in these tests, on their small corpora, and that none
was seen to wait longer. Loops of other processes and uvloop's are not watched.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import threading
import time
from asyncio import constants
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

LIMIT_SECONDS: Final = 0.2  # twice what a quiet machine needs: threads that share a core take CPU time from each other
setattr(constants, "DEBUG_STACK_DEPTH", 0)  # noqa: B010 - Final; ten frames noted for each step cost more than most steps
_NOTE_SECONDS: Final = 0.002  # between moments, of which each costs as much as a short step
_SAMPLE_SECONDS: Final = 0.02  # between readings of `/proc`, which cost more than most steps
_PRESSURE_SECONDS: Final = 0.005  # of other processes waiting for a core, above which a wait is not judged
_FILE_OF_TASK: Final = re.compile(r"coro=<.*? at (.*?):\d+>")
_TESTS: Final = str(Path(__file__).parents[1])


class _Garbage:
    """Seconds that garbage collection took so far."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = 0.0
        gc.callbacks.append(self._note)

    def _note(self, phase: str, _info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.seconds += time.thread_time() - self._began


_garbage = _Garbage()


class _Moment(NamedTuple):
    """Seconds so far: by the clock, of CPU time, ready without a core, and of all processes waiting for a core."""

    clock: float
    computed: float
    ready: float
    pressure: float

    def since(self, earlier: _Moment) -> _Moment:
        return _Moment(
            self.clock - earlier.clock,
            self.computed - earlier.computed,
            self.ready - earlier.ready,
            self.pressure - earlier.pressure,
        )

    @property
    def waited(self) -> float:
        return self.clock - self.computed - self.ready if self.pressure <= _PRESSURE_SECONDS else 0.0


class WatchedLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop in debug mode. `blocked` names the steps that took too long."""

    def __init__(self) -> None:
        self.blocked: list[str] = []
        self._moments: deque[_Moment] = deque(maxlen=10_000)
        self._noted_at = self._sampled_at = self._without_core = self._machine_waited = 0.0
        self._schedule: int | None = None  # of the thread that it runs in
        self._thread = threading.get_ident()
        super().__init__()
        self.set_debug(True)
        self.slow_callback_duration = LIMIT_SECONDS

    def get_debug(self) -> bool:
        """Say no to futures and tasks, which would note the whole stack that made them: half the time of a test."""
        return False

    def _check_callback(self, callback: object, method: str) -> None:
        """Refuse what cannot be called, as asyncio in debug mode, but do not ask whether it is a coroutine function.

        To ask takes a quarter of the time of a short step. pytest reports a coroutine that nothing awaits.
        """
        if not callable(callback):
            raise TypeError(f"{method}() of {callback!r}, which cannot be called")

    def run_forever(self) -> None:
        self._moments.clear()
        self._noted_at = 0.0
        self._thread = threading.get_ident()
        self._schedule = _opened("/proc/thread-self/schedstat")
        handler = _SlowSteps(self)
        logging.getLogger("asyncio").addHandler(handler)
        try:
            super().run_forever()
        finally:
            logging.getLogger("asyncio").removeHandler(handler)
            if self._schedule is not None:
                os.close(self._schedule)

    def time(self) -> float:
        """See asyncio. In debug mode the loop asks before and after each step, among other times.

        So do its threads that look for addresses, whose CPU time says nothing about a step.
        """
        now = time.monotonic()
        if now - self._noted_at > _NOTE_SECONDS and threading.get_ident() == self._thread:
            self._note(now)
        return now

    def _note(self, now: float) -> None:
        self._noted_at = now
        if now - self._sampled_at > _SAMPLE_SECONDS:
            self._sample(now)
        computed = time.thread_time() - _garbage.seconds
        self._moments.append(_Moment(now, computed, self._without_core, self._machine_waited))

    def _sample(self, now: float) -> None:
        self._sampled_at = now
        self._without_core = _ready_seconds(self._schedule)
        self._machine_waited = _pressure_seconds()

    def judge(self, step: str, seconds: float) -> None:
        """Asyncio reports that `step`, which has just ended, took `seconds`."""
        end = self._moments[-1]
        began = next((one for one in reversed(self._moments) if one.clock <= end.clock - seconds + 1e-9), end)
        self._sample(end.clock)
        took = end._replace(ready=self._without_core, pressure=self._machine_waited).since(began)
        found = _FILE_OF_TASK.search(step)
        is_of_a_test = found is not None and found[1].startswith(_TESTS)
        if max(took.computed, took.waited) >= LIMIT_SECONDS and not is_of_a_test:
            self.blocked.append(f"{took.computed:.3f} s computed, {took.waited:.3f} s waited: {step}")


def _opened(path: str) -> int | None:
    """A file of `/proc`, kept open: to open it takes longer than to read it. None where there is no such file."""
    with suppress(OSError):
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.pread(file, 1, 0)  # a kernel without pressure figures may have the file, and not let it be read
        return file
    return None


_PRESSURE: Final = _opened("/proc/pressure/cpu")


def _ready_seconds(schedule: int | None) -> float:
    return 0.0 if schedule is None else int(os.pread(schedule, 100, 0).split()[1]) / 1e9


def _pressure_seconds() -> float:
    if _PRESSURE is None:
        return float("inf")
    return int(os.pread(_PRESSURE, 200, 0).partition(b"total=")[2].split()[0]) / 1e6


class _SlowSteps(logging.Handler):
    def __init__(self, loop: WatchedLoop) -> None:
        super().__init__()
        self._loop = loop

    def emit(self, record: logging.LogRecord) -> None:
        match record.args:
            case (str(step), float(seconds)) if "took" in record.msg and asyncio.get_running_loop() is self._loop:
                self._loop.judge(step, seconds)
