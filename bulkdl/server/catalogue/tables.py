"""The database file of the catalogue: its tables, and how it is opened.

A catalogue only repeats what the served folders contain, so a damaged one or one of another version is deleted and
created again. Any other file at its path is left alone. `scan` writes the tables, `view` reads them.

Tables
======
- `file`: every file that was found. `target` is the file itself where `path` is a link to it. `root` is the position of
  its root, `scan` the last scan that saw it, `reason` why it cannot be served. `head_id` refers to the values for
  Patient, Study and Series. `md5`, `valid` (the result of structure validation), and of files that a journal names the
  numbers, are filled in when they are needed; `is_numbered` is 1 once the numbers were read.
  `served` is 1 for the one file of each instance that is served.
- `head`: values from the headers of files, each text once; a JSON object, see `files.FileFacts`.
- `series`, `study`, `patient`, `collection`: made from the served files after a scan. `record` is the JSON of a record
  of `bulkdl.model.records`. Columns named `…_key` hold values in upper case, for comparison without case. `number`
  identifies a row in NBIA's search; that of a Series stays the same from scan to scan. `since` of a Series is its
  release date, or else its submission; `study` is 0 if it names none. `newest` is the latest `since` of a Collection.
- `kind`: the values that many Series share, each combination once, so that a million Series take little room: `record`
  has those that are neither in a column of `series` nor equal to those of the Patient and the Study. `extra` is a JSON
  object of values that the record has no field for.
- `tally`: how many Series of each kind each Study has, and the latest `since` of them. Every count is made from it.
- `alike`: how many Series are of one kind, year and species and have the same description, with their instances and
  bytes. The facets of the pages are counted from it. `year` is that of `since`.
- `folder`: the folder of each Series in the bucket.
- `holding`: in the cache of an archive, the Series that have files: their folder in the mirror, their bytes, whether
  they are whole, and when they were used last, in milliseconds since 1970. The other tables have what the archive says.
- `meta`: `roots` (what was scanned), `totals`, `contradictions`, and `stamp`, which changes with these tables;
  `source`, in the cache of an archive: which archive, and which release of it, the tables are of.

Paths are the bytes of the file system, which may not be valid text.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bulkdl.errors import DiskError
from bulkdl.journal.connection import read_application_id

_APPLICATION_ID: Final = 0x62646361  # "bdca"
_VERSION: Final = 13
_BUSY_SECONDS: Final = 60.0

_SCRIPT: Final = f"""
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE head (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, record TEXT NOT NULL);

CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL UNIQUE,
    target BLOB,
    root INTEGER NOT NULL,
    scan INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    reason TEXT,
    series_uid TEXT,
    sop_uid TEXT,
    head_id INTEGER REFERENCES head,
    instance_number INTEGER,
    acquisition_number INTEGER,
    is_numbered INTEGER NOT NULL DEFAULT 0,
    md5 BLOB,
    valid INTEGER,
    served INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX file_by_instance ON file (series_uid, sop_uid) WHERE reason IS NULL;
CREATE INDEX file_by_sop ON file (sop_uid) WHERE served = 1;
CREATE INDEX file_unservable ON file (root, path) WHERE reason IS NOT NULL;

CREATE TABLE collection (
    collection_key TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    about TEXT NOT NULL,
    newest TEXT
) WITHOUT ROWID;

CREATE TABLE patient (
    number INTEGER PRIMARY KEY,
    collection_key TEXT NOT NULL,
    patient_key TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (collection_key, patient_key)
);
CREATE INDEX patient_by_id ON patient (patient_key);

CREATE TABLE study (
    number INTEGER PRIMARY KEY,
    patient INTEGER NOT NULL,
    collection_key TEXT NOT NULL,
    patient_key TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    series_count INTEGER NOT NULL DEFAULT 0,
    record TEXT NOT NULL,
    UNIQUE (collection_key, patient_key, study_uid)
);
CREATE INDEX study_by_uid ON study (study_uid);
CREATE INDEX study_by_patient ON study (patient_key);

CREATE TABLE kind (
    number INTEGER PRIMARY KEY,
    collection_key TEXT NOT NULL,
    modality TEXT,
    modality_key TEXT,
    body_part TEXT,
    body_part_key TEXT,
    manufacturer TEXT,
    manufacturer_key TEXT,
    model_key TEXT,
    record TEXT NOT NULL,
    extra TEXT NOT NULL
);

CREATE TABLE series (
    number INTEGER PRIMARY KEY,
    series_uid TEXT NOT NULL,
    collection_key TEXT NOT NULL,
    patient INTEGER NOT NULL,
    study INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    since TEXT NOT NULL,
    description TEXT,
    image_count INTEGER,
    size_bytes INTEGER,
    series_number INTEGER,
    location TEXT,
    series_date TEXT,
    submitted TEXT
);
CREATE UNIQUE INDEX series_by_uid ON series (series_uid);
CREATE INDEX series_by_collection ON series (collection_key);
CREATE INDEX series_by_patient ON series (patient);
CREATE INDEX series_by_study ON series (study);
CREATE INDEX series_by_kind ON series (kind);

CREATE TABLE tally (
    patient INTEGER NOT NULL,
    study INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    series INTEGER NOT NULL,
    since TEXT NOT NULL,
    PRIMARY KEY (patient, study, kind)
) WITHOUT ROWID;

CREATE TABLE alike (
    kind INTEGER NOT NULL,
    year TEXT NOT NULL,
    species TEXT NOT NULL,
    description TEXT NOT NULL,
    series INTEGER NOT NULL,
    images INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (kind, year, species, description)
) WITHOUT ROWID;

CREATE TABLE folder (uuid TEXT PRIMARY KEY, series INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE holding (
    series_uid TEXT PRIMARY KEY,
    folder TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    is_whole INTEGER NOT NULL,
    used INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX holding_by_use ON holding (used);
"""


def open_writer(path: Path) -> sqlite3.Connection:
    """Open the catalogue at `path` for writing: see `Catalogue.open`. One that cannot be used is created again."""
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        is_ours = _is_catalogue(path)
        database = _connect_private(path)
        try:
            if _is_current(database):
                return database
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                database.close()
                raise
        database.close()
        if not is_ours:
            raise DiskError(f"{path} is not a catalogue of bulkdl; it was not changed")
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        database = _connect_private(path)
        _is_current(database)
        return database


def open_reader(path: Path) -> sqlite3.Connection:
    """Open the catalogue at `path` for queries of one thread at a time."""
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    database.execute("PRAGMA query_only = 1")
    database.create_function("upper_case", 1, _upper, deterministic=True)  # SQLite's `upper` is for ASCII alone
    return database


def _upper(text: str | None) -> str | None:
    return None if text is None else str(text).upper()


def set_log(database: sqlite3.Connection, *, is_used: bool) -> None:
    """Write pages to a log first, so that others can read meanwhile, or at once. Without effect while others read."""
    database.execute("PRAGMA busy_timeout = 0")
    with suppress(sqlite3.OperationalError):
        database.execute(f"PRAGMA journal_mode = {'WAL' if is_used else 'DELETE'}")
    database.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the errors of SQLite and of the disk as our own."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise DiskError(
            f"the catalogue {path} cannot be used: {error}; delete it, and it will be created again"
        ) from error


def _connect_private(path: Path) -> sqlite3.Connection:
    """Open the file, or create it for its owner alone: it has the Patients of mirrors that may be private."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _is_current(database: sqlite3.Connection) -> bool:
    """Whether the tables are of this version. Creates them in an empty file."""
    application_id = database.execute("PRAGMA application_id").fetchone()[0]
    if application_id != _APPLICATION_ID and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return False  # before anything is written
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")  # a lost catalogue is created again
    database.execute("BEGIN IMMEDIATE")
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    is_new: bool = version == 0 and database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if is_new:
        for statement in _SCRIPT.split(";"):
            database.execute(statement)
    database.execute("COMMIT")
    return is_new or version == _VERSION


def _is_catalogue(path: Path) -> bool:
    """Whether the file is marked as a catalogue; only then may it be deleted. SQLite fills an empty file itself."""
    try:
        application_id = read_application_id(path)
        if application_id is None and path.stat().st_size:
            raise DiskError(f"{path} is not a catalogue of bulkdl; it was not changed")
    except FileNotFoundError:
        return False
    return application_id == _APPLICATION_ID
