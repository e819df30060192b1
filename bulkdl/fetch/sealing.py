"""A body or a partial file becomes an instance of the mirror, or is put aside: validate, checksum, sync, rename.

The order is the promise: the bytes are on the disk before the file has its name, and the folder is synced before anyone
is told. What is not sound goes to quarantine, and never under a final name.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bulkdl.dicom.validation import Verdict, validate
from bulkdl.errors import ChecksumMismatch, InstanceError, Unsound, UnsoundAtSource
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.records import InstanceKey
from bulkdl.model.settings import ValidationLevel
from bulkdl.model.states import Outcome
from bulkdl.store.files import FolderSync, MirrorFiles

Result = TypeVar("Result")

# Below this size pydicom and the hashes are done on the loop: a thread would only fight over the interpreter lock
# (measured: 900 instances a second with threads, 1,390 without). Above it hashing lets go of the lock for long enough.
INLINE_BYTES: Final = 128 * 1024
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Digests:
    """Size and checksums of a file; `md5` has 16 bytes, `sha256` 32."""

    size_bytes: int
    md5: bytes
    sha256: bytes


class Hashing:
    """Digests of bytes that come in pieces."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._size = 0

    def update(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        self._md5.update(chunk)
        self._sha256.update(chunk)
        self._size += len(chunk)

    def digests(self) -> Digests:
        """Size and checksums of what was taken in so far."""
        return Digests(self._size, self._md5.digest(), self._sha256.digest())


def digests_of(content: bytes) -> Digests:
    """Size and checksums of bytes in memory."""
    md5 = hashlib.md5(content, usedforsecurity=False).digest()
    return Digests(len(content), md5, hashlib.sha256(content).digest())


def digests_of_file(path: Path) -> Digests:
    """Size and checksums of a file. Blocking.

    Raises:
        OSError: it cannot be read.
    """
    hashing = Hashing()
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_READ_BYTES):
            hashing.update(chunk)
    return hashing.digests()


@dataclass(frozen=True, slots=True)
class Target:
    """Where an instance belongs: its key, the folder of its Series relative to the mirror, and its file name."""

    key: InstanceKey
    folder: str
    name: str

    @property
    def path(self) -> str:
        """The path relative to the mirror."""
        return f"{self.folder}/{self.name}"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A sound instance that lies, synced, as a partial file, and may be committed."""

    partial: Path
    digests: Digests
    verdict: Verdict | None
    notes: tuple[str, ...]


class Sealer:
    """Seals instances into one mirror. `threads` runs what blocks."""

    def __init__(
        self,
        files: MirrorFiles,
        folders: FolderSync,
        threads: Executor,
        *,
        level: ValidationLevel,
        accept_unsound: bool,
    ) -> None:
        self._files = files
        self._folders = folders
        self._threads = threads
        self._level = level
        self._accept_unsound = accept_unsound

    async def in_thread(self, call: Callable[..., Result], *arguments: Any) -> Result:
        """Run a blocking call in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)

    async def prepare(self, content: bytes, *, name: str, expected: InstanceKey | None, seen: Seen) -> Prepared:
        """Validate bytes and put them, synced, into a partial file called `name`.

        Raises:
            InstanceError: the bytes cannot be taken; they are in quarantine.
            DiskError: they cannot be written.
        """
        if len(content) <= INLINE_BYTES and self._level is not ValidationLevel.PIXELS:
            checked = self._check(content, digests_of(content), expected, seen)
            partial = await self.in_thread(self._files.write_partial, name, content)
            return Prepared(partial, *checked)
        return await self.in_thread(self._prepare_large, content, name, expected, seen)

    def _prepare_large(self, content: bytes, name: str, expected: InstanceKey | None, seen: Seen) -> Prepared:
        checked = self._check(content, digests_of(content), expected, seen)
        return Prepared(self._files.write_partial(name, content), *checked)

    async def prepare_file(
        self, partial: Path, digests: Digests, *, expected: InstanceKey | None, seen: Seen
    ) -> Prepared:
        """The same for a partial file that was streamed to the disk and synced, with the digests of what was written.

        Raises:
            InstanceError: the file cannot be taken; it is in quarantine.
        """
        checked = await self.in_thread(self._check, partial, digests, expected, seen)
        return Prepared(partial, *checked)

    def _check(
        self, source: bytes | Path, digests: Digests, expected: InstanceKey | None, seen: Seen
    ) -> tuple[Digests, Verdict | None, tuple[str, ...]]:
        try:
            verdict = validate(source, level=self._level, expected=expected)
        except InstanceError as error:
            came_before = seen.again(digests.sha256)
            if isinstance(error, Unsound) and came_before:
                if self._accept_unsound and expected is not None:
                    return digests, None, (f"unsound: {error}",)
                error = UnsoundAtSource(f"the archive holds it so: {error} (--accept-unsound takes it in)")
            self.put_aside(source, expected.sop_uid if expected else None, error)
            raise error from None
        return digests, verdict, verdict.notes

    def put_aside(self, source: bytes | Path, sop_uid: SopInstanceUid | None, error: InstanceError) -> None:
        """Move what cannot be taken to quarantine, with a note of why. Blocking."""
        details = {"asked_for": sop_uid, "error": error.code, "message": str(error)}
        self._files.quarantine(source, sop_uid=sop_uid or "unknown", details=details)

    async def commit(self, prepared: Prepared, target: Target) -> InstanceOutcome:
        """Give a prepared instance its final name; when this returns, a power cut cannot take it away.

        Raises:
            DiskError: the mirror cannot be written.
        """
        mtime_ns = await self.in_thread(self._rename, prepared.partial, target)
        await self._folders.synced(target.folder)
        return _held(target, prepared.digests, prepared.verdict, prepared.notes, mtime_ns, Outcome.FETCHED)

    def _rename(self, partial: Path, target: Target) -> int:
        self._files.ensure_folder(target.folder)
        return self._files.commit(partial, target.path)

    async def adopt(self, target: Target) -> InstanceOutcome | None:
        """Take in a file that lies under its final name but is not journalled; None where it is not sound.

        That is how a run that died between renaming and journalling goes on without a request. An unsound file is moved
        to quarantine, and the instance is to be fetched.
        """
        path = self._files.absolute(target.path)
        try:
            verdict, digests, mtime_ns = await self.in_thread(self._look_at, path, target.key)
        except InstanceError as error:
            await self.in_thread(self.put_aside, path, target.key.sop_uid, error)
            return None
        except OSError:
            return None
        await self._folders.synced(target.folder)
        return _held(target, digests, verdict, verdict.notes, mtime_ns, Outcome.REUSED)

    def _look_at(self, path: Path, expected: InstanceKey) -> tuple[Verdict, Digests, int]:
        verdict = validate(path, level=self._level, expected=expected)
        return verdict, digests_of_file(path), path.stat().st_mtime_ns


class Seen:
    """Whether the same unsound bytes came before; one for each instance that is being fetched."""

    def __init__(self) -> None:
        self._digest: bytes | None = None

    def again(self, digest: bytes) -> bool:
        """Whether the last unsound body had this digest too."""
        came_before = self._digest == digest
        self._digest = digest
        return came_before


def compare_md5(digests: Digests, archives: bytes) -> None:
    """Hold a checksum of the archive against what came.

    Raises:
        ChecksumMismatch: they differ.
    """
    if digests.md5 != archives:
        raise ChecksumMismatch(f"MD5 {digests.md5.hex()} came, the archive says {archives.hex()}")


def _held(
    target: Target, digests: Digests, verdict: Verdict | None, notes: tuple[str, ...], mtime_ns: int, outcome: Outcome
) -> InstanceOutcome:
    return InstanceOutcome(
        series_uid=target.key.series_uid,
        sop_uid=target.key.sop_uid,
        outcome=outcome,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=mtime_ns,
        transfer_syntax_uid=verdict.transfer_syntax_uid if verdict else None,
        notes=notes,
    )
