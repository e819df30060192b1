"""All SQL of a journal, but for its schema and the pragmas of `connection`: constants, with values as parameters alone.

`:selection` is the id of a selection, and null for everything in the journal. CROSS JOIN keeps SQLite to the order that
is written, which starts from the smallest table, whatever its statistics say.
"""

# ruff: noqa: S608 - the parts that are put together are constants

from typing import Final

from bulkdl.errors import NotFound
from bulkdl.journal.many_rows import ROWS
from bulkdl.journal.schema import FAILED, HELD, IN_PART, OWED, QUARANTINED, UNBOUND, UNLISTED, WHOLE, WITHDRAWN

SERIES_COLUMNS: Final = (
    "s.series_uid, s.study_uid, s.patient_id, s.collection, s.modality, s.image_count, s.size_bytes, s.record"
)
"""The columns of which `rows.series_from` makes a Series."""

RENEW_ARCHIVE: Final = (
    "INSERT INTO archive (name, url) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET url = excluded.url"
)

ARCHIVE_ID: Final = "SELECT id FROM archive WHERE name = ?"
SELECTION_ID: Final = "SELECT id FROM selection WHERE archive_id = ? AND digest = ?"
ADD_SELECTION: Final = "INSERT INTO selection (archive_id, criteria, digest) VALUES (?, ?, ?)"

ADD_SELECTION_INSTANCE: Final = (
    "INSERT OR IGNORE INTO selection_instance (selection_id, series_uid, sop_uid) VALUES (?, ?, ?)"
)

MARK_RESOLVED: Final = "UPDATE selection SET resolved_run_id = ? WHERE id = ?"
FOUND_BY_SELECTION: Final = """
SELECT 1 FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
WHERE l.selection_id = ? AND s.folder IS NOT NULL LIMIT 1
"""

# Series that the archive did not know, and that no other selection asked for.
UNKNOWN_TO_ALL: Final = """
SELECT l.series_id FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
WHERE l.selection_id = :selection AND s.folder IS NULL AND NOT EXISTS (
  SELECT 1 FROM selection_series AS o WHERE o.series_id = l.series_id AND o.selection_id <> :selection)
"""

FORGET_UNKNOWN_SERIES: Final = (
    "DELETE FROM uncompared WHERE series_id = ?",
    "DELETE FROM series_header WHERE series_id = ?",
    "DELETE FROM instance_header WHERE series_id = ?",
    "DELETE FROM failure WHERE series_id = ?",
    "DELETE FROM selection_series WHERE series_id = ?",
    "DELETE FROM tally WHERE series_id = ?",
    "DELETE FROM series WHERE id = ?",
)

# Series that are listed, and of which nothing is recorded or selected: all was withdrawn, and pruned.
EMPTY_SERIES: Final = f"""
SELECT t.series_id FROM tally AS t
WHERE t.owed + t.held + t.failed + t.quarantined + t.withdrawn = 0 AND t.has_error = 0 AND t.listing > {UNLISTED}
  AND NOT EXISTS (SELECT 1 FROM selection_series AS l WHERE l.series_id = t.series_id)
  AND NOT EXISTS (SELECT 1 FROM move AS m WHERE m.series_id = t.series_id)
"""

FORGET_SELECTION: Final = (
    "UPDATE run SET selection_id = NULL WHERE selection_id = ?",
    "DELETE FROM selection_series WHERE selection_id = ?",
    "DELETE FROM selection_instance WHERE selection_id = ?",
    "DELETE FROM selection WHERE id = ?",
)

# Instances are sent to another archive than the one that the mirror is of, which only the settings name.
RUNS: Final = """
SELECT r.id, r.verb, ifnull(CASE WHEN r.verb = 'push' THEN json_extract(r.settings, '$.to') END, a.name), r.started_at,
  r.ended_at, r.outcome, r.counts
FROM run AS r JOIN archive AS a ON a.id = r.archive_id ORDER BY r.id
"""

# What the last run of each selection, or of everything, left unanswered. `push` asks for nothing.
LAST_COUNTS: Final = """
SELECT counts FROM run WHERE id IN (
  SELECT max(id) FROM run WHERE counts IS NOT NULL AND verb <> 'push' GROUP BY selection_id
) ORDER BY id
"""

SELECTIONS: Final = """
SELECT q.id, q.criteria, a.name, a.url, q.resolved_run_id IS NOT NULL
FROM selection AS q JOIN archive AS a ON a.id = q.archive_id ORDER BY q.id
"""

ADD_RUN: Final = "INSERT INTO run (verb, archive_id, selection_id, settings, started_at) VALUES (?, ?, ?, ?, ?)"
LAST_CATALOGUE: Final = "SELECT catalogue FROM run WHERE catalogue IS NOT NULL ORDER BY id DESC LIMIT 1"
CATALOGUES: Final = "SELECT DISTINCT catalogue FROM run WHERE catalogue IS NOT NULL"
NOTE_CATALOGUE: Final = "UPDATE run SET catalogue = ? WHERE id = ?"
END_RUN: Final = "UPDATE run SET ended_at = ?, outcome = ?, counts = ? WHERE id = ?"
LAST_RUN: Final = """
SELECT r.id, r.verb, a.name, a.url, r.selection_id, r.started_at, r.ended_at, r.outcome
FROM run AS r JOIN archive AS a ON a.id = r.archive_id ORDER BY r.id DESC LIMIT 1
"""

RUNS_OF_VERB: Final = "SELECT settings, outcome FROM run WHERE verb = ? ORDER BY id"
LAST_SETTINGS: Final = "SELECT id, settings FROM run WHERE verb = ? ORDER BY id DESC LIMIT 1"
COUNTS_OF_RUNS: Final = """
SELECT r.counts FROM run AS r JOIN archive AS a ON a.id = r.archive_id
WHERE (a.name = ? OR a.url = ?) AND r.counts IS NOT NULL ORDER BY r.id DESC LIMIT ?
"""

PROPERTY: Final = "SELECT value FROM mirror WHERE name = ?"
SET_PROPERTY: Final = "INSERT OR REPLACE INTO mirror (name, value) VALUES (?, ?)"
# Neither a UID nor what is made of it has a hyphen, and every counted name has one.
UNCOUNTED: Final = f"""
SELECT s.series_uid FROM series AS s WHERE s.series_uid > ? AND s.folder IS NOT NULL AND EXISTS (
  SELECT 1 FROM instance AS i WHERE i.series_id = s.id AND i.state IN ({HELD}, {WITHDRAWN})
  AND instr(ifnull(i.name, ''), '-') = 0)
ORDER BY s.series_uid LIMIT ?
"""

LAYOUT: Final = "SELECT value FROM mirror WHERE name = 'layout'"
SET_LAYOUT: Final = "INSERT INTO mirror (name, value) VALUES ('layout', ?)"
FOLDER_OWNER: Final = "SELECT owner FROM folder_owner WHERE key = ?"
CLAIM_FOLDER: Final = "INSERT OR IGNORE INTO folder_owner (key, owner) VALUES (?, ?)"

# The tallies of a selection, or of everything where :selection is null: without Series that are listed and of which
# nothing is wanted, because the archive has withdrawn them. Series of which a selection wants only some instances are
# counted one by one.
_TALLIES: Final = f"""
WITH tallies AS (
  SELECT series_id, collection, listing, has_error, image_count, size_bytes, owed, held, failed, quarantined, withdrawn,
    held_bytes
  FROM tally WHERE :selection IS NULL
    AND (owed + held + failed + quarantined > 0 OR listing = {UNLISTED} OR has_error = 1)
  UNION ALL
  SELECT t.series_id, t.collection, t.listing, t.has_error, t.image_count, t.size_bytes, t.owed, t.held, t.failed,
    t.quarantined, t.withdrawn, t.held_bytes
  FROM selection_series AS l CROSS JOIN tally AS t ON t.series_id = l.series_id
  WHERE l.selection_id = :selection AND l.narrowed = 0
  UNION ALL
  SELECT t.series_id, t.collection, t.listing, t.has_error, count(*), NULL, sum(i.state IS {OWED}),
    sum(i.state IS {HELD}), sum(i.state IS {FAILED}), sum(i.state IS {QUARANTINED}), sum(i.state IS {WITHDRAWN}),
    sum((i.state IS {HELD}) * ifnull(i.size_bytes, 0))
  FROM selection_series AS l
  CROSS JOIN series AS s ON s.id = l.series_id
  CROSS JOIN tally AS t ON t.series_id = l.series_id
  CROSS JOIN selection_instance AS w ON w.selection_id = l.selection_id AND w.series_uid = s.series_uid
  LEFT JOIN instance AS i ON i.series_id = l.series_id AND i.sop_uid = w.sop_uid
  WHERE l.selection_id = :selection AND l.narrowed = 1
  GROUP BY t.series_id
)
"""

# What an archive says of a Series can be wrong by many orders of magnitude: such numbers are not added up.
_MOST_INSTANCES: Final = 10_000_000
_LEAST_BYTES: Final = 100  # of an instance
_MOST_BYTES: Final = 100_000_000_000
_IS_CREDIBLE: Final = f"""(
  ifnull(image_count, 0) <= {_MOST_INSTANCES}
  AND ifnull(size_bytes <= {_MOST_BYTES} * max(1, ifnull(image_count, {_MOST_INSTANCES})), 1)
  AND (ifnull(size_bytes, 0) = 0 OR ifnull(image_count, 0) * {_LEAST_BYTES} <= size_bytes))"""
_IS_SIZED: Final = f"(size_bytes IS NOT NULL AND {_IS_CREDIBLE})"

COUNTS: Final = f"""{_TALLIES}
SELECT count(*),
  sum(listing > {UNLISTED} AND has_error = 0 AND owed + failed + quarantined = 0),
  sum(owed = 0 AND (has_error = 1 OR (listing > {UNLISTED} AND failed + quarantined > 0))),
  sum(listing = {UNLISTED} AND has_error = 0),
  sum(owed), sum(held), sum(failed), sum(quarantined), sum(withdrawn), sum(held_bytes),
  sum(CASE WHEN {_IS_CREDIBLE} THEN image_count END), sum(CASE WHEN {_IS_CREDIBLE} THEN size_bytes END),
  sum(NOT {_IS_SIZED}),
  sum(CASE
    WHEN {_IS_SIZED} AND listing = {UNLISTED} THEN size_bytes
    WHEN {_IS_SIZED} THEN max(0, size_bytes - held_bytes) * owed / max(1, owed + failed + quarantined)
    WHEN held > 0 THEN owed * held_bytes / held END),
  sum(CASE
    WHEN {_IS_SIZED} OR held > 0 OR has_error = 1 THEN 0
    WHEN listing = {UNLISTED} THEN CASE WHEN {_IS_CREDIBLE} THEN max(1, ifnull(image_count, 1)) ELSE 1 END
    ELSE owed END)
FROM tallies
"""

COLLECTIONS: Final = f"""{_TALLIES}
SELECT collection, count(*), sum(owed + held + failed + quarantined), sum(held), sum(owed), sum(failed),
  sum(quarantined), sum(held_bytes)
FROM tallies GROUP BY collection ORDER BY collection
"""

# Whether the row f concerns :selection, or :selection is null.
_CONCERNS: Final = """
(:selection IS NULL OR EXISTS (
  SELECT 1 FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
  WHERE l.selection_id = :selection AND l.series_id = f.series_id AND (
    l.narrowed = 0 OR f.sop_uid = '' OR EXISTS (
      SELECT 1 FROM selection_instance AS w
      WHERE w.selection_id = :selection AND w.series_uid = s.series_uid AND w.sop_uid = f.sop_uid))))
"""

FAILURES: Final = f"""
SELECT s.series_uid, f.sop_uid, f.error, f.message, f.attempts
FROM failure AS f CROSS JOIN series AS s ON s.id = f.series_id
WHERE {_CONCERNS} ORDER BY f.series_id, f.sop_uid LIMIT :limit
"""

NOT_DECODED: Final = f"""
SELECT count(*) FROM v_not_decoded AS f WHERE (:run IS NULL OR f.run_id = :run) AND {_CONCERNS}
"""

FAILURES_BY_ERROR: Final = f"SELECT f.error, count(*) FROM failure AS f WHERE {_CONCERNS} GROUP BY f.error ORDER BY 1"
NOTE_FAILURE: Final = """
INSERT INTO failure (series_id, sop_uid, error, message, attempts, run_id) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (series_id, sop_uid) DO UPDATE SET error = excluded.error, message = excluded.message,
  attempts = excluded.attempts, run_id = excluded.run_id
"""

OWE_INSTANCES_AGAIN: Final = f"""
UPDATE instance SET state = {OWED}, run_id = :run WHERE (series_id, sop_uid) IN (
  SELECT f.series_id, f.sop_uid FROM failure AS f WHERE f.sop_uid <> '' AND {_CONCERNS})
"""

# Whether the files of a Series are not DICOM: what is listed of them, a size at most, was asked of each file.
_IS_PLAIN: Final = "SELECT json_extract(k.record, '$.kind') IS NOT NULL FROM series AS k WHERE k.id = {}"
IS_PLAIN: Final = _IS_PLAIN.format("?")

# A failed entry of which only the list of its Series says more: its UID is not known, or the archive does not have it.
_IS_OF_LIST: Final = f"(f.sop_uid > '{UNBOUND}' OR (f.sop_uid <> '' AND f.error = '{NotFound.code}'))"
UNLIST_FAILED: Final = f"""
UPDATE series SET listing = {UNLISTED} WHERE id IN (
  SELECT f.series_id FROM failure AS f
  WHERE (f.sop_uid = '' OR {_IS_OF_LIST} OR ({_IS_PLAIN.format("f.series_id")})) AND {_CONCERNS})
"""

_FAILED_OF_LIST: Final = f"""
WHERE (series_id, sop_uid) IN (SELECT f.series_id, f.sop_uid FROM failure AS f WHERE {_IS_OF_LIST} AND {_CONCERNS})
"""
REMOVE_FAILED_ENTRIES: Final = f"DELETE FROM entry {_FAILED_OF_LIST}"
REMOVE_FAILED_OF_LIST: Final = f"DELETE FROM instance {_FAILED_OF_LIST}"

FORGET_SERIES_FAILURES: Final = f"""
DELETE FROM failure WHERE sop_uid = '' AND series_id IN (
  SELECT f.series_id FROM failure AS f CROSS JOIN series AS known ON known.id = f.series_id
  WHERE f.sop_uid = '' AND known.folder IS NOT NULL AND {_CONCERNS})
"""

EARLIER_FAILURES: Final = f"""
SELECT f.sop_uid, {_IS_OF_LIST} FROM failure AS f WHERE f.series_id = :series AND (:again OR f.run_id <> :run)
"""
OWE_EARLIER_FAILURES: Final = f"""
UPDATE instance SET state = {OWED}, run_id = :run WHERE series_id = :series AND sop_uid IN (
  SELECT sop_uid FROM failure WHERE series_id = :series AND sop_uid <> '' AND (:again OR run_id <> :run))
"""

FORGET_FAILURE: Final = "DELETE FROM failure WHERE series_id = ? AND sop_uid = ?"
PLACE_OF_SERIES: Final = "SELECT collection, patient_id FROM series WHERE series_uid = ? AND folder IS NOT NULL"
SERIES_ID: Final = "SELECT id FROM series WHERE series_uid = ?"
SERIES_LISTING: Final = "SELECT id, listing FROM series WHERE series_uid = ?"
SERIES_FOLDER: Final = "SELECT folder FROM series WHERE series_uid = ?"
SERIES_IN_FOLDER: Final = "SELECT series_uid FROM series WHERE folder = ?"
RECORDED_SERIES: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder, s.listing, s.archive_id FROM series AS s WHERE s.series_uid = ?
"""

ADD_SERIES: Final = """
INSERT INTO series (series_uid, study_uid, patient_id, collection, modality, image_count, size_bytes, record, folder,
  archive_id, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

RENEW_SERIES: Final = """
UPDATE series SET series_uid = ?, study_uid = ?, patient_id = ?, collection = ?, modality = ?, image_count = ?,
  size_bytes = ?, record = ?, folder = ?, archive_id = ?, updated_at = ?, listing = ?
WHERE id = ?
"""

ADD_UNKNOWN_SERIES: Final = """
INSERT INTO series (series_uid, archive_id, updated_at) SELECT ?, archive_id, started_at FROM run WHERE id = ?
"""

HAS_FILES: Final = "SELECT held + withdrawn > 0 FROM tally WHERE series_id = ?"
MARK_UNCOMPARED: Final = "INSERT OR IGNORE INTO uncompared SELECT series_id FROM tally WHERE series_id = ? AND held > 0"
MARK_COMPARED: Final = "DELETE FROM uncompared WHERE series_id = ?"
IS_UNCOMPARED: Final = """
SELECT 1 FROM series AS s JOIN uncompared AS u ON u.series_id = s.id WHERE s.series_uid = ?
"""
LIST_UNCOMPARED: Final = f"""
UPDATE series SET listing = {UNLISTED} WHERE listing <> {UNLISTED} AND id IN (
  SELECT u.series_id FROM uncompared AS u
  JOIN selection_series AS l ON l.series_id = u.series_id AND l.selection_id = ? AND l.run_id = ?)
"""
IS_COMPLETE: Final = """
SELECT t.held > 0 AND t.owed + t.failed + t.quarantined + t.has_error = 0
FROM series AS s JOIN tally AS t ON t.series_id = s.id WHERE s.series_uid = ?
"""
NEVER_LISTED: Final = f"SELECT count(*) FROM tally WHERE listing = {UNLISTED} AND has_error = 0 AND held = 0"
HOLDS_FILES: Final = "SELECT held > 0 FROM tally WHERE series_id = ?"
SET_LISTING: Final = "UPDATE series SET listing = ? WHERE id = ?"
UNLIST: Final = f"UPDATE series SET listing = {UNLISTED} WHERE id = ?"
LIST_IN_PART: Final = f"UPDATE series SET listing = {IN_PART} WHERE id = ? AND listing = {UNLISTED}"
UNLIST_PART: Final = f"UPDATE series SET listing = {UNLISTED} WHERE series_uid = ? AND listing = {IN_PART}"
RENEW_LINK: Final = "UPDATE selection_series SET run_id = ? WHERE selection_id = ? AND series_id = ?"
ADD_LINK: Final = "INSERT INTO selection_series (selection_id, series_id, narrowed, run_id) VALUES (?, ?, ?, ?)"
LINKS: Final = "SELECT selection_id, narrowed FROM selection_series WHERE series_id = ?"
UNLINK: Final = "DELETE FROM selection_series WHERE selection_id = ? AND series_id = ?"

# Series that earlier runs found for the selection, and this one did not; and how many files the selection holds.
VANISHED: Final = """
SELECT s.series_uid, t.held FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
JOIN tally AS t ON t.series_id = l.series_id WHERE l.selection_id = ? AND l.run_id < ? ORDER BY s.id
"""
HELD_OF_SELECTION: Final = """
SELECT ifnull(sum(t.held), 0) FROM selection_series AS l JOIN tally AS t ON t.series_id = l.series_id
WHERE l.selection_id = ?
"""
LINKED_SERIES: Final = """
SELECT s.series_uid FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
JOIN tally AS t ON t.series_id = l.series_id WHERE l.selection_id = ? AND t.held > 0
"""
SELECTED_SERIES: Final = """
SELECT s.series_uid FROM selection_series AS l JOIN series AS s ON s.id = l.series_id
WHERE l.selection_id = ? AND s.folder IS NOT NULL
"""
SET_POSITION: Final = "UPDATE series SET position = :position WHERE id = :id AND position <> :position"
SERIES_COUNT: Final = "SELECT count(*) FROM series"

# How many instances of a Series the selection names, and how many of those are not recorded.
NAMED_INSTANCES: Final = """
SELECT count(*), ifnull(sum(i.sop_uid IS NULL), 0) FROM selection_instance AS w
LEFT JOIN instance AS i ON i.series_id = ? AND i.sop_uid = w.sop_uid
WHERE w.selection_id = ? AND w.series_uid = ?
"""

WANTED_INSTANCES: Final = """
SELECT w.sop_uid FROM series AS s CROSS JOIN selection_instance AS w
ON w.selection_id = ? AND w.series_uid = s.series_uid WHERE s.id = ?
"""

_SERIES_ROW: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder, t.listing, t.owed, t.held, t.failed, t.quarantined, t.withdrawn,
  t.held_bytes, f.error, f.message, f.attempts, a.name
FROM series AS s CROSS JOIN tally AS t ON t.series_id = s.id CROSS JOIN archive AS a ON a.id = s.archive_id
LEFT JOIN failure AS f ON f.series_id = s.id AND f.sop_uid = ''
"""

# Not those of which nothing is recorded any more: see EMPTY_SERIES.
SERIES_PAGE: Final = f"""{_SERIES_ROW}
WHERE s.id > ?
  AND (t.owed + t.held + t.failed + t.quarantined + t.withdrawn > 0 OR t.has_error = 1 OR t.listing = {UNLISTED})
ORDER BY s.id LIMIT ?
"""
SERIES_BY_ORDER: Final = f"{_SERIES_ROW} WHERE s.series_uid > ? AND s.folder IS NOT NULL ORDER BY s.series_uid LIMIT ?"
SERIES_BY_UID: Final = f"{_SERIES_ROW} WHERE s.series_uid = ?"
UNLISTED_SERIES: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder
FROM tally AS t CROSS JOIN series AS s ON s.id = t.series_id
WHERE t.listing = {UNLISTED} AND t.has_error = 0 AND t.series_id > :after AND (:selection IS NULL OR EXISTS (
  SELECT 1 FROM selection_series AS l WHERE l.selection_id = :selection AND l.series_id = t.series_id))
ORDER BY t.series_id LIMIT :limit
"""

OWING_SERIES: Final = f"""
SELECT s.id, s.series_uid, s.study_uid, s.patient_id, s.collection, s.position, s.folder, s.image_count, s.size_bytes,
  s.listing = {WHOLE} AND t.held + t.failed + t.quarantined + t.withdrawn = 0, t.owed, ifnull(l.narrowed, 0)
FROM series AS s INDEXED BY series_owing
CROSS JOIN tally AS t ON t.series_id = s.id
LEFT JOIN selection_series AS l ON l.selection_id = :selection AND l.series_id = s.id
WHERE s.owes = 1 AND (:selection IS NULL OR l.series_id IS NOT NULL)
  AND (s.position, s.collection, s.patient_id, s.study_uid, s.series_uid)
    >= (:position, :collection, :patient_id, :study_uid, :series_uid)
ORDER BY s.position, s.collection, s.patient_id, s.study_uid, s.series_uid LIMIT :limit
"""

HOLDING_SERIES: Final = "SELECT series_id FROM tally WHERE series_id > ? AND held > 0 ORDER BY series_id LIMIT 1"
ADD_INSTANCES: Final = f"INSERT OR IGNORE INTO instance (series_id, sop_uid, name, run_id) {ROWS}"
ADD_INSTANCE: Final = ADD_INSTANCES.replace(ROWS, "VALUES (?, ?, ?, ?)")
# The rules of the view `v_instances`: the name of an instance's file, and its path below the mirror.
_NAME: Final = "ifnull(i.name, i.sop_uid || '.dcm')"
_PATH: Final = f"CASE ifnull(s.folder, '') WHEN '' THEN '' ELSE s.folder || '/' END || {_NAME}"
_NAME_IF_KNOWN: Final = f"CASE WHEN i.sop_uid < '{UNBOUND}' THEN {_NAME} ELSE i.name END"
_OWED: Final = f"i.sop_uid AS uid, {_NAME_IF_KNOWN} AS name, e.key, e.size_bytes, e.md5"
_ENTRY_OF_I: Final = "LEFT JOIN entry AS e ON e.series_id = i.series_id AND e.sop_uid = i.sop_uid"
# All rows as one text of JSON, in any order: the MD5s in hexadecimal digits.
_TOGETHER: Final = "SELECT json_group_array(json_array(uid, name, key, size_bytes, hex(md5))) FROM ({}) AS listed"
OWED_INSTANCES: Final = _TOGETHER.format(f"""
SELECT {_OWED} FROM instance AS i {_ENTRY_OF_I}
WHERE i.series_id = :series AND i.sop_uid > :after AND i.state = {OWED}
ORDER BY i.sop_uid LIMIT :limit
""")

# Those that the selection names, and those that it may name: their UIDs are not known yet.
OWED_WANTED_INSTANCES: Final = _TOGETHER.format(f"""
SELECT {_OWED}
FROM selection_instance AS w CROSS JOIN instance AS i ON i.series_id = :series AND i.sop_uid = w.sop_uid {_ENTRY_OF_I}
WHERE w.selection_id = :selection AND w.series_uid = :series_uid AND w.sop_uid > :after AND i.state = {OWED}
UNION ALL
SELECT {_OWED} FROM instance AS i {_ENTRY_OF_I}
WHERE i.series_id = :series AND i.sop_uid > max(:after, '{UNBOUND}') AND i.state = {OWED}
ORDER BY 1 LIMIT :limit
""")

OWES_UNBOUND: Final = f"""
SELECT 1 FROM instance WHERE series_id = ? AND sop_uid > '{UNBOUND}' AND state = {OWED} LIMIT 1
"""

# The instances that are recorded: `UPDATE … FROM` is newer than the SQLite of some systems (3.33).
HOLD: Final = f"""
INSERT INTO instance (series_id, sop_uid, state, size_bytes, md5, sha256, mtime_ns, transfer_syntax_id, notes, run_id)
SELECT i.series_id, i.sop_uid, {HELD}, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8, v.column9
FROM ({ROWS}) AS v CROSS JOIN instance AS i ON i.series_id = v.column1 AND i.sop_uid = v.column2
WHERE true
ON CONFLICT (series_id, sop_uid) DO UPDATE SET state = excluded.state, size_bytes = excluded.size_bytes,
  md5 = excluded.md5, sha256 = excluded.sha256, mtime_ns = excluded.mtime_ns,
  transfer_syntax_id = excluded.transfer_syntax_id, notes = excluded.notes, run_id = excluded.run_id
"""

STATE: Final = "SELECT state FROM instance WHERE series_id = ? AND sop_uid = ?"
GIVE_UP: Final = "UPDATE instance SET state = ?, run_id = ? WHERE series_id = ? AND sop_uid = ?"
OWE: Final = f"""
UPDATE instance SET state = {OWED}, size_bytes = NULL, md5 = NULL, sha256 = NULL, mtime_ns = NULL,
  transfer_syntax_id = NULL, notes = NULL, run_id = ?
WHERE series_id = ? AND sop_uid = ? AND state = {HELD}
"""

ALL_OF_SERIES: Final = f"""
SELECT i.sop_uid, i.state, e.key FROM instance AS i {_ENTRY_OF_I} WHERE i.series_id = ?
"""
WITHDRAW: Final = f"""
UPDATE instance SET state = {WITHDRAWN}, run_id = ? WHERE series_id = ? AND sop_uid = ? AND state = {HELD}
"""
REINSTATE: Final = f"""
UPDATE instance SET state = {HELD}, run_id = ? WHERE series_id = ? AND sop_uid = ? AND state = {WITHDRAWN}
"""
HAS_WITHDRAWN: Final = "SELECT withdrawn > 0 FROM tally WHERE series_id = ?"
_HELD: Final = f"""
SELECT i.series_id, s.series_uid, i.sop_uid, {_PATH}, i.size_bytes, i.md5, i.sha256, i.mtime_ns, x.uid,
  e.key, e.size_bytes, e.md5
FROM series AS s CROSS JOIN instance AS i ON i.series_id = s.id
LEFT JOIN transfer_syntax AS x ON x.id = i.transfer_syntax_id {_ENTRY_OF_I}
"""

ADOPTED: Final = f"""{_HELD} JOIN run AS r ON r.id = i.run_id
WHERE s.series_uid = ? AND i.state = {HELD} AND r.verb = 'adopt' ORDER BY i.sop_uid
"""

INSTANCE_COLUMNS: Final = (
    *("series_uid", "sop_uid", "state", "path", "size_bytes", "md5", "sha256"),
    *("transfer_syntax_uid", "notes", "key"),
)
"""The columns of the table of instances that users get."""
INSTANCE_TABLE: Final = f"SELECT {', '.join(INSTANCE_COLUMNS)} FROM v_instances WHERE series_uid = ? ORDER BY sop_uid"
ALL_HELD_OF_SERIES: Final = f"""{_HELD} WHERE s.series_uid = ? AND i.state = {HELD} ORDER BY i.sop_uid"""

HELD_WITHOUT_MD5: Final = f"""{_HELD}
WHERE s.series_uid = ? AND i.state = {HELD} AND i.md5 IS NULL ORDER BY i.sop_uid
"""
SET_MD5: Final = f"UPDATE instance SET md5 = ? WHERE series_id = ? AND sop_uid = ? AND state = {HELD}"

WITHDRAWN_FILES: Final = f"""{_HELD} JOIN tally AS t ON t.series_id = s.id
WHERE t.withdrawn > 0 AND i.state = {WITHDRAWN} ORDER BY i.series_id, i.sop_uid LIMIT ?
"""
WITHDRAWN_TOTAL: Final = f"""
SELECT count(*), ifnull(sum(i.size_bytes), 0) FROM tally AS t CROSS JOIN instance AS i ON i.series_id = t.series_id
WHERE t.withdrawn > 0 AND i.state = {WITHDRAWN}
"""

HELD_OF_SERIES: Final = f"""{_HELD}
WHERE s.id = ? AND i.sop_uid > ? AND i.state = {HELD} ORDER BY i.sop_uid LIMIT ?
"""

ADD_TARGET: Final = "INSERT OR IGNORE INTO target (url) VALUES (?)"
TARGET_ID: Final = "SELECT id FROM target WHERE url = ?"
UNSENT: Final = f"""{_HELD}
LEFT JOIN sent AS p ON p.series_id = i.series_id AND p.sop_uid = i.sop_uid AND p.target_id = ?
WHERE s.id = ? AND i.sop_uid > ? AND i.state = {HELD} AND ifnull(p.run_id < i.run_id, 1) ORDER BY i.sop_uid LIMIT ?
"""
RECORD_SENT: Final = f"INSERT OR REPLACE INTO sent (series_id, sop_uid, target_id, run_id) {ROWS}"

# Series that hold files, of :selection or of everything.
HELD_FOLDERS: Final = """
SELECT s.id, s.series_uid, s.folder FROM tally AS t CROSS JOIN series AS s ON s.id = t.series_id
WHERE t.series_id > :after AND t.held > 0 AND (:selection IS NULL OR EXISTS (
  SELECT 1 FROM selection_series AS l WHERE l.selection_id = :selection AND l.series_id = t.series_id))
ORDER BY t.series_id LIMIT :limit
"""

HELD_FILES: Final = f"""
SELECT sop_uid, ifnull(name, sop_uid || '.dcm'), size_bytes FROM instance
WHERE series_id = ? AND state = {HELD} AND run_id <> ?
"""

INSTANCES: Final = f"""
SELECT i.sop_uid, {_PATH}, i.state, i.size_bytes
FROM series AS s CROSS JOIN instance AS i ON i.series_id = s.id
WHERE s.series_uid = ? AND i.sop_uid > ? AND (i.sop_uid < '{UNBOUND}' OR i.name IS NOT NULL)
ORDER BY i.sop_uid LIMIT ?
"""

ENTRIES: Final = f"""
SELECT ifnull(e.key, substr(i.sop_uid, 1 + (i.sop_uid > '{UNBOUND}'))),
  CASE WHEN i.sop_uid < '{UNBOUND}' THEN i.sop_uid END,
  {_NAME_IF_KNOWN}, i.state, f.error, f.message
FROM instance AS i {_ENTRY_OF_I} LEFT JOIN failure AS f ON f.series_id = i.series_id AND f.sop_uid = i.sop_uid
WHERE i.series_id = ? ORDER BY i.sop_uid
"""

HAS_INSTANCES: Final = "SELECT 1 FROM instance WHERE series_id = ? LIMIT 1"
FORGET_SERIES: Final = (
    "DELETE FROM entry WHERE series_id = ?",
    "DELETE FROM instance WHERE series_id = ?",
    *FORGET_UNKNOWN_SERIES,
)

FIND_HELD: Final = f"""
SELECT {_PATH}, i.size_bytes, i.run_id FROM series AS s CROSS JOIN instance AS i ON i.series_id = s.id
WHERE s.series_uid = ? AND i.sop_uid = ? AND i.state = {HELD}
"""
FIND_ALL_HELD: Final = f"""
SELECT k.key, {_PATH}, i.size_bytes, i.run_id FROM json_each(?) AS k
CROSS JOIN series AS s ON s.series_uid = json_extract(k.value, '$[0]')
CROSS JOIN instance AS i ON i.series_id = s.id AND i.sop_uid = json_extract(k.value, '$[1]') AND i.state = {HELD}
"""

ADD_TRANSFER_SYNTAX: Final = "INSERT OR IGNORE INTO transfer_syntax (uid) VALUES (?)"
TRANSFER_SYNTAX_ID: Final = "SELECT id FROM transfer_syntax WHERE uid = ?"
_RENEW_ENTRY: Final = """
ON CONFLICT (series_id, sop_uid) DO UPDATE SET key = excluded.key, size_bytes = excluded.size_bytes, md5 = excluded.md5
"""
KEEP_ENTRIES: Final = f"""
INSERT INTO entry (series_id, sop_uid, key, size_bytes, md5) {ROWS}
{_RENEW_ENTRY}
"""
KEEP_ENTRY: Final = KEEP_ENTRIES.replace(ROWS, "VALUES (?, ?, ?, ?, ?)")

BOUND_KEYS: Final = f"""
SELECT key, sop_uid FROM entry WHERE series_id = ? AND sop_uid < '{UNBOUND}' AND key IS NOT NULL
"""

IS_BOUND: Final = "SELECT 1 FROM entry WHERE series_id = ? AND key = ?"
ENTRY: Final = "SELECT size_bytes, md5 FROM entry WHERE series_id = ? AND sop_uid = ?"

# An instance, and the key of its entry where one is recorded.
BOUND_TO: Final = f"""
SELECT e.key FROM instance AS i {_ENTRY_OF_I} WHERE i.series_id = ? AND i.sop_uid = ?
"""

NAME: Final = "SELECT name FROM instance WHERE series_id = ? AND sop_uid = ?"
SET_NAME: Final = "UPDATE instance SET name = ? WHERE series_id = ? AND sop_uid = ?"
FORGET_KEY: Final = "UPDATE entry SET key = NULL WHERE series_id = ? AND sop_uid = ?"
NOT_HELD: Final = f"""
SELECT i.sop_uid, e.key FROM instance AS i {_ENTRY_OF_I} WHERE i.series_id = ? AND i.state NOT IN ({HELD}, {WITHDRAWN})
"""
BIND: Final = "UPDATE instance SET sop_uid = ?, name = ? WHERE series_id = ? AND sop_uid = ?"
# The same for many entries of a Series. The values of each are its row while it is not bound, its UID, key and name.
RECORDED: Final = f"SELECT count(*) FROM instance WHERE series_id = ? AND sop_uid IN ({ROWS})"
MOVE_ENTRIES: Final = f"""
INSERT INTO entry (series_id, sop_uid, key, size_bytes, md5)
SELECT s.id, v.column2, v.column3, e.size_bytes, e.md5
FROM (SELECT ? AS id) AS s CROSS JOIN ({ROWS}) AS v
LEFT JOIN entry AS e ON e.series_id = s.id AND e.sop_uid = v.column1
WHERE true
{_RENEW_ENTRY}
"""
MOVE_INSTANCES: Final = f"""
INSERT INTO instance (series_id, sop_uid, state, name, run_id)
SELECT i.series_id, v.column2, i.state, v.column4, i.run_id
FROM (SELECT ? AS id) AS s CROSS JOIN ({ROWS}) AS v
CROSS JOIN instance AS i ON i.series_id = s.id AND i.sop_uid = v.column1
"""
REMOVE_INSTANCES: Final = f"DELETE FROM instance WHERE series_id = ? AND sop_uid IN ({ROWS})"
REMOVE_ENTRIES: Final = f"DELETE FROM entry WHERE series_id = ? AND sop_uid IN ({ROWS})"
REMOVE_INSTANCE: Final = "DELETE FROM instance WHERE series_id = ? AND sop_uid = ?"
REMOVE_ENTRY: Final = "DELETE FROM entry WHERE series_id = ? AND sop_uid = ?"
UNBOUND_CHECKSUMS: Final = f"""
SELECT e.sop_uid, e.md5 FROM entry AS e CROSS JOIN instance AS i ON i.series_id = e.series_id AND i.sop_uid = e.sop_uid
WHERE e.series_id = ? AND e.sop_uid > '{UNBOUND}' AND e.md5 IS NOT NULL AND i.state <> {HELD}
"""

_FORMER: Final = f"i.sop_uid < '{UNBOUND}' AND e.series_id IS NOT NULL AND e.key IS NULL"
# The names of files of a Series, and of their instances, but for those that the archive has replaced; and these.
NAMES_IN_PLACE: Final = f"""
SELECT {_NAME}, i.sop_uid FROM instance AS i {_ENTRY_OF_I}
WHERE i.series_id = ? AND (i.state IN ({HELD}, {WITHDRAWN}) OR i.name IS NOT NULL) AND NOT ({_FORMER})
"""
FORMER_NAMES: Final = f"""
SELECT i.sop_uid, {_NAME} FROM instance AS i {_ENTRY_OF_I}
WHERE i.series_id = ? AND i.state IN ({HELD}, {WITHDRAWN}) AND {_FORMER}
"""

# The held instances of a Series that no entry is bound to.
HELD_CHECKSUMS: Final = f"""
SELECT i.md5, i.sop_uid FROM instance AS i {_ENTRY_OF_I}
WHERE i.series_id = ? AND i.sop_uid < '{UNBOUND}' AND i.state = {HELD} AND i.md5 IS NOT NULL AND e.key IS NULL
"""

BOUND_NAMES: Final = f"""
SELECT {_NAME}, e.sop_uid FROM entry AS e CROSS JOIN instance AS i
ON i.series_id = e.series_id AND i.sop_uid = e.sop_uid
WHERE e.series_id = ? AND (e.sop_uid < '{UNBOUND}' AND e.key IS NOT NULL OR i.name IS NOT NULL)
"""

# --- descriptions -----------------------------------------------------------------------------------------------------

# A later description replaces the values that it has, and keeps those that it leaves out.
_KEEP_DESCRIPTION: Final = """
INSERT INTO {table} ({columns}, record) VALUES ({marks}, ?)
ON CONFLICT ({key}) DO UPDATE SET {renewed}record = json_patch(record, excluded.record)
"""
_DATED: Final = "archive_id = excluded.archive_id, described_at = excluded.described_at, "


def _keep(table: str, columns: str, key: str, renewed: str = "") -> str:
    marks = ", ".join("?" * len(columns.split(",")))
    return _KEEP_DESCRIPTION.format(table=table, columns=columns, marks=marks, key=key, renewed=renewed)


KEEP_COLLECTION: Final = _keep("collection", "name, archive_id, described_at", "name", _DATED)
KEEP_RESULT: Final = _keep("analysis_result", "name, archive_id, described_at", "name", _DATED)
KEEP_PATIENT: Final = _keep("patient", "collection, patient_id", "collection, patient_id")
KEEP_STUDY: Final = _keep("study", "collection, patient_id, study_uid", "collection, patient_id, study_uid")

COLLECTION_DESCRIPTIONS: Final = "SELECT name, record FROM collection ORDER BY name"
RESULT_DESCRIPTIONS: Final = "SELECT name, record FROM analysis_result ORDER BY name"
FIND_DESCRIBED: Final = "SELECT record FROM collection WHERE name = ?"
FIND_PATIENT: Final = "SELECT record FROM patient WHERE collection = ? AND patient_id = ?"
FIND_STUDY: Final = "SELECT record FROM study WHERE collection = ? AND patient_id = ? AND study_uid = ?"
# Studies that the archive did not describe when it was asked, so that it is not asked again.
KEEP_BARE_STUDIES: Final = """
INSERT OR IGNORE INTO study (collection, patient_id, study_uid, record)
SELECT DISTINCT collection, patient_id, study_uid,
  json_object('collection', collection, 'patient_id', patient_id, 'study_uid', study_uid)
FROM series WHERE collection = ? AND study_uid <> '' AND folder IS NOT NULL
"""
UNDESCRIBED: Final = """
SELECT DISTINCT t.collection FROM tally AS t CROSS JOIN series AS s ON s.id = t.series_id
WHERE t.collection <> '' AND NOT EXISTS (SELECT 1 FROM collection AS c WHERE c.name = t.collection)
  AND s.archive_id = ? ORDER BY 1 LIMIT ?
"""

# What files are held, by what the archive says of their Series, and by the first folder on the way to them.
HELD_GROUPS: Final = """
SELECT s.collection, substr(s.folder, 1, instr(s.folder || '/', '/') - 1), json_extract(s.record, '$.license_name'),
  json_extract(s.record, '$.license_uri'), json_extract(s.record, '$.collection_uri'),
  ifnull(json_extract(s.record, '$.third_party'), 0), max(json_extract(s.record, '$.location') IS NOT NULL
    AND json_extract(s.record, '$.kind') IS NULL AND json_extract(s.record, '$.location') NOT LIKE 'drs://%'),
  count(*), sum(t.held), sum(t.held_bytes)
FROM tally AS t CROSS JOIN series AS s ON s.id = t.series_id
WHERE t.held > 0 GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
"""
# A text that changes whenever what is held changes, or what is recorded of it.
MIRROR_STATE: Final = """
SELECT count(*), sum(held), sum(held_bytes), sum(withdrawn), (SELECT max(updated_at) FROM series),
  (SELECT max(described_at) FROM collection), (SELECT group_concat(url) FROM archive) FROM tally
"""
HEADER: Final = "SELECT record FROM instance_header WHERE series_id = ? AND sop_uid = ? AND mtime_ns = ?"
KEEP_HEADER: Final = "INSERT OR REPLACE INTO instance_header (series_id, sop_uid, mtime_ns, record) VALUES (?, ?, ?, ?)"
SOP_CLASS: Final = "SELECT sop_class_uid FROM series_header WHERE series_id = ?"
ADD_SOP_CLASS: Final = "INSERT OR IGNORE INTO series_header (series_id, sop_class_uid) VALUES (?, ?)"
KEEP_SOP_CLASS: Final = "INSERT OR REPLACE INTO series_header (series_id, sop_class_uid) VALUES (?, ?)"
FIRST_RUN: Final = "SELECT min(started_at) FROM run"
ARCHIVES: Final = "SELECT name, url FROM archive ORDER BY id"
