"""What answers the questions of `adopt` on batches: processes that wait for them, or that start once it is worth it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext, suppress
from types import TracebackType
from typing import Any, Final, Self

from bulkdl.dicom.validation import load_pydicom
from bulkdl.dicom.without_numpy import disable_numpy
from bulkdl.errors import BulkdlError, MirrorUnwritable
from bulkdl.runtime.forked_process import forked, take_forked
from bulkdl.runtime.processes import AnsweringProcess, readers_at_once
from bulkdl.verbs.adoption.batch import BatchWorker, Examination, Finding, Import
from bulkdl.verbs.adoption.batch_main import work

_PROGRAM: Final = "bulkdl.verbs.adoption.batch_main"
_WORTH_FILES: Final = 1_000  # before that, threads are done sooner than processes have started


@contextmanager
def prepared_processes() -> Iterator[None]:
    """Import what `adopt` needs, without numpy, and fork a process for each core, if that is safe.

    They end with the block. For processes of bulkdl only.
    """
    disable_numpy()
    load_pydicom()
    cores = readers_at_once()
    with forked(work, cores) if cores > 1 else nullcontext():
        yield


class AdoptProcesses:
    """At most one process for each core, those of `prepared_processes` or such as start now; they end with the block.

    Threads answer until `worth_files` were examined, if none are prepared, and where a process cannot be started, or
    has died.
    """

    def __init__(self, worth_files: int = _WORTH_FILES) -> None:
        self._worth_files = worth_files
        self.at_once = readers_at_once()
        self._permits = asyncio.Semaphore(max(2, self.at_once))
        self._can_start = self.at_once > 1 and bool(sys.executable)
        self._examined = 0
        self._here = BatchWorker()
        self._idle: list[AnsweringProcess] = []
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        while (process := await take_forked()) is not None:
            self._idle.append(await self._running.enter_async_context(AnsweringProcess(_PROGRAM, process)))
            self._worth_files = 0
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    async def examine(self, question: Examination) -> tuple[Finding, ...]:
        """The findings on files, as `examine` has them. MirrorUnwritable: memory is short."""
        found: tuple[Finding, ...] = await self._ask(question)
        self._examined += len(found)
        return found

    async def import_files(self, question: Import) -> list[int | None]:
        """The mtimes of imported files, as `import_files` gives them. Raises DiskError."""
        mtimes: list[int | None] = await self._ask(question)
        return mtimes

    async def _ask(self, question: Examination | Import) -> Any:
        async with self._permits:
            answer = await self._by_process(question) if self._examined >= self._worth_files else None
            if answer is None:
                answer = await asyncio.to_thread(self._here.answer, question)
        if isinstance(answer, BulkdlError):
            raise answer
        return answer

    async def _by_process(self, question: Examination | Import) -> Any:
        """The answer of a process; None if it has died, or none can be started. Then no other is started."""
        if not (self._idle or self._can_start):
            return None
        answer = None
        with suppress(MirrorUnwritable):
            process = self._idle.pop() if self._idle else await self._start()
            if (answer := await process.ask(question)) is not None:
                self._idle.append(process)
        self._can_start = self._can_start and answer is not None
        return answer

    async def _start(self) -> AnsweringProcess:
        return await self._running.enter_async_context(AnsweringProcess(_PROGRAM))
