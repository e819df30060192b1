"""The cache of an archive in the catalogue: all Series of the archive, and the files of those that are in a mirror.

The Series are what the archive says; the files are entered while they are downloaded. The journal of the mirror is the
record of them: where the catalogue differs from it, the files are entered anew. Blocking; safe for threads.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from bulkdl.errors import InvalidInstance
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldInstance
from bulkdl.model.descriptions import CollectionDescription
from bulkdl.server.catalogue.arrangement import Arrangement
from bulkdl.server.catalogue.catalogue import Catalogue
from bulkdl.server.catalogue.completion import complete_series
from bulkdl.server.catalogue.files import head_number, read_facts

_PAGE: Final = 5_000
_CACHE_KILOBYTES: Final = 48 << 10
_DELETE_REPEATED: Final = (
    "DELETE FROM series WHERE number IN (SELECT number FROM (SELECT number, "
    "row_number() OVER (PARTITION BY series_uid ORDER BY number) AS place FROM series) WHERE place > 1)"
)


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file of a Series, in the folder of the Series."""

    sop_uid: str
    name: str
    size_bytes: int
    mtime_ns: int
    md5: bytes | None


class Holdings:
    """What of an archive is in the mirror at `root`."""

    def __init__(self, catalogue: Catalogue, root: Path) -> None:
        self._catalogue = catalogue
        self._root = root

    # --- what the archive has -----------------------------------------------------------------------------------------

    def source(self) -> dict[str, str]:
        """What `loading` was given with the Series that the catalogue has; empty before the first."""
        found = self._catalogue.select("SELECT value FROM meta WHERE name = 'source'", ())
        return json.loads(found[0][0]) if found else {}

    def collections(self) -> list[str]:
        """The names of all Collections."""
        return self._catalogue.collections()

    @contextmanager
    def loading(self, source: Mapping[str, str]) -> Iterator[Arrangement]:
        """Replace all Series, within a transaction. Yields what adds them, in any thread."""
        with self._catalogue.rewriting() as database:
            arrangement = Arrangement(database, (), None)
            arrangement.clear()
            with _without_indexes(database):
                yield arrangement
            arrangement.store_totals()
            _complete_all(database)
            database.execute("INSERT OR REPLACE INTO meta VALUES ('source', ?)", (json.dumps(source),))
        self._catalogue.generation += 1

    def describe(self, collections: Iterable[CollectionDescription]) -> None:
        """Take over what the archive says of its Collections."""
        with self._catalogue.writing() as database:
            arrangement = Arrangement(database, (), None)
            arrangement.describe(collections)
            arrangement.renew_stamp()

    # --- what is held of it -------------------------------------------------------------------------------------------

    def enter(self, series_uid: str, folder: str, files: Sequence[HeldFile]) -> None:
        """Enter files that are in place and in the journal."""
        with self._catalogue.writing() as database:
            self._enter(database, series_uid, folder, files)

    def _enter(self, database: sqlite3.Connection, series_uid: str, folder: str, files: Sequence[HeldFile]) -> None:
        database.executemany(
            "INSERT OR REPLACE INTO file (path, root, scan, size_bytes, mtime_ns, series_uid, sop_uid, md5, served) "
            "VALUES (?, 0, 0, ?, ?, ?, ?, ?, 1)",
            (
                (os.fsencode(self._root / folder / f.name), f.size_bytes, f.mtime_ns, series_uid, f.sop_uid, f.md5)
                for f in files
            ),
        )
        database.execute(
            "INSERT INTO holding VALUES (:uid, :folder, 0, 0, :now) ON CONFLICT (series_uid) DO NOTHING",
            {"uid": series_uid, "folder": folder, "now": _milliseconds(time.time())},
        )
        database.execute(
            "UPDATE holding SET size_bytes = "
            "(SELECT ifnull(sum(size_bytes), 0) FROM file WHERE series_uid = :uid AND reason IS NULL) "
            "WHERE series_uid = :uid",
            {"uid": series_uid},
        )
        self._read_head(database, series_uid)

    def _read_head(self, database: sqlite3.Connection, series_uid: str) -> None:
        """Complete what the archive says of a Series by the header of its first file, once."""
        has_head = "SELECT 1 FROM file WHERE series_uid = ? AND head_id NOT NULL"
        first = database.execute("SELECT id, path FROM file WHERE series_uid = ? LIMIT 1", (series_uid,)).fetchone()
        if first is None or database.execute(has_head, (series_uid,)).fetchone() is not None:
            return
        with suppress(InvalidInstance):
            head = read_facts(Path(os.fsdecode(first[1]))).head
            database.execute("UPDATE file SET head_id = ? WHERE id = ?", (head_number(database, head), first[0]))
            complete_series(database, series_uid, head)

    def complete(self, series_uid: str) -> None:
        """Note that all files of a Series are entered."""
        with self._catalogue.writing() as database:
            database.execute("UPDATE holding SET is_whole = 1 WHERE series_uid = ?", (series_uid,))

    def lose(self, series_uid: str, sop_uids: Iterable[str]) -> None:
        """Remove single files of a Series, which is not whole any more."""
        with self._catalogue.writing() as database:
            database.executemany(
                "DELETE FROM file WHERE series_uid = ? AND sop_uid = ? AND reason IS NULL",
                ((series_uid, sop_uid) for sop_uid in sop_uids),
            )
            database.execute("UPDATE holding SET is_whole = 0 WHERE series_uid = ?", (series_uid,))
        self._catalogue.generation += 1

    def remove(self, series_uid: str) -> None:
        """Remove the files of a Series."""
        with self._catalogue.writing() as database:
            database.execute("DELETE FROM file WHERE series_uid = ? AND reason IS NULL", (series_uid,))
            database.execute("DELETE FROM holding WHERE series_uid = ?", (series_uid,))
        self._catalogue.generation += 1

    def is_whole(self, series_uid: str) -> bool:
        """Whether all files of a Series are entered."""
        return bool(self._catalogue.select("SELECT 1 FROM holding WHERE series_uid = ? AND is_whole", (series_uid,)))

    def note_use(self, used: Mapping[str, float]) -> None:
        """Note when Series were used last, in seconds since 1970."""
        with self._catalogue.writing() as database:
            database.executemany(
                "UPDATE holding SET used = max(used, ?) WHERE series_uid = ?",
                ((_milliseconds(moment), series_uid) for series_uid, moment in used.items()),
            )

    def size_bytes(self) -> int:
        """The bytes of all files."""
        return int(self._catalogue.select("SELECT ifnull(sum(size_bytes), 0) FROM holding", ())[0][0])

    def least_used(self, after: tuple[int, str], limit: int) -> list[tuple[int, str, int]]:
        """Series by their last use, after one: when, UID, bytes."""
        return self._catalogue.select(
            "SELECT used, series_uid, size_bytes FROM holding WHERE (used, series_uid) > (?, ?) "
            "ORDER BY used, series_uid LIMIT ?",
            (*after, limit),
        )

    def agree_with(self, journal: Journal) -> None:
        """Enter all files anew, unless the catalogue has as many files and bytes as the journal.

        Raises:
            JournalError: it cannot be read.
        """
        counts = journal.counts(None)
        ((files,),) = self._catalogue.select("SELECT count(*) FROM file", ())
        if (files, self.size_bytes()) == (counts.held, counts.held_bytes):
            return
        with self._catalogue.writing() as database:
            for table in ("file", "holding"):
                database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names
            for series_uid, folder, held in _held(journal):
                self._enter(database, series_uid, folder, held)
            for uid in _whole(journal):
                database.execute("UPDATE holding SET is_whole = 1 WHERE series_uid = ?", (uid,))
        self._catalogue.generation += 1


def _complete_all(database: sqlite3.Connection) -> None:
    """Complete what the archive says of the Series that are held by the headers that were read before."""
    heads = database.execute(
        "SELECT f.series_uid, h.record FROM file AS f JOIN head AS h ON h.id = f.head_id WHERE f.reason IS NULL"
    )
    for series_uid, head in heads.fetchall():
        complete_series(database, series_uid, head)


@contextmanager
def _without_indexes(database: sqlite3.Connection) -> Iterator[None]:
    """Make the indexes of Series and Studies at the end of the block: row by row this takes ten times as long.

    Of a Series that was added twice, the first row stays.
    """
    indexes = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name IN ('series', 'study') "
        "AND sql IS NOT NULL"
    ).fetchall()
    (size,) = database.execute("PRAGMA cache_size").fetchone()
    database.execute(f"PRAGMA cache_size = -{_CACHE_KILOBYTES}")
    for name, _ in indexes:
        database.execute(f"DROP INDEX {name}")
    yield
    for _, statement in indexes:
        try:
            database.execute(statement)
        except sqlite3.IntegrityError:
            database.execute(_DELETE_REPEATED)
            database.execute(statement)
    database.execute(f"PRAGMA cache_size = {size}")


def _milliseconds(moment: float) -> int:
    return int(moment * 1000)


def _held(journal: Journal) -> Iterator[tuple[str, str, list[HeldFile]]]:
    after: tuple[int, str] | None = None
    while page := journal.held(after=after, limit=_PAGE):
        for (series_uid, folder), group in groupby(page, key=_place_of):
            yield (
                series_uid,
                folder,
                [
                    HeldFile(one.sop_uid, one.path.rpartition("/")[2], one.size_bytes, one.mtime_ns, one.md5)
                    for one in group
                ],
            )
        after = page[-1].series_id, page[-1].sop_uid


def _place_of(held: HeldInstance) -> tuple[str, str]:
    return held.series_uid, held.path.rpartition("/")[0]


def _whole(journal: Journal) -> Iterator[str]:
    for row in journal.all_series():
        if row.is_listed and row.held and not (row.is_in_part or row.owed or row.failed or row.quarantined):
            yield row.series.series_uid
