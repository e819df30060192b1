"""Hold a mirror to lock files: whether each file is the locked one, and what became of those that are not.

At the end of a run every instance of a lock is compared with the journal, which has the SHA-256 of each file that was
downloaded, by the strongest proof that the lock has. An instance with other bytes moves to quarantine: it is not in the
mirror.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bulkdl.archive.base import Archive
from bulkdl.errors import (
    Damaged,
    InstanceError,
    LockedInstanceError,
    NotFound,
    Replaced,
    RequestFailed,
    Withdrawn,
)
from bulkdl.fetch.lost_files import move_away
from bulkdl.fetch.md5s import with_md5s
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance, Run, SeriesRow
from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, Proof
from bulkdl.model.formatting import counted
from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import InstanceKey, Series
from bulkdl.model.reports.base import Failure
from bulkdl.store.files import MirrorFiles
from bulkdl.verbs.locks.files import open_lock
from bulkdl.verbs.mirrors.open_mirror import OpenMirror

_FAILURES: Final = 1_000_000


def judge(locked: LockedInstance, held: HeldInstance, archive_md5: bytes | None) -> LockedInstanceError:
    """Why a file is not the locked one, of which the lock proves other bytes: `Replaced` or `Damaged`.

    `archive_md5` is the MD5 that the archive states now. The bytes themselves cannot say it: a new version that has
    the same size and form counts as damaged, unless its place at the archive is another one.
    """
    if archive_md5 is not None and archive_md5 == locked.md5:
        return Damaged("the archive's own MD5 is still that of the lock, and its bytes are not")
    if locked.key is not None and held.entry.key != locked.key and "/" in held.entry.key:
        return Replaced("the archive has it under another key now")
    if locked.size_bytes is not None and held.size_bytes != locked.size_bytes:
        return Replaced(f"{locked.size_bytes:,} bytes in the lock, {held.size_bytes:,} now")
    if locked.transfer_syntax_uid and held.transfer_syntax_uid != locked.transfer_syntax_uid:
        return Replaced("it has another transfer syntax now")
    return Damaged("its size is that of the lock, and its bytes are not")


def pair(
    instances: Sequence[LockedInstance], held: Sequence[HeldInstance]
) -> Iterator[tuple[LockedInstance, HeldInstance | None]]:
    """Each instance of a lock with its file: by the SOP Instance UID; without one by the key, else by a checksum.

    `held` have their MD5, if a lock without UIDs is compared. A file belongs to one instance.
    """
    left = {each.sop_uid: each for each in held}
    unnamed = []
    for locked in instances:
        if locked.sop_uid is not None:
            yield locked, left.pop(locked.sop_uid, None)
        else:
            unnamed.append(locked)
    by_key = {each.entry.key: each for each in left.values()}
    found = [(locked, by_key.get(locked.key or "")) for locked in unnamed]
    for file in filter(None, (one for _, one in found)):
        left.pop(file.sop_uid, None)
    by_digest = {digest: each for each in left.values() for digest in (each.md5, each.sha256) if digest is not None}
    for locked, file_by_key in found:
        digest = locked.sha256 or locked.md5
        yield locked, file_by_key or (by_digest.pop(digest, None) if digest is not None else None)


def is_same(locked: LockedInstance, held: HeldInstance) -> bool:
    """Whether a file is the locked one, by the strongest proof of the lock. `held` has its MD5, if that is it."""
    match locked.proof:
        case Proof.SHA256:
            return held.sha256 == locked.sha256
        case Proof.MD5:
            return held.md5 == locked.md5
        case Proof.SIZE:
            return held.size_bytes == locked.size_bytes
    return True


@dataclass(frozen=True, slots=True)
class ListedNow:
    """The SOP Instance UIDs and the other keys that an archive lists; `is_held`: the mirror has a file for each."""

    uids: frozenset[str]
    keys: frozenset[str]
    is_held: bool

    def lacks(self, locked: LockedInstance) -> bool:
        """Whether an instance of the lock that is not in the mirror is not at the archive."""
        if self.is_held:
            return True
        if locked.key is not None and self.keys:
            return locked.key not in self.keys and locked.sop_uid not in self.uids
        return bool(self.uids) and locked.sop_uid is not None and locked.sop_uid not in self.uids


@dataclass(slots=True)
class LockFindings:
    """How a mirror differs from a lock, beside what the journal records: failures of instances without a row there.

    `fetched` counts files that this run downloaded and that are in quarantine now. `others` are files that the lock
    does not have. `proofs` counts the files that are those of the lock, by what proves it.
    """

    failures: list[Failure] = field(default_factory=list)
    fetched: int = 0
    others: int = 0
    proofs: Counter[Proof] = field(default_factory=Counter)

    def notes(self) -> Iterator[str]:
        """What to tell the user."""
        if self.others:
            yield f"{counted(self.others, 'instance')} of these series are not in the lock"
        if self.proofs:
            yield f"held to the lock: {_counts_of(self.proofs)}"


def unproven(weaker: Mapping[Proof, int]) -> Iterator[str]:
    """What to tell the user of a lock that has no SHA-256 of some instances."""
    if weaker:
        parts = (f"{_KNOWN[proof]} of {weaker[proof]:,}" for proof in _KNOWN if weaker.get(proof))
        yield f"the lock has no SHA-256 of {counted(sum(weaker.values()), 'instance')}: it has {', '.join(parts)}"


_PROVED: Final[Mapping[Proof, str]] = {
    Proof.SHA256: "by SHA-256",
    Proof.MD5: "by MD5",
    Proof.SIZE: "by size alone",
    Proof.UID: "by UID alone, which proves no bytes",
}
_KNOWN: Final[Mapping[Proof, str]] = {
    Proof.MD5: "the MD5",
    Proof.SIZE: "only the size",
    Proof.UID: "only the UID, which proves no bytes,",
}


def _counts_of(proofs: Mapping[Proof, int]) -> str:
    return ", ".join(f"{counted(proofs[each], 'instance')} {_PROVED[each]}" for each in Proof if proofs.get(each))


@dataclass(slots=True)
class LockHolder:
    """Compares a mirror with lock files at the end of a run. `may_list` tells which Series may be listed for that."""

    mirror: OpenMirror
    run: Run
    client: Archive
    may_list: Callable[[Series], bool] = lambda _: True

    async def hold_to(self, locks: Sequence[Path]) -> LockFindings:
        """Move every file that is not the locked one to quarantine, and record why it is not in the mirror."""
        findings = LockFindings()
        with await asyncio.to_thread(Journal.open_readonly, self.mirror.files.journal_path) as journal:
            failures = await asyncio.to_thread(journal.failures, self.run, limit=_FAILURES)
            by_instance = {(each.series, each.instance or each.key): each for each in failures}
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
        held = await asyncio.to_thread(_held_with_md5, row, journal, self.mirror.files, instances)
        pairs = list(pair(instances, held))
        absent = [locked for locked, here in pairs if here is None]
        listed = await self._listed(row, len(held)) if absent else None
        for locked in absent:
            failure = failures.get((series.series_uid, locked.name))
            await self._explain(series, locked, failure, listed, findings)
        for locked, here in pairs:
            if here is not None and is_same(locked, here):
                findings.proofs[locked.proof] += 1
            elif here is not None:
                await self._set_aside(locked, here, journal, findings)
        findings.others += len(held) - len(pairs) + len(absent)

    async def _listed(self, row: SeriesRow, held: int) -> ListedNow | None:
        """What the archive lists now; None if it does not answer, or may not be asked."""
        if not self.may_list(row.series):
            return None
        try:
            listing = await self.client.list(row.series)
        except RequestFailed:
            return None
        uids = frozenset(entry.sop_uid for entry in listing.entries if entry.sop_uid is not None)
        keys = frozenset(entry.key for entry in listing.entries if entry.key not in uids)
        return ListedNow(uids, keys, is_held=len(listing.entries) <= held)

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
        listed: ListedNow | None,
        findings: LockFindings,
    ) -> None:
        """Say of an instance that is not in the mirror whether it was withdrawn or is damaged, if that is known."""
        reason = _absence(locked, listed)
        if reason is not None and failure is None:
            findings.failures.append(Failure(series.series_uid, locked.sop_uid, *reason, 1, _key_of(locked)))
        elif reason is not None:
            await self._record(_outcome(series.series_uid, locked, Outcome.FAILED, reason))
        elif failure is not None and failure.error in _INVALID:
            message = failure.message.removeprefix(f"{Damaged.code}: ")
            reason = Damaged.code, f"{Damaged.code}: {message}"
            await self._record(_outcome(series.series_uid, locked, Outcome.QUARANTINED, reason))
        elif failure is None:
            message = "no file of the series has its bytes, and the lock does not have its SOP Instance UID"
            findings.failures.append(
                Failure(series.series_uid, locked.sop_uid, LockedInstanceError.code, message, 1, _key_of(locked))
            )

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
        named = replace(locked, sop_uid=held.sop_uid)
        reason = error.code, message
        await self._record(_outcome(held.series_uid, named, Outcome.QUARANTINED, reason, held.entry.key))

    async def _record(self, outcome: InstanceOutcome) -> None:
        await self.mirror.journal(Journal.record_outcomes, self.run, [outcome])


_WITHDRAWN: Final = "withdrawn: the archive does not list this instance of the lock any more"
_NO_LONGER_THERE: Final = "withdrawn, or replaced: the archive does not list this key of the lock any more"
_NOT_THE_SAME: Final = "no file of the series has the bytes of the lock: it was withdrawn or replaced, or is damaged"
_INVALID: Final = frozenset(kind.code for kind in InstanceError.__subclasses__())


def _absence(locked: LockedInstance, listed: ListedNow | None) -> tuple[str, str] | None:
    """The error and the message for an instance that the archive does not list; None where it may list it."""
    if listed is None or not listed.lacks(locked):
        return None
    if locked.sop_uid is None and not listed.keys:
        return LockedInstanceError.code, _NOT_THE_SAME
    return Withdrawn.code, _WITHDRAWN if locked.sop_uid is not None else _NO_LONGER_THERE


def _key_of(locked: LockedInstance) -> str | None:
    """The key that identifies an instance in a report, where its UID is not known."""
    return locked.key if locked.sop_uid is None else None


def _held_with_md5(
    row: SeriesRow, journal: Journal, files: MirrorFiles, instances: Sequence[LockedInstance]
) -> list[HeldInstance]:
    """The files of a Series; with the MD5 of each, if the lock has none but that. Blocking."""
    held = journal.held_of_series(row.series.series_uid)
    return with_md5s(held, files) if any(locked.proof is Proof.MD5 for locked in instances) else held


def _outcome(
    series_uid: SeriesUid, locked: LockedInstance, outcome: Outcome, reason: tuple[str, str], key: str | None = None
) -> InstanceOutcome:
    error, message = reason
    return InstanceOutcome(
        series_uid=series_uid,
        key=key or locked.name,
        sop_uid=locked.sop_uid,
        outcome=outcome,
        attempts=1,
        error=error,
        message=message,
    )
