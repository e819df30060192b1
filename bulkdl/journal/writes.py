"""The steps that a journal's transactions are made of. Each takes the connection of a transaction under way.

A step raises JournalError if its Series or instance was never recorded.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from operator import itemgetter
from typing import Final, TypeAlias

from bulkdl.errors import DuplicateInstance, JournalError
from bulkdl.journal import many_rows, queries
from bulkdl.journal.rows import (
    Run,
    description_text,
    is_changed,
    is_moved,
    merged,
    message_text,
    series_columns,
    series_from,
    unbound,
)
from bulkdl.journal.schema import FAILED, HELD, IN_PART, STATE_NUMBERS, UNBOUND, UNLISTED, WHOLE, WITHDRAWN
from bulkdl.model.access import CLIENTS
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.ids import SeriesUid, SopInstanceUid, default_file_name
from bulkdl.model.outcomes import STATE_AFTER, InstanceOutcome, InstanceState
from bulkdl.model.records import Entry, Series
from bulkdl.model.selection import Selection

_IN_PLACE: Final = frozenset({HELD, WITHDRAWN})

_BoundEntry: TypeAlias = tuple[str, SopInstanceUid, str, str | None]  # the row before, and the UID, key and name


def selection_id(database: sqlite3.Connection, archive_id: int, selection: Selection) -> int:
    """The id of the selection: a new row where these criteria were not recorded before."""
    criteria = selection.as_json()
    canonical = {name: sorted(value) if isinstance(value, tuple) else value for name, value in criteria.items()}
    if selection.limit_bytes is None:
        canonical.pop("order", None)  # the same Series in another order
    digest = sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()
    known = database.execute(queries.SELECTION_ID, (archive_id, digest)).fetchone()
    if known is not None:
        return int(known[0])
    added = (archive_id, json.dumps(criteria, ensure_ascii=False), digest)
    number = int(database.execute(queries.ADD_SELECTION, added).lastrowid or 0)
    database.executemany(
        queries.ADD_SELECTION_INSTANCE,
        ((number, series_uid, sop_uid) for series_uid, sop_uids in selection.instances for sop_uid in sop_uids),
    )
    return number


def known_series(database: sqlite3.Connection, series_uid: str) -> int:
    """The id of a Series."""
    row = database.execute(queries.SERIES_ID, (series_uid,)).fetchone()
    if row is None:
        raise JournalError(f"series {series_uid} is not in the journal; nothing was recorded")
    return int(row[0])


def take_series(
    database: sqlite3.Connection, run: Run, record: Series, folder: str, now: str
) -> tuple[int, int, Series | None]:
    """Insert or update the row of a Series; its id, its listing, and its earlier record if it moved since."""
    row = database.execute(queries.RECORDED_SERIES, (record.series_uid,)).fetchone()
    if row is None:
        added = database.execute(queries.ADD_SERIES, (*series_columns(record), folder, run.archive_id, now))
        return int(added.lastrowid or 0), UNLISTED, None
    *columns, series_id, known_folder, listing, archive_id = row
    before = series_from(columns)
    after = merged(before, record)
    if (after, known_folder, archive_id) == (before, known_folder or folder, run.archive_id):
        return series_id, listing, None
    is_received = archive_id != run.archive_id and _is_of_clients(database, archive_id)
    if is_received or is_changed(before, record):
        listing = UNLISTED
        database.execute(queries.MARK_UNCOMPARED, (series_id,))
    changed = (*series_columns(after), known_folder or folder, run.archive_id, now, listing, series_id)
    database.execute(queries.RENEW_SERIES, changed)
    return series_id, listing, before if is_moved(before, after) else None


def _is_of_clients(database: sqlite3.Connection, archive_id: int) -> bool:
    return bool(database.execute(queries.ARCHIVE_ID, (CLIENTS,)).fetchone() == (archive_id,))


def receive_series(database: sqlite3.Connection, record: Series, folder: str, now: str) -> None:
    """Insert a Series that clients store: all of it is what they send, until an archive has it."""
    database.execute(queries.RENEW_ARCHIVE, (CLIENTS, ""))
    (archive_id,) = database.execute(queries.ARCHIVE_ID, (CLIENTS,)).fetchone()
    added = database.execute(queries.ADD_SERIES, (*series_columns(record), folder, archive_id, now))
    database.execute(queries.SET_LISTING, (WHOLE, added.lastrowid))


def complete_series(database: sqlite3.Connection, series: Series, folder: str, now: str) -> None:
    """Update the row of a known Series, and its folder if no file is in it."""
    *_, series_id, known_folder, listing, archive_id = database.execute(
        queries.RECORDED_SERIES, (series.series_uid,)
    ).fetchone()
    (has_files,) = database.execute(queries.HAS_FILES, (series_id,)).fetchone()
    place = known_folder if has_files else folder
    changed = (*series_columns(series), place, archive_id, now, listing, series_id)
    database.execute(queries.RENEW_SERIES, changed)


def take_unknown_series(database: sqlite3.Connection, run: Run, series_uid: str) -> tuple[int, int]:
    """The row of a Series of which perhaps only the UID is known; its id and its listing."""
    row = database.execute(queries.SERIES_LISTING, (series_uid,)).fetchone()
    if row is not None:
        return int(row[0]), int(row[1])
    return int(database.execute(queries.ADD_UNKNOWN_SERIES, (series_uid, run.id)).lastrowid or 0), UNLISTED


def link_series(database: sqlite3.Connection, run: Run, series_id: int, series_uid: str, listing: int) -> None:
    """Note that the run's selection includes the Series, and unlist it if instances are wanted that were not listed."""
    if run.selection_id is None:
        return
    if database.execute(queries.RENEW_LINK, (run.id, run.selection_id, series_id)).rowcount:
        return
    is_back = database.execute(queries.HAS_WITHDRAWN, (series_id,)).fetchone() == (1,)
    named, unlisted = database.execute(queries.NAMED_INSTANCES, (series_id, run.selection_id, series_uid)).fetchone()
    database.execute(queries.ADD_LINK, (run.selection_id, series_id, named > 0, run.id))
    if is_back or unlisted or (not named and listing == IN_PART):
        database.execute(queries.UNLIST, (series_id,))


def owe_earlier_failures(database: sqlite3.Connection, run: Run, series_id: int, *, again: bool = False) -> None:
    """Owe again what failed for a Series in an earlier run, or in any run.

    Entries whose UID is not known are listed again instead: the archive may have another size or checksum by now. So
    are those that the archive does not have, and the files of a Series that are not DICOM.
    """
    scope = {"series": series_id, "run": run.id, "again": again}
    failed = database.execute(queries.EARLIER_FAILURES, scope).fetchall()
    for sop_uid, is_of_list in failed:
        if is_of_list:
            database.execute(queries.REMOVE_INSTANCE, (series_id, sop_uid))
            database.execute(queries.REMOVE_ENTRY, (series_id, sop_uid))
    if any(sop_uid and not is_of_list for sop_uid, is_of_list in failed):
        database.execute(queries.OWE_EARLIER_FAILURES, scope)
    is_plain = failed and database.execute(queries.IS_PLAIN, (series_id,)).fetchone() == (1,)
    if is_plain or any(is_of_list or not sop_uid for sop_uid, is_of_list in failed):
        database.execute(queries.UNLIST, (series_id,))
        database.execute(queries.FORGET_FAILURE, (series_id, ""))


def withdraw(database: sqlite3.Connection, run: Run, series_id: int, listed: Collection[str]) -> tuple[int, bool]:
    """Mark the held instances that are not `listed`, by key, as withdrawn, and forget others.

    Returns the number marked, and whether any were forgotten.
    """
    gone: list[str] = []
    withdrawn: list[str] = []
    for sop_uid, state, key in database.execute(queries.ALL_OF_SERIES, (series_id,)):
        if (key or sop_uid.removeprefix(UNBOUND)) not in listed and state != WITHDRAWN:
            (withdrawn if state == HELD else gone).append(sop_uid)
    database.executemany(queries.WITHDRAW, ((run.id, series_id, sop_uid) for sop_uid in withdrawn))
    _forget_rows(database, series_id, gone)
    return len(withdrawn), bool(gone)


def is_gone(database: sqlite3.Connection, series_id: int) -> bool:
    """Whether no selection has a Series any more."""
    return database.execute(queries.LINKS, (series_id,)).fetchone() is None


def settle_late(
    database: sqlite3.Connection, run: Run, series_id: int, outcomes: Sequence[InstanceOutcome]
) -> list[InstanceOutcome]:
    """Record the outcomes of a Series whose instances were forgotten during their download: as withdrawn.

    Failures need no record. Returns the other outcomes.
    """
    others = []
    for outcome in outcomes:
        rows = {outcome.sop_uid or "", unbound(outcome.key)}
        if any(database.execute(queries.STATE, (series_id, row)).fetchone() is not None for row in rows):
            others.append(outcome)
        elif STATE_AFTER[outcome.outcome] is InstanceState.HELD:
            database.execute(queries.ADD_INSTANCE, (series_id, outcome.sop_uid, outcome.name, run.id))
            hold(database, run, {outcome.series_uid: series_id}, [outcome])
            database.execute(queries.WITHDRAW, (run.id, series_id, outcome.sop_uid))
    return others


def forget_empty_series(database: sqlite3.Connection) -> None:
    """Forget the Series of which nothing is recorded, and that no selection has."""
    empty = database.execute(queries.EMPTY_SERIES).fetchall()
    for statement in queries.FORGET_UNKNOWN_SERIES:
        database.executemany(statement, empty)


def _forget_rows(database: sqlite3.Connection, series_id: int, sop_uids: Sequence[str]) -> None:
    rows = [(series_id, sop_uid) for sop_uid in sop_uids]
    database.executemany(queries.REMOVE_INSTANCE, rows)
    database.executemany(queries.REMOVE_ENTRY, rows)


def end_listing(database: sqlite3.Connection, series_id: int) -> None:
    """Note that a Series is listed: whole, or in those instances that all selections want of it."""
    listing = WHOLE if wanted_instances(database, series_id) is None else IN_PART
    database.execute(queries.SET_LISTING, (listing, series_id))


def wanted_instances(database: sqlite3.Connection, series_id: int) -> frozenset[SopInstanceUid] | None:
    """The instances that all selections together want of a Series; None where one of them wants all."""
    links = database.execute(queries.LINKS, (series_id,)).fetchall()
    if not links or any(not narrowed for _, narrowed in links):
        return None
    return frozenset(
        SopInstanceUid(sop_uid)
        for selection_id, _ in links
        for (sop_uid,) in database.execute(queries.WANTED_INSTANCES, (selection_id, series_id))
    )


def forget_entries(database: sqlite3.Connection, series_id: int, entries: Sequence[Entry]) -> bool:
    """Forget entries that a whole list of their Series does not have, except that their files are held.

    Returns whether any were forgotten.
    """
    keys = {entry.key for entry in entries}
    for key, uid in database.execute(queries.BOUND_KEYS, (series_id,)).fetchall():
        if key not in keys:
            database.execute(queries.FORGET_KEY, (series_id, uid))
    lists_uids = any(entry.sop_uid is not None for entry in entries)
    gone = [
        uid
        for uid, key in database.execute(queries.NOT_HELD, (series_id,)).fetchall()
        if (uid > UNBOUND or not lists_uids) and (key or uid.removeprefix(UNBOUND)) not in keys
    ]
    _forget_rows(database, series_id, gone)
    return bool(gone)


def list_entries(
    database: sqlite3.Connection, run: Run, series_id: int, entries: Sequence[Entry], names: Sequence[str | None]
) -> None:
    """Record the entries of a Series; those that are recorded already keep their state and name."""
    rows = _uids_of(database, series_id, entries)
    names = [None if uid == unbound(entry.key) else name for uid, entry, name in zip(rows, entries, names, strict=True)]
    instances = sorted(zip(rows, names, strict=True), key=itemgetter(0))  # neighbours in the file
    many_rows.change(database, queries.ADD_INSTANCES, [(series_id, uid, name, run.id) for uid, name in instances])
    if database.execute(queries.HAS_WITHDRAWN, (series_id,)).fetchone() == (1,):
        database.executemany(queries.REINSTATE, ((run.id, series_id, uid) for uid in rows))
    kept = [
        (series_id, uid, None if uid == unbound(entry.key) else entry.key, entry.size_bytes, entry.md5)
        for uid, entry in zip(rows, entries, strict=True)
        if entry.key != uid or entry.size_bytes is not None or entry.md5 is not None
    ]
    if kept:
        many_rows.change(database, queries.KEEP_ENTRIES, kept)
        bind_by_checksum(database, series_id)


def _uids_of(database: sqlite3.Connection, series_id: int, entries: Sequence[Entry]) -> list[str]:
    """The column `sop_uid` of each entry: its UID, where it is known and no other entry of the list has it."""
    if all(entry.key == entry.sop_uid for entry in entries):
        return [entry.key for entry in entries]
    keys = {entry.key for entry in entries}
    bound = {key: uid for key, uid in database.execute(queries.BOUND_KEYS, (series_id,)) if key in keys}
    owners = {uid: key for key, uid in bound.items()}
    uids = []
    for entry in entries:
        uid = entry.sop_uid or bound.get(entry.key)
        is_its_own = uid is not None and owners.setdefault(uid, entry.key) == entry.key
        uids.append(uid if uid is not None and is_its_own else unbound(entry.key))
    return uids


def bind_by_checksum(database: sqlite3.Connection, series_id: int) -> None:
    """Bind entries whose UID is not known to held instances of the same MD5 that no entry is bound to."""
    held = dict(database.execute(queries.HELD_CHECKSUMS, (series_id,)))
    waiting = database.execute(queries.UNBOUND_CHECKSUMS, (series_id,)).fetchall() if held else ()
    for row, md5 in waiting:
        if (sop_uid := held.pop(md5, None)) is not None:
            _move_entry(database, series_id, row, sop_uid)
            database.execute(queries.REMOVE_INSTANCE, (series_id, row))


def _bind_together(
    database: sqlite3.Connection, series_ids: Mapping[SeriesUid, int], outcomes: Iterable[InstanceOutcome]
) -> set[SeriesUid]:
    """Bind the entries of some outcomes to their UIDs, and return the Series of which it was done.

    Those are the usual ones: none of the entries is bound yet, and no entry has one of the UIDs.
    """
    entries: defaultdict[SeriesUid, list[_BoundEntry]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.key != outcome.sop_uid and outcome.sop_uid is not None:
            entry = (unbound(outcome.key), outcome.sop_uid, outcome.key, outcome.name)
            entries[outcome.series_uid].append(entry)
    return {uid for uid, each in entries.items() if _bind_all(database, series_ids[uid], each)}


def _bind_all(database: sqlite3.Connection, series_id: int, entries: Sequence[_BoundEntry]) -> bool:
    before, uids = [(row,) for row, *_ in entries], {(uid,) for _, uid, *_ in entries}
    waiting = many_rows.count(database, queries.RECORDED, before, series_id)
    known = many_rows.count(database, queries.RECORDED, list(uids), series_id)
    if (waiting, len(uids), known) != (len(entries), len(entries), 0):
        return False
    many_rows.change(database, queries.MOVE_ENTRIES, entries, series_id)
    many_rows.change(database, queries.REMOVE_ENTRIES, before, series_id)
    many_rows.change(database, queries.MOVE_INSTANCES, entries, series_id)
    many_rows.change(database, queries.REMOVE_INSTANCES, before, series_id)
    return True


def _bind(database: sqlite3.Connection, series_id: int, outcome: InstanceOutcome) -> bool:
    """Bind the entry of an outcome to its UID; False if another entry is bound to that already."""
    row, sop_uid = unbound(outcome.key), outcome.sop_uid or ""
    if database.execute(queries.STATE, (series_id, row)).fetchone() is None:
        return True  # it is bound already
    known = database.execute(queries.BOUND_TO, (series_id, sop_uid)).fetchone()
    if known is not None and known[0] not in {None, outcome.key}:
        return False
    _move_entry(database, series_id, row, sop_uid)
    if known is None:
        database.execute(queries.BIND, (sop_uid, outcome.name, series_id, row))
        database.execute(queries.FORGET_FAILURE, (series_id, row))
    else:
        database.execute(queries.REMOVE_INSTANCE, (series_id, row))
        database.execute(queries.SET_NAME, (outcome.name, series_id, sop_uid))
    return True


def _move_entry(database: sqlite3.Connection, series_id: int, row: str, sop_uid: str) -> None:
    size_bytes, md5 = database.execute(queries.ENTRY, (series_id, row)).fetchone() or (None, None)
    database.execute(queries.KEEP_ENTRY, (series_id, sop_uid, row.removeprefix(UNBOUND), size_bytes, md5))
    database.execute(queries.REMOVE_ENTRY, (series_id, row))


def hold(
    database: sqlite3.Connection, run: Run, series_ids: Mapping[SeriesUid, int], outcomes: Sequence[InstanceOutcome]
) -> None:
    """Put instances into the state held, whatever they were before, and bind their entries to their UIDs."""
    syntax_ids: dict[str | None, int | None] = {None: None}
    sop_classes: dict[int, str] = {}
    rows: list[tuple[object, ...]] = []
    bound = _bind_together(database, series_ids, outcomes)
    for outcome in outcomes:
        series_id, syntax = series_ids[outcome.series_uid], outcome.transfer_syntax_uid
        row: str | None = outcome.sop_uid
        is_bound = outcome.key == outcome.sop_uid or outcome.series_uid in bound
        if not is_bound and not _bind(database, series_id, outcome):
            row = unbound(outcome.key)
            if not _keep_beside(database, series_id, outcome):
                _refuse_duplicate(database, run, series_id, outcome)
                continue
        if syntax not in syntax_ids:
            database.execute(queries.ADD_TRANSFER_SYNTAX, (syntax,))
            (syntax_ids[syntax],) = database.execute(queries.TRANSFER_SYNTAX_ID, (syntax,)).fetchone()
        facts = (outcome.size_bytes, outcome.md5, outcome.sha256, outcome.mtime_ns, syntax_ids[syntax])
        notes = json.dumps(outcome.notes, ensure_ascii=False) if outcome.notes else None
        rows.append((series_id, row, *facts, notes, run.id))
        if outcome.sop_class_uid is not None:
            sop_classes.setdefault(series_id, outcome.sop_class_uid)
        if outcome.name is not None and row == outcome.sop_uid:
            database.execute(queries.SET_NAME, (outcome.name, series_id, row))
    if many_rows.change(database, queries.HOLD, rows) != len(rows):
        raise JournalError("an instance said to be held is not in the journal; no outcome of its group was recorded")
    database.executemany(queries.ADD_SOP_CLASS, sop_classes.items())


def _keep_beside(database: sqlite3.Connection, series_id: int, outcome: InstanceOutcome) -> bool:
    """Name the file of an entry whose UID another entry has; False if both are the same file."""
    sop_uid = outcome.sop_uid or ""
    (other,) = database.execute(queries.NAME, (series_id, sop_uid)).fetchone()
    name = outcome.name or default_file_name(sop_uid)
    if name == (other or default_file_name(sop_uid)):
        return False
    database.execute(queries.SET_NAME, (name, series_id, unbound(outcome.key)))
    return True


def _refuse_duplicate(database: sqlite3.Connection, run: Run, series_id: int, outcome: InstanceOutcome) -> None:
    row = (series_id, unbound(outcome.key))
    database.execute(queries.GIVE_UP, (FAILED, run.id, *row))
    message = f"another entry of the series is instance {outcome.sop_uid} already"
    note_failure(database, run, row, (DuplicateInstance.code, message, outcome.attempts))


def give_up(database: sqlite3.Connection, run: Run, series_id: int, outcome: InstanceOutcome) -> None:
    """Put an instance into the state failed or quarantined, unless its file is in place."""
    row = (series_id, outcome.sop_uid or unbound(outcome.key))
    known = database.execute(queries.STATE, row).fetchone()
    if known is None and database.execute(queries.IS_BOUND, (series_id, outcome.key)).fetchone():
        return
    if known is None:
        name = outcome.sop_uid or outcome.key
        raise JournalError(f"instance {name} is not in the journal; no outcome of its group was recorded")
    if known[0] in _IN_PLACE:
        return
    database.execute(queries.GIVE_UP, (STATE_NUMBERS[STATE_AFTER[outcome.outcome]], run.id, *row))
    note_failure(database, run, row, (outcome.error or "error", outcome.message or "", outcome.attempts))


def note_failure(database: sqlite3.Connection, run: Run, row: tuple[int, str], reason: tuple[str, str, int]) -> None:
    """Record why an instance, or with an empty SOP Instance UID a whole Series, failed. The latest reason is kept.

    `reason` is a code of `bulkdl.errors`, a message, and the number of attempts.
    """
    error, message, attempts = reason
    database.execute(queries.NOTE_FAILURE, (*row, error, message_text(message), attempts, run.id))


def keep_descriptions(database: sqlite3.Connection, run: Run, found: Descriptions, now: str) -> None:
    """Record what the archive says beside its Series; values that it leaves out keep what it said before."""
    by = run.archive_id, now
    for statement, rows in (
        (queries.KEEP_COLLECTION, [(each.collection, *by, description_text(each)) for each in found.collections]),
        (queries.KEEP_RESULT, [(each.result, *by, description_text(each)) for each in found.results]),
        (
            queries.KEEP_PATIENT,
            [(each.collection, each.patient_id, description_text(each)) for each in found.patients],
        ),
        (
            queries.KEEP_STUDY,
            [(each.collection, each.patient_id, each.study_uid, description_text(each)) for each in found.studies],
        ),
    ):
        database.executemany(statement, rows)
