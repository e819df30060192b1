"""Choose one file for each instance.

Where several files have the same Series and SOP Instance UIDs but different bytes, a file that passes structure
validation takes precedence over one that does not, then the first by root and path.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path

from bulkdl.errors import InvalidInstance
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.catalogue.reports import Conflict
from bulkdl.server.catalogue.served_file import open_unlinked


@dataclass(slots=True)
class Choice:
    """Conflicts, the number of files with the bytes of another file, and the ids of all files that are not served."""

    conflicts: list[Conflict] = field(default_factory=list)
    duplicates: int = 0
    losers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Claimant:
    """A file of an instance that has several; `place` is the file itself, if `path` is a link."""

    id: int
    path: Path
    place: Path
    md5: bytes
    is_valid: int | None


def choose_files(database: sqlite3.Connection) -> Choice:
    """Choose among the files of each instance. MD5s and validation results are kept for the next time."""
    choice = Choice()
    claimed_often = database.execute(
        "SELECT series_uid, sop_uid FROM file WHERE reason IS NULL GROUP BY series_uid, sop_uid HAVING count(*) > 1"
    ).fetchall()
    for series_uid, sop_uid in claimed_often:
        claimants = _claimants(database, series_uid, sop_uid)
        is_conflict = len({claimant.md5 for claimant in claimants}) > 1
        valid = [one for one in claimants if _is_valid(database, one)] if is_conflict else []
        chosen = (valid or claimants)[0]
        others = tuple(other.path for other in claimants if other.md5 != chosen.md5)
        choice.losers += (other.id for other in claimants if other is not chosen)
        choice.duplicates += len(claimants) - 1 - len(others)
        if is_conflict:
            why = "valid" if 0 < len(valid) < len(claimants) else "first"
            choice.conflicts.append(Conflict(series_uid, sop_uid, chosen.path, others, why))
    return choice


def md5_of(file: io.FileIO) -> bytes:
    """The MD5 of the bytes of an open file."""
    return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()


def _claimants(database: sqlite3.Connection, series_uid: str, sop_uid: str) -> list[_Claimant]:
    rows = database.execute(
        "SELECT id, path, coalesce(target, path), md5, valid FROM file WHERE series_uid = ? AND sop_uid = ? "
        "AND reason IS NULL ORDER BY root, path",
        (series_uid, sop_uid),
    ).fetchall()
    found = []
    for number, path, target, md5, is_valid in rows:
        place = Path(os.fsdecode(target))
        if md5 is None:
            try:
                with open_unlinked(place) as file:
                    md5 = md5_of(file)  # noqa: PLW2901 - the same value, now that it is needed
            except OSError:
                md5 = b""  # noqa: PLW2901 - the file has just been deleted; the next scan removes it
            else:
                database.execute("UPDATE file SET md5 = ? WHERE id = ?", (md5, number))
        found.append(_Claimant(number, Path(os.fsdecode(path)), place, md5, is_valid))
    return found


def _is_valid(database: sqlite3.Connection, claimant: _Claimant) -> bool:
    if claimant.is_valid is not None:
        return bool(claimant.is_valid)
    from bulkdl.dicom.validation import validate  # noqa: PLC0415 - conflicts are rare, and pydicom is slow to import

    try:
        validate(claimant.place, level=ValidationLevel.STRUCTURE)
    except InvalidInstance:
        is_valid = False
    else:
        is_valid = True
    database.execute("UPDATE file SET valid = ? WHERE id = ?", (is_valid, claimant.id))
    return is_valid
