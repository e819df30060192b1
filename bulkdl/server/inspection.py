"""Pictures and attributes of files, read in a process with limits of memory and time.

pydicom and decoders take as much of both as a file demands: a palette of 145 kB stands for gigabytes, and a codestream
may be larger than the image that it belongs to. Such a file ends that process, and not the server.
"""

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack
from enum import StrEnum
from typing import Any, Final

from bulkdl.errors import InvalidInstance
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.server.catalogue import ServedFile

_MODULE: Final = "bulkdl.server.inspection_main"
_SECONDS: Final = 20.0
_PROCESSES: Final = 2
_REFUSE_SECONDS: Final = 600.0
_MOST_GIVEN_UP: Final = 10_000
_GIVEN_UP: Final = "reading it takes too much memory or time"


class Inspection(StrEnum):
    """What is read of a file."""

    THUMBNAIL = "thumbnail"  # a JPEG
    TAGS = "tags"  # a list of `TagText`
    PICTURE = "picture"  # a PNG or JPEG; takes `PictureOptions`
    FACTS = "facts"  # those of `frame_facts`
    MASK = "mask"  # a PNG of a segmentation over an image, which is another file, and its frame or None
    CONTOURS = "contours"  # those of a structure set, likewise
    METADATA = "metadata"  # DICOM JSON; takes the address of the bulk data
    FRAMES = "frames"  # `BulkData` of frames; takes their numbers, from 1
    BULK_DATA = "bulk-data"  # `BulkData` of an element; takes its place in the data set


class Inspector:
    """Two processes that read files, each one at a time. They start when they are needed, and again after they died.

    A file that took more than `seconds`, or ended its process, is not read again for `refuse_seconds`: a page with many
    thumbnails of such files, loaded again and again, would leave no process for others.
    """

    def __init__(self, *, seconds: float = _SECONDS, refuse_seconds: float = _REFUSE_SECONDS) -> None:
        self.seconds = seconds
        self._refuse_seconds = refuse_seconds
        self._given_up: OrderedDict[tuple[Inspection, ServedFile], float] = OrderedDict()
        self._readers = [_FileReader() for _ in range(_PROCESSES)]
        self._free: asyncio.LifoQueue[_FileReader] = asyncio.LifoQueue()
        for reader in reversed(self._readers):  # one that runs comes before one that has to start
            self._free.put_nowait(reader)

    async def read(self, what: Inspection, file: ServedFile, more: Any = None) -> Any:
        """Read a file. `more` are further arguments of this inspection.

        Raises:
            InvalidInstance: it cannot be read, or takes too much memory or time.
            MirrorUnwritable: the process cannot be started.
        """
        now, key = asyncio.get_running_loop().time(), (what, file)
        if self._given_up.get(key, now) > now:
            raise InvalidInstance(_GIVEN_UP)
        reader = await self._free.get()
        try:
            answer = await reader.ask((what, file, more), self.seconds)
        finally:
            self._free.put_nowait(reader)
        if answer is None:
            self._refuse(key)
            raise InvalidInstance(_GIVEN_UP)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _refuse(self, key: tuple[Inspection, ServedFile]) -> None:
        self._given_up[key] = asyncio.get_running_loop().time() + self._refuse_seconds
        self._given_up.move_to_end(key)
        if len(self._given_up) > _MOST_GIVEN_UP:
            self._given_up.popitem(last=False)

    async def close(self) -> None:
        """End the processes."""
        for reader in self._readers:
            await reader.close()


class _FileReader:
    """One process that reads files."""

    def __init__(self) -> None:
        self._running = AsyncExitStack()
        self._process: AnsweringProcess | None = None

    async def ask(self, question: object, seconds: float) -> Any:
        """The answer; None if the process died or took too long."""
        if self._process is None:
            self._process = await self._running.enter_async_context(AnsweringProcess(_MODULE))
        answer = None
        try:
            async with asyncio.timeout(seconds):
                answer = await self._process.ask(question)
        except TimeoutError:
            pass
        finally:
            if answer is None:  # it has died, or would answer an earlier question next time
                await self.close()
        return answer

    async def close(self) -> None:
        """End the process."""
        self._process = None
        await self._running.aclose()
