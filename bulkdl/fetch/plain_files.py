"""Validate files that are not DICOM: slides by their container, others by their length and checksum alone.

Slides are checked in a separate process, which has numpy and a limit of memory: their directories may be hostile.
"""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from bulkdl.dicom.validation import ValidationResult
from bulkdl.errors import BulkdlError, InvalidInstance
from bulkdl.fetch.targets import Target
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import NOT_CHECKED, NOT_DECODED
from bulkdl.model.settings import ValidationLevel
from bulkdl.runtime.processes import AnsweringProcess
from bulkdl.slides.container import MAGIC_BYTES, can_check, is_tiff, names_slide

_LONGEST_SECONDS: Final = 120.0  # for one slide; directories in a ring have no end
_ATTEMPTS: Final = 2
_LENGTH_ALONE: Final = f"{NOT_CHECKED}: what the file should hold is not known"
_NO_TIFFFILE: Final = f"{NOT_CHECKED}: the container of slides needs tifffile: pip install 'bulkdl[slides]'"
_HEADER_ALONE: Final = f"{NOT_CHECKED}: --validate header does not read the container of a slide"
_CONTAINER_ALONE: Final = f"{NOT_DECODED}: of a slide the container is checked"


class PlainFileValidator:
    """Validates plain files at one level. Its process starts when the first slide needs it, and ends with the block.

    `program` is the module of that process.
    """

    def __init__(self, level: ValidationLevel, program: str = "bulkdl.slides.check_main") -> None:
        self._level = level
        self._program = program
        self._turn = asyncio.Lock()
        self._process: AnsweringProcess | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def validate(self, source: bytes | Path, target: Target) -> ValidationResult | InvalidInstance:
        """Whether the file may be stored at `target`; its notes say what was not looked at.

        Raises:
            MirrorUnwritable: the process cannot be started.
        """
        sop_uid = target.sop_uid or SopInstanceUid("")
        head = await asyncio.to_thread(_head, source)
        try:
            notes = await self._check(source, target.name or "", head)
        except InvalidInstance as error:
            return error
        return ValidationResult(sop_uid, target.series_uid, None, None, "", notes)

    async def _check(self, source: bytes | Path, name: str, head: bytes) -> tuple[str, ...]:
        if not names_slide(name) and not is_tiff(head):
            return (_LENGTH_ALONE,)
        if not is_tiff(head):
            raise InvalidInstance("not a TIFF, which a slide of this name is")
        if self._level is ValidationLevel.HEADER:
            return (_HEADER_ALONE,)
        if not can_check():
            return (_NO_TIFFFILE,)
        async with self._turn:
            await self._ask(source)
        return (_CONTAINER_ALONE,) if self._level is ValidationLevel.PIXELS else ()

    async def _ask(self, source: bytes | Path) -> None:
        for _ in range(_ATTEMPTS):
            if self._process is None:
                self._process = await AnsweringProcess(self._program).__aenter__()
            answer: BulkdlError | bool | None = None
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LONGEST_SECONDS):
                        answer = await self._process.ask(source)
            finally:
                if answer is None:  # dead, or in an unknown state
                    await self._end()
            if isinstance(answer, BulkdlError):
                raise answer
            if answer:
                return
        raise InvalidInstance("the directories of the TIFF cannot be read: the reader crashed, or did not end")

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await process.__aexit__(None, None, None)


def _head(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source[:MAGIC_BYTES]
    with source.open("rb") as file:
        return file.read(MAGIC_BYTES)
