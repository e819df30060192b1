"""Choose one file for each instance.

Where several files have the same Series and SOP Instance UIDs but different bytes, a file that passes structure
validation takes precedence over one that does not, then the first by root and path.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkdl.errors import InvalidInstance
from bulkdl.model.settings import ValidationLevel
from bulkdl.server.catalogue.reports import Conflict

if TYPE_CHECKING:
    import sqlite3

_READ_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Choice:
    """Conflicts, the number of files with the bytes of another file, and the ids of all files that are not served."""

    conflicts: list[Conflict] = field(default_factory=list)
    duplicates: int = 0
    losers: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Claimant:
    """A file of an instance that has several."""

    id: int
    path: Path
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
        chosen, why = _choose(database, claimants)
        others = tuple(other.path for other in claimants if other.md5 != chosen.md5)
        choice.losers += (other.id for other in claimants if other is not chosen)
        choice.duplicates += len(claimants) - 1 - len(others)
        if others:
            choice.conflicts.append(Conflict(series_uid, sop_uid, chosen.path, others, why))
    return choice


def md5_of(path: Path) -> bytes:
    """The MD5 of a file's bytes."""
    with path.open("rb") as file:
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
        return digest.digest()


def _choose(database: sqlite3.Connection, claimants: list[_Claimant]) -> tuple[_Claimant, str]:
    if len({claimant.md5 for claimant in claimants}) == 1:
        return claimants[0], ""
    valid = [claimant for claimant in claimants if _is_valid(database, claimant)]
    return (valid or claimants)[0], "valid" if 0 < len(valid) < len(claimants) else "first"


def _claimants(database: sqlite3.Connection, series_uid: str, sop_uid: str) -> list[_Claimant]:
    rows = database.execute(
        "SELECT id, path, md5, valid FROM file WHERE series_uid = ? AND sop_uid = ? AND reason IS NULL "
        "ORDER BY root, path",
        (series_uid, sop_uid),
    ).fetchall()
    return [
        _Claimant(number, path := Path(os.fsdecode(raw)), md5 or _keep_md5(database, number, path), valid)
        for number, raw, md5, valid in rows
    ]


def _keep_md5(database: sqlite3.Connection, number: int, path: Path) -> bytes:
    try:
        digest = md5_of(path)
    except OSError:
        return b""  # the file has just been deleted; the next scan removes it
    database.execute("UPDATE file SET md5 = ? WHERE id = ?", (digest, number))
    return digest


def _is_valid(database: sqlite3.Connection, claimant: _Claimant) -> bool:
    if claimant.is_valid is not None:
        return bool(claimant.is_valid)
    from bulkdl.dicom.validation import validate  # noqa: PLC0415 - conflicts are rare, and pydicom is slow to import

    try:
        validate(claimant.path, level=ValidationLevel.STRUCTURE)
    except InvalidInstance:
        is_valid = False
    else:
        is_valid = True
    database.execute("UPDATE file SET valid = ? WHERE id = ?", (is_valid, claimant.id))
    return is_valid
