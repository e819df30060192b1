"""Pictures and attributes of files, read in a process with limits of memory and time.

pydicom and decoders take as much of both as a file demands: a palette of 145 kB stands for gigabytes, and a codestream
may be larger than the image that it belongs to. Such a file ends that process, and not the server.
"""

import asyncio
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any, Final

from bulkdl.errors import InvalidInstance
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.server.catalogue import ServedFile

_MODULE: Final = "bulkdl.server.inspection_main"
_SECONDS: Final = 20.0


class Inspection(StrEnum):
    """What is read of a file."""

    THUMBNAIL = "thumbnail"  # a JPEG
    TAGS = "tags"  # a list of `TagText`


class Inspector:
    """One process that reads files, one at a time. It is started when it is needed, and again when it has died."""

    def __init__(self, *, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._turn = asyncio.Lock()
        self._running = AsyncExitStack()
        self._process: AnsweringProcess | None = None

    async def read(self, what: Inspection, file: ServedFile) -> Any:
        """Read a file.

        Raises:
            InvalidInstance: it cannot be read, or takes too much memory or time.
            MirrorUnwritable: the process cannot be started.
        """
        async with self._turn:
            if self._process is None:
                self._process = await self._running.enter_async_context(AnsweringProcess(_MODULE))
            answer = None
            try:
                async with asyncio.timeout(self._seconds):
                    answer = await self._process.ask((what, file))
            except TimeoutError:
                pass
            finally:
                if answer is None:  # it has died, or would answer an earlier question next time
                    await self.close()
        if answer is None:
            raise InvalidInstance("reading it takes too much memory or time")
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """End the process."""
        self._process = None
        await self._running.aclose()
