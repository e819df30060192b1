"""The database of a journal: it is opened, asked and written here, for all parts of `Journal`."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from bulkdl.errors import JournalUnreadable
from bulkdl.journal import connection, writes
from bulkdl.model.ids import SeriesUid


class JournalDatabase:
    """The one connection of a journal; see `Journal`."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._asking = threading.Lock()  # a task that is cancelled leaves behind the thread that asks for it
        self._claims: dict[str, str] = {}  # folders by owner, recorded with the next Series
        self._forgets_owners = False  # of folders, in a trial of another layout
        self._shrunk: set[SeriesUid] = set()  # of which instances were forgotten that a worker may have in hand
        self._withdrawn: set[SeriesUid] = set()  # and that no selection names any more

    @classmethod
    def create_or_open(cls, path: Path) -> Self:
        """Open the journal at `path` for writing; create it if there is no file. Raises as `connection` says."""
        if not path.exists():
            connection.create(path)
        return cls(path, connection.open_to_write(path))

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Open the journal at `path` for reading, beside a writer, and in a folder that cannot be written."""
        return cls(path, connection.open_to_read(path))

    def check(self) -> None:
        """Read the whole file, and compare its tables with their indexes: JournalUnreadable if it is damaged. Slow."""
        row = self._row("PRAGMA quick_check(1)")
        if row is None or row[0] != "ok":
            raise JournalUnreadable(f"the journal {self.path} is damaged: {row[0] if row else 'no answer'}")

    def close(self) -> None:
        """Close the database, after the question that another thread asks. Everything recorded is already on disk."""
        with connection.translated(self.path), self._asking:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Answer all questions of the block from one moment, even if a writer works meanwhile. Keep it short."""
        with connection.translated(self.path):
            self._database.execute("BEGIN")
        try:
            yield
        finally:
            with connection.translated(self.path):
                self._database.execute("COMMIT")

    def _is_gone(self, database: sqlite3.Connection, series_uid: SeriesUid, series_id: int) -> bool:
        """Whether a Series was withdrawn while it was listed."""
        return series_uid in self._withdrawn and writes.is_gone(database, series_id)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: synced when the block ends, rolled back when it raises."""
        with connection.translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # after some errors SQLite has rolled back by itself
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, question: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        with connection.translated(self.path), self._asking:
            return self._database.execute(question, values).fetchall()

    def _row(self, question: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> Any:
        with connection.translated(self.path), self._asking:
            return self._database.execute(question, values).fetchone()
