"""Join the journal of one mirror to that of another: its runs and selections, and Series by Series what it knows.

Everything can be repeated: a run is the same if verb, archive, beginning, settings and selection are, and an instance
that the other journal has in the same state stays as it is. Each writing function takes the connection of a transaction
under way.
"""

# ruff: noqa: S608 - the parts that are put together are constants

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bulkdl.journal import queries, writes
from bulkdl.journal.rows import is_changed, merged, series_columns, series_from
from bulkdl.journal.schema import HELD, UNBOUND, UNLISTED, WITHDRAWN
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection

Rows = Callable[..., list[Any]]

_IN_PLACE: Final = frozenset({HELD, WITHDRAWN})

_SELECTIONS: Final = """
SELECT q.id, a.name, a.url, q.criteria, q.resolved_run_id FROM selection AS q
JOIN archive AS a ON a.id = q.archive_id ORDER BY q.id
"""
_RUNS: Final = """
SELECT r.id, r.verb, a.name, a.url, r.selection_id, r.settings, r.started_at, r.ended_at, r.outcome, r.counts,
  r.catalogue
FROM run AS r JOIN archive AS a ON a.id = r.archive_id ORDER BY r.started_at, r.id
"""
_SAME_RUN: Final = """
SELECT id FROM run WHERE verb = ? AND archive_id = ? AND selection_id IS ? AND settings = ? AND started_at = ?
"""
_ADD_RUN: Final = """
INSERT INTO run (verb, archive_id, selection_id, settings, started_at, ended_at, outcome, counts, catalogue)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RENEW_RUN: Final = "UPDATE run SET ended_at = ?, outcome = ?, counts = ?, catalogue = ? WHERE id = ?"
_RESOLVED: Final = "UPDATE selection SET resolved_run_id = max(ifnull(resolved_run_id, 0), ?) WHERE id = ?"
_SERIES: Final = f"""
SELECT {queries.SERIES_COLUMNS}, s.id, s.folder, s.listing, s.position, s.updated_at, a.name, a.url, h.sop_class_uid,
  EXISTS (SELECT 1 FROM uncompared AS u WHERE u.series_id = s.id)
FROM series AS s JOIN archive AS a ON a.id = s.archive_id LEFT JOIN series_header AS h ON h.series_id = s.id
WHERE s.series_uid > ? ORDER BY s.series_uid LIMIT 1
"""
_INSTANCES: Final = """
SELECT i.sop_uid, i.state, i.name, i.size_bytes, i.md5, i.sha256, i.mtime_ns, x.uid, i.notes, i.run_id,
  e.series_id IS NOT NULL, e.key, e.size_bytes, e.md5
FROM instance AS i LEFT JOIN transfer_syntax AS x ON x.id = i.transfer_syntax_id
LEFT JOIN entry AS e ON e.series_id = i.series_id AND e.sop_uid = i.sop_uid WHERE i.series_id = ? ORDER BY i.sop_uid
"""
_LINKS: Final = "SELECT selection_id, narrowed, run_id FROM selection_series WHERE series_id = ?"
_FAILURES: Final = "SELECT sop_uid, error, message, attempts, run_id FROM failure WHERE series_id = ?"
_ADD_LINK: Final = """
INSERT OR REPLACE INTO selection_series (selection_id, series_id, narrowed, run_id) VALUES (?, ?, ?, ?)
"""
_ADD_INSTANCE: Final = "INSERT OR IGNORE INTO instance (series_id, sop_uid, state, run_id) VALUES (?, ?, ?, ?)"
_SET_INSTANCE: Final = """
UPDATE instance SET state = ?, name = ?, size_bytes = ?, md5 = ?, sha256 = ?, mtime_ns = ?, transfer_syntax_id = ?,
  notes = ?, run_id = ? WHERE series_id = ? AND sop_uid = ?
"""
_SET_POSITION: Final = "UPDATE series SET position = ? WHERE id = ?"

# The tables of descriptions: their columns, the archive's id first where they have one.
_DESCRIBED: Final = {
    "collection": ("archive_id", "name", "described_at", "record"),
    "analysis_result": ("archive_id", "name", "described_at", "record"),
    "patient": ("collection", "patient_id", "record"),
    "study": ("collection", "patient_id", "study_uid", "record"),
}


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """All that a journal has of an instance: `sop_uid` and `name` as in its table, `entry` as in the table entry."""

    sop_uid: str
    state: int
    name: str | None
    size_bytes: int | None
    md5: bytes | None
    sha256: bytes | None
    mtime_ns: int | None
    transfer_syntax_uid: str | None
    notes: str | None
    run_id: int
    entry: tuple[str | None, int | None, bytes | None] | None = None

    @property
    def in_place(self) -> bool:
        """Whether its file is there."""
        return self.state in _IN_PLACE

    @property
    def key(self) -> str:
        """The key of its entry at the archive."""
        return (self.entry[0] if self.entry is not None else None) or self.sop_uid.removeprefix(UNBOUND)

    def is_same(self, other: "KnownInstance") -> bool:
        """Whether both files have the same bytes."""
        if self.sha256 is None or other.sha256 is None:
            return self.size_bytes == other.size_bytes
        return self.sha256 == other.sha256


@dataclass(frozen=True, slots=True)
class KnownSeries:
    """All that a journal has of a Series. `failures` are rows of the table failure without the Series."""

    series: Series
    id: int
    folder: str | None
    listing: int
    position: int
    updated_at: str
    archive: tuple[str, str]
    sop_class_uid: str | None
    instances: tuple[KnownInstance, ...]
    links: tuple[tuple[int, int, int], ...]
    failures: tuple[tuple[str, str, str, int, int], ...]
    is_uncompared: bool = False


@dataclass(slots=True)
class JoinedIds:
    """The ids of one journal in the other: of runs, selections, and archives by name."""

    runs: dict[int, int] = field(default_factory=dict)
    selections: dict[int, int] = field(default_factory=dict)
    archives: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """What a journal has beside its Series: its selections, its runs, and descriptions by table."""

    selections: Sequence[tuple[Any, ...]]
    runs: Sequence[tuple[Any, ...]]
    described: Mapping[str, Sequence[tuple[Any, ...]]]
    archives: Mapping[int, str]


def read_history(rows: Rows) -> History:
    """The history of a journal; `rows` answers a question."""
    described = {table: rows(f"SELECT {', '.join(columns)} FROM {table}") for table, columns in _DESCRIBED.items()}
    archives = dict(rows("SELECT id, name FROM archive"))
    return History(rows(_SELECTIONS), rows(_RUNS), described, archives)


def read_series(rows: Rows, after: str) -> KnownSeries | None:
    """The first Series after a UID; None at the end."""
    found = rows(_SERIES, (after,))
    if not found:
        return None
    *columns, number, folder, listing, position, updated_at, name, url, sop_class_uid, is_uncompared = found[0]
    return KnownSeries(
        series_from(columns),
        number,
        folder,
        listing,
        position,
        updated_at,
        (name, url),
        sop_class_uid,
        tuple(_instance(row) for row in rows(_INSTANCES, (number,))),
        tuple(rows(_LINKS, (number,))),
        tuple(rows(_FAILURES, (number,))),
        bool(is_uncompared),
    )


def read_instances(rows: Rows, series_id: int) -> dict[str, KnownInstance]:
    """What a journal has of the instances of a Series, by their rows."""
    return {row[0]: _instance(row) for row in rows(_INSTANCES, (series_id,))}


def _instance(row: Sequence[Any]) -> KnownInstance:
    *values, has_entry, key, size_bytes, md5 = row
    return replace(KnownInstance(*values), entry=(key, size_bytes, md5) if has_entry else None)


def join_history(database: sqlite3.Connection, history: History) -> JoinedIds:
    """Record runs, selections and descriptions of another journal; returns their ids here."""
    ids = JoinedIds()
    for number, name, url, criteria, _ in history.selections:
        selection = Selection.from_json(json.loads(criteria))
        ids.selections[number] = writes.selection_id(database, _archive(database, ids, name, url), selection)
    for number, verb, name, url, selection, settings, started, *ended in history.runs:
        archive_id = _archive(database, ids, name, url)
        begun = (verb, archive_id, ids.selections.get(selection), settings, started)
        known = database.execute(_SAME_RUN, begun).fetchone()
        if known is not None:
            database.execute(_RENEW_RUN, (*ended, known[0]))
        ids.runs[number] = known[0] if known else int(database.execute(_ADD_RUN, (*begun, *ended)).lastrowid or 0)
    for number, *_, resolved in history.selections:
        if resolved in ids.runs:
            database.execute(_RESOLVED, (ids.runs[resolved], ids.selections[number]))
    for table, columns in _DESCRIBED.items():
        add = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        here = {number: ids.archives[name] for number, name in history.archives.items() if name in ids.archives}
        for first, *rest in history.described[table]:
            owner = here.get(first) if columns[0] == "archive_id" else first
            if owner is not None:
                database.execute(add, (owner, *rest))
    return ids


def _archive(database: sqlite3.Connection, ids: JoinedIds, name: str, url: str) -> int:
    if name not in ids.archives:
        database.execute("INSERT OR IGNORE INTO archive (name, url) VALUES (?, ?)", (name, url))
        ids.archives[name] = int(database.execute(queries.ARCHIVE_ID, (name,)).fetchone()[0])
    return ids.archives[name]


def join_series(
    database: sqlite3.Connection,
    known: KnownSeries,
    folder: str | None,
    instances: Iterable[KnownInstance],
    ids: JoinedIds,
) -> None:
    """Record what another journal has of a Series; `instances` are those to record, with their names here."""
    series_id = _series(database, known, folder, ids)
    for selection, narrowed, run in known.links:
        if selection in ids.selections and run in ids.runs:
            database.execute(_ADD_LINK, (ids.selections[selection], series_id, narrowed, ids.runs[run]))
    if known.sop_class_uid is not None:
        database.execute(queries.ADD_SOP_CLASS, (series_id, known.sop_class_uid))
    recorded = {""}
    for each in instances:
        recorded.add(each.sop_uid)
        _set_instance(database, series_id, each, ids.runs.get(each.run_id, 0))
    if known.is_uncompared:
        database.execute(queries.MARK_UNCOMPARED, (series_id,))
    for sop_uid, error, message, attempts, run in known.failures:
        if sop_uid in recorded and run in ids.runs:
            row = (series_id, sop_uid, error, message, attempts, ids.runs[run])
            database.execute(queries.NOTE_FAILURE, row)


def _series(database: sqlite3.Connection, known: KnownSeries, folder: str | None, ids: JoinedIds) -> int:
    archive_id = _archive(database, ids, *known.archive)
    row = database.execute(queries.RECORDED_SERIES, (known.series.series_uid,)).fetchone()
    if row is None:
        values = (*series_columns(known.series), folder, archive_id, known.updated_at)
        series_id = int(database.execute(queries.ADD_SERIES, values).lastrowid or 0)
        database.execute(queries.SET_LISTING, (known.listing, series_id))
        database.execute(_SET_POSITION, (known.position, series_id))
        return series_id
    *columns, number, known_folder, listing, archive_here = row
    before = series_from(columns)
    is_other = is_changed(before, known.series)
    after = UNLISTED if is_other else max(listing, known.listing)
    changed = (
        *series_columns(merged(known.series, before)),
        known_folder or folder,
        archive_here,
        known.updated_at,
        after,
        number,
    )
    database.execute(queries.RENEW_SERIES, changed)
    return int(number)


def _set_instance(database: sqlite3.Connection, series_id: int, each: KnownInstance, run_id: int) -> None:
    syntax_id = None
    if each.transfer_syntax_uid is not None:
        database.execute(queries.ADD_TRANSFER_SYNTAX, (each.transfer_syntax_uid,))
        (syntax_id,) = database.execute(queries.TRANSFER_SYNTAX_ID, (each.transfer_syntax_uid,)).fetchone()
    database.execute(_ADD_INSTANCE, (series_id, each.sop_uid, each.state, run_id))
    facts = (each.size_bytes, each.md5, each.sha256, each.mtime_ns, syntax_id, each.notes, run_id)
    database.execute(_SET_INSTANCE, (each.state, each.name, *facts, series_id, each.sop_uid))
    if each.entry is not None:
        database.execute(queries.KEEP_ENTRY, (series_id, each.sop_uid, *each.entry))
