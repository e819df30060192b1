"""Complete what an archive says of a Series by the header of one of its files. Values that it gives are kept.

Only absent values are added: to the Series, and to its Patient and its Study, of which other Series say the same. Not
the species, by which Series are counted that were not read.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bulkdl.server.catalogue.files import dump

_OWN: Final = ("description", "series_number", "series_date")
_KEYED: Final = ("modality", "body_part", "manufacturer")
_NOT_SHARED: Final = frozenset({*_OWN, "series_uid", "study_uid", "patient_id", "study_date", "study_description"})


_ALIKE: Final = (
    "SELECT s.kind, substr(s.since, 1, 4), coalesce(json_extract(p.record, '$.species_description'), ''), "
    "coalesce(s.description, ''), coalesce(s.image_count, 0), coalesce(s.size_bytes, 0) "
    "FROM series AS s JOIN patient AS p ON p.number = s.patient WHERE s.number = ?"
)
_SPECIES: Final = frozenset({"species_code", "species_description"})


def complete_series(database: sqlite3.Connection, series_uid: str, head: str) -> None:
    """Complete a Series, its Patient and its Study by a `FileFacts.head`. An unknown Series is left alone."""
    found = database.execute(
        "SELECT number, patient, study, kind, since FROM series WHERE series_uid = ?", (series_uid,)
    ).fetchone()
    if found is None:
        return
    number, patient, study, kind, since = found
    values: Mapping[str, Mapping[str, Any]] = json.loads(head)
    before = database.execute(_ALIKE, (number,)).fetchone()
    of_patient = {name: value for name, value in values["patient"].items() if name not in _SPECIES}
    _complete_record(database, "patient", patient, of_patient)
    _complete_record(database, "study", study, values["study"])
    for name in _OWN:
        database.execute(
            f"UPDATE series SET {name} = ? WHERE number = ? AND {name} IS NULL",  # noqa: S608 - our own column names
            (values["series"].get(name), number),
        )
    if (after := _completed_kind(database, kind, values)) != kind:
        database.execute("UPDATE series SET kind = ? WHERE number = ?", (after, number))
        database.execute("UPDATE tally SET series = series - 1 WHERE (patient, study, kind) = (?, ?, ?)", found[1:4])
        database.execute("DELETE FROM tally WHERE (patient, study, kind) = (?, ?, ?) AND series <= 0", found[1:4])
        database.execute(
            "INSERT INTO tally VALUES (?, ?, ?, 1, ?) ON CONFLICT (patient, study, kind) "
            "DO UPDATE SET series = series + 1, since = max(since, excluded.since)",
            (patient, study, after, since),
        )
    _count_as(database, before, database.execute(_ALIKE, (number,)).fetchone())


def _count_as(database: sqlite3.Connection, before: Sequence[Any], after: Sequence[Any]) -> None:
    """Count a Series among those that it is like now."""
    if before == after:
        return
    *key, images, size_bytes = before
    database.execute(
        "UPDATE alike SET series = series - 1, images = images - ?, size_bytes = size_bytes - ? "
        "WHERE (kind, year, species, description) = (?, ?, ?, ?)",
        (images, size_bytes, *key),
    )
    database.execute("DELETE FROM alike WHERE (kind, year, species, description) = (?, ?, ?, ?) AND series <= 0", key)
    *key, images, size_bytes = after
    database.execute(
        "INSERT INTO alike VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT (kind, year, species, description) DO UPDATE "
        "SET series = series + 1, images = images + excluded.images, size_bytes = size_bytes + excluded.size_bytes",
        (*key, images, size_bytes),
    )


def _complete_record(database: sqlite3.Connection, table: str, number: int, values: Mapping[str, Any]) -> None:
    found = database.execute(f"SELECT record FROM {table} WHERE number = ?", (number,)).fetchone()  # noqa: S608 - ours
    if found is not None and (after := {**values, **json.loads(found[0])}) != json.loads(found[0]):
        database.execute(f"UPDATE {table} SET record = ? WHERE number = ?", (dump(after), number))  # noqa: S608 - ours


def _completed_kind(database: sqlite3.Connection, number: int, values: Mapping[str, Mapping[str, Any]]) -> int:
    """The kind that has the values of a header where this one has none: itself, a known one, or a new one."""
    before = database.execute("SELECT collection_key, record, extra FROM kind WHERE number = ?", (number,)).fetchone()
    collection_key, record, extra = before[0], json.loads(before[1]), json.loads(before[2])
    shared = {name: value for name, value in values["series"].items() if name not in _NOT_SHARED}
    after = collection_key, {**shared, **record}, {**values["extra"], **extra}
    if after == (collection_key, record, extra):
        return number
    kept = dump(after[1]), dump(after[2])
    known = database.execute(
        "SELECT number FROM kind WHERE collection_key = ? AND record = ? AND extra = ?", (collection_key, *kept)
    ).fetchone()
    if known is not None:
        return int(known[0])
    keyed = [each for name in _KEYED for each in (after[1].get(name), _upper(after[1].get(name)))]
    columns = (collection_key, *keyed, _upper(after[1].get("model")), *kept)
    added = database.execute("INSERT INTO kind VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
    return int(added.lastrowid or 0)


def _upper(text: str | None) -> str | None:
    return None if text is None else text.upper()
