"""`verify --against`: any folder against a lock file. Reads every DICOM file below the folder, and changes nothing.

A file whose SHA-256 is in the lock is right, whatever its name. Another DICOM file is identified by its header. The
UIDs and checksums of the lock are in memory: some 400 bytes for each instance.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Container
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from bulkdl.dicom.header import read_header
from bulkdl.errors import ConfigurationError, InstanceError
from bulkdl.manifest.locked import LockedInstance, LockHead
from bulkdl.model.events import RunContext, Verifying
from bulkdl.model.ids import SeriesUid
from bulkdl.model.preamble import HEAD_BYTES, is_dicom
from bulkdl.model.reports import InstanceCounts, Problem, ProblemKind, SeriesCounts, VerifyReport
from bulkdl.model.text import storable
from bulkdl.runtime.tasks import run_pool
from bulkdl.store.walking import Found, FoundKind, walk
from bulkdl.verbs.locking import open_lock

_AT_ONCE: Final = 4
_BATCH: Final = 64
_READ_BYTES: Final = 1 << 20


@dataclass(slots=True)
class _Audit:
    """What is expected, and what was found so far."""

    folder: str
    head: LockHead
    expected: dict[bytes, tuple[SeriesUid, LockedInstance]]
    by_uid: dict[str, bytes]
    right: set[bytes] = field(default_factory=set)
    wrong: dict[str, Problem] = field(default_factory=dict)  # by SOP Instance UID
    others: list[Problem] = field(default_factory=list)
    checked: int = 0
    bytes_checked: int = 0

    def take(self, found: Found, digest: bytes | None, sop_uid: str | None) -> None:
        """Judge one file. `digest` is None where it cannot be read; `sop_uid` where its header cannot."""
        path = storable(found.path)
        self.checked += 1
        self.bytes_checked += found.size_bytes
        locked = self.expected.get(self.by_uid.get(sop_uid or "", b""))
        if digest is None:
            self.others.append(Problem(path, ProblemKind.UNREADABLE))
        elif digest in self.expected:
            self.right.add(digest)
        elif locked is None:
            kind = ProblemKind.FOREIGN if sop_uid is not None else ProblemKind.UNREADABLE
            self.others.append(Problem(path, kind, sop_uid))
        else:
            kind = ProblemKind.TRUNCATED if found.size_bytes < locked[1].size_bytes else ProblemKind.ALTERED
            self.wrong[locked[1].sop_uid] = Problem(path, kind, sop_uid)

    def problems(self) -> tuple[Problem, ...]:
        """All problems, by path. One that has a right copy elsewhere in the folder is foreign."""
        problems = list(self.others)
        for digest, (series_uid, locked) in self.expected.items():
            wrong = self.wrong.get(locked.sop_uid)
            if digest in self.right:
                problems += [Problem(wrong.path, ProblemKind.FOREIGN, locked.sop_uid)] if wrong else []
            else:
                place = f"{series_uid}/{locked.sop_uid}.dcm"
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
        for found, digest, sop_uid in await asyncio.to_thread(_read_all, folder, batch, audit.expected.keys()):
            audit.take(found, digest, sop_uid)
        wrong = len(audit.wrong) + len(audit.others)
        context.sink(Verifying(audit.checked, audit.head.instances, audit.bytes_checked, wrong))

    await run_pool(_batches(folder, context.stop), read, workers=min(_AT_ONCE, os.cpu_count() or 1), name="audit")
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
    )


def _begin(folder: Path, lock: Path) -> _Audit:
    if not folder.is_dir():
        raise ConfigurationError(f"{folder} is not a folder")
    expected: dict[bytes, tuple[SeriesUid, LockedInstance]] = {}
    with open_lock(lock) as (head, groups):
        for series, instances in groups:
            expected |= {instance.sha256: (series.series_uid, instance) for instance in instances}
    return _Audit(
        str(folder.resolve()), head, expected, {locked.sop_uid: digest for digest, (_, locked) in expected.items()}
    )


async def _batches(folder: Path, stop: asyncio.Event) -> AsyncIterator[list[Found]]:
    files = walk(folder)
    while not stop.is_set():
        batch = await asyncio.to_thread(lambda: list(islice(files, _BATCH)))
        if not batch:
            return
        yield [found for found in batch if found.kind in {FoundKind.FILE, FoundKind.UNREADABLE}]


def _read_all(
    folder: Path, batch: list[Found], known: Container[bytes]
) -> list[tuple[Found, bytes | None, str | None]]:
    """The DICOM files of a batch, each with its SHA-256 and, if that is not `known`, its SOP Instance UID."""
    results: list[tuple[Found, bytes | None, str | None]] = []
    for found in batch:
        path = folder / found.path
        try:
            digest = _sha256(path) if found.kind is FoundKind.FILE else None
        except OSError:
            results.append((found, None, None))
            continue
        if digest is not None:
            results.append((found, digest, None if digest in known else _sop_uid(path)))
        elif found.kind is not FoundKind.FILE:
            results.append((found, None, None))
    return results


def _sha256(path: Path) -> bytes | None:
    """The SHA-256 of a DICOM file; None for another file."""
    with path.open("rb", buffering=0) as file:
        head = file.read(HEAD_BYTES)
        if not is_dicom(head) or path.name.upper() == "DICOMDIR":
            return None
        hashing = hashlib.sha256(head)
        while chunk := file.read(_READ_BYTES):
            hashing.update(chunk)
    return hashing.digest()


def _sop_uid(path: Path) -> str | None:
    try:
        return read_header(path).sop_uid
    except InstanceError:
        return None
