"""Decode pixels in separate processes, because decoders of damaged JPEGs sometimes crash.

A worker uses `Decoders`; `python -m bulkdl.fetch.pixel_decoding` is the program of a process. A file that crashes the
decoder twice counts as invalid: one crash may be the end of a process that was killed.

Observed: GDCM 3.2 calls abort() on some truncated JPEG 2000 and JPEG-LS streams.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import InstanceError, InvalidInstance
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.runtime.processes import AnsweringProcess, answer_all

_LONGEST_SECONDS: Final = 600.0  # for one file; a decoder may also loop endlessly
_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class _Request:
    source: bytes | Path
    expected: InstanceKey | None


class Decoders:
    """At most one process for each core, started when needed; they end with the block."""

    def __init__(self) -> None:
        self._permits = asyncio.Semaphore(os.cpu_count() or 1)
        self._idle: list[AnsweringProcess] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            await self._idle.pop().__aexit__(None, None, None)

    async def validate(self, source: bytes | Path, expected: InstanceKey | None) -> ValidationResult:
        """Validate at level `pixels`; a crash does not affect this process.

        Raises:
            InstanceError: as `validate`; `InvalidInstance` also if the decoder crashes.
            MirrorUnwritable: a process cannot be started.
        """
        async with self._permits:
            for _ in range(_ATTEMPTS):
                answer = await self._ask(_Request(source, expected))
                if isinstance(answer, ValidationResult):
                    return answer
                if answer is not None:
                    raise answer
        raise InvalidInstance("the pixels cannot be decoded: the decoder crashed")

    async def _ask(self, request: _Request) -> ValidationResult | InstanceError | None:
        process = self._idle.pop() if self._idle else await AnsweringProcess("bulkdl.fetch.pixel_decoding").__aenter__()
        answer: ValidationResult | InstanceError | None = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SECONDS):
                    answer = await process.ask(request)
        finally:
            if answer is not None:
                self._idle.append(process)
            else:  # dead, or in an unknown state
                await process.__aexit__(None, None, None)
        return answer


def _answer(request: _Request) -> ValidationResult | InstanceError:
    try:
        return validate(request.source, level=ValidationLevel.PIXELS, expected=request.expected)
    except InstanceError as error:
        return error
    except OSError as error:
        return InvalidInstance(f"the file cannot be read: {error.strerror}")


def main() -> None:
    """Run a decoder. Only answers go to the standard output; what libraries print is discarded."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    discarded = os.open(os.devnull, os.O_WRONLY)
    os.dup2(discarded, sys.stdout.fileno())
    os.dup2(discarded, sys.stderr.fileno())
    answer_all(_answer, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
