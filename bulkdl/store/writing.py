"""Small instances onto the disk: each written, synced and renamed, each folder synced, with as few trips as can be.

Where the disk does all that in less time than a trip to a thread and back takes, it is done on the spot: threads would
only fight over the interpreter lock. Where it does not, many instances share one trip, and each folder is synced once
for all of them: what waits while a thread is at work is taken along by its next turn, and more threads join where a
queue builds up, to sync side by side. Which of the two a disk is, the writer finds out by trying.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkdl.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from bulkdl.store.files import MirrorFiles

_MOST_THREADS: Final = 8
_QUEUE_PER_THREAD: Final = 4  # waiting instances for each thread at work, above which one more joins
_MOST_AT_ONCE: Final = 16  # instances that wait for one another

_QUICK_SECONDS: Final = 500e-6  # for an instance with all its syncs: what a trip to a thread costs a busy process
_QUICK_BYTES_PER_SECOND: Final = 1e9  # and its bytes may take their time
_SECONDS_TO_LOSE: Final = 0.02  # on the spot, beyond what a quick disk takes, until the disk is taken for slow
_ON_TRIAL: Final = 0.015  # of these are lost already when a slow disk is tried again
_NEXT_TRIAL: Final = 256  # instances later; twice as many after each that did not pay


class DiskPace:
    """Whether instances are better written on the spot than by a thread: what the disk took so far decides."""

    def __init__(self) -> None:
        self.is_quick = True
        self._lost = 0.0
        self._next_trial = _NEXT_TRIAL
        self._until_trial = 0

    def took(self, seconds: float, size_bytes: int) -> None:
        """An instance was written on the spot. A pause that other threads are to blame for evens out over many."""
        quick = _QUICK_SECONDS + size_bytes / _QUICK_BYTES_PER_SECOND
        self._lost = max(0.0, self._lost + seconds - quick)
        if self._lost > _SECONDS_TO_LOSE:
            self.is_quick = False
            self._until_trial = self._next_trial
            self._next_trial *= 2
        elif not self._lost:
            self._next_trial = _NEXT_TRIAL

    def went_to_thread(self) -> None:
        """An instance was given to a thread: after so many of them the disk is tried again."""
        self._until_trial -= 1
        if not self.is_quick and self._until_trial <= 0:
            self.is_quick, self._lost = True, _ON_TRIAL


@dataclass(slots=True)
class _Job:
    name: str
    content: bytes
    relative: str | None
    written: asyncio.Future[int]
    mtime_ns: int = 0
    error: Exception | None = None


class GroupWriter:
    """Writes instances into one mirror. Belongs to one event loop; `executor` takes the blocking calls."""

    def __init__(self, files: MirrorFiles, executor: Executor) -> None:
        self._files = files
        self._executor = executor
        self._waiting: deque[_Job] = deque()
        self._threads = 0
        self._pace = DiskPace()

    def write(self, name: str, content: bytes, relative: str | None) -> asyncio.Future[int]:
        """Write the partial file `name`, sync it, and give it its place `relative`; None leaves it a partial file.

        When the future is done, a power cut cannot take the instance away: its folder is synced too. It gives the
        file's mtime in nanoseconds, 0 for a partial file, or a DiskError: the instance cannot be written, and if it was
        renamed by then it will be adopted. A caller that is cancelled takes nothing from the others.
        """
        loop = asyncio.get_running_loop()
        job = _Job(name, content, relative, loop.create_future())
        if self._is_done_here():
            started = time.perf_counter()
            self._carry_out([job])
            self._pace.took(time.perf_counter() - started, len(content))
            _settle([job])
        else:
            self._pace.went_to_thread()
            self._waiting.append(job)
            self._call_threads(loop)
        return job.written

    async def commit(self, ready: Sequence[tuple[Path, str]]) -> list[int]:
        """Give partial files of one folder, written and synced, their places; their mtimes in nanoseconds.

        When it returns, a power cut cannot take them away.

        Raises:
            DiskError: the mirror cannot be written; what was renamed by then will be adopted.
        """
        if self._is_done_here():
            return self._commit(ready)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._commit, ready)

    def _commit(self, ready: Sequence[tuple[Path, str]]) -> list[int]:
        folder = ready[0][1].rpartition("/")[0]
        self._files.ensure_folder(folder)
        mtimes_ns = [self._files.commit(partial, relative) for partial, relative in ready]
        self._files.sync_folder(folder)
        return mtimes_ns

    def _is_done_here(self) -> bool:
        return self._pace.is_quick and not self._threads and not self._waiting

    def _call_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted = min(_MOST_THREADS, -(-len(self._waiting) // _QUEUE_PER_THREAD))
        if self._threads < wanted:
            self._threads += 1
            self._executor.submit(self._work_off, loop)

    def _work_off(self, loop: asyncio.AbstractEventLoop) -> None:
        while jobs := list(self._next()):
            self._carry_out(jobs)
            loop.call_soon_threadsafe(_settle, jobs)
        loop.call_soon_threadsafe(self._thread_ended, loop)

    def _next(self) -> Iterator[_Job]:
        for _ in range(_MOST_AT_ONCE):
            try:
                yield self._waiting.popleft()
            except IndexError:
                return

    def _thread_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        self._threads -= 1
        self._call_threads(loop)  # for what came after its last look

    def _carry_out(self, jobs: Sequence[_Job]) -> None:
        """Do all of `jobs`; one that fails fails alone, but for a folder, whose jobs fail together."""
        folders: dict[str, list[_Job]] = {}
        for job in jobs:
            try:
                partial = self._files.write_partial(job.name, job.content)
                if job.relative is not None:
                    folder = job.relative.rpartition("/")[0]
                    self._files.ensure_folder(folder)
                    job.mtime_ns = self._files.commit(partial, job.relative)
                    folders.setdefault(folder, []).append(job)
            except Exception as error:  # noqa: BLE001 - whoever waits is told, whatever it is
                job.error = error
        for folder, renamed in folders.items():
            try:
                self._files.sync_folder(folder)
            except DiskError as error:
                for job in renamed:
                    job.error = error


def _settle(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        if job.written.done():
            continue  # cancelled
        if job.error is not None:
            job.written.set_exception(job.error)
        else:
            job.written.set_result(job.mtime_ns)
