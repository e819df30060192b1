"""Create and open the file of a journal. Never overwrites a file.

A new journal is made under another name, without a log, and then renamed, so a file without tables is damaged.
Durability: WAL with `synchronous=FULL`. Source: the SQLite pages on WAL ("Read-Only Databases"), URI file names and the
file format (§1.3: magic text at byte 0, application id at byte 68).
"""

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bulkdl.errors import TOO_MANY_FILES, DiskFull, JournalError, JournalTooNew, JournalUnreadable, MirrorLocked
from bulkdl.errors import MirrorUnwritable as Unwritable
from bulkdl.journal import schema
from bulkdl.runtime.disk import disk_errors, is_private, open_new, sync_file, sync_folder

SQLITE_VERSION: Final = sqlite3.sqlite_version
"""The release of the SQLite library."""
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_APPLICATION_ID: Final = slice(68, 72)
_UNREADABLE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_UNWRITABLE: Final = {
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
}
_SHORTAGES: Final = TOO_MANY_FILES | {errno.ENOMEM}
_NO_WAIT: Final[int] = getattr(os, "O_NONBLOCK", 0)  # to open a named pipe would wait for its writer
_ADVICE: Final = (
    "nothing was overwritten; `bulkdl adopt --rebuild` on the mirror's folder sets it aside, and makes a new one from "
    "the files"
)


def create(path: Path) -> None:
    """Create an empty journal of the newest version. DiskFull, MirrorUnwritable: its folder cannot be written."""
    new = path.with_name(f"{path.name}.new")
    try:
        for leftover in (new, new.with_name(f"{new.name}-journal"), *_companions(new)):
            leftover.unlink(missing_ok=True)
        os.close(open_new(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, private=is_private(path.parent)))
        with _connected(path, "rw", new) as connection:  # the other files of SQLite get the mode of this one
            # Not WAL: `close` moves the log into the file, and does not say when it fails.
            connection.execute("PRAGMA journal_mode = DELETE")
            _migrate(connection)
            connection.close()
        sync_file(new)
        _set_log_aside(path)
        new.replace(path)
    except OSError as error:
        raise Unwritable(f"cannot create a journal at {path} ({error.strerror}); nothing was changed") from error
    sync_folder(path.parent)


def open_to_write(path: Path) -> sqlite3.Connection:
    """Open the journal at `path` for its one writer, and migrate it if an earlier version wrote it.

    Raises:
        JournalUnreadable: it is damaged, or not a journal. It is not changed.
        JournalTooNew: a later version wrote it.
        DiskFull, MirrorUnwritable: it cannot be written.
    """
    try:
        _recognise(path)
        connection = _opened_to_write(path)
    except JournalUnreadable:
        if not _takes_stray_log(path):
            raise
        connection = _opened_to_write(path)
    with _closed_on_error(connection, path):
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # as `runtime.disk` syncs on macOS; nothing changes elsewhere
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 4096")  # 16 MB: fewer syncs of the main file
        connection.execute("PRAGMA cache_size = -4096")  # 4 MB: Series are written one after the other
        connection.execute("PRAGMA journal_size_limit = 67108864")
        _migrate(connection)
    return connection


def _opened_to_write(path: Path) -> sqlite3.Connection:
    with _connected(path, "rw") as connection:
        _check(connection, path)  # before anything that may write
    return connection


def _takes_stray_log(path: Path) -> bool:
    """Give a journal the log that an earlier version left beside it, under its first name, when the disk was full."""
    stray, log = path.with_name(f"{path.name}.new-wal"), path.with_name(f"{path.name}-wal")
    if log.exists() or not stray.is_file():
        return False
    with disk_errors("rename", stray):
        stray.replace(log)
    return True


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open the journal at `path` for reading, also beside a writer. Never changes it.

    SQLite needs two small files beside a WAL file. Where it cannot create them, no process can write the journal
    either, and it is read as a file that does not change.

    Raises:
        JournalUnreadable, JournalTooNew: as in `open_to_write`; or there is no journal.
    """
    _recognise(path)
    try:
        return _opened_to_read(path, "ro")
    except (Unwritable, DiskFull):
        if _log_bytes(path):
            raise
    return _opened_to_read(path, "ro&immutable=1")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate the errors of SQLite.

    Raises:
        JournalUnreadable, DiskFull, MirrorUnwritable: the file is damaged; it, or its log, cannot be written.
        MirrorLocked, JournalError: another program holds a lock on it; any other error of SQLite.
    """
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the low byte is the primary code
        if code in _UNREADABLE:
            raise JournalUnreadable(f"the journal {path} is damaged ({error}); {_ADVICE}") from error
        if code == sqlite3.SQLITE_FULL:
            raise DiskFull(f"the disk is full: the journal {path} cannot grow; everything recorded is kept") from error
        if code in _UNWRITABLE:
            raise Unwritable(f"the journal {path} cannot be used ({error}); everything recorded is kept") from error
        if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            message = f"another program holds a lock on the journal {path}; try again when it has ended"
            raise MirrorLocked(message) from error
        raise JournalError(f"the journal {path} rejected a statement ({error}); its group was not recorded") from error
    except UnicodeDecodeError as error:  # in a message of SQLite, which quotes what it found
        raise JournalUnreadable(f"the journal {path} is damaged: it has text that is not UTF-8; {_ADVICE}") from error
    except (OverflowError, UnicodeEncodeError) as error:  # numbers beyond 64 bits, half a surrogate pair
        raise JournalError(f"the journal {path} cannot hold such a value ({error}); nothing was recorded") from error


@contextmanager
def _connected(path: Path, mode: str, file: Path | None = None) -> Iterator[sqlite3.Connection]:
    """A connection to the journal `path`, or to the `file` that becomes it; it stays open unless the block raises."""
    # A connection may be opened in one thread and used in another; the caller never uses it in two at a time.
    # Transactions are begun and ended explicitly (isolation_level None).
    uri = f"{(file or path).absolute().as_uri()}?mode={mode}"
    with translated(path):
        connection = sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None, check_same_thread=False)
    with _closed_on_error(connection, path):
        yield connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    try:
        with translated(path):
            yield
    except BaseException:
        connection.close()
        raise


def _opened_to_read(path: Path, mode: str) -> sqlite3.Connection:
    with _connected(path, mode) as connection:
        version = _check(connection, path)
        if version < schema.VERSION:  # the file is not changed: the tables that it lacks are those of this connection
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.executescript(schema.stand_ins(version))
        connection.execute("PRAGMA query_only = ON")
    return connection


def read_application_id(path: Path) -> int | None:
    """The application id of an SQLite file; None if it is not one, or truncated. Raises OSError if it is unreadable."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAIT)) as file:
        header = file.read(_HEADER_BYTES) or b""
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        return None
    return int.from_bytes(header[_APPLICATION_ID], "big")


def _recognise(path: Path) -> None:
    """Check the first bytes, before SQLite opens the file."""
    try:
        application_id = read_application_id(path)
    except FileNotFoundError as error:
        raise JournalUnreadable(f"{path} does not exist: the folder is not a mirror of bulkdl") from error
    except OSError as error:
        if error.errno in _SHORTAGES:  # which says nothing about the journal
            raise Unwritable(f"the journal {path} cannot be opened ({error.strerror})") from error
        if isinstance(error, PermissionError):  # which says nothing about it either
            raise JournalUnreadable(f"the journal {path} cannot be opened ({error.strerror})") from error
        raise JournalUnreadable(f"the journal {path} cannot be opened ({error.strerror}); {_ADVICE}") from error
    if application_id is None:
        raise JournalUnreadable(f"{path} is damaged, or not a journal; {_ADVICE}")
    if application_id != schema.APPLICATION_ID:
        raise JournalUnreadable(f"{path} is another program's SQLite file, not a journal; {_ADVICE}")


def _check(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the journal, after checking that it is supported and that the file is complete."""
    version = _number(connection, "PRAGMA user_version")
    if version > schema.VERSION:
        raise JournalTooNew(f"the journal {path} has version {version}, not {schema.VERSION}: install a later bulkdl")
    if version < 1:
        raise JournalUnreadable(f"the journal {path} has no tables; {_ADVICE}")
    connection.execute("SELECT name FROM sqlite_master").fetchall()  # finds a damaged schema now, not during the run
    promised = _number(connection, "PRAGMA page_count") * _number(connection, "PRAGMA page_size")
    if not _log_bytes(path) and path.stat().st_size < promised:  # with a log, the last pages may be there
        raise JournalUnreadable(
            f"the journal {path} is truncated: {path.stat().st_size} of {promised} bytes; {_ADVICE}"
        )
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Migrate the tables to the newest version, each step in one transaction."""
    version = _number(connection, "PRAGMA user_version")
    for number, script in enumerate(schema.MIGRATIONS[version:], start=version + 1):
        views = schema.VIEWS if number == schema.VERSION else ""
        marks = f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {number};"
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {script} {views} {marks} COMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _number(connection: sqlite3.Connection, question: str) -> int:
    (value,) = connection.execute(question).fetchone()
    return int(value)


def _log_bytes(path: Path) -> int:
    """How long the write-ahead log is; 0 where there is none."""
    log, _ = _companions(path)
    try:
        return log.stat().st_size if log.is_file() else 0
    except OSError:
        return 0


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _set_log_aside(path: Path) -> None:
    """Rename the log of a journal that is lost: SQLite would play it into the new one, and so damage it."""
    log, index = _companions(path)
    if log.exists():
        number = next(n for n in range(1, 10_000) if not log.with_name(f"lost-{n}.{log.name}").exists())
        log.replace(log.with_name(f"lost-{number}.{log.name}"))
    index.unlink(missing_ok=True)  # only an index into the log
