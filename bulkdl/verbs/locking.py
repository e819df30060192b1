"""Lock files and mirrors: write a lock of what a mirror holds, and hold a mirror to a lock.

A mirror keeps a copy of each lock that it was made from in `.bulkdl/locks/`. At the end of a run every instance of the
lock is compared with the journal, which has the SHA-256 of each file that was downloaded. An instance with other bytes
moves to quarantine: it is not in the mirror.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from bulkdl.archive.base import Archive
from bulkdl.errors import (
    Damaged,
    InstanceError,
    JournalUnreadable,
    LockedInstanceError,
    ManifestError,
    NotFound,
    Replaced,
    RequestFailed,
    Withdrawn,
)
from bulkdl.fetch.lost_files import move_away
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, Run, SeriesRow
from bulkdl.manifest.base import Remarks, lines
from bulkdl.manifest.locked import MAGIC, LockedGroup, LockedInstance, LockedSeries, LockHead, lock_lines, read_lock
from bulkdl.model.access import DEMO
from bulkdl.model.ids import SeriesUid, is_uid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import InstanceKey
from bulkdl.model.reports import Failure, ManifestWritten
from bulkdl.runtime.disk import LOCK_FILES, disk_errors, write_new
from bulkdl.verbs.common import OpenMirror, require_mirror
from bulkdl.verbs.select import read_content
from bulkdl.verbs.signatures import Paths

_PAGE: Final = 1_000
_FAILURES: Final = 1_000_000


def manifest_lock(mirror: Paths, file: TextIO) -> ManifestWritten:
    """Write a lock of what a mirror holds to `file`: each instance with its size and checksums. Blocking.

    Raises:
        ManifestError: `mirror` is a manifest: the checksums are those of files.
        JournalError: there is no mirror, or its journal cannot be read.
    """
    if Path(mirror).is_file():
        message = "a lock has the checksums of files: mirror this manifest first, then lock the mirror"
        raise ManifestError(message, source=str(mirror))
    with Journal.open_readonly(require_mirror(Path(mirror))) as journal, journal.snapshot():
        last = journal.last_run()
        names = (DEMO,) if last and last.archive_name == DEMO else (last.archive_name, last.archive_url) if last else ()
        uids = sorted(row.series.series_uid for row in _held_series(journal))
        if not uids:
            raise JournalUnreadable(f"{mirror} holds no instance that could be locked")
        counted = _Counts()
        now = datetime.now(UTC).isoformat(timespec="seconds")
        archive = " ".join(dict.fromkeys(names))
        release = journal.last_catalogue() or ""
        groups = partial(_groups_of, journal, uids, counted)
        file.writelines(lock_lines(groups, archive=archive, date=now, release=release))
    left_out = counted.left_out // 2  # they are read twice
    notes = (f"{left_out:,} files are left out: their SOP Instance UID or SHA-256 is not in the journal",)
    return ManifestWritten(
        format="lock", series=len(uids), instances=counted.instances // 2, notes=notes if left_out else ()
    )


@dataclass(slots=True)
class _Counts:
    instances: int = 0
    left_out: int = 0


def _held_series(journal: Journal) -> Iterator[SeriesRow]:
    after = 0
    while page := journal.series(after=after, limit=_PAGE):
        after = page[-1].id
        yield from (row for row in page if row.held)


def _groups_of(journal: Journal, uids: Sequence[SeriesUid], counted: _Counts) -> Iterator[LockedGroup]:
    for uid in uids:
        if (row := journal.find_series(uid)) is None:
            continue
        instances = []
        for held in held_of(row, journal):
            if held.sha256 is None or not is_uid(held.sop_uid):
                counted.left_out += 1
                continue
            key = held.entry.key if held.entry.key != held.sop_uid else None
            syntax = held.transfer_syntax_uid
            instances.append(LockedInstance(held.sop_uid, held.size_bytes, held.md5, held.sha256, syntax, key))
        counted.instances += len(instances)
        of = row.series
        yield (
            LockedSeries(
                of.series_uid,
                *(of.study_uid or "", of.patient_id, of.collection, of.modality or ""),
                *(of.license_name or "", of.license_uri or "", of.collection_uri or ""),
                of.released.isoformat() if of.released else "",
            ),
            instances,
        )


def held_of(row: SeriesRow, journal: Journal) -> Iterator[HeldInstance]:
    """The files of a Series, by SOP Instance UID."""
    after: tuple[int, str] = (row.id, "")
    left = row.held
    while left > 0 and (page := journal.held(after=after, limit=min(left, _PAGE))):
        here = [held for held in page if held.series_id == row.id]
        yield from here
        left -= len(page)
        after = (row.id, page[-1].sop_uid)


def is_lock(path: Paths) -> bool:
    """Whether a file begins as a lock does. Raises ManifestError: it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC.encode()
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=str(path)) from error


@contextmanager
def open_lock(path: Path) -> Iterator[tuple[LockHead, Iterator[LockedGroup]]]:
    """A lock file while it is read, Series by Series. Raises ManifestError, also while it is read."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            yield read_lock(file, Remarks(str(path)))
    except OSError as error:
        raise ManifestError(f"cannot be read: {error.strerror or error}", source=str(path)) from error
    except UnicodeDecodeError as error:
        raise ManifestError("this is not a lock file: it is not UTF-8", source=str(path)) from error


def keep_locks(root: Path, locks: Iterable[str | bytes], *, private: bool) -> tuple[Path, ...]:
    """Keep copies of lock files, given by path or as content, in a mirror, named by their digests. Blocking."""
    kept = []
    for lock in locks:
        content = lock if isinstance(lock, bytes) else read_content(lock)
        head, _ = read_lock(lines(content.decode()), Remarks("the lock"))
        place = root / LOCK_FILES / f"{head.sha256}.lock"
        with disk_errors("write", place):
            place.parent.mkdir(mode=0o700 if private else 0o777, exist_ok=True)
            write_new(place, content, private=private)
        kept.append(place)
    return tuple(kept)


def kept_locks(root: Path) -> tuple[Path, ...]:
    """The lock files that a mirror was made from. Blocking."""
    return tuple(sorted((root / LOCK_FILES).glob("*.lock")))


def judge(locked: LockedInstance, held: HeldInstance, archive_md5: bytes | None) -> LockedInstanceError:
    """Why a file is not the locked one, whose SHA-256 is another: `Replaced` or `Damaged`.

    `archive_md5` is the MD5 that the archive states now. The bytes themselves cannot say it: a new version that has
    the same size and form counts as damaged, unless its place at the archive is another one.
    """
    if archive_md5 is not None and archive_md5 == locked.md5:
        return Damaged("the archive's own MD5 is still that of the lock, and its bytes are not")
    if held.entry.key != (locked.key or locked.sop_uid) and locked.key is not None and "/" in held.entry.key:
        return Replaced("the archive has it under another key now")
    if held.size_bytes != locked.size_bytes:
        return Replaced(f"{locked.size_bytes:,} bytes in the lock, {held.size_bytes:,} now")
    if locked.transfer_syntax_uid and held.transfer_syntax_uid != locked.transfer_syntax_uid:
        return Replaced("it has another transfer syntax now")
    return Damaged("its size is that of the lock, and its bytes are not")


@dataclass(slots=True)
class LockFindings:
    """How a mirror differs from a lock, beside what the journal records: failures of instances without a row there.

    `fetched` counts files that this run downloaded and that are in quarantine now. `others` are files that the lock
    does not have.
    """

    failures: list[Failure] = field(default_factory=list)
    fetched: int = 0
    others: int = 0


@dataclass(slots=True)
class LockHolder:
    """Compares a mirror with lock files at the end of a run."""

    mirror: OpenMirror
    run: Run
    client: Archive

    async def hold_to(self, locks: Sequence[Path]) -> LockFindings:
        """Move every file that is not the locked one to quarantine, and record why it is not in the mirror."""
        findings = LockFindings()
        with await asyncio.to_thread(Journal.open_readonly, self.mirror.files.journal_path) as journal:
            failures = await asyncio.to_thread(journal.failures, self.run, limit=_FAILURES)
            by_instance = {(each.series, each.instance): each for each in failures}
            for path in locks:
                with open_lock(path) as (_, groups):
                    while (group := await asyncio.to_thread(next, groups, None)) is not None:
                        await self._compare(group, journal, by_instance, findings)
        return findings

    async def _compare(
        self,
        group: LockedGroup,
        journal: Journal,
        failures: dict[tuple[str, str | None], Failure],
        findings: LockFindings,
    ) -> None:
        series, instances = group
        row = await asyncio.to_thread(journal.find_series, series.series_uid)
        whole = failures.get((series.series_uid, None))
        if row is None or (whole is not None and whole.error == NotFound.code and not row.held):
            await self._withdraw(series, instances, row)
            return
        held = {each.sop_uid: each for each in await asyncio.to_thread(lambda: list(held_of(row, journal)))}
        absent = [locked for locked in instances if locked.sop_uid not in held]
        listed = await self._listed(row) if absent else None
        for locked in absent:
            failure = failures.get((series.series_uid, locked.sop_uid))
            await self._explain(series, locked, failure, listed, findings)
        for locked in instances:
            here = held.pop(locked.sop_uid, None)
            if here is not None and here.sha256 != locked.sha256:
                await self._set_aside(locked, here, journal, findings)
        findings.others += len(held)

    async def _listed(self, row: SeriesRow) -> frozenset[str] | None:
        """The UIDs and the keys that the archive lists now; None if it does not answer."""
        try:
            listing = await self.client.list(row.series)
        except RequestFailed:
            return None
        return frozenset(name for entry in listing.entries for name in (entry.sop_uid, entry.key) if name)

    async def _withdraw(self, series: LockedSeries, instances: Sequence[LockedInstance], row: SeriesRow | None) -> None:
        message = f"withdrawn: the archive does not have this series and its {len(instances):,} instances any more"
        if row is not None:
            await self.mirror.journal(
                Journal.record_series_failure,
                self.run,
                series.series_uid,
                error=Withdrawn.code,
                message=message,
                attempts=1,
            )

    async def _explain(
        self,
        series: LockedSeries,
        locked: LockedInstance,
        failure: Failure | None,
        listed: frozenset[str] | None,
        findings: LockFindings,
    ) -> None:
        """Say of an instance that is not in the mirror whether it was withdrawn or is damaged, if that is known."""
        is_absent = listed is not None and listed.isdisjoint({locked.sop_uid, locked.key or locked.sop_uid})
        if is_absent and failure is None:
            findings.failures.append(Failure(series.series_uid, locked.sop_uid, Withdrawn.code, _WITHDRAWN, 1))
        elif is_absent:
            await self._record(_outcome(series.series_uid, locked, Outcome.FAILED, (Withdrawn.code, _WITHDRAWN)))
        elif failure is not None and failure.error in _INVALID:
            message = failure.message.removeprefix(f"{Damaged.code}: ")
            reason = Damaged.code, f"{Damaged.code}: {message}"
            await self._record(_outcome(series.series_uid, locked, Outcome.QUARANTINED, reason))

    async def _set_aside(
        self, locked: LockedInstance, held: HeldInstance, journal: Journal, findings: LockFindings
    ) -> None:
        md5 = held.entry.md5
        if md5 is None and locked.md5 is not None and self.client.capabilities.checksums:
            try:
                md5 = await self.client.checksum(held.series_uid, held.entry)
            except RequestFailed:
                md5 = None
        error = judge(locked, held, md5)
        message = f"{error.code}: {error}"
        key = InstanceKey(held.series_uid, held.sop_uid)
        place = await asyncio.to_thread(journal.find_held, key)
        findings.fetched += place is not None and place.run_id == self.run.id
        await asyncio.to_thread(move_away, self.mirror.files, held.path, held.sop_uid, message)
        await self.mirror.journal(Journal.owe, self.run, [key])
        reason = error.code, message
        await self._record(_outcome(held.series_uid, locked, Outcome.QUARANTINED, reason, held.entry.key))

    async def _record(self, outcome: InstanceOutcome) -> None:
        await self.mirror.journal(Journal.record_outcomes, self.run, [outcome])


_WITHDRAWN: Final = "withdrawn: the archive does not list this instance of the lock any more"
_INVALID: Final = frozenset(kind.code for kind in InstanceError.__subclasses__())


def _outcome(
    series_uid: SeriesUid, locked: LockedInstance, outcome: Outcome, reason: tuple[str, str], key: str | None = None
) -> InstanceOutcome:
    error, message = reason
    return InstanceOutcome(
        series_uid=series_uid,
        key=key or locked.sop_uid,
        sop_uid=locked.sop_uid,
        outcome=outcome,
        attempts=1,
        error=error,
        message=message,
    )
