"""The program of a worker process: one worker between two pipes. `worker_process` starts it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from itertools import count
from typing import Final

from bulkdl.archive.connect import connect
from bulkdl.archive.transports import import_transport
from bulkdl.dicom.pydicom_warnings import suppressed_pydicom_warnings
from bulkdl.dicom.validation import load_pydicom
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.errors import BulkdlError
from bulkdl.fetch.shares import Share
from bulkdl.fetch.threads import Threads
from bulkdl.fetch.worker import Traffic, Worker, WorkerSettings, make_retrier
from bulkdl.fetch.worker_process import Batch, Signal
from bulkdl.model.access import Access
from bulkdl.model.events import Event, Noted, RunContext
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, SeriesWork
from bulkdl.runtime.disk import shortage_errors
from bulkdl.runtime.garbage import collect_less_often
from bulkdl.runtime.processes import PIPE_BYTES, packed, receive, tune_process
from bulkdl.runtime.tasks import running_alongside

_TICK_SECONDS: Final = 0.05
_TICKS_OF_SILENCE: Final = 5  # then a batch is sent although it is empty: the parent shows what arrives here


class WorkerMain:
    """A worker that takes its work from the standard input, and writes batches to the standard output."""

    def __init__(self) -> None:
        self._work: asyncio.Queue[SeriesWork | None] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._outcomes: list[InstanceOutcome] = []
        self._events: list[Event] = []
        self._worker: Worker | None = None
        self._latest_share: Share | None = None
        self._begun = 0
        self._given_back: list[tuple[SeriesUid, int]] = []

    async def run(self) -> None:
        """Process work until the parent closes the queue, then send the last batch."""
        self._commands = asyncio.StreamReader(limit=PIPE_BYTES)
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._commands), sys.stdin.buffer)
        if await receive(self._commands) is None:  # Signal.PREPARE
            return
        load_pydicom()
        settings: WorkerSettings | None = await receive(self._commands)
        if settings is None:
            return
        error: BulkdlError | None = None
        try:
            with shortage_errors():
                async with running_alongside(self._receive()), running_alongside(self._report()):
                    await self._do_work(settings, RunContext(settings.fetch, self._events.append, self._stop))
        except BulkdlError as raised:
            error = raised
        self._send(is_last=True, error=error)

    async def _do_work(self, settings: WorkerSettings, context: RunContext) -> None:
        retrier = make_retrier(settings, context)
        note = lambda text: context.sink(Noted(text))  # noqa: E731 - one line, used once
        with Threads() as threads:
            async with connect(settings.profile, retrier, access=settings.access, note=note) as archive:
                self._worker = Worker(settings, archive, threads)
                if self._latest_share is not None:
                    self._worker.share(self._latest_share)
                await self._worker.run(self._items(), self._deliver, give_back=self._give_back)

    async def _items(self) -> AsyncIterator[SeriesWork]:
        while not self._stop.is_set() and (work := await self._work.get()) is not None:
            self._begun += 1
            self._send()  # at once: the parent sends the next item while this one is processed
            yield work

    async def _deliver(self, outcome: InstanceOutcome) -> None:
        self._outcomes.append(outcome)

    def _give_back(self, series_uid: SeriesUid, instances: int) -> None:
        self._given_back.append((series_uid, instances))

    async def _receive(self) -> None:
        while True:
            message = await receive(self._commands)
            match message:
                case None:
                    os._exit(1)  # the parent has died: no outcome would be journalled
                case Share():
                    self._latest_share = message  # for a worker that has not started yet
                    if self._worker is not None:
                        self._worker.share(message)
                case Signal():
                    if message is Signal.STOP:
                        self._stop.set()
                    self._work.put_nowait(None)
                case SeriesWork():
                    self._work.put_nowait(message)

    async def _report(self) -> None:
        for tick in count():
            await asyncio.sleep(_TICK_SECONDS)
            if self._outcomes or self._events or self._given_back or tick % _TICKS_OF_SILENCE == 0:
                self._send()

    def _send(self, *, is_last: bool = False, error: BulkdlError | None = None) -> None:
        outcomes, events, begun = tuple(self._outcomes), tuple(self._events), self._begun
        given_back = tuple(self._given_back)
        self._outcomes.clear()
        self._events.clear()
        self._given_back.clear()
        self._begun = 0
        traffic = self._worker.traffic() if self._worker is not None else Traffic()
        sys.stdout.buffer.write(packed(Batch(outcomes, events, given_back, traffic, begun, is_last, error)))
        sys.stdout.buffer.flush()


def main() -> None:
    """Run a worker process, in a new Python."""
    tune_process()
    collect_less_often()
    disable_numpy()
    import_transport(Access())
    work()


def work() -> None:
    """Run a worker process, in a process that is prepared."""
    with suppressed_pydicom_warnings:  # once for all, as in `verbs.runs.prepared_process`
        asyncio.run(WorkerMain().run())


if __name__ == "__main__":
    main()
