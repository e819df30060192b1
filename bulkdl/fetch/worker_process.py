"""A worker in another process, seen from its parent, and the messages between them. `worker_main` is its program.

The parent sends `Signal.PREPARE` and `WorkerSettings` first, then `SeriesWork`, and `Share` and `Signal` at any time.
The process sends `Batch` after `Batch`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias

from bulkdl.errors import BulkdlError
from bulkdl.fetch.shares import Share
from bulkdl.fetch.worker import GiveBack, Traffic, WorkerSettings
from bulkdl.model.events import Event, Noted, RunContext
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.runtime.forked_process import ForkedProcess, take_forked
from bulkdl.runtime.processes import packed, receive, start_process
from bulkdl.runtime.tally import Tally
from bulkdl.runtime.tasks import first_set, running_alongside

# Items of work that a worker has but did not begin: enough that it never waits for its parent, and no more, because at
# the end of a run they would keep one worker busy after all others have finished.
_AHEAD: Final = 1
# A worker sends a batch every second. One that is silent for `give_up_after`, but not sooner and not later than this,
# was stopped or hangs.
_SILENT_SECONDS: Final = (5, 60)


DeliverGroup: TypeAlias = Callable[[Sequence[InstanceOutcome]], Awaitable[None]]
"""What takes the outcomes of several instances."""


class Signal(Enum):
    """What the parent tells a process. After the last work it ends when all is done."""

    PREPARE = 0  # for work that may come
    NO_MORE_WORK = 1
    STOP = 2  # take no more work


@dataclass(frozen=True, slots=True)
class Batch:
    """The outcomes and events since the last batch, and how many items of work were `begun` since.

    `given_back` are the instances that are still owed, by Series, because other Series come first. Nothing follows the
    last batch. Its `error` is one that must stop the run.
    """

    outcomes: tuple[InstanceOutcome, ...]
    events: tuple[Event, ...]
    given_back: tuple[tuple[SeriesUid, int], ...]
    traffic: Traffic
    begun: int
    is_last: bool = False
    error: BulkdlError | None = None


class WorkerProcess:
    """A worker process, which prepares itself and waits for `assign`. `traffic` is the latest that it reported."""

    def __init__(self, context: RunContext, *, give_back: GiveBack) -> None:
        self.traffic = Traffic()
        self._settings: WorkerSettings | None = None
        self._share: Share | None = None
        self._has_settings = False
        self._assigned = asyncio.Event()
        self._sink = context.sink
        self._stop = context.stop
        self._give_back = give_back
        self._process: ForkedProcess | asyncio.subprocess.Process | None = None
        self._given = Tally[SeriesUid]()  # instances that are not delivered, by Series
        self._ahead = asyncio.Semaphore(_AHEAD)
        self._silent_seconds = 0
        self._end = "died"

    def assign(self, settings: WorkerSettings | None) -> None:
        """Let it begin to work; without `settings`, let it end."""
        self._settings = settings
        self._assigned.set()

    def share(self, share: Share) -> None:
        """Use no more than `share` from now on."""
        self._share = share
        if self._has_settings:
            self._send(share)

    async def start(self) -> ForkedProcess | asyncio.subprocess.Process:
        """Start the process, as `runtime.processes` does, unless it runs, and let it prepare itself. `run` ends it."""
        if self._process is None:
            self._process = await take_forked() or await start_process("bulkdl.fetch.worker_main")
            self._send(Signal.PREPARE)
        return self._process

    async def run(self, items: AsyncIterator[SeriesWork], deliver: DeliverGroup) -> None:
        """After `assign`, send it `items` and deliver its outcomes; give back what a dying process did not deliver.

        Raises:
            BulkdlError: the worker met an error that must stop the run.
        """
        process = await self.start()
        try:
            await first_set(self._assigned, self._stop)
            if self._settings is None:
                return
            self._send(replace(self._settings, share=self._share or self._settings.share))
            self._has_settings = True
            # A process that has died gets no more items: the other workers need them.
            limit_seconds = self._settings.fetch.give_up_after_seconds
            async with (
                running_alongside(self._send_stop()),
                running_alongside(self._feed(items)),
                running_alongside(self._end_silent(process, limit_seconds)),
            ):
                await self._listen(process, deliver)
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # the worker has finished, or has to be stopped
            await process.wait()
            for series_uid, instances in self._given.items():
                self._give_back(series_uid, instances)

    async def _send_stop(self) -> None:
        await self._stop.wait()
        self._send(Signal.STOP)

    async def _feed(self, items: AsyncIterator[SeriesWork]) -> None:
        await self._ahead.acquire()
        async for work in items:
            self._given[work.series_uid] += len(work.entries)
            self._send(work)
            await self._ahead.acquire()  # before the next is taken: another worker may be idle
        self._send(Signal.NO_MORE_WORK)

    async def _end_silent(self, process: ForkedProcess | asyncio.subprocess.Process, limit_seconds: float) -> None:
        """End a process that sends nothing. Seconds count while this process runs, and not while it is stopped."""
        shortest, longest = _SILENT_SECONDS
        while self._silent_seconds < max(shortest, min(longest, limit_seconds)):
            await asyncio.sleep(1)
            self._silent_seconds += 1
        self._end = f"did not answer for {self._silent_seconds} s and was ended"
        with suppress(ProcessLookupError):
            process.kill()

    async def _listen(self, process: ForkedProcess | asyncio.subprocess.Process, deliver: DeliverGroup) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        while (message := await receive(process.stdout)) is not None:
            batch: Batch = message
            self._silent_seconds = 0
            self.traffic = batch.traffic
            for event in batch.events:
                self._sink(event)
            if batch.outcomes:
                for series_uid, instances in Counter(outcome.series_uid for outcome in batch.outcomes).items():
                    self._given.take(series_uid, instances)
                await deliver(batch.outcomes)
            for series_uid, instances in batch.given_back:
                self._given.take(series_uid, instances)
                self._give_back(series_uid, instances)
            for _ in range(batch.begun):
                self._ahead.release()
            if batch.error is not None:
                raise batch.error
            if batch.is_last:
                return
        if self._given and not self._stop.is_set():
            self._sink(
                Noted(f"a worker process {self._end} (status {await process.wait()}); other workers do its work")
            )

    def _send(self, message: object) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.is_closing():
            return
        process.stdin.write(packed(message))
