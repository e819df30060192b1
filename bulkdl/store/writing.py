"""Many small instances in one trip to a thread: each written, synced and renamed, each folder synced once.

For a small instance the way to a thread and back costs more than its bytes. What waits while a thread is at work is
taken along by its next turn; more threads join only where a queue builds up, which is where the disk is slow: there
they sync side by side, while on a fast disk one of them does it all and leaves the interpreter to the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bulkdl.errors import DiskError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor

    from bulkdl.store.files import MirrorFiles

_MOST_THREADS: Final = 8
_QUEUE_PER_THREAD: Final = 4  # waiting instances for each thread at work, above which one more joins
_MOST_AT_ONCE: Final = 16  # instances that wait for one another


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

    def write(self, name: str, content: bytes, relative: str | None) -> asyncio.Future[int]:
        """Write the partial file `name`, sync it, and give it its place `relative`; None leaves it a partial file.

        When the future is done, a power cut cannot take the instance away: its folder is synced too. It gives the
        file's mtime in nanoseconds, 0 for a partial file, or a DiskError: the instance cannot be written, and if it was
        renamed by then it will be adopted. A caller that is cancelled takes nothing from the others.
        """
        loop = asyncio.get_running_loop()
        job = _Job(name, content, relative, loop.create_future())
        self._waiting.append(job)
        self._call_threads(loop)
        return job.written

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
