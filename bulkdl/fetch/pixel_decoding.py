"""Pixels are decoded in processes that may die: the decoders of damaged JPEGs sometimes take their process with them.

`Decoders` is the outside, for a worker; `python -m bulkdl.fetch.pixel_decoding` the inside. A process that dies twice
over the same file says that the file cannot be decoded (once may have been somebody's kill).

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

_LONGEST_SECONDS: Final = 600.0  # for one file; a decoder may also run in circles
_LIVES: Final = 2


@dataclass(frozen=True, slots=True)
class _Question:
    source: bytes | Path
    expected: InstanceKey | None


class Decoders:
    """As many processes as there are cores, started when they are needed; they end with the block."""

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
        """As `validate` at level `pixels`, without danger for this process.

        Raises:
            InstanceError: as `validate`; `InvalidInstance` too where the decoder dies of it.
            MirrorUnwritable: no process can be started.
        """
        async with self._permits:
            for _ in range(_LIVES):
                answer = await self._ask(_Question(source, expected))
                if isinstance(answer, ValidationResult):
                    return answer
                if answer is not None:
                    raise answer
        raise InvalidInstance("the pixels cannot be decoded: the decoder dies of them")

    async def _ask(self, question: _Question) -> ValidationResult | InstanceError | None:
        process = self._idle.pop() if self._idle else await AnsweringProcess("bulkdl.fetch.pixel_decoding").__aenter__()
        answer: ValidationResult | InstanceError | None = None
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_SECONDS):
                    answer = await process.ask(question)
        finally:
            if answer is not None:
                self._idle.append(process)
            else:  # dead, or in an unknown state
                await process.__aexit__(None, None, None)
        return answer


def _answer(question: _Question) -> ValidationResult | InstanceError:
    try:
        return validate(question.source, level=ValidationLevel.PIXELS, expected=question.expected)
    except InstanceError as error:
        return error
    except OSError as error:
        return InvalidInstance(f"the file cannot be read: {error.strerror}")


def main() -> None:
    """Be a decoder. Its standard output is ours alone: what the libraries print goes nowhere."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    answer_all(_answer, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
