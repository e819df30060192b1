"""Check a mirror without the code of bulkdl."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

from bulkdl.store.side_names import is_side_file
from tests.support.dicom_files import MadeUp


def checksums_on_disk(mirror: Path) -> dict[str, str]:
    """SHA-256 of every visible file but the texts beside the images, by its path relative to the mirror."""
    return {
        str(path.relative_to(mirror)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in mirror.rglob("*")
        if path.is_file() and ".bulkdl" not in path.parts and not is_side_file(path.relative_to(mirror).as_posix())
    }


def checksums_of(made_up: list[MadeUp]) -> dict[str, str]:
    """The same for a complete mirror of `made_up` in the default layout."""
    return {
        f"{one.collection}/{one.patient_id}/{one.study_uid}/{one.series_uid}/{one.sop_uid}.dcm": hashlib.sha256(
            one.content
        ).hexdigest()
        for one in made_up
    }


def journalled_checksums(mirror: Path) -> dict[str, str]:
    """SHA-256 of every held instance in the journal by path, read with plain SQLite."""
    with sqlite3.connect(f"file:{mirror / '.bulkdl' / 'journal.sqlite'}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT path, sha256 FROM v_instances WHERE state = 'held'").fetchall()
    database.close()
    return dict(rows)
