"""`manifest_lock`: write a lock of what a mirror holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TextIO

from bulkdl.errors import JournalUnreadable, ManifestError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, Proof, lock_lines
from bulkdl.model.access import DEMOS
from bulkdl.model.ids import SeriesUid, is_uid
from bulkdl.model.records import Series
from bulkdl.model.reports import ManifestWritten
from bulkdl.verbs.common import require_mirror
from bulkdl.verbs.locking import held_of
from bulkdl.verbs.signatures import Paths

_PAGE: Final = 1_000
_AT_ONCE: Final = 64  # Series that are in memory together, with their instances
_LISTS_AT_ONCE: Final = 8
_CHECKSUMS_AT_ONCE: Final = 4  # of each of those Series
_ATTEMPTS_AT_A_CHECKSUM: Final = 3


def manifest_lock(mirror: Paths, file: TextIO) -> ManifestWritten:
    """Write a lock of what a mirror holds to `file`: each instance with its size and checksums. Blocking.

    Raises:
        ManifestError: `mirror` is a manifest: the checksums are those of files.
        JournalError: there is no mirror, or its journal cannot be read.
    """
    if Path(mirror).is_file():
        message = "a lock has the checksums of files: mirror this manifest first, then lock the mirror"
        raise ManifestError(message, source=str(mirror))
    return _lock_mirror(Path(mirror), file)


def _archive_of(name: str, url: str) -> str:
    """The archive as the head of a lock names it. The address of the demonstration is another one each time."""
    return name if name in DEMOS or name == url else f"{name} {url}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _locked_series(series: Series) -> LockedSeries:
    return LockedSeries(
        series.series_uid,
        *(series.study_uid or "", series.patient_id, series.collection, series.modality or ""),
        *(series.license_name or "", series.license_uri or "", series.collection_uri or ""),
        series.released.isoformat() if series.released else "",
    )


def _lock_mirror(root: Path, file: TextIO) -> ManifestWritten:
    with Journal.open_readonly(require_mirror(root)) as journal, journal.snapshot():
        last = journal.last_run()
        archive = _archive_of(last.archive_name, last.archive_url) if last else ""
        uids = sorted(row.series.series_uid for row in _held_series(journal))
        if not uids:
            raise JournalUnreadable(f"{root} holds no instance that could be locked")
        counts = _Counts()
        release = journal.last_catalogue() or ""
        groups = partial(_groups_of, journal, uids, counts)
        file.writelines(lock_lines(groups, archive=archive, date=_now(), release=release))
    left_out, instances = counts.left_out // 2, counts.instances // 2  # they are read twice
    notes = (f"{left_out:,} files are left out: their SOP Instance UID or SHA-256 is not in the journal",)
    return ManifestWritten(
        format="lock",
        series=len(uids),
        instances=instances,
        notes=notes if left_out else (),
        proofs={Proof.SHA256.value: instances},
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


def _groups_of(journal: Journal, uids: Sequence[SeriesUid], counts: _Counts) -> Iterator[LockedGroup]:
    for uid in uids:
        if (row := journal.find_series(uid)) is None:
            continue
        instances = []
        for held in held_of(row, journal):
            if held.sha256 is None or not is_uid(held.sop_uid):
                counts.left_out += 1
                continue
            key = held.entry.key if held.entry.key != held.sop_uid else None
            syntax = held.transfer_syntax_uid
            instances.append(LockedInstance(held.sop_uid, held.size_bytes, held.md5, held.sha256, syntax, key))
        counts.instances += len(instances)
        yield _locked_series(row.series), instances
