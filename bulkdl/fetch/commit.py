"""A body or a partial file becomes an instance of the mirror, or is put aside: validate, checksum, sync, rename.

The order is the promise: the bytes are on the disk before the file has its name, and the folder is synced before anyone
is told. What is not sound goes to quarantine, and never under a final name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bulkdl.dicom.validation import ValidationResult, validate
from bulkdl.errors import ChecksumMismatch, InstanceError, InvalidAtSource, InvalidInstance
from bulkdl.fetch.digests import Digests, digests_of, digests_of_file
from bulkdl.fetch.pixel_decoding import Decoders
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.model.states import Outcome
from bulkdl.store.files import MirrorFiles
from bulkdl.store.writing import GroupWriter

Result = TypeVar("Result")

# Below this size pydicom and the hashes are done on the loop: a thread would only fight over the interpreter lock
# (measured: 900 instances a second with threads, 1,390 without). Above it hashing lets go of the lock for long enough.
INLINE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where an instance belongs: its entry, the folder of its Series relative to the mirror, and its file name.

    `name` is None while the SOP Instance UID of the entry is not known.
    """

    series_uid: SeriesUid
    entry: Entry
    folder: str
    name: str | None

    @property
    def key(self) -> InstanceKey:
        """What the file has to be."""
        return InstanceKey(self.series_uid, self.entry.sop_uid or SopInstanceUid(""))

    @property
    def path(self) -> str:
        """The path relative to the mirror."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sound instance that lies, synced, as a partial file, and may be committed."""

    partial: Path
    digests: Digests
    verdict: ValidationResult | None
    notes: tuple[str, ...]


class Committer:
    """Seals instances into one mirror. `threads` runs what blocks."""

    def __init__(
        self,
        files: MirrorFiles,
        threads: Executor,
        *,
        level: ValidationLevel,
        accept_unsound: bool,
        decoders: Decoders,
    ) -> None:
        self._files = files
        self._threads = threads
        self._writer = GroupWriter(files, threads)
        self._level = level
        self.accepts_unsound = accept_unsound
        self.looked_at = 0  # bodies, sound or not
        self._decoders = decoders

    async def in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Run a blocking call in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    async def prepare(self, content: bytes, *, name: str, expected: InstanceKey | None, seen: Seen) -> Prepared:
        """Validate bytes and put them, synced, into a partial file called `name`.

        Raises:
            InstanceError: the bytes cannot be taken; they are in quarantine.
            DiskError: they cannot be written.
        """
        if self._level is ValidationLevel.PIXELS:
            found = await self._decode(content, expected)
            return await self.in_thread(self._prepare_large, content, name, expected, seen, found)
        return await self.in_thread(self._prepare_large, content, name, expected, seen, None)

    def is_quick(self, content: bytes) -> bool:
        """Whether `content` is checked faster than it is handed to a thread: see `check_now`."""
        return len(content) <= INLINE_BYTES and self._level is not ValidationLevel.PIXELS

    def check_now(self, content: bytes, *, name: str, expected: InstanceKey | None, seen: Seen) -> Prepared:
        """The first half of `prepare`, for what `is_quick`: validate. `write_soon` is the other.

        Raises:
            InstanceError: the bytes cannot be taken; they are in quarantine.
        """
        checked = self._weigh(self._look(content, expected), content, digests_of(content), expected, seen)
        return Prepared(self._files.partials.path(name), *checked)

    def write_soon(self, content: bytes, *, name: str) -> asyncio.Future[int]:
        """Put bytes, synced, into the partial file `name`, beside others; done when it is done, or has failed."""
        return self._writer.write(name, content, None)

    def _prepare_large(
        self,
        content: bytes,
        name: str,
        expected: InstanceKey | None,
        seen: Seen,
        found: ValidationResult | InstanceError | None,
    ) -> Prepared:
        found = found or self._look(content, expected)
        checked = self._weigh(found, content, digests_of(content), expected, seen)
        return Prepared(self._files.partials.write(name, content), *checked)

    async def prepare_file(
        self, partial: Path, digests: Digests, *, expected: InstanceKey | None, seen: Seen
    ) -> Prepared:
        """The same for a partial file that was streamed to the disk and synced, with the digests of what was written.

        Raises:
            InstanceError: the file cannot be taken; it is in quarantine.
        """
        found = await self._look_at(partial, expected)
        checked = await self.in_thread(self._weigh, found, partial, digests, expected, seen)
        return Prepared(partial, *checked)

    async def _look_at(self, path: Path, expected: InstanceKey | None) -> ValidationResult | InstanceError:
        if self._level is ValidationLevel.PIXELS:
            return await self._decode(path, expected)
        return await self.in_thread(self._look, path, expected)

    def _look(self, source: bytes | Path, expected: InstanceKey | None) -> ValidationResult | InstanceError:
        self.looked_at += 1
        try:
            return validate(source, level=self._level, expected=expected)
        except InstanceError as error:
            return error

    async def _decode(self, source: bytes | Path, expected: InstanceKey | None) -> ValidationResult | InstanceError:
        try:
            return await self._decoders.validate(source, expected)
        except InstanceError as error:
            return error

    def _weigh(
        self,
        found: ValidationResult | InstanceError,
        source: bytes | Path,
        digests: Digests,
        expected: InstanceKey | None,
        seen: Seen,
    ) -> tuple[Digests, ValidationResult | None, tuple[str, ...]]:
        """What to make of what was found: take it, or put it aside and raise."""
        if isinstance(found, ValidationResult):
            return digests, found, found.notes
        came_before = seen.again(digests)
        if isinstance(found, InvalidInstance) and came_before:
            if self.accepts_unsound and expected is not None:
                return digests, None, (f"unsound: {found}",)
            found = invalid_at_source(found)
        self.put_aside(source, expected.sop_uid if expected else None, found)
        raise found

    def put_aside(self, source: bytes | Path, sop_uid: SopInstanceUid | None, error: InstanceError) -> None:
        """Move what cannot be taken to quarantine, with a note of why. Blocking."""
        details = {"asked_for": sop_uid, "error": error.code, "message": str(error)}
        self._files.quarantine.keep(source, sop_uid=sop_uid, details=details)

    async def seal(self, content: bytes, target: Target, *, name: str, seen: Seen) -> InstanceOutcome:
        """Validate bytes and put them in their place: `prepare` and `commit` in one, with one trip to a thread.

        Raises:
            InstanceError: the bytes cannot be taken; they are in quarantine.
            DiskError: they cannot be written.
        """
        if not self.is_quick(content):
            return await self.commit(await self.prepare(content, name=name, expected=target.key, seen=seen), target)
        prepared = self.check_now(content, name=name, expected=target.key, seen=seen)
        mtime_ns = await self._writer.write(name, content, target.path)
        return _held(target, prepared, mtime_ns, Outcome.FETCHED)

    async def commit(self, prepared: Prepared, target: Target) -> InstanceOutcome:
        """Give a prepared instance its final name; when this returns, a power cut cannot take it away.

        Raises:
            DiskError: the mirror cannot be written.
        """
        (outcome,) = await self.commit_all([(prepared, target)])
        return outcome

    async def commit_all(self, ready: Sequence[tuple[Prepared, Target]]) -> list[InstanceOutcome]:
        """The same for instances of one folder, which is synced once for all of them.

        Raises:
            DiskError: the mirror cannot be written; what was renamed by then will be adopted.
        """
        mtimes_ns = await self._writer.commit([(prepared.partial, target.path) for prepared, target in ready])
        return [
            _held(target, prepared, mtime_ns, Outcome.FETCHED)
            for (prepared, target), mtime_ns in zip(ready, mtimes_ns, strict=True)
        ]

    async def adopt(self, target: Target) -> InstanceOutcome | None:
        """Take in a file that lies under its final name but is not journalled; None where it is not sound.

        That is how a run that died between renaming and journalling goes on without a request. An unsound file is moved
        to quarantine, and the instance is to be fetched.
        """
        path = self._files.absolute(target.path)
        try:
            found = await self._look_at(path, target.key)
            if isinstance(found, InstanceError):
                await self.in_thread(self.put_aside, path, target.key.sop_uid, found)
                return None
            digests = await self.in_thread(digests_of_file, path)
        except OSError:
            return None
        mtime_ns = await self._writer.adopt(target.path)
        return _held(target, Prepared(path, digests, found, found.notes), mtime_ns, Outcome.REUSED)


class Seen:
    """Whether the same unsound bytes came before; one for each instance that is being fetched."""

    def __init__(self) -> None:
        self._digests: Digests | None = None

    @property
    def md5(self) -> bytes | None:
        """MD5 of the last unsound body, None where none came."""
        return self._digests.md5 if self._digests is not None else None

    def forget(self) -> None:
        """The last unsound body was damaged on the way: it says nothing of the archive."""
        self._digests = None

    def again(self, digests: Digests) -> bool:
        """Whether the last unsound body had these digests too."""
        came_before = self._digests == digests
        self._digests = digests
        return came_before


def invalid_at_source(error: InvalidInstance) -> InvalidAtSource:
    """The same finding, on bytes that are the archive's own."""
    return InvalidAtSource(f"the archive holds it so: {error} (--accept-unsound takes it in)")


def compare_md5(digests: Digests, archives: bytes) -> None:
    """Hold a checksum of the archive against what came.

    Raises:
        ChecksumMismatch: they differ.
    """
    if digests.md5 != archives:
        raise ChecksumMismatch(f"MD5 {digests.md5.hex()} came, the archive says {archives.hex()}")


def _held(target: Target, prepared: Prepared, mtime_ns: int, outcome: Outcome) -> InstanceOutcome:
    digests, verdict = prepared.digests, prepared.verdict
    return InstanceOutcome(
        series_uid=target.key.series_uid,
        key=target.entry.key,
        sop_uid=target.key.sop_uid,
        outcome=outcome,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=mtime_ns,
        transfer_syntax_uid=verdict.transfer_syntax_uid if verdict else None,
        notes=prepared.notes,
    )
