"""Folders → catalogue: read what is new or changed, choose one file for each instance, and arrange them by Series.

One transaction, so whoever asks meanwhile sees the catalogue as it was.

The rules. The Collection is CTP's, where the file has it; else the root's; else the top folder below the root; else the
name handed in; else the name of the root's folder. Of several files that claim to be the same instance (Series and SOP
Instance UID) and differ in their bytes, one that passes structure validation goes before one that does not, then the
first by root and path. Values of a Series, a Study and a Patient are those of the first instance in the same order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.catalogue.files import FileFacts, FoundFile, Root, find_files, read_facts, to_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

_LISTED: Final = 1_000
_PROGRESS_EVERY: Final = 500
_READ_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Unservable:
    """A file, or a folder, that cannot be served."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Files that claim to be one instance and differ. `chosen` is served; `why` is `sound` or `first`."""

    series_uid: str
    sop_uid: str
    chosen: Path
    others: tuple[Path, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a catalogue serves."""

    collections: int = 0
    patients: int = 0
    studies: int = 0
    series: int = 0
    instances: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """What a scan found.

    `files` = `unchanged` + `read`; `removed` were there before. `duplicates` are byte for byte the same as a served
    file. `unservable_by_reason` counts all of them, reasons cut at a colon; `unservable` lists the first thousand.
    """

    totals: Totals
    files: int
    unchanged: int
    read: int
    removed: int
    duplicates: int
    conflicts: tuple[Conflict, ...]
    unservable: tuple[Unservable, ...]
    unservable_by_reason: Mapping[str, int]


def scan_folders(
    database: sqlite3.Connection,
    roots: Sequence[Root],
    *,
    collection: str | None,
    progress: Callable[[int], None] | None,
) -> ScanReport:
    """Bring the catalogue up to the folders; what is not below `roots` leaves it.

    Must run within a transaction. `progress` is told the number of files seen so far, every few hundred.

    Raises:
        ConfigurationError: a root is no folder.
        JournalError: the journal of a mirror cannot be used.
    """
    for root in roots:
        if not root.path.is_dir():
            raise ConfigurationError(f"{root.path} is no folder")
    scan = _Scan(database, [_absolute(root) for root in roots], collection)
    scan.take_in(progress or (lambda _files: None))
    is_changed = scan.is_changed()
    conflicts, duplicates, losers = scan.choose()
    if is_changed:
        scan.arrange(losers)
    return scan.report(conflicts, duplicates)


def md5_of(path: Path) -> bytes:
    """The MD5 of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
        return digest.digest()


def _absolute(root: Root) -> Root:
    return Root(Path(os.path.abspath(root.path)), root.collection, root.about, root.only)  # noqa: PTH100 - links stay


class _Scan:
    """One scan, step by step."""

    def __init__(self, database: sqlite3.Connection, roots: Sequence[Root], collection: str | None) -> None:
        self._database = database
        self._roots = roots
        self._collection = collection
        self._number = database.execute("SELECT coalesce(max(scan), 0) + 1 FROM file").fetchone()[0]
        self._heads: dict[str, int] = {}
        self._seen = self._unchanged = self._read = self._removed = 0
        self._numbers = count(1)

    # --- files --------------------------------------------------------------------------------------------------------

    def take_in(self, progress: Callable[[int], None]) -> None:
        """Enter every file; read those that are new or changed; forget those that are gone."""
        for ordinal, root in enumerate(self._roots):
            for candidate in find_files(root):
                self._enter(ordinal, candidate)
                if self._seen % _PROGRESS_EVERY == 0:
                    progress(self._seen)
        gone = self._database.execute("DELETE FROM file WHERE scan <> ?", (self._number,))
        self._removed = gone.rowcount
        progress(self._seen)

    def _enter(self, ordinal: int, candidate: FoundFile) -> None:
        path = os.fsencode(candidate.path)
        known = self._database.execute(
            "SELECT id, scan, size_bytes, mtime_ns, reason, head_id FROM file WHERE path = ?", (path,)
        ).fetchone()
        if known and known[1] == self._number:
            return  # an earlier root holds it
        self._seen += 1
        facts, reason = candidate.facts, candidate.reason
        is_unchanged = known and self._is_unchanged(candidate, known[2:])
        if not is_unchanged and facts is None and reason is None:
            try:
                facts = read_facts(candidate.path)
            except InvalidInstance as error:
                reason = str(error)
                is_unchanged = known and (candidate.size_bytes, candidate.mtime_ns, reason) == known[2:5]
        if is_unchanged:
            self._unchanged += 1
            self._database.execute("UPDATE file SET scan = ?, root = ? WHERE id = ?", (self._number, ordinal, known[0]))
        else:
            self._read += 1
            self._write(path, ordinal, candidate, facts, reason)

    def _is_unchanged(self, candidate: FoundFile, known: Sequence[Any]) -> bool:
        size_bytes, mtime_ns, reason, head_id = known
        if (size_bytes, mtime_ns) != (candidate.size_bytes, candidate.mtime_ns):
            return False
        if candidate.facts is not None:
            return reason is None and head_id == self._head_id(candidate.facts.head)
        if candidate.reason is not None:
            return bool(reason == candidate.reason)
        return reason is None or not reason.startswith("not readable")  # permissions leave no trace in time and size

    def _write(
        self, path: bytes, ordinal: int, candidate: FoundFile, facts: FileFacts | None, reason: str | None
    ) -> None:
        values: tuple[Any, ...] = (None,) * 6
        if facts is not None:
            head_id = self._head_id(facts.head)
            values = (
                *(facts.series_uid, facts.sop_uid, head_id),
                *(facts.instance_number, facts.acquisition_number, facts.md5),
            )
        self._database.execute(
            "INSERT OR REPLACE INTO file (path, root, scan, size_bytes, mtime_ns, reason, series_uid, sop_uid, "
            "head_id, instance_number, acquisition_number, md5) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (path, ordinal, self._number, candidate.size_bytes, candidate.mtime_ns, reason, *values),
        )

    def _head_id(self, head: str) -> int:
        if (found := self._heads.get(head)) is not None:
            return found
        digest = hashlib.blake2b(head.encode(), digest_size=16).digest()
        self._database.execute("INSERT OR IGNORE INTO head (digest, record) VALUES (?, ?)", (digest, head))
        found = int(self._database.execute("SELECT id FROM head WHERE digest = ?", (digest,)).fetchone()[0])
        if len(self._heads) >= _LISTED:  # instances of a Series come together: the latest heads are the likely ones
            self._heads.clear()
        self._heads[head] = found
        return found

    def is_changed(self) -> bool:
        """Whether files, or what is said of the roots, differ from what the catalogue was arranged for."""
        roots = [
            {"path": os.fsencode(r.path).hex(), "collection": r.collection, "about": to_json(asdict(r.about))}
            for r in self._roots
        ]
        fingerprint = json.dumps([self._collection, roots], sort_keys=True)
        before = self._database.execute("SELECT value FROM meta WHERE name = 'roots'").fetchone()
        self._database.execute("INSERT OR REPLACE INTO meta VALUES ('roots', ?)", (fingerprint,))
        return bool(self._read or self._removed or before != (fingerprint,))

    # --- one file for each instance -----------------------------------------------------------------------------------

    def choose(self) -> tuple[list[Conflict], int, list[int]]:
        """Conflicts, the number of files that only repeat another, and the ids of all files that lost."""
        conflicts: list[Conflict] = []
        losers: list[int] = []
        duplicates = 0
        claimed_often = self._database.execute(
            "SELECT series_uid, sop_uid FROM file WHERE reason IS NULL GROUP BY series_uid, sop_uid HAVING count(*) > 1"
        ).fetchall()
        for series_uid, sop_uid in claimed_often:
            rivals = self._rivals(series_uid, sop_uid)
            if len({rival.md5 for rival in rivals}) == 1:
                chosen, why = rivals[0], ""
            else:
                sound = [rival for rival in rivals if self._is_sound(rival)]
                chosen, why = (sound or rivals)[0], "sound" if 0 < len(sound) < len(rivals) else "first"
            others = [rival for rival in rivals if rival.md5 != chosen.md5]
            losers += (rival.id for rival in rivals if rival is not chosen)
            duplicates += len(rivals) - 1 - len(others)
            if others:
                paths = tuple(other.path for other in others)
                conflicts.append(Conflict(series_uid, sop_uid, chosen.path, paths, why))
        return conflicts, duplicates, losers

    def _rivals(self, series_uid: str, sop_uid: str) -> list[_Claimant]:
        rows = self._database.execute(
            "SELECT id, path, md5, sound FROM file WHERE series_uid = ? AND sop_uid = ? AND reason IS NULL "
            "ORDER BY root, path",
            (series_uid, sop_uid),
        ).fetchall()
        return [
            _Claimant(number, path := Path(os.fsdecode(raw)), md5 or self._keep_md5(number, path), sound)
            for number, raw, md5, sound in rows
        ]

    def _keep_md5(self, number: int, path: Path) -> bytes:
        try:
            digest = md5_of(path)
        except OSError:
            return b""  # it went away just now; the next scan forgets it
        self._database.execute("UPDATE file SET md5 = ? WHERE id = ?", (digest, number))
        return digest

    def _is_sound(self, rival: _Claimant) -> bool:
        if rival.sound is not None:
            return bool(rival.sound)
        from bulkdl.dicom.validation import validate  # noqa: PLC0415 - conflicts are rare, and pydicom is heavy

        try:
            validate(rival.path, level=ValidationLevel.STRUCTURE)
        except InvalidInstance:
            is_sound = False
        else:
            is_sound = True
        self._database.execute("UPDATE file SET sound = ? WHERE id = ?", (is_sound, rival.id))
        return is_sound

    # --- arranged by Series -------------------------------------------------------------------------------------------

    def arrange(self, losers: Sequence[int]) -> None:
        """Make the tables of Collections, Patients, Studies and Series anew from the files that are served."""
        database = self._database
        database.execute("UPDATE file SET served = 1 WHERE served = 0 AND reason IS NULL")
        database.executemany("UPDATE file SET served = 0 WHERE id = ?", ((number,) for number in losers))
        for table in ("collection", "patient", "study", "series"):
            database.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own tables
        database.execute("DELETE FROM head WHERE id NOT IN (SELECT head_id FROM file WHERE head_id IS NOT NULL)")
        totals: Counter[str] = Counter()
        rows = database.execute(
            "SELECT f.series_uid, f.size_bytes, f.mtime_ns, f.root, f.path, f.head_id FROM file AS f "
            "WHERE f.served = 1 AND f.reason IS NULL ORDER BY f.series_uid, f.root, f.path"
        )
        for series_uid, group in groupby(rows, key=itemgetter(0)):
            members = list(group)
            _, _, _, root, path, head_id = members[0]
            size_bytes = sum(member[1] for member in members)
            newest = _moment(max(member[2] for member in members))
            counted = {"image_count": len(members), "size_bytes": size_bytes, "submitted": newest}
            self._add_series(series_uid, self._roots[root], Path(os.fsdecode(path)), head_id, counted)
            totals.update(series=1, instances=len(members), size_bytes=size_bytes)
        database.execute(
            "UPDATE study SET series_count = (SELECT count(*) FROM series AS s WHERE s.study_uid = study.study_uid "
            "AND s.collection_key = study.collection_key AND s.patient_key = study.patient_key)"
        )
        totals["collections"] = database.execute("SELECT count(*) FROM collection").fetchone()[0]
        totals["patients"] = database.execute("SELECT count(*) FROM patient").fetchone()[0]
        totals["studies"] = database.execute("SELECT count(DISTINCT study_uid) FROM study").fetchone()[0]
        database.execute("INSERT OR REPLACE INTO meta VALUES ('totals', ?)", (json.dumps(totals),))

    def _add_series(self, series_uid: str, root: Root, path: Path, head_id: int, counted: Mapping[str, Any]) -> None:
        head = json.loads(self._database.execute("SELECT record FROM head WHERE id = ?", (head_id,)).fetchone()[0])
        patient, study = {"patient_id": "", **head["patient"]}, head["study"]
        collection = head["collection"] or self._collection_of(root, path)
        about = to_json(asdict(root.about))
        kept = ("license_name", "license_uri", "collection_uri", "released")
        owner = {"collection": collection, "patient_id": patient["patient_id"]}
        series = {
            "series_uid": series_uid,
            **owner,
            **to_json(counted),
            **{name: about[name] for name in kept if name in about},
            **to_json({"study_uid": study.get("study_uid"), "study_date": study.get("study_date")}),
            **to_json({"study_description": study.get("description")}),
            **head["series"],  # last, because a mirror's journal knows licence and dates better than the root
        }
        keys = (collection.upper(), patient["patient_id"].upper())
        since = series.get("released") or series["submitted"]
        add = self._database.execute
        add("INSERT OR IGNORE INTO collection VALUES (?, ?, ?)", (keys[0], collection, _dump(about)))
        add(
            "INSERT OR IGNORE INTO patient VALUES (?, ?, ?, ?)",
            (*keys, next(self._numbers), _dump({**patient, **owner})),
        )
        if "study_uid" in study:
            of_patient = {
                "patient_name": patient.get("name"),
                "patient_birth_date": patient.get("birth_date"),
                "patient_sex": patient.get("sex"),
                "ethnic_group": patient.get("ethnic_group"),
            }
            add(
                "INSERT OR IGNORE INTO study (collection_key, patient_key, study_uid, number, record) "
                "VALUES (?, ?, ?, ?, ?)",
                (*keys, study["study_uid"], next(self._numbers), _dump({**study, **owner, **to_json(of_patient)})),
            )
        add(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(series_uid, *keys, study.get("study_uid")),
                *(_key(series.get(name)) for name in ("modality", "body_part", "manufacturer", "model")),
                *(next(self._numbers), since, _dump(series), _dump(head.get("extra", {}))),
            ),
        )

    def _collection_of(self, root: Root, path: Path) -> str:
        if root.collection is not None:
            return root.collection
        folders = path.relative_to(root.path).parts[:-1]
        named = folders[0] if folders else self._collection or root.path.name or "COLLECTION"
        return os.fsencode(named).decode(errors="replace")

    # --- the report ---------------------------------------------------------------------------------------------------

    def report(self, conflicts: Sequence[Conflict], duplicates: int) -> ScanReport:
        """What was found, for people."""
        reasons: Counter[str] = Counter()
        listed: list[Unservable] = []
        for raw, reason in self._database.execute(
            "SELECT path, reason FROM file WHERE reason IS NOT NULL ORDER BY root, path"
        ):
            reasons[reason.partition(":")[0]] += 1
            if len(listed) < _LISTED:
                listed.append(Unservable(Path(os.fsdecode(raw)), reason))
        return ScanReport(
            totals=_read_totals(self._database),
            files=self._seen,
            unchanged=self._unchanged,
            read=self._read,
            removed=self._removed,
            duplicates=duplicates,
            conflicts=tuple(conflicts),
            unservable=tuple(listed),
            unservable_by_reason=dict(reasons.most_common()),
        )


@dataclass(frozen=True, slots=True)
class _Claimant:
    id: int
    path: Path
    md5: bytes
    sound: int | None


def totals_of(text: str | None) -> Totals:
    """The totals as the last scan wrote them; all are 0 where none did."""
    return Totals() if text is None else Totals(**json.loads(text))


def _read_totals(database: sqlite3.Connection) -> Totals:
    found = database.execute("SELECT value FROM meta WHERE name = 'totals'").fetchone()
    return totals_of(found and found[0])


def _dump(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False)


def _key(value: str | None) -> str | None:
    return None if value is None else value.upper()


def _moment(mtime_ns: int) -> datetime:
    return datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC).replace(tzinfo=None)
