"""The catalogue of the served folders: a database that `scan` fills, and that is read through `CatalogueView`.

Methods block for as long as a disk does, and may be called from any thread. `tables` defines the database.

NBIA compares Collections, Patient IDs, modalities and similar text without case, and UIDs exactly. SQLite ignores case
only for ASCII, so the tables also hold these texts in Python's upper case.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Self

from bulkdl.errors import InvalidInstance
from bulkdl.server.catalogue import tables
from bulkdl.server.catalogue.files import Root, ServedFile, open_served, read_facts
from bulkdl.server.catalogue.reports import ScanReport
from bulkdl.server.catalogue.scan import md5_of, scan_folders
from bulkdl.server.catalogue.view import CatalogueView

_MOST_NUMBERED: Final = 10_000  # files of a Series: a header takes a tenth of a millisecond


@contextmanager
def snapshot(path: Path, hidden: frozenset[str]) -> Iterator[CatalogueView]:
    """The catalogue at `path` without some Collections as it is now, over another connection: for long reads.

    MD5s that are computed are not stored.

    Raises:
        DiskError: it cannot be read.
    """

    def md5(file: ServedFile) -> bytes:
        with open_served(file) as source:
            return md5_of(source)

    def select(query: str, values: Sequence[Any]) -> list[Any]:
        with tables.translated(path):
            return database.execute(query, values).fetchall()

    with tables.translated(path):
        database = tables.open_reader(path)
    with closing(database):
        select("BEGIN", ())
        yield CatalogueView(select, md5, hidden)


class Catalogue(CatalogueView):
    """An open catalogue. `generation` grows with each scan; earlier results may then be out of date."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        super().__init__(self._select, self._compute_md5, number_files=self._read_numbers)
        self.path = path
        self._database = database
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._local = threading.local()
        self.generation = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the catalogue at `path`, which must not be in a served folder. Creates it if it does not exist.

        Raises:
            DiskError: it cannot be created or opened, or the file is not a catalogue.
        """
        return cls(path, tables.open_writer(path))

    def close(self) -> None:
        """Close the database. May be repeated; no query may be running."""
        self._close_readers()
        self._database.close()

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()
        self._local = threading.local()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def scan(
        self, roots: Sequence[Root], *, collection: str | None = None, progress: Callable[[int], None] | None = None
    ) -> ScanReport:
        """Bring the catalogue up to date with the folders. Files outside `roots` are removed from it.

        `collection` is the Collection of files that lie directly in a root and do not name one. `progress` is called
        with the number of files seen so far. A failed or interrupted scan changes nothing.

        Raises:
            ConfigurationError: a root is not a folder.
            JournalError: the journal of a mirror cannot be used.
            DiskError: the catalogue cannot be written.
        """
        with self.writing() as database:
            report = scan_folders(database, roots, collection=collection, progress=progress)
        self.generation += 1
        return report

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, which is undone if the block raises."""
        with self._writing, tables.translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextmanager
    def rewriting(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes most of the file, without a log of its pages. No query may be running."""
        self._close_readers()
        tables.set_log(self._database, is_used=False)
        try:
            with self.writing() as database:
                yield database
        finally:
            tables.set_log(self._database, is_used=True)

    def without(self, hidden: frozenset[str]) -> CatalogueView:
        """The catalogue without some Collections, named in upper case."""
        return CatalogueView(self.select, self.md5, hidden, self.number_files) if hidden else self

    def _select(self, query: str, values: Sequence[Any]) -> list[Any]:
        with tables.translated(self.path):
            if (reader := getattr(self._local, "connection", None)) is None:  # each thread has a connection
                reader = self._local.connection = tables.open_reader(self.path)
                self._readers.append(reader)
            return reader.execute(query, values).fetchall()

    def _compute_md5(self, file: ServedFile) -> bytes:
        """The MD5 of a file: stored, or computed now and stored.

        Raises:
            OSError: the file cannot be read, or has changed since the scan.
            DiskError: the catalogue cannot be written.
        """
        known = self.select("SELECT md5 FROM file WHERE id = ? AND md5 IS NOT NULL", (file.id,))
        with open_served(file) as source:
            if known:
                return bytes(known[0][0])
            digest = md5_of(source)
        with self._writing, tables.translated(self.path):
            self._database.execute(
                "UPDATE file SET md5 = ? WHERE id = ? AND size_bytes = ? AND mtime_ns = ?",
                (digest, file.id, file.size_bytes, file.mtime_ns),
            )
        return digest

    def _read_numbers(self, series_uid: str) -> None:
        """Read the instance and acquisition numbers of files that have been entered without them, and store them.

        The files of a Series that are too many stay without.

        Raises:
            DiskError: the catalogue cannot be read or written.
        """
        query = (
            "SELECT coalesce(target, path), id, size_bytes, mtime_ns FROM file "
            "WHERE series_uid = ? AND reason IS NULL AND is_numbered = 0 LIMIT ?"
        )
        files = self.select(query, (series_uid, _MOST_NUMBERED + 1))
        if not files or len(files) > _MOST_NUMBERED:
            return
        numbered = [(*_numbers_of(Path(os.fsdecode(path))), *key) for path, *key in files]
        with self.writing() as database:
            database.executemany(
                "UPDATE file SET instance_number = ?, acquisition_number = ?, is_numbered = 1 "
                "WHERE id = ? AND size_bytes = ? AND mtime_ns = ?",
                numbered,
            )


def _numbers_of(path: Path) -> tuple[int | None, int | None]:
    try:
        facts = read_facts(path)
    except InvalidInstance:
        return None, None
    return facts.instance_number, facts.acquisition_number
