"""Commit many small instances in groups, with few hand-overs to threads.

On a quick disk a commit takes less time than a hand-over to a thread and back, so it runs on the event loop. On a slow
disk a thread takes all jobs that arrived during its last group and syncs each folder once for all of them; more threads
start when the queue grows. The writer finds out by measuring which of the two the disk is.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, TypeAlias

from bulkdl.runtime.load import times_waited
from bulkdl.store.commit import CommitJob, commit
from bulkdl.store.files import MirrorFiles

_MOST_THREADS: Final = 8
_QUEUE_PER_THREAD: Final = 4  # waiting instances for each active thread, above which one more starts
_MOST_AT_ONCE: Final = 16  # instances of one group

_QUICK_SECONDS: Final = 500e-6  # for an instance with all its syncs: the cost of a hand-over in a busy process
_QUICK_BYTES_PER_SECOND: Final = 1e9  # added for its bytes
_SECONDS_TO_LOSE: Final = 0.02  # on the loop, above the time of a quick disk, until the disk counts as slow
_ON_TRIAL: Final = 0.015  # of these count as lost when a slow disk is tried again
_NEXT_TRIAL: Final = 256  # instances until a slow disk is tried again; doubled after each failed trial


class DiskPace:
    """Whether instances are committed on the event loop or by a thread, decided by what the disk took so far."""

    def __init__(self) -> None:
        self.is_quick = True
        self._lost = 0.0
        self._next_trial = _NEXT_TRIAL
        self._until_trial = 0

    def took(self, seconds: float, size_bytes: int, *, has_waited: bool = True) -> None:
        """Account for an instance that was committed on the loop. Pauses caused by other threads even out over many.

        Without `has_waited` it took so long because another process used the core, not because of the disk.
        """
        quick = _QUICK_SECONDS + size_bytes / _QUICK_BYTES_PER_SECOND
        self._lost = max(0.0, self._lost + (seconds if has_waited else 0.0) - quick)
        if self._lost > _SECONDS_TO_LOSE:
            self.is_quick = False
            self._until_trial = self._next_trial
            self._next_trial *= 2
        elif not self._lost:
            self._next_trial = _NEXT_TRIAL

    def went_to_thread(self) -> None:
        """Account for an instance that was given to a thread: after a number of them the disk is tried again."""
        self._until_trial -= 1
        if not self.is_quick and self._until_trial <= 0:
            self.is_quick, self._lost = True, _ON_TRIAL


_Waiting: TypeAlias = tuple[CommitJob, asyncio.Future[int]]


class GroupWriter:
    """Commits instances to one mirror in groups. Belongs to one event loop; `executor` takes the blocking calls.

    The error of an instance that cannot be written is a DiskError; if it was renamed by then, a later run adopts it.
    """

    def __init__(self, files: MirrorFiles, executor: Executor, *, pace: DiskPace | None = None) -> None:
        self._files = files
        self._executor = executor
        self._waiting: deque[_Waiting] = deque()
        self._threads = 0
        self._pace = pace or DiskPace()

    def write(self, name: str, content: bytes | None, path: str | None) -> asyncio.Future[int]:
        """Write the partial file `name`, sync it, and commit it at `path`; None leaves it a partial file.

        `content` is None if it is written and synced already. The result is the file's mtime in nanoseconds, 0 for a
        partial file. When the future is done, a power cut cannot take the instance away.
        """
        return self._submit(CommitJob(path, name, content))

    def adopt(self, path: str) -> asyncio.Future[int]:
        """Commit a file that lies at `path` already, as `write` does: its folder is synced."""
        return self._submit(CommitJob(path))

    async def commit(self, ready: Sequence[tuple[str, str]]) -> list[int]:
        """Commit synced partial files by name, each at its path, as `write` does; their mtimes in nanoseconds."""
        jobs = [CommitJob(path, partial) for partial, path in ready]
        if self._is_done_here():
            commit(self._files, jobs)
        else:
            await asyncio.get_running_loop().run_in_executor(self._executor, commit, self._files, jobs)
        for job in jobs:
            if job.error is not None:
                raise job.error
        return [job.mtime_ns for job in jobs]

    def _submit(self, job: CommitJob) -> asyncio.Future[int]:
        loop = asyncio.get_running_loop()
        waiting = (job, loop.create_future())
        if self._is_done_here():
            started, waited = time.perf_counter(), times_waited()
            commit(self._files, [job])
            seconds, has_waited = time.perf_counter() - started, times_waited() != waited
            self._pace.took(seconds, len(job.content or b""), has_waited=has_waited)
            _settle([waiting])
        else:
            self._pace.went_to_thread()
            self._waiting.append(waiting)
            self._call_threads(loop)
        return waiting[1]

    def _is_done_here(self) -> bool:
        return self._pace.is_quick and not self._threads and not self._waiting

    def _call_threads(self, loop: asyncio.AbstractEventLoop) -> None:
        wanted = min(_MOST_THREADS, -(-len(self._waiting) // _QUEUE_PER_THREAD))
        if self._threads < wanted:
            self._threads += 1
            self._executor.submit(self._work_off, loop)

    def _work_off(self, loop: asyncio.AbstractEventLoop) -> None:
        while group := self._next():
            commit(self._files, [job for job, _ in group])
            loop.call_soon_threadsafe(_settle, group)
        loop.call_soon_threadsafe(self._thread_ended, loop)

    def _next(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        with suppress(IndexError):
            while len(group) < _MOST_AT_ONCE:
                group.append(self._waiting.popleft())
        return group

    def _thread_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        self._threads -= 1
        self._call_threads(loop)  # for jobs that arrived after its last look


def _settle(group: Sequence[_Waiting]) -> None:
    for job, future in group:
        if future.done():
            continue  # cancelled
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.mtime_ns)
