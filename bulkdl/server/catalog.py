"""The catalogue: what the served folders hold, and the questions that the archive's endpoints put to it.

Methods block for as long as a disk does, and may be called from any thread. Answers that can be long are read in pages,
each a question of its own, so nobody who reads slowly holds up a scan, and memory does not grow with the answer. How
folders become a catalogue is in `scan`, the tables are in `tables`.

NBIA compares Collections, Patient IDs, modalities and the like without case, and UIDs exactly. SQLite's own ideas of
case end at ASCII, so the upper case that Python makes is stored.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from bulkdl.model.records import Patient, Series, SeriesSize, Study
from bulkdl.server import scan, tables
from bulkdl.server.files import About, Root
from bulkdl.server.scan import Conflict, ScanReport, Totals, Unservable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

__all__ = ["About", "Catalog", "Conflict", "Root", "ScanReport", "ServedFile", "Totals", "Unservable"]

_PAGE: Final = 500
_DATES: Final = ("birth_date", "patient_birth_date", "study_date", "series_date", "released")
_FILE_COLUMNS: Final = "id, path, series_uid, sop_uid, size_bytes, mtime_ns, instance_number, acquisition_number, md5"

_Record = TypeVar("_Record", Patient, Study, Series)


@dataclass(frozen=True, slots=True)
class ServedFile:
    """The file of an instance as the last scan found it. `md5` is None until it was wanted once."""

    id: int
    path: Path
    series_uid: str
    sop_uid: str
    size_bytes: int
    mtime_ns: int
    instance_number: int | None
    acquisition_number: int | None
    md5: bytes | None


class Catalog:
    """An open catalogue. `generation` grows with each scan: what was asked before it may be out of date."""

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
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
        with self._writing, tables.translated(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                report = scan.scan_folders(self._database, roots, collection=collection, progress=progress)
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
            self.generation += 1
            return report

    # --- questions ----------------------------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """What is served, counted by the last scan."""
        with tables.translated(self._path):
            return scan.read_totals(self._reader)

    def collections(self) -> list[str]:
        """The names of all Collections, ordered without case."""
        return [name for (name,) in self._rows("SELECT name FROM collection ORDER BY collection_key")]

    def about(self, collection: str) -> About:
        """What the root says of a Collection; nothing, for an unknown one."""
        found = self._rows("SELECT about FROM collection WHERE collection_key = ?", (collection.upper(),))
        values = json.loads(found[0][0]) if found else {}
        return About(**_with_dates(values))

    def patients(self, *, collection: str | None = None, patient_id: str | None = None) -> Iterator[Patient]:
        """Patients that meet every criterion given, by Collection and ID."""
        criteria = {"collection_key": _upper(collection), "patient_key": _upper(patient_id)}
        for row in self._pages("patient", ("collection_key", "patient_key"), criteria):
            yield _record(Patient, row["record"])

    def studies(
        self, *, collection: str | None = None, patient_id: str | None = None, study_uid: str | None = None
    ) -> Iterator[Study]:
        """Studies that meet every criterion given, by Collection, Patient and UID; those without a UID are left out."""
        criteria = {
            "collection_key": _upper(collection),
            "patient_key": _upper(patient_id),
            "study_uid": study_uid,
        }
        for row in self._pages("study", ("collection_key", "patient_key", "study_uid"), criteria, "series_count"):
            yield _record(Study, row["record"], series_count=row["series_count"])

    def series(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        study_uid: str | None = None,
        series_uid: str | None = None,
        modality: str | None = None,
        body_part: str | None = None,
        manufacturer: str | None = None,
        model: str | None = None,
    ) -> Iterator[Series]:
        """Series that meet every criterion given, by UID."""
        criteria = {
            "collection_key": _upper(collection),
            "patient_key": _upper(patient_id),
            "study_uid": study_uid,
            "series_uid": series_uid,
            "modality_key": _upper(modality),
            "body_part_key": _upper(body_part),
            "manufacturer_key": _upper(manufacturer),
            "model_key": _upper(model),
        }
        for row in self._pages("series", ("series_uid",), criteria):
            yield _record(Series, row["record"])

    def series_size(self, series_uid: str) -> SeriesSize:
        """Bytes and instances of a Series; None and None for an unknown one, as NBIA has it."""
        found = next(self.series(series_uid=series_uid), None)
        return SeriesSize(None, None) if found is None else SeriesSize(found.size_bytes, found.image_count)

    def files(self, series_uid: str) -> tuple[ServedFile, ...]:
        """The files of a Series, one for each instance, by instance number, those without one first; then by path."""
        rows = self._rows(
            f"SELECT {_FILE_COLUMNS} FROM file WHERE series_uid = ? AND reason IS NULL AND served = 1 "  # noqa: S608 - our own columns
            "ORDER BY instance_number, path",
            (series_uid,),
        )
        return tuple(_file(row) for row in rows)

    def find_instance(self, sop_uid: str) -> ServedFile | None:
        """The file of an instance by its own UID alone; of several Series that hold it, the first by UID."""
        rows = self._rows(
            f"SELECT {_FILE_COLUMNS} FROM file WHERE sop_uid = ? AND served = 1 ORDER BY series_uid LIMIT 1",  # noqa: S608 - the same
            (sop_uid,),
        )
        return _file(rows[0]) if rows else None

    def md5(self, file: ServedFile) -> bytes:
        """The MD5 of a file: remembered, or computed now and remembered.

        Raises:
            OSError: the file cannot be read.
            DiskError: the catalogue cannot be written.
        """
        status = file.path.stat()
        is_as_scanned = (status.st_size, status.st_mtime_ns) == (file.size_bytes, file.mtime_ns)
        if is_as_scanned:
            known = self._rows("SELECT md5 FROM file WHERE id = ? AND md5 IS NOT NULL", (file.id,))
            if known:
                return bytes(known[0][0])
        digest = scan.md5_of(file.path)
        if is_as_scanned:
            with self._writing, tables.translated(self._path):
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
            found = self._local.connection = tables.open_reader(self._path)
            self._readers.append(found)
        return found

    def _rows(self, question: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with tables.translated(self._path):
            return self._reader.execute(question, values).fetchall()

    def _pages(
        self, table: str, key: tuple[str, ...], criteria: dict[str, str | None], *more: str
    ) -> Iterator[dict[str, Any]]:
        """Rows that meet the criteria that are not None, in the order of the table's `key`, page by page."""
        columns = (*key, "record", *more)
        wanted = {name: value for name, value in criteria.items() if value is not None}
        conditions = [f"{name} = ?" for name in wanted]
        after: tuple[Any, ...] = ()
        while True:
            behind = [f"({', '.join(key)}) > ({', '.join('?' * len(key))})"] if after else []
            where = " AND ".join(conditions + behind)
            rows = self._rows(
                f"SELECT {', '.join(columns)} FROM {table} {'WHERE ' + where if where else ''} "  # noqa: S608 - our own names
                f"ORDER BY {', '.join(key)} LIMIT {_PAGE}",
                (*wanted.values(), *after),
            )
            for row in rows:
                yield dict(zip(columns, row, strict=True))
            if len(rows) < _PAGE:
                return
            after = rows[-1][: len(key)]


def _upper(value: str | None) -> str | None:
    return None if value is None else value.upper()


def _with_dates(values: dict[str, Any]) -> dict[str, Any]:
    for name in _DATES:
        if name in values:
            values[name] = date.fromisoformat(values[name])
    return values


def _record(kind: type[_Record], text: str, **more: Any) -> _Record:
    values = _with_dates(json.loads(text))
    if "submitted" in values:
        values["submitted"] = datetime.fromisoformat(values["submitted"])
    return kind(**values, **more)


def _file(row: Sequence[Any]) -> ServedFile:
    number, path, *rest = row
    return ServedFile(number, Path(os.fsdecode(path)), *rest)
