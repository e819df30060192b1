"""The catalogue: an index of the served folders, made by `scan`, and open to `questions`.

Methods block for as long as a disk does, and may be called from any thread. The tables are in `tables`.

NBIA compares Collections, Patient IDs, modalities and the like without case, and UIDs exactly. SQLite's own ideas of
case end at ASCII, so the upper case that Python makes is stored.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bulkdl.server.catalogue import scan, tables
from bulkdl.server.catalogue.files import Root
from bulkdl.server.catalogue.scan import ScanReport
from bulkdl.server.catalogue.view import CatalogueView, ServedFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from types import TracebackType


class Catalogue(CatalogueView):
    """An open catalogue. `generation` grows with each scan: what was asked before it may be out of date."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        super().__init__()
        self.path = path
        self._database = database
        self._writing = threading.Lock()
        self._readers: list[sqlite3.Connection] = []
        self._local = threading.local()
        self.generation = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the catalogue at `path`, which must not lie in a served folder; make it where there is none.

        Raises:
            DiskError: it cannot be made or opened, or another kind of file lies there.
        """
        return cls(path, tables.open_writer(path))

    def close(self) -> None:
        """Close it. Safe to repeat; no question may be under way."""
        while self._readers:
            self._readers.pop().close()
        self._local = threading.local()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def scan(
        self,
        roots: Sequence[Root],
        *,
        collection: str | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> ScanReport:
        """Bring the catalogue up to the folders; what is not below `roots` leaves it.

        `collection` is the name for files that lie directly in a root and do not name one themselves. `progress` is
        told the number of files seen so far. After a failure, or when the process dies, the catalogue is as it was.

        Raises:
            ConfigurationError: a root is no folder.
            JournalError: the journal of a mirror cannot be used.
            DiskError: the catalogue cannot be written.
        """
        with self._writing, tables.translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                report = scan.scan_folders(self._database, roots, collection=collection, progress=progress)
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            self.generation += 1
            return report

    # --- view ----------------------------------------------------------------------------------------------------

    def without(self, hidden: frozenset[str]) -> CatalogueView:
        """The catalogue as it is for somebody from whom Collections, named in upper case, are hidden."""
        return _RestrictedView(self, hidden) if hidden else self

    def select(self, question: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of an SQL question.

        Raises:
            DiskError: the catalogue cannot be read.
        """
        with tables.translated(self.path):
            return self._reader.execute(question, values).fetchall()

    def md5(self, file: ServedFile) -> bytes:
        """The MD5 of a file: remembered, or computed now and remembered.

        Raises:
            OSError: the file cannot be read.
            DiskError: the catalogue cannot be written.
        """
        status = file.path.stat()
        is_as_scanned = (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.mtime_ns)
        if is_as_scanned:
            known = self.select("SELECT md5 FROM file WHERE id = ? AND md5 IS NOT NULL", (file.id,))
            if known:
                return bytes(known[0][0])
        digest = scan.md5_of(file.path)
        if is_as_scanned:
            with self._writing, tables.translated(self.path):
                self._database.execute(
                    "UPDATE file SET md5 = ? WHERE id = ? AND size_bytes = ? AND mtime_ns = ?",
                    (digest, file.id, file.size_bytes, file.mtime_ns),
                )
        return digest

    # --- the database -------------------------------------------------------------------------------------------------

    @property
    def _reader(self) -> sqlite3.Connection:
        """This thread's own connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = tables.open_reader(self.path)
            self._readers.append(found)
        return found


class _RestrictedView(CatalogueView):
    """The part of a catalogue that is not hidden."""

    def __init__(self, whole: Catalogue, hidden: frozenset[str]) -> None:
        super().__init__(hidden)
        self._whole = whole

    def select(self, question: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._whole.select(question, values)

    def md5(self, file: ServedFile) -> bytes:
        return self._whole.md5(file)
