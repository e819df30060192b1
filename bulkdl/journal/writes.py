"""The steps that a journal's transactions are made of. Each takes the connection of a transaction under way."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from bulkdl.errors import JournalError
from bulkdl.journal import queries
from bulkdl.journal.columns import is_changed, merged, message_text, series_columns, series_from
from bulkdl.journal.schema import IN_PART, STATE_NUMBERS, UNLISTED
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.states import STATE_AFTER, InstanceState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from bulkdl.journal.rows import Run
    from bulkdl.model.ids import SeriesUid
    from bulkdl.model.outcomes import InstanceOutcome
    from bulkdl.model.records import Series
    from bulkdl.model.selection import Selection


class Reason(NamedTuple):
    """Why something failed: a code of `bulkdl.errors`, one line, and how often it was tried."""

    error: str
    message: str
    attempts: int


_IN_PLACE: Final = {STATE_NUMBERS[InstanceState.HELD], STATE_NUMBERS[InstanceState.WITHDRAWN]}


def selection_id(database: sqlite3.Connection, archive_id: int, selection: Selection) -> int:
    """The id of the selection, which is a new row where these criteria were not seen before."""
    criteria = selection.as_json()
    canonical = {name: sorted(value) if isinstance(value, tuple) else value for name, value in criteria.items()}
    digest = sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
    known = database.execute(
        "SELECT id FROM selection WHERE archive_id = ? AND digest = ?", (archive_id, digest)
    ).fetchone()
    if known is not None:
        return int(known[0])
    selection_id = database.execute(
        "INSERT INTO selection (archive_id, criteria, digest) VALUES (?, ?, ?)",
        (archive_id, json.dumps(criteria, ensure_ascii=False), digest),
    ).lastrowid
    database.executemany(
        "INSERT OR IGNORE INTO selection_instance (selection_id, series_uid, sop_uid) VALUES (?, ?, ?)",
        ((selection_id, series_uid, sop_uid) for series_uid, sop_uids in selection.instances for sop_uid in sop_uids),
    )
    return int(selection_id or 0)


def known_series(database: sqlite3.Connection, series_uid: str) -> int:
    """The id of a Series.

    Raises:
        JournalError: it was never recorded.
    """
    row = database.execute("SELECT id FROM series WHERE series_uid = ?", (series_uid,)).fetchone()
    if row is None:
        raise JournalError(f"series {series_uid} is not in the journal; nothing was recorded")
    return int(row[0])


def take_series(database: sqlite3.Connection, run: Run, record: Series, folder: str, now: str) -> tuple[int, int]:
    """Insert or renew the row of a Series; its id and its listing."""
    row = database.execute(queries.RECORDED_SERIES, (record.series_uid,)).fetchone()
    if row is None:
        series_id = database.execute(
            "INSERT INTO series (series_uid, study_uid, patient_id, collection, modality, image_count, size_bytes, "
            "record, folder, archive_id, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*series_columns(record), folder, run.archive_id, now),
        ).lastrowid
        return int(series_id or 0), UNLISTED
    *columns, series_id, known_folder, listing, archive_id = row
    before = series_from(columns)
    after = merged(before, record)
    if (after, known_folder, archive_id) == (before, known_folder or folder, run.archive_id):
        return series_id, listing
    if is_changed(before, record):
        listing = UNLISTED
    database.execute(
        "UPDATE series SET series_uid = ?, study_uid = ?, patient_id = ?, collection = ?, modality = ?, "
        "image_count = ?, size_bytes = ?, record = ?, folder = ?, archive_id = ?, updated_at = ?, listing = ? "
        "WHERE id = ?",
        (*series_columns(after), known_folder or folder, run.archive_id, now, listing, series_id),
    )
    return series_id, listing


def take_unknown_series(database: sqlite3.Connection, run: Run, series_uid: str) -> tuple[int, int]:
    """The row of a Series of which no more may be known than its UID; its id and its listing."""
    row = database.execute("SELECT id, listing FROM series WHERE series_uid = ?", (series_uid,)).fetchone()
    if row is not None:
        return int(row[0]), int(row[1])
    series_id = database.execute(
        "INSERT INTO series (series_uid, archive_id, updated_at) "
        "SELECT ?, archive_id, started_at FROM run WHERE id = ?",
        (series_uid, run.id),
    ).lastrowid
    return int(series_id or 0), UNLISTED


def link_series(database: sqlite3.Connection, run: Run, series_id: int, series_uid: str, listing: int) -> None:
    """Note that the run's selection holds the Series. A new wish that was not asked for yet makes it unlisted again."""
    if run.selection_id is None:
        return
    seen = database.execute(
        "UPDATE selection_series SET run_id = ? WHERE selection_id = ? AND series_id = ?",
        (run.id, run.selection_id, series_id),
    )
    if seen.rowcount:
        return
    named, unasked = database.execute(
        "SELECT count(*), ifnull(sum(i.sop_uid IS NULL), 0) FROM selection_instance AS w "
        "LEFT JOIN instance AS i ON i.series_id = ? AND i.sop_uid = w.sop_uid "
        "WHERE w.selection_id = ? AND w.series_uid = ?",
        (series_id, run.selection_id, series_uid),
    ).fetchone()
    database.execute(
        "INSERT INTO selection_series (selection_id, series_id, narrowed, run_id) VALUES (?, ?, ?, ?)",
        (run.selection_id, series_id, named > 0, run.id),
    )
    if unasked or (not named and listing == IN_PART):
        database.execute("UPDATE series SET listing = 0 WHERE id = ?", (series_id,))


def owe_earlier_failures(database: sqlite3.Connection, run: Run, series_id: int) -> None:
    """What failed for a Series in an earlier run gets another chance in this one."""
    scope = {"series": series_id, "run": run.id}
    failed = {
        bool(sop_uid)
        for (sop_uid,) in database.execute(
            "SELECT sop_uid FROM failure WHERE series_id = :series AND run_id <> :run", scope
        )
    }
    if True in failed:
        database.execute(
            "UPDATE instance SET state = 0, run_id = :run WHERE series_id = :series AND sop_uid IN ("
            "SELECT sop_uid FROM failure WHERE series_id = :series AND sop_uid <> '' AND run_id <> :run)",
            scope,
        )
    if False in failed:
        database.execute("UPDATE series SET listing = 0 WHERE id = ?", (series_id,))
        database.execute("DELETE FROM failure WHERE series_id = ? AND sop_uid = ''", (series_id,))


def wanted_instances(database: sqlite3.Connection, series_id: int) -> frozenset[SopInstanceUid] | None:
    """The instances that all selections together want of a Series; None where one of them wants it whole."""
    links = database.execute(
        "SELECT selection_id, narrowed FROM selection_series WHERE series_id = ?", (series_id,)
    ).fetchall()
    if not links or any(not narrowed for _, narrowed in links):
        return None
    return frozenset(
        SopInstanceUid(sop_uid)
        for selection_id, _ in links
        for (sop_uid,) in database.execute(
            "SELECT w.sop_uid FROM series AS s CROSS JOIN selection_instance AS w "
            "ON w.selection_id = ? AND w.series_uid = s.series_uid WHERE s.id = ?",
            (selection_id, series_id),
        )
    )


def hold(
    database: sqlite3.Connection, run: Run, series_ids: Mapping[SeriesUid, int], outcomes: Iterable[InstanceOutcome]
) -> None:
    """Put instances into the state held, whatever they were before.

    Raises:
        JournalError: one of them was never recorded.
    """
    syntax_ids: dict[str, int] = {}
    rows: list[tuple[object, ...]] = []
    for outcome in outcomes:
        syntax = outcome.transfer_syntax_uid
        if syntax is not None and syntax not in syntax_ids:
            syntax_ids[syntax] = _transfer_syntax_id(database, syntax)
        rows.append(
            (
                outcome.size_bytes,
                outcome.md5,
                outcome.sha256,
                outcome.mtime_ns,
                None if syntax is None else syntax_ids[syntax],
                json.dumps(outcome.notes, ensure_ascii=False) if outcome.notes else None,
                run.id,
                series_ids[outcome.series_uid],
                outcome.sop_uid,
            )
        )
    if rows and database.executemany(queries.HOLD, rows).rowcount != len(rows):
        raise JournalError("an instance said to be held is not in the journal; no outcome of its group was recorded")


def give_up(database: sqlite3.Connection, run: Run, series_id: int, outcome: InstanceOutcome) -> None:
    """Put an instance into the state failed or quarantined, unless its file is in place.

    Raises:
        JournalError: it was never recorded.
    """
    key = (series_id, outcome.sop_uid)
    row = database.execute("SELECT state FROM instance WHERE series_id = ? AND sop_uid = ?", key).fetchone()
    if row is None:
        raise JournalError(f"instance {outcome.sop_uid} is not in the journal; no outcome of its group was recorded")
    if row[0] in _IN_PLACE:
        return
    state = STATE_NUMBERS[STATE_AFTER[outcome.outcome]]
    database.execute(
        "UPDATE instance SET state = ?, run_id = ? WHERE series_id = ? AND sop_uid = ?", (state, run.id, *key)
    )
    note_failure(database, run, key, Reason(outcome.error or "error", outcome.message or "", outcome.attempts))


def note_failure(database: sqlite3.Connection, run: Run, key: tuple[int, str], reason: Reason) -> None:
    """Keep why an instance, or with an empty SOP Instance UID a whole Series, failed. The latest reason stands."""
    database.execute(
        "INSERT INTO failure (series_id, sop_uid, error, message, attempts, run_id) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (series_id, sop_uid) DO UPDATE SET error = excluded.error, message = excluded.message, "
        "attempts = excluded.attempts, run_id = excluded.run_id",
        (*key, reason.error, message_text(reason.message), reason.attempts, run.id),
    )


def _transfer_syntax_id(database: sqlite3.Connection, uid: str) -> int:
    database.execute("INSERT OR IGNORE INTO transfer_syntax (uid) VALUES (?)", (uid,))
    (number,) = database.execute("SELECT id FROM transfer_syntax WHERE uid = ?", (uid,)).fetchone()
    return int(number)
