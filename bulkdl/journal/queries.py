"""The questions of a journal that are long, or made of common parts, as SQL.

Each is a constant: values come in as parameters alone. In all of them `:selection` is the id of a selection, and null
for everything in the journal. CROSS JOIN keeps SQLite to the order that is written, which starts from the smallest
table, whatever its statistics say.
"""

# ruff: noqa: S608 - the parts that are put together are constants of this module

from __future__ import annotations

from typing import Final

SERIES_COLUMNS: Final = (
    "s.series_uid, s.study_uid, s.patient_id, s.collection, s.modality, s.image_count, s.size_bytes, s.record"
)
"""The columns of which `columns.series_from` makes a Series."""

# The tallies of a selection, or of everything where :selection is null. Series of which a selection wants only some
# instances are counted one by one.
TALLIES: Final = """
WITH tallies AS (
  SELECT series_id, collection, listing, has_error, image_count, size_bytes, owed, held, failed, quarantined, withdrawn,
    held_bytes
  FROM tally WHERE :selection IS NULL
  UNION ALL
  SELECT t.series_id, t.collection, t.listing, t.has_error, t.image_count, t.size_bytes, t.owed, t.held, t.failed,
    t.quarantined, t.withdrawn, t.held_bytes
  FROM selection_series AS l CROSS JOIN tally AS t ON t.series_id = l.series_id
  WHERE l.selection_id = :selection AND l.narrowed = 0
  UNION ALL
  SELECT t.series_id, t.collection, t.listing, t.has_error, count(*), NULL, sum(i.state IS 0), sum(i.state IS 1),
    sum(i.state IS 2), sum(i.state IS 3), sum(i.state IS 4), sum((i.state IS 1) * ifnull(i.size_bytes, 0))
  FROM selection_series AS l
  CROSS JOIN series AS s ON s.id = l.series_id
  CROSS JOIN tally AS t ON t.series_id = l.series_id
  CROSS JOIN selection_instance AS w ON w.selection_id = l.selection_id AND w.series_uid = s.series_uid
  LEFT JOIN instance AS i ON i.series_id = l.series_id AND i.sop_uid = w.sop_uid
  WHERE l.selection_id = :selection AND l.narrowed = 1
  GROUP BY t.series_id
)
"""

COUNTS: Final = f"""{TALLIES}
SELECT count(*),
  sum(listing > 0 AND has_error = 0 AND owed + failed + quarantined = 0),
  sum(owed = 0 AND (has_error = 1 OR (listing > 0 AND failed + quarantined > 0))),
  sum(listing = 0 AND has_error = 0),
  sum(owed), sum(held), sum(failed), sum(quarantined), sum(withdrawn), sum(held_bytes),
  sum(image_count), sum(size_bytes), sum(size_bytes IS NULL)
FROM tallies
"""

COLLECTIONS: Final = f"""{TALLIES}
SELECT collection, count(*), sum(owed + held + failed + quarantined), sum(held), sum(owed), sum(failed),
  sum(quarantined), sum(held_bytes)
FROM tallies GROUP BY collection ORDER BY collection
"""

# Whether the failure f concerns :selection, or :selection is null.
CONCERNS: Final = """
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
WHERE {CONCERNS} ORDER BY f.series_id, f.sop_uid LIMIT :limit
"""

FAILURES_BY_ERROR: Final = f"SELECT f.error, count(*) FROM failure AS f WHERE {CONCERNS} GROUP BY f.error ORDER BY 1"

OWE_INSTANCES_AGAIN: Final = f"""
UPDATE instance SET state = 0, run_id = :run WHERE (series_id, sop_uid) IN (
  SELECT f.series_id, f.sop_uid FROM failure AS f WHERE f.sop_uid <> '' AND {CONCERNS})
"""

UNLIST_FAILED: Final = f"""
UPDATE series SET listing = 0 WHERE id IN (
  SELECT f.series_id FROM failure AS f WHERE f.sop_uid = '' AND {CONCERNS})
"""

FORGET_SERIES_FAILURES: Final = f"""
DELETE FROM failure WHERE sop_uid = '' AND series_id IN (
  SELECT f.series_id FROM failure AS f CROSS JOIN series AS known ON known.id = f.series_id
  WHERE f.sop_uid = '' AND known.folder IS NOT NULL AND {CONCERNS})
"""

SERIES_ROW: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder, t.listing, t.owed, t.held, t.failed, t.quarantined, t.withdrawn,
  t.held_bytes, f.error, f.message, f.attempts
FROM series AS s CROSS JOIN tally AS t ON t.series_id = s.id
LEFT JOIN failure AS f ON f.series_id = s.id AND f.sop_uid = ''
"""

SERIES_PAGE: Final = f"{SERIES_ROW} WHERE s.id > ? ORDER BY s.id LIMIT ?"

SERIES_BY_UID: Final = f"{SERIES_ROW} WHERE s.series_uid = ?"

UNLISTED_SERIES: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder
FROM tally AS t CROSS JOIN series AS s ON s.id = t.series_id
WHERE t.listing = 0 AND t.has_error = 0 AND t.series_id > :after AND (:selection IS NULL OR EXISTS (
  SELECT 1 FROM selection_series AS l WHERE l.selection_id = :selection AND l.series_id = t.series_id))
ORDER BY t.series_id LIMIT :limit
"""

OWING_SERIES: Final = """
SELECT s.id, s.series_uid, s.study_uid, s.patient_id, s.collection, s.folder, s.image_count, s.size_bytes,
  s.listing = 2 AND t.held + t.failed + t.quarantined + t.withdrawn = 0, t.owed, ifnull(l.narrowed, 0)
FROM series AS s INDEXED BY series_owing
CROSS JOIN tally AS t ON t.series_id = s.id
LEFT JOIN selection_series AS l ON l.selection_id = :selection AND l.series_id = s.id
WHERE s.owes = 1 AND (:selection IS NULL OR l.series_id IS NOT NULL)
  AND (s.collection, s.patient_id, s.study_uid, s.series_uid) >= (:collection, :patient_id, :study_uid, :series_uid)
ORDER BY s.collection, s.patient_id, s.study_uid, s.series_uid LIMIT :limit
"""

OWED_INSTANCES: Final = """
SELECT sop_uid, name FROM instance WHERE series_id = :series AND sop_uid > :after AND state = 0
ORDER BY sop_uid LIMIT :limit
"""

OWED_WANTED_INSTANCES: Final = """
SELECT i.sop_uid, i.name
FROM selection_instance AS w CROSS JOIN instance AS i ON i.series_id = :series AND i.sop_uid = w.sop_uid
WHERE w.selection_id = :selection AND w.series_uid = :series_uid AND w.sop_uid > :after AND i.state = 0
ORDER BY w.sop_uid LIMIT :limit
"""

HOLD: Final = """
UPDATE instance SET state = 1, size_bytes = ?, md5 = ?, sha256 = ?, mtime_ns = ?, transfer_syntax_id = ?, notes = ?,
  run_id = ?
WHERE series_id = ? AND sop_uid = ?
"""

HELD_OF_SERIES: Final = """
SELECT i.series_id, s.series_uid, i.sop_uid, s.folder, i.name, i.size_bytes, i.md5, i.sha256, i.mtime_ns, x.uid
FROM instance AS i CROSS JOIN series AS s ON s.id = i.series_id
LEFT JOIN transfer_syntax AS x ON x.id = i.transfer_syntax_id
WHERE i.series_id = ? AND i.sop_uid > ? AND i.state = 1 ORDER BY i.sop_uid LIMIT ?
"""

RECORDED_SERIES: Final = f"""
SELECT {SERIES_COLUMNS}, s.id, s.folder, s.listing, s.archive_id FROM series AS s WHERE s.series_uid = ?
"""
