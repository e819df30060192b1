"""`verify --against`: any folder against a lock file. Reads every DICOM file below the folder, and changes nothing.

A file whose SHA-256 is in the lock is right, whatever its name; so is one whose MD5 is, where the lock has no SHA-256.
Another DICOM file is identified by its header, and compared by its size where the lock has no checksum of it. The UIDs
and checksums of the lock are in memory: some 400 bytes for each instance.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from bulkdl.dicom.header import read_header
from bulkdl.errors import ConfigurationError, InstanceError
from bulkdl.manifest.locked import LockedInstance, LockHead, Proof
from bulkdl.model.events import RunContext, Verifying
from bulkdl.model.ids import SeriesUid, is_plain_file
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.reports.base import InstanceCounts, SeriesCounts
from bulkdl.model.reports.verify import Problem, ProblemKind, VerifyReport
from bulkdl.model.text import storable
from bulkdl.runtime.cores import usable_cores
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.walking import Found, FoundKind, walk
from bulkdl.verbs.locks.files import open_lock
from bulkdl.verbs.locks.holder import unproven

_AT_ONCE: Final = 4
_BATCH: Final = 64
_READ_BYTES: Final = 1 << 20


@dataclass(slots=True)
class _Audit:
    """What is expected, by its strongest checksum or its name, and what was found so far."""

    folder: str
    head: LockHead
    expected: dict[bytes, tuple[SeriesUid, LockedInstance]]
    by_uid: dict[str, bytes]
    plain_sizes: frozenset[int]  # of locked files that may not be DICOM
    right: set[bytes] = field(default_factory=set)
    wrong: dict[str, Problem] = field(default_factory=dict)  # by SOP Instance UID, or key
    others: list[Problem] = field(default_factory=list)
    checked: int = 0
    bytes_checked: int = 0

    @property
    def reads_md5(self) -> bool:
        """Whether the lock has an instance whose strongest checksum is an MD5."""
        return Proof.MD5 in self.head.weaker

    def take(self, found: Found, digests: Sequence[bytes], sop_uid: str | None) -> None:
        """Judge one file. `digests` are empty where it cannot be read; `sop_uid` is None where its header cannot."""
        path = storable(found.path)
        self.checked += 1
        self.bytes_checked += found.size_bytes
        key = self.by_uid.get(sop_uid or "", b"")
        _, locked = self.expected.get(key, (None, None))
        if not digests:
            self.others.append(Problem(path, ProblemKind.UNREADABLE))
        elif known := next((digest for digest in digests if digest in self.expected), None):
            self.right.add(known)
        elif locked is None:
            kind = ProblemKind.FOREIGN if sop_uid is not None else ProblemKind.UNREADABLE
            self.others.append(Problem(path, kind, sop_uid))
        elif locked.proof is Proof.UID or (locked.proof is Proof.SIZE and locked.size_bytes == found.size_bytes):
            self.right.add(key)
        else:
            kind = ProblemKind.TRUNCATED if found.size_bytes < (locked.size_bytes or 0) else ProblemKind.ALTERED
            self.wrong[locked.name] = Problem(path, kind, sop_uid)

    def problems(self) -> tuple[Problem, ...]:
        """All problems, by path. One that has a right copy elsewhere in the folder is foreign."""
        problems = list(self.others)
        for digest, (series_uid, locked) in self.expected.items():
            wrong = self.wrong.get(locked.name)
            if digest in self.right:
                problems += [Problem(wrong.path, ProblemKind.FOREIGN, locked.sop_uid)] if wrong else []
            else:
                place = f"{series_uid}/{locked.sop_uid}.dcm" if locked.sop_uid is not None else locked.name
                problems.append(wrong or Problem(place, ProblemKind.MISSING, locked.sop_uid))
        return tuple(sorted(problems, key=lambda problem: problem.path))

    def complete_series(self) -> int:
        """The number of Series of which every instance is there."""
        lacking = {uid for digest, (uid, _) in self.expected.items() if digest not in self.right}
        return self.head.series - len(lacking)


async def verify_against(folder: Path, lock: Path, context: RunContext) -> VerifyReport:
    """Compare the DICOM files of any folder with a lock; other files are ignored. The journal of a mirror is not read.

    If the stop of `context` was set, the report covers only a part.

    Raises:
        ManifestError: the lock cannot be read.
        ConfigurationError: `folder` is not a folder.
    """
    started = time.monotonic()
    audit = await asyncio.to_thread(_begin, folder, lock)

    async def read(batch: list[Found]) -> None:
        for found, digests, sop_uid in await asyncio.to_thread(_read_all, folder, batch, audit):
            audit.take(found, digests, sop_uid)
        wrong = len(audit.wrong) + len(audit.others)
        size_bytes = 0 if audit.head.unsized else audit.head.size_bytes
        context.sink(Verifying(audit.checked, audit.head.instances, audit.bytes_checked, wrong, size_bytes))

    await run_pool(_batches(folder, context.stop), read, workers=min(_AT_ONCE, usable_cores()), name="audit")
    complete = audit.complete_series()
    return VerifyReport(
        mirror=audit.folder,
        series=SeriesCounts(audit.head.series, complete, audit.head.series - complete),
        checked=audit.checked,
        sound=len(audit.right),
        owed=0,
        bytes_checked=audit.bytes_checked,
        seconds=time.monotonic() - started,
        instances=InstanceCounts(
            selected=len(audit.expected),
            reused=len(audit.right),
            failed=len(audit.expected) - len(audit.right),
        ),
        problems=audit.problems(),
        against=str(lock),
        notes=tuple(unproven(audit.head.weaker)),
    )


def _begin(folder: Path, lock: Path) -> _Audit:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    expected: dict[bytes, tuple[SeriesUid, LockedInstance]] = {}
    with open_lock(lock) as (head, groups):
        for series, instances in groups:
            expected |= {_identity(instance): (series.series_uid, instance) for instance in instances}
    by_uid = {locked.name: identity for identity, (_, locked) in expected.items()}
    plain = (locked.size_bytes for _, locked in expected.values() if locked.key and is_plain_file(locked.key))
    return _Audit(str(folder.resolve()), head, expected, by_uid, frozenset(size for size in plain if size is not None))


def _identity(locked: LockedInstance) -> bytes:
    """What identifies the file of an instance: its strongest checksum, else its name."""
    return locked.sha256 or locked.md5 or locked.name.encode()


async def _batches(folder: Path, stop: asyncio.Event) -> AsyncIterator[list[Found]]:
    files = walk(folder)
    while not stop.is_set():
        batch = await asyncio.to_thread(lambda: list(islice(files, _BATCH)))
        if not batch:
            return
        yield [found for found in batch if found.kind in {FoundKind.FILE, FoundKind.UNREADABLE}]


def _read_all(folder: Path, batch: list[Found], audit: _Audit) -> list[tuple[Found, Sequence[bytes], str | None]]:
    """The DICOM files of a batch, each with its checksums and, if none is known, its SOP Instance UID."""
    results: list[tuple[Found, Sequence[bytes], str | None]] = []
    for found in batch:
        path = folder / found.path
        try:
            digests = _digests(path, found, audit) if found.kind is FoundKind.FILE else ()
        except OSError:
            results.append((found, (), None))
            continue
        if digests:
            is_known = not audit.expected.keys().isdisjoint(digests)
            results.append((found, digests, None if is_known else _sop_uid(path)))
        elif found.kind is not FoundKind.FILE:
            results.append((found, (), None))
    return results


def _digests(path: Path, found: Found, audit: _Audit) -> Sequence[bytes]:
    """The SHA-256 of a DICOM file, and its MD5 on request; empty for another file, unless the lock has it."""
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD_BYTES)
        is_instance = is_dicom(head) and path.name.upper() != "DICOMDIR"
        if not is_instance and found.size_bytes not in audit.plain_sizes:
            return ()
        hashings = [hashlib.sha256(head), *([hashlib.md5(head, usedforsecurity=False)] if audit.reads_md5 else [])]
        while chunk := file.read(_READ_BYTES):
            for hashing in hashings:
                hashing.update(chunk)
    digests = tuple(hashing.digest() for hashing in hashings)
    return digests if is_instance or not audit.expected.keys().isdisjoint(digests) else ()


def _sop_uid(path: Path) -> str | None:
    try:
        return read_header(path).sop_uid
    except InstanceError:
        return None
