"""What answers the questions of `adopt` on batches: threads at first, and processes once there is work for them."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Any, Final, Self

from bulkdl.errors import BulkdlError, MirrorUnwritable
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.verbs.adopt_batch import BatchWorker, Examination, Finding, Import

_PROGRAM: Final = "bulkdl.verbs.adopt_main"
_MOST_AT_ONCE: Final = 8
_WORTH_FILES: Final = 1_000  # before that, threads are done sooner than processes have started


class AdoptProcesses:
    """At most one process for each core, started when `worth_files` were examined; they end with the block.

    A thread answers where a process cannot be started, or has died.
    """

    def __init__(self, worth_files: int = _WORTH_FILES) -> None:
        self._worth_files = worth_files
        self.at_once = min(usable_cores(), _MOST_AT_ONCE)
        self._permits = asyncio.Semaphore(max(2, self.at_once))
        self._can_start = self.at_once > 1 and bool(sys.executable)
        self._examined = 0
        self._here = BatchWorker()
        self._idle: list[AnsweringProcess] = []
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
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
