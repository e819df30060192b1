"""Scan the served folders: read new and changed files, choose one file per instance, and arrange them by Series.

A scan is one transaction, so queries that run meanwhile see the catalogue as it was before.
"""

import hashlib
import io
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.catalogue.arrangement import Arrangement
from bulkdl.server.catalogue.files import (
    FileFacts,
    FoundFile,
    Root,
    find_files,
    head_number,
    open_unlinked,
    read_facts,
    to_json,
)
from bulkdl.server.catalogue.reports import Conflict, Contradiction, ScanReport, Totals, Unservable

_MAX_LISTED: Final = 100_000
_MAX_CACHED_HEADS: Final = 1_000
_PROGRESS_EVERY: Final = 500
_VALUES: Final = attrgetter("series_uid", "sop_uid", "instance_number", "acquisition_number", "md5", "is_numbered")


@dataclass(frozen=True, slots=True)
class _Claimant:
    """A file of an instance that has several; `place` is the file itself, if `path` is a link."""

    id: int
    path: Path
    place: Path
    md5: bytes
    is_valid: int | None


def scan_folders(
    database: sqlite3.Connection,
    roots: Sequence[Root],
    *,
    collection: str | None,
    progress: Callable[[int], None] | None,
) -> ScanReport:
    """Bring the catalogue up to date with the folders, within a transaction: see `Catalogue.scan`."""
    for root in roots:
        if not root.path.is_dir():
            raise ConfigurationError(f"{root.path} is not a folder")
    absolute = [replace(root, path=root.path.resolve()) for root in roots]
    scan = _Scan(database, absolute)
    scan.read_files(progress or (lambda _files: None))
    is_changed = scan.update_roots(collection)
    losers = scan.choose_files()
    if is_changed:
        Arrangement(database, absolute, collection).rebuild(losers)
    return scan.report()


class _Scan:
    """The state of one scan."""

    def __init__(self, database: sqlite3.Connection, roots: Sequence[Root]) -> None:
        self._database = database
        self._roots = roots
        self._number = database.execute("SELECT coalesce(max(scan), 0) + 1 FROM file").fetchone()[0]
        self._heads: dict[str, int] = {}
        self._conflicts: list[Conflict] = []
        self._seen = self._unchanged = self._read = self._removed = self._duplicates = 0

    def read_files(self, progress: Callable[[int], None]) -> None:
        for ordinal, root in enumerate(self._roots):
            for found in find_files(root, self._known_head):
                self._enter(ordinal, found)
                if self._seen % _PROGRESS_EVERY == 0:
                    progress(self._seen)
        gone = self._database.execute("DELETE FROM file WHERE scan <> ?", (self._number,))
        self._removed = gone.rowcount
        progress(self._seen)

    def update_roots(self, collection: str | None) -> bool:
        """Store the roots. Returns whether they, or any file, have changed since the catalogue was arranged."""
        roots = [
            {
                "path": os.fsencode(r.path).hex(),
                "collection": r.collection,
                "about": to_json(asdict(r.about)),
                "described": {name: to_json(asdict(about)) for name, about in r.described().items()},
            }
            for r in self._roots
        ]
        fingerprint = json.dumps([collection, roots], sort_keys=True)
        before = self._database.execute("SELECT value FROM meta WHERE name = 'roots'").fetchone()
        self._database.execute("INSERT OR REPLACE INTO meta VALUES ('roots', ?)", (fingerprint,))
        return bool(self._read or self._removed or before != (fingerprint,))

    def choose_files(self) -> list[int]:
        """Choose among the files of each instance. Returns the ids of those that are not served.

        If their bytes differ, a file that passes structure validation takes precedence, then the first by root and
        path. MD5s and validation results are kept for the next time.
        """
        losers: list[int] = []
        for series_uid, sop_uid in self._database.execute(
            "SELECT series_uid, sop_uid FROM file WHERE reason IS NULL GROUP BY series_uid, sop_uid HAVING count(*) > 1"
        ).fetchall():
            claimants = _claimants(self._database, series_uid, sop_uid)
            is_conflict = len({claimant.md5 for claimant in claimants}) > 1
            valid = [one for one in claimants if _is_valid(self._database, one)] if is_conflict else []
            chosen = (valid or claimants)[0]
            others = tuple(other.path for other in claimants if other.md5 != chosen.md5)
            losers += (other.id for other in claimants if other is not chosen)
            self._duplicates += len(claimants) - 1 - len(others)
            if is_conflict:
                why = "valid" if 0 < len(valid) < len(claimants) else "first"
                self._conflicts.append(Conflict(series_uid, sop_uid, chosen.path, others, why))
        return losers

    def report(self) -> ScanReport:
        reasons: Counter[str] = Counter()
        listed: list[Unservable] = []
        for raw, reason in self._database.execute(
            "SELECT path, reason FROM file WHERE reason IS NOT NULL ORDER BY root, path"
        ):
            unservable = Unservable(Path(os.fsdecode(raw)), reason)
            reasons[unservable.kind] += 1
            if len(listed) < _MAX_LISTED:
                listed.append(unservable)
        stored = dict(self._database.execute("SELECT name, value FROM meta"))
        return ScanReport(
            totals=Totals(**json.loads(stored.get("totals", "{}"))),
            files=self._seen,
            unchanged=self._unchanged,
            read=self._read,
            removed=self._removed,
            duplicates=self._duplicates,
            conflicts=tuple(self._conflicts),
            contradictions=tuple(
                Contradiction(series_uid, field, Path(chosen), Path(other))
                for series_uid, field, chosen, other in json.loads(stored.get("contradictions", "[]"))
            ),
            unservable=tuple(listed),
            unservable_by_reason=dict(reasons.most_common()),
        )

    def _known_head(self, path: Path, size_bytes: int, mtime_ns: int) -> str | None:
        found = self._database.execute(
            "SELECT head.record FROM file JOIN head ON head.id = head_id WHERE path = ? AND size_bytes = ? "
            "AND mtime_ns = ? AND reason IS NULL",
            (os.fsencode(path), size_bytes, mtime_ns),
        ).fetchone()
        return None if found is None else str(found[0])

    def _enter(self, ordinal: int, found: FoundFile) -> None:
        path = os.fsencode(found.path)
        known = self._database.execute(
            "SELECT id, scan, target, size_bytes, mtime_ns, reason, head_id FROM file WHERE path = ?", (path,)
        ).fetchone()
        if known and known[1] == self._number:
            return  # an earlier root holds it
        self._seen += 1
        facts, reason = found.facts, found.reason
        is_unchanged = known and self._is_unchanged(found, known[2:])
        if not is_unchanged and facts is None and reason is None:
            try:
                facts = read_facts(found.target or found.path)
            except InvalidInstance as error:
                reason = str(error)
                is_unchanged = known and (found.size_bytes, found.mtime_ns, reason) == known[3:6]
        if is_unchanged:
            self._unchanged += 1
            self._database.execute("UPDATE file SET scan = ?, root = ? WHERE id = ?", (self._number, ordinal, known[0]))
        else:
            self._read += 1
            self._write(ordinal, found, facts, reason)

    def _is_unchanged(self, found: FoundFile, known: Sequence[Any]) -> bool:
        target, size_bytes, mtime_ns, reason, head_id = known
        if (target, size_bytes, mtime_ns) != (_raw(found.target), found.size_bytes, found.mtime_ns):
            return False
        if found.facts is not None:
            return reason is None and head_id == self._head_id(found.facts.head)
        if found.reason is not None:
            return bool(reason == found.reason)
        return reason is None or not reason.startswith("not readable")  # new permissions do not change size and time

    def _write(self, ordinal: int, found: FoundFile, facts: FileFacts | None, reason: str | None) -> None:
        values = (*(None,) * 6, 0) if facts is None else (self._head_id(facts.head), *_VALUES(facts))
        place = _raw(found.path), _raw(found.target)
        self._database.execute(
            "INSERT OR REPLACE INTO file (path, target, root, scan, size_bytes, mtime_ns, reason, head_id, series_uid, "
            "sop_uid, instance_number, acquisition_number, md5, is_numbered) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*place, ordinal, self._number, found.size_bytes, found.mtime_ns, reason, *values),
        )

    def _head_id(self, head: str) -> int:
        if (found := self._heads.get(head)) is not None:
            return found
        found = head_number(self._database, head)
        if len(self._heads) >= _MAX_CACHED_HEADS:  # the instances of a Series are found together
            self._heads.clear()
        self._heads[head] = found
        return found


def _raw(path: Path | None) -> bytes | None:
    return None if path is None else os.fsencode(path)


def md5_of(file: io.FileIO) -> bytes:
    """The MD5 of the bytes of an open file."""
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()


def _claimants(database: sqlite3.Connection, series_uid: str, sop_uid: str) -> list[_Claimant]:
    rows = database.execute(
        "SELECT id, path, coalesce(target, path), md5, valid FROM file WHERE series_uid = ? AND sop_uid = ? "
        "AND reason IS NULL ORDER BY root, path",
        (series_uid, sop_uid),
    ).fetchall()
    found = []
    for number, path, target, md5, is_valid in rows:
        place = Path(os.fsdecode(target))
        if md5 is None:
            try:
                with open_unlinked(place) as file:
                    md5 = md5_of(file)  # noqa: PLW2901 - the same value, now that it is needed
            except OSError:
                md5 = b""  # noqa: PLW2901 - the file has just been deleted; the next scan removes it
            else:
                database.execute("UPDATE file SET md5 = ? WHERE id = ?", (md5, number))
        found.append(_Claimant(number, Path(os.fsdecode(path)), place, md5, is_valid))
    return found


def _is_valid(database: sqlite3.Connection, claimant: _Claimant) -> bool:
    if claimant.is_valid is not None:
        return bool(claimant.is_valid)
    from bulkdl.dicom.validation import validate  # noqa: PLC0415 - conflicts are rare, and pydicom is slow to import

    try:
        validate(claimant.place, level=ValidationLevel.STRUCTURE)
    except InvalidInstance:
        is_valid = False
    else:
        is_valid = True
    database.execute("UPDATE file SET valid = ? WHERE id = ?", (is_valid, claimant.id))
    return is_valid
