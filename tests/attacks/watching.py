"""Run `bulkdl` under attack in separate processes, watched from outside.

Memory is that of the whole process tree, read from `/proc`: the largest sum of resident sets that was seen, or the
kernel's own peak of one process, whichever is larger. Time is that in which the command, and the test that answers it,
did not wait for a core (`Cores`): a busy machine makes nothing late. A command that takes more time or memory than it
may is killed together with all its processes; `Ended.stopped` says why, and `assert_orderly` fails.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.commands import AsyncProcess, async_process_of, environment
from tests.support.cores import Cores
from tests.support.processes import tree

MORE_BYTES = 300_000_000  # than an honest run takes
DEADLINE_SECONDS = 25.0
INTERRUPTED_SECONDS = 3.0  # after Ctrl-C, the contract
HONEST_SECONDS = 0.3  # what an honest run takes here; on a slower machine all deadlines are longer
_MOST_STRETCH = 4.0
_LOOK_SECONDS = 0.05
_NEVER_SAID = ("Traceback (most recent call last)", "internal error")

Look = Callable[[], bool]  # called again and again while a command runs; True kills it


@dataclass(frozen=True)
class Ended:
    """A command that has ended, after so many `seconds` with a core.

    `stopped` is why it was killed: "time", "memory", "look", or None.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int
    stopped: str | None

    def document(self) -> dict[str, Any]:
        """The one JSON document on standard output."""
        parsed: dict[str, Any] = json.loads(self.out)
        return parsed

    def failures(self) -> list[tuple[str | None, str | None, str]]:
        """Series, instance and code of each failure in the document, sorted."""
        found = [(one.get("series"), one.get("instance"), one["error"]) for one in self.document()["failures"]]
        return sorted(found, key=str)

    def said(self) -> str:
        """Everything that it said."""
        return self.out + self.err


def assert_orderly(ended: Ended, *codes: int) -> None:
    """The command ended by itself, within its limits, in words, and with one of these exit codes (if any are given)."""
    assert ended.stopped is None, f"killed for {ended.stopped}: {ended.seconds:.1f} s, {ended.peak_bytes:,} bytes"
    for words in _NEVER_SAID:
        assert words not in ended.said(), ended.said()[-2000:]
    if codes:
        assert ended.code in codes, f"exit {ended.code}: {ended.said()[-2000:]}"


@dataclass
class Running:
    """A command under way."""

    process: AsyncProcess
    started: float
    most_bytes: int
    looks: Sequence[Look] = ()
    stretch: float = 1.0
    peak_bytes: int = 0
    stopped: str | None = None
    cores: Cores = field(init=False)
    output: asyncio.Task[tuple[bytes, bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.cores = Cores(self.process.pid)
        self.started -= self.cores.seconds_without()
        self.output = asyncio.create_task(self.process.communicate())

    def interrupt(self) -> None:
        """Press Ctrl-C in its terminal: every process of its group gets the signal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill every process of its session."""
        for pid in {self.process.pid, *tree(self.process.pid)}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def _now(self) -> float:
        return time.monotonic() - self.cores.seconds_without()

    async def ended(self, *, within: float) -> Ended:
        """Watch it to its end, and kill it where it takes more than it may."""
        deadline = self._now() + within * self.stretch
        while self.process.returncode is None and not self.output.done():
            self.peak_bytes = max(self.peak_bytes, resident_bytes(self.process.pid))
            if self.peak_bytes > self.most_bytes:
                self.stopped = "memory"
            elif any(look() for look in self.looks):
                self.stopped = "look"
            elif self._now() > deadline:
                self.stopped = "time"
            if self.stopped is not None:
                self.kill()
                break
            await asyncio.wait({self.output}, timeout=_LOOK_SECONDS)
        out, err = await self.output
        seconds = self._now() - self.started
        code = self.process.returncode or 0
        return Ended(code, out.decode(), err.decode(), seconds, self.peak_bytes, self.stopped)


@dataclass(frozen=True)
class Watcher:
    """Runs commands with this cache folder; none may take more memory than `most_bytes`.

    `honest` is what a run from an honest archive took; a slow machine is given more time.
    """

    cache: Path
    most_bytes: int
    honest: Ended | None = None

    @property
    def stretch(self) -> float:
        """By how much deadlines are longer than on a quick machine."""
        seconds = HONEST_SECONDS if self.honest is None else self.honest.seconds
        return min(_MOST_STRETCH, max(1.0, seconds / HONEST_SECONDS))

    def soon(self) -> float:
        """Three seconds after Ctrl-C, and what a process takes to end; hardly stretched: that would hide much."""
        return (INTERRUPTED_SECONDS + min(self.stretch, 1.5)) / self.stretch

    @asynccontextmanager
    async def start(
        self,
        *arguments: str | Path,
        command: Sequence[str] = (),
        cwd: Path | None = None,
        more: Mapping[str, str] | None = None,
        looks: Sequence[Look] = (),
        honest_processes: int = 1,
    ) -> AsyncIterator[Running]:
        """Start a command; it does not outlive the block. Each of its `honest_processes` may take honest memory.

        One with a `command` or `cwd` is started by a new Python, others as `async_process_of` does.
        """
        environment_of_command = {**environment(self.cache), **(more or {})}
        process = await async_process_of(arguments, environment_of_command, command=command, cwd=cwd)
        allowed = self.most_bytes + (honest_processes - 1) * (self.most_bytes - MORE_BYTES)
        running = Running(process, time.monotonic(), allowed, looks, self.stretch)
        try:
            yield running
        finally:
            running.kill()
            await running.output

    async def run(self, *arguments: str | Path, within: float = DEADLINE_SECONDS, **options: Any) -> Ended:
        """Run a command to its end; `options` are those of `start`."""
        async with self.start(*arguments, **options) as running:
            return await running.ended(within=within)


def resident_bytes(pid: int) -> int:
    """What the process and its descendants hold in memory, or the most that one of them ever held, if that is more."""
    now = most = 0
    for one in tree(pid):
        with suppress(OSError, IndexError, ValueError):
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith("Vm")}
            now += sizes.get("VmRSS", 0)
            most = max(most, sizes.get("VmHWM", 0))
    return max(now, most)


def bytes_below(folder: Path) -> int:
    """The size of all files below a folder, hidden ones included, as they take room on the disk."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(path) / name).lstat().st_blocks * 512
    return total
