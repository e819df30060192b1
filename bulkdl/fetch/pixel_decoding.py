"""Decode pixels in separate processes, because GDCM 3.2 aborts on some damaged JPEG 2000 and JPEG-LS streams.

A worker uses `Decoders`; `python -m bulkdl.fetch.pixel_decoding` is the program of a process. A file that crashes the
decoder twice counts as invalid. A process that never began to work, that was killed, or that has no memory left says
nothing about a file.
"""

import asyncio
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final, Self, TypeAlias

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.dicom.without_numpy import load_decoders
from bulkdl.errors import BulkdlError, InvalidInstance, MirrorUnwritable
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.processes import AnsweringProcess, answer_all

_LONGEST_SECONDS: Final = 600.0  # for one file; a decoder may also loop endlessly
_ATTEMPTS: Final = 2
_KILLED: Final = 9  # SIGKILL, which no decoder sends to itself; Windows does not have it


_Request: TypeAlias = tuple[bytes | Path, InstanceKey | None]


class Decoders:
    """At most one process for each core, started when needed; they end with the block. `program` is their module."""

    def __init__(self, program: str = "bulkdl.fetch.pixel_decoding") -> None:
        self._program = program
        self._permits = asyncio.Semaphore(usable_cores())
        self._idle: list[AnsweringProcess] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._idle:
            await self._idle.pop().__aexit__(None, None, None)

    async def validate(self, source: bytes | Path, expected: InstanceKey | None) -> ValidationResult:
        """Validate at level `pixels`, as `dicom.validation`; InvalidInstance also if the decoder crashes.

        Raises:
            MirrorUnwritable: a process cannot be started, or was killed, or memory is short.
        """
        was_killed = False
        async with self._permits:
            for _ in range(_ATTEMPTS):
                answer, status = await self._ask((source, expected))
                if isinstance(answer, ValidationResult):
                    return answer
                if answer is not None:
                    raise answer
                was_killed = status == -_KILLED
        if was_killed:
            raise MirrorUnwritable("a process that decodes pixels was killed, perhaps for its memory; resume continues")
        raise InvalidInstance("the pixels cannot be decoded: the decoder crashed")

    async def _ask(self, request: _Request) -> tuple[ValidationResult | BulkdlError | None, int | None]:
        process = self._idle.pop() if self._idle else await AnsweringProcess(self._program).__aenter__()
        answer: ValidationResult | BulkdlError | None = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SECONDS):
                    answer = await process.ask(request)
        finally:
            if answer is not None:
                self._idle.append(process)
            else:  # dead, or in an unknown state
                await process.__aexit__(None, None, None)
        return answer, process.status


def _answer(request: _Request) -> ValidationResult | BulkdlError:
    source, expected = request
    try:
        return validate(source, level=ValidationLevel.PIXELS, expected=expected)
    except BulkdlError as error:
        return error
    except MemoryError:
        return MirrorUnwritable("not enough memory to decode pixels; everything finished is saved")
    except OSError as error:
        return InvalidInstance(f"the file cannot be read: {error.strerror}")


def main() -> None:
    """Run a decoder. Only answers go to the standard output; what libraries print is discarded."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    discarded = os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, sys.stdout.fileno())
    os.dup2(discarded, sys.stderr.fileno())
    load_decoders()
    answer_all(_answer, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
