"""Processes of our own: the one place that starts them.

Parent and child exchange pickled values over the child's standard input and output; see `pipes`. Secrets go that way
alone, never by arguments or environment. A child whose input ends, because its parent ended or died, leaves at once.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from bulkdl.runtime.disk import disk_errors
from bulkdl.runtime.pipes import PIPE_BYTES, packed, receive


async def start_process(module: str) -> asyncio.subprocess.Process:
    """Start a process that runs `module`, with pipes to and from it.

    Raises:
        MirrorUnwritable: it cannot be started: too many files are open, or memory or processes are short.
    """
    with disk_errors("start a process of", module):
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=PIPE_BYTES,
        )


class AnsweringProcess:
    """A process that runs `module` and answers questions, one after the other; its inside is `pipes.answer_all`.

    It is ended with the block: whatever is asked of it must not be worth finishing.
    """

    def __init__(self, module: str) -> None:
        self._module = module
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._process = await start_process(self._module)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None  # noqa: S101 - the block was entered
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def ask(self, question: object) -> Any:
        """The answer; None when the process has died, now or before."""
        process = self._process
        assert process is not None  # noqa: S101 - the block was entered
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            process.stdin.write(packed(question))
            await process.stdin.drain()
        except ConnectionError:
            return None
        return await receive(process.stdout)
