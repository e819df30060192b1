"""The tables of a journal: one SQLite file for each mirror, which any SQLite tool can read.

This module has the scripts that create and migrate the tables, and describes them. `connection` opens the file,
`journal` records facts and answers questions.

Reading it
==========
Reading does not disturb a run in progress::

    $ sqlite3 -readonly DIR/.bulkdl/journal.sqlite
    sqlite> SELECT * FROM v_collections;
    sqlite> SELECT path, md5, sha256 FROM v_instances WHERE series_uid = '1.3.6.1…' AND state = 'held';
    sqlite> SELECT error, count(*) FROM v_failures GROUP BY error;
    sqlite> SELECT series_uid, instance, message FROM v_failures WHERE error = 'timed-out' LIMIT 20;
    sqlite> SELECT folder, held, owed FROM v_series WHERE collection = 'TCGA-GBM' AND owed > 0;
    sqlite> SELECT series_uid, json_extract(record, '$.description') FROM series WHERE collection = 'TCGA-GBM';
    sqlite> SELECT id, verb, started_at, outcome FROM v_runs ORDER BY id DESC LIMIT 5;

Views
=====
- `v_collections`: collection, series, instances, held, owed, failed, quarantined, withdrawn, held_bytes. A Series of
  which the archive has withdrawn everything is in none of these numbers but `withdrawn`, which counts files.
- `v_series`: series_uid, study_uid, patient_id, collection, modality, folder, listing (in words), image_count,
  size_bytes and location (of the archive), held, owed, failed, quarantined, withdrawn, held_bytes; error and message
  concern the Series as a whole. One with `withdrawn` files alone is not in the archive any more; `sync --prune` removes
  the files, and then the Series.
- `v_instances`: series_uid, sop_uid, state (in words), path (below the mirror), size_bytes, md5, sha256 (hexadecimal),
  mtime_ns, transfer_syntax_uid, notes, run_id, key (of the entry at the archive; for most archives the SOP Instance
  UID). sop_uid and path are null while the UID is not known. Select one Series: there may be millions of rows.
- `v_failures`: series_uid, instance (the SOP Instance UID, null where it is not known), state, error, message,
  attempts, run_id, key (as above; null for a Series as a whole).
- `v_runs`: id, verb, archive, url, selection_id, started_at, ended_at, outcome, counts, catalogue.
- `v_not_decoded`: series_id, sop_uid, run_id, notes. Instances whose pixels should have been decoded and were not,
  because no installed decoder supports them.

Tables
======
Moments are ISO 8601 in UTC. UIDs are text, checksums blobs. No column contains a secret.

- `mirror`: properties of the mirror as a whole, by name: `layout` is the template of its folders and files;
  `relayout` is there while a relayout to it is not finished; `side_files` is what was written beside the images;
  `agreements` is a JSON list of the terms that the user agreed to, with the address of each archive.
- `folder_owner`: which names own a folder whose name contains text. `key` is the path without case and in one form of
  Unicode, `owner` a digest of the names: two Collections that differ only in that keep different folders.
- `archive`: `name` is the profile or the address that the user gave, `url` its latest address.
- `selection`: what was requested from an archive. `criteria` is the JSON of `model.selection.Selection`; `digest` the
  SHA-256 of it with every list sorted, so that the same criteria are one selection; `resolved_run_id` the last run that
  resolved it completely.
- `selection_instance`: the instances that a selection names one by one, which narrows their Series to them.
- `run`: one execution on the mirror. `settings` and `counts` are JSON; `outcome` is null while it runs, and stays
  null if it is killed. `catalogue` is the release of the index in which Series were looked up, null where the archive
  answers itself.
- `series`: a Series as the archive describes it. `record` is a JSON object of the values that have no column. Where it
  has a `kind`, `slide` or `files`, the files are not DICOM: UIDs are made of their addresses, and begin with 2.25.
  `folder` is relative to the mirror, with `/`; only `relayout` changes it. It is null for a Series that was requested
  by UID and that the archive did not know. `listing` is 0 when the instances are not listed, 1 when those that the
  selections name are recorded, 2 when all are. `owes` is 1 while instances are owed. `position`: its place in the order
  of downloading that a run asked for; those of one position come by Collection, Patient, Study and Series.
  `updated_at`: when the record last changed.
- `collection`, `analysis_result`, `patient`, `study`: what the archive says of them. `record` is a JSON object of the
  values of `model.descriptions.CollectionDescription` and `ResultDescription`, of `model.records.Patient` and `Study`;
  what is absent has no key. A row of `collection` with a name alone: the archive was asked and sent no description.
- `instance_header`: attributes that `export --table headers` read from the file of an instance, while its time was
  `mtime_ns`. `record` is a JSON object of keyword to text; an attribute that the file does not have is null.
- `series_header`: values of a Series that one of its files has, because the archive does not send them.
- `selection_series`: which Series a selection was resolved to. `narrowed` is 1 where it names single instances of it;
  `run_id` is the last run that found it there.
- `instance`: one row for each SOP Instance; the bulk of the file, some 165 bytes a row. Where the archive's list does
  not give the SOP Instance UID, `sop_uid` is `@` and the key of the entry until it is held; it stays so if another
  entry of the Series has the same UID. `state` is 0 owed, 1 held, 2 failed, 3 quarantined, 4 withdrawn. `name` is the
  file's name in the folder where it is not `<sop_uid>.dcm`.
  `size_bytes`, `md5`, `sha256`, `mtime_ns` (of the file) and `transfer_syntax_id` are null until it is held. `md5`
  stays null for an archive that knows no MD5s (TCIA v3), until another one is asked. `notes` is a JSON list of oddities
  that were accepted. `run_id`: the run that last changed the row.
- `entry`: what the archive's list says of an instance beyond its SOP Instance UID: `key`, where it differs from
  the UID, `size_bytes` and `md5`. Most archives list UIDs alone and need no rows here. An instance has at most one.
- `move`, `move_file`: Series that are being moved to another folder, and their files that get another name. A row is a
  move that the next run finishes: see `moves`.
- `transfer_syntax`: the transfer syntax UIDs.
- `failure`: why a failed or quarantined instance is not in the mirror; for a Series as a whole `sop_uid` is empty.
  `error` is a code of `bulkdl.errors`.
- `uncompared`: Series whose content the archive has changed, and that no `sync` has compared with a new list since: the
  next one does.
- `target`: the archives that `push` sends to, by address. `sent`: the instances that one has confirmed; one whose
  `instance.run_id` is later than the `run_id` here has changed since. They are removed with their instance.
- `tally`: counts of each Series, so that totals do not need the instances. It is derived: only triggers write it.

Indexes: `series_owing` has only Series that owe, in the order of downloading, `tally_unlisted` only those that are not
listed; both are nearly empty when a mirror is complete. `instance_not_decoded` has only the rows of `v_not_decoded`.
"""

from typing import Final

from bulkdl.model.outcomes import InstanceState

APPLICATION_ID: Final = 0x42444C4A  # "BDLJ", for file(1), and to tell a journal from other SQLite files

OWED, HELD, FAILED, QUARANTINED, WITHDRAWN = range(5)
STATE_NUMBERS: Final[dict[InstanceState, int]] = {state: number for number, state in enumerate(InstanceState)}

UNLISTED, IN_PART, WHOLE = range(3)
"""The listing of a Series."""

UNBOUND: Final = "@"
"""`instance.sop_uid` is this and the key of the entry while the UID is not known. It sorts after every UID."""

_VERSION_1: Final = """
CREATE TABLE mirror (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE folder_owner (
  key TEXT PRIMARY KEY,
  owner TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE archive (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  url TEXT NOT NULL
);

CREATE TABLE selection (
  id INTEGER PRIMARY KEY,
  archive_id INTEGER NOT NULL REFERENCES archive (id),
  criteria TEXT NOT NULL,
  digest TEXT NOT NULL,
  resolved_run_id INTEGER REFERENCES run (id),
  UNIQUE (archive_id, digest)
);

CREATE TABLE selection_instance (
  selection_id INTEGER NOT NULL REFERENCES selection (id),
  series_uid TEXT NOT NULL,
  sop_uid TEXT NOT NULL,
  PRIMARY KEY (selection_id, series_uid, sop_uid)
) WITHOUT ROWID;

CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  verb TEXT NOT NULL,
  archive_id INTEGER NOT NULL REFERENCES archive (id),
  selection_id INTEGER REFERENCES selection (id),
  settings TEXT NOT NULL,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  outcome TEXT,
  counts TEXT
);

CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  series_uid TEXT NOT NULL UNIQUE,
  study_uid TEXT NOT NULL DEFAULT '',
  patient_id TEXT NOT NULL DEFAULT '',
  collection TEXT NOT NULL DEFAULT '',
  modality TEXT,
  image_count INTEGER,
  size_bytes INTEGER,
  folder TEXT UNIQUE COLLATE NOCASE,
  listing INTEGER NOT NULL DEFAULT 0 CHECK (listing BETWEEN 0 AND 2),
  owes INTEGER NOT NULL DEFAULT 0,
  archive_id INTEGER NOT NULL REFERENCES archive (id),
  updated_at TEXT NOT NULL,
  record TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX series_owing ON series (collection, patient_id, study_uid, series_uid) WHERE owes = 1;

CREATE TABLE selection_series (
  selection_id INTEGER NOT NULL REFERENCES selection (id),
  series_id INTEGER NOT NULL REFERENCES series (id),
  narrowed INTEGER NOT NULL,
  run_id INTEGER NOT NULL REFERENCES run (id),
  PRIMARY KEY (selection_id, series_id)
) WITHOUT ROWID;
CREATE INDEX selection_series_narrowed ON selection_series (selection_id, series_id) WHERE narrowed = 1;
CREATE INDEX selection_series_by_series ON selection_series (series_id, narrowed);

CREATE TABLE transfer_syntax (
  id INTEGER PRIMARY KEY,
  uid TEXT NOT NULL UNIQUE
);

CREATE TABLE instance (
  series_id INTEGER NOT NULL REFERENCES series (id),
  sop_uid TEXT NOT NULL,
  state INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 4),
  name TEXT,
  size_bytes INTEGER,
  md5 BLOB,
  sha256 BLOB,
  mtime_ns INTEGER,
  transfer_syntax_id INTEGER,
  notes TEXT,
  run_id INTEGER NOT NULL,
  PRIMARY KEY (series_id, sop_uid)
) WITHOUT ROWID;

CREATE TABLE failure (
  series_id INTEGER NOT NULL REFERENCES series (id),
  sop_uid TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL,
  message TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  run_id INTEGER NOT NULL REFERENCES run (id),
  PRIMARY KEY (series_id, sop_uid)
) WITHOUT ROWID;

CREATE TABLE tally (
  series_id INTEGER PRIMARY KEY REFERENCES series (id),
  collection TEXT NOT NULL,
  image_count INTEGER,
  size_bytes INTEGER,
  listing INTEGER NOT NULL,
  has_error INTEGER NOT NULL DEFAULT 0,
  owed INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  quarantined INTEGER NOT NULL DEFAULT 0,
  withdrawn INTEGER NOT NULL DEFAULT 0,
  held_bytes INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX tally_unlisted ON tally (series_id) WHERE listing = 0 AND has_error = 0;

CREATE TRIGGER series_added AFTER INSERT ON series BEGIN
  INSERT INTO tally (series_id, collection, image_count, size_bytes, listing)
  VALUES (new.id, new.collection, new.image_count, new.size_bytes, new.listing);
END;

CREATE TRIGGER series_changed AFTER UPDATE OF collection, image_count, size_bytes, listing ON series BEGIN
  UPDATE tally SET
    collection = new.collection, image_count = new.image_count, size_bytes = new.size_bytes, listing = new.listing
  WHERE series_id = new.id;
END;

CREATE TRIGGER instance_added AFTER INSERT ON instance BEGIN
  UPDATE tally SET
    owed = owed + (new.state = 0),
    held = held + (new.state = 1),
    failed = failed + (new.state = 2),
    quarantined = quarantined + (new.state = 3),
    withdrawn = withdrawn + (new.state = 4),
    held_bytes = held_bytes + (new.state = 1) * ifnull(new.size_bytes, 0)
  WHERE series_id = new.series_id;
END;

CREATE TRIGGER instance_changed AFTER UPDATE OF state, size_bytes ON instance BEGIN
  UPDATE tally SET
    owed = owed + (new.state = 0) - (old.state = 0),
    held = held + (new.state = 1) - (old.state = 1),
    failed = failed + (new.state = 2) - (old.state = 2),
    quarantined = quarantined + (new.state = 3) - (old.state = 3),
    withdrawn = withdrawn + (new.state = 4) - (old.state = 4),
    held_bytes = held_bytes + (new.state = 1) * ifnull(new.size_bytes, 0)
                            - (old.state = 1) * ifnull(old.size_bytes, 0)
  WHERE series_id = new.series_id;
END;

CREATE TRIGGER instance_removed AFTER DELETE ON instance BEGIN
  UPDATE tally SET
    owed = owed - (old.state = 0),
    held = held - (old.state = 1),
    failed = failed - (old.state = 2),
    quarantined = quarantined - (old.state = 3),
    withdrawn = withdrawn - (old.state = 4),
    held_bytes = held_bytes - (old.state = 1) * ifnull(old.size_bytes, 0)
  WHERE series_id = old.series_id;
  DELETE FROM failure WHERE series_id = old.series_id AND sop_uid = old.sop_uid;
END;

CREATE TRIGGER instance_mended AFTER UPDATE OF state ON instance
WHEN old.state IN (2, 3) AND new.state NOT IN (2, 3) BEGIN
  DELETE FROM failure WHERE series_id = new.series_id AND sop_uid = new.sop_uid;
END;

CREATE TRIGGER owing_changed AFTER UPDATE OF owed ON tally WHEN (old.owed > 0) <> (new.owed > 0) BEGIN
  UPDATE series SET owes = new.owed > 0 WHERE id = new.series_id;
END;

CREATE TRIGGER series_failed AFTER INSERT ON failure WHEN new.sop_uid = '' BEGIN
  UPDATE tally SET has_error = 1 WHERE series_id = new.series_id;
END;

CREATE TRIGGER series_mended AFTER DELETE ON failure WHEN old.sop_uid = '' BEGIN
  UPDATE tally SET has_error = 0 WHERE series_id = old.series_id;
END;
"""

_VERSION_2: Final = """
CREATE TABLE entry (
  series_id INTEGER NOT NULL REFERENCES series (id),
  sop_uid TEXT NOT NULL,
  key TEXT,
  size_bytes INTEGER,
  md5 BLOB,
  PRIMARY KEY (series_id, sop_uid)
) WITHOUT ROWID;
"""

_VERSION_3: Final = """
CREATE INDEX instance_not_decoded ON instance (series_id) WHERE instr(notes, 'pixels not decoded') > 0;

CREATE VIEW v_not_decoded AS
SELECT series_id, sop_uid, run_id, notes FROM instance INDEXED BY instance_not_decoded
WHERE instr(notes, 'pixels not decoded') > 0;
"""

_VERSION_4: Final = """
ALTER TABLE run ADD COLUMN catalogue TEXT;
"""

_VERSION_5: Final = """
ALTER TABLE series ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
DROP INDEX series_owing;
CREATE INDEX series_owing ON series (position, collection, patient_id, study_uid, series_uid) WHERE owes = 1;
"""

_VERSION_6: Final = """
CREATE TABLE collection (
  name TEXT PRIMARY KEY,
  archive_id INTEGER NOT NULL REFERENCES archive (id),
  described_at TEXT NOT NULL,
  record TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE analysis_result (
  name TEXT PRIMARY KEY,
  archive_id INTEGER NOT NULL REFERENCES archive (id),
  described_at TEXT NOT NULL,
  record TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE patient (
  collection TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (collection, patient_id)
) WITHOUT ROWID;

CREATE TABLE study (
  collection TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  study_uid TEXT NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (collection, patient_id, study_uid)
) WITHOUT ROWID;

CREATE TABLE series_header (
  series_id INTEGER PRIMARY KEY REFERENCES series (id),
  sop_class_uid TEXT NOT NULL
);
"""

_VERSION_7: Final = """
CREATE TABLE move (
  series_id INTEGER PRIMARY KEY REFERENCES series (id),
  folder TEXT NOT NULL
);

CREATE TABLE move_file (
  series_id INTEGER NOT NULL REFERENCES series (id),
  sop_uid TEXT NOT NULL,
  before TEXT,
  after TEXT,
  PRIMARY KEY (series_id, sop_uid)
) WITHOUT ROWID;
"""

_VERSION_8: Final = """
CREATE TABLE instance_header (
  series_id INTEGER NOT NULL,
  sop_uid TEXT NOT NULL,
  mtime_ns INTEGER NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (series_id, sop_uid)
) WITHOUT ROWID;
"""

# Series of which nothing is recorded any more, because all was withdrawn and pruned.
_VERSION_9: Final = """
DELETE FROM tally WHERE owed + held + failed + quarantined + withdrawn = 0 AND has_error = 0 AND listing > 0
  AND NOT EXISTS (SELECT 1 FROM selection_series AS l WHERE l.series_id = tally.series_id)
  AND NOT EXISTS (SELECT 1 FROM move AS m WHERE m.series_id = tally.series_id);
DELETE FROM series_header WHERE series_id NOT IN (SELECT series_id FROM tally);
DELETE FROM instance_header WHERE series_id NOT IN (SELECT series_id FROM tally);
DELETE FROM series WHERE id NOT IN (SELECT series_id FROM tally);
"""

_VERSION_10: Final = """
CREATE TABLE uncompared (
  series_id INTEGER PRIMARY KEY REFERENCES series (id)
);
"""

_VERSION_11: Final = """
CREATE TABLE target (
  id INTEGER PRIMARY KEY,
  url TEXT NOT NULL UNIQUE
);

CREATE TABLE sent (
  series_id INTEGER NOT NULL,
  sop_uid TEXT NOT NULL,
  target_id INTEGER NOT NULL REFERENCES target (id),
  run_id INTEGER NOT NULL,
  PRIMARY KEY (series_id, sop_uid, target_id)
) WITHOUT ROWID;

CREATE TRIGGER sent_removed AFTER DELETE ON instance BEGIN
  DELETE FROM sent WHERE series_id = old.series_id AND sop_uid = old.sop_uid;
END;
"""

VIEWS: Final = """
DROP VIEW IF EXISTS v_collections;
DROP VIEW IF EXISTS v_series;
DROP VIEW IF EXISTS v_instances;
DROP VIEW IF EXISTS v_failures;
DROP VIEW IF EXISTS v_runs;

CREATE VIEW v_collections AS
SELECT collection, sum(owed + held + failed + quarantined > 0 OR listing = 0 OR has_error = 1) AS series,
  sum(owed + held + failed + quarantined) AS instances, sum(held) AS held,
  sum(owed) AS owed, sum(failed) AS failed, sum(quarantined) AS quarantined, sum(withdrawn) AS withdrawn,
  sum(held_bytes) AS held_bytes
FROM tally GROUP BY collection;

CREATE VIEW v_series AS
SELECT s.series_uid, s.study_uid, s.patient_id, s.collection, s.modality, s.folder,
  CASE s.listing WHEN 0 THEN 'unlisted' WHEN 1 THEN 'in part' ELSE 'whole' END AS listing, s.image_count, s.size_bytes,
  t.held, t.owed, t.failed, t.quarantined, t.withdrawn, t.held_bytes, f.error, f.message,
  json_extract(s.record, '$.location') AS location
FROM series AS s
JOIN tally AS t ON t.series_id = s.id
LEFT JOIN failure AS f ON f.series_id = s.id AND f.sop_uid = '';

CREATE VIEW v_instances AS
SELECT s.series_uid, CASE WHEN i.sop_uid < '@' THEN i.sop_uid END AS sop_uid,
  CASE i.state WHEN 0 THEN 'owed' WHEN 1 THEN 'held' WHEN 2 THEN 'failed' WHEN 3 THEN 'quarantined' ELSE 'withdrawn' END
    AS state,
  CASE WHEN i.sop_uid < '@' OR i.name IS NOT NULL THEN
    CASE s.folder WHEN '' THEN '' ELSE s.folder || '/' END || ifnull(i.name, i.sop_uid || '.dcm') END AS path,
  i.size_bytes, lower(hex(i.md5)) AS md5, lower(hex(i.sha256)) AS sha256, i.mtime_ns, x.uid AS transfer_syntax_uid,
  i.notes, i.run_id, ifnull(e.key, substr(i.sop_uid, 1 + (i.sop_uid > '@'))) AS key
FROM instance AS i
JOIN series AS s ON s.id = i.series_id
LEFT JOIN entry AS e ON e.series_id = i.series_id AND e.sop_uid = i.sop_uid
LEFT JOIN transfer_syntax AS x ON x.id = i.transfer_syntax_id;

CREATE VIEW v_failures AS
SELECT s.series_uid, CASE WHEN f.sop_uid <> '' AND f.sop_uid < '@' THEN f.sop_uid END AS instance,
  CASE i.state WHEN 3 THEN 'quarantined' ELSE 'failed' END AS state, f.error, f.message, f.attempts, f.run_id,
  CASE WHEN f.sop_uid <> '' THEN ifnull(e.key, substr(f.sop_uid, 1 + (f.sop_uid > '@'))) END AS key
FROM failure AS f
JOIN series AS s ON s.id = f.series_id
LEFT JOIN instance AS i ON i.series_id = f.series_id AND i.sop_uid = f.sop_uid
LEFT JOIN entry AS e ON e.series_id = f.series_id AND e.sop_uid = f.sop_uid;

CREATE VIEW v_runs AS
SELECT r.id, r.verb, a.name AS archive, a.url, r.selection_id, r.started_at, r.ended_at, r.outcome, r.counts,
  r.catalogue
FROM run AS r JOIN archive AS a ON a.id = r.archive_id;
"""
"""The views for people, which the last step of a migration creates anew: a change of a view is an empty script."""

MIGRATIONS: Final[tuple[str, ...]] = (
    _VERSION_1,
    _VERSION_2,
    _VERSION_3,
    _VERSION_4,
    _VERSION_5,
    _VERSION_6,
    _VERSION_7,
    _VERSION_8,
    _VERSION_9,
    _VERSION_10,
    _VERSION_11,
)
"""The script at n migrates from version n to n + 1. A released script is never changed."""

VERSION: Final = len(MIGRATIONS)

_ADDED: Final[dict[int, str]] = {
    2: "CREATE TEMP TABLE entry (series_id, sop_uid, key, size_bytes, md5, PRIMARY KEY (series_id, sop_uid));",
    3: "CREATE TEMP TABLE v_not_decoded (series_id, sop_uid, run_id, notes);",
    6: """
CREATE TEMP TABLE collection (name, archive_id, described_at, record);
CREATE TEMP TABLE analysis_result (name, archive_id, described_at, record);
CREATE TEMP TABLE patient (collection, patient_id, record);
CREATE TEMP TABLE study (collection, patient_id, study_uid, record);
CREATE TEMP TABLE series_header (series_id, sop_class_uid);
""",
    7: """
CREATE TEMP TABLE move (series_id, folder);
CREATE TEMP TABLE move_file (series_id, sop_uid, before, after);
""",
    8: "CREATE TEMP TABLE instance_header (series_id, sop_uid, mtime_ns, record);",
    10: "CREATE TEMP TABLE uncompared (series_id);",
    11: """
CREATE TEMP TABLE target (id, url);
CREATE TEMP TABLE sent (series_id, sop_uid, target_id, run_id);
""",
}
"""What a version has that earlier ones lack, as far as queries read it: empty tables of these names."""


def stand_ins(version: int) -> str:
    """The script of temporary tables with which this version reads a journal of `version` without changing it."""
    return "".join(script for added, script in _ADDED.items() if added > version)
