"""Arrange the served files by Collection, Patient, Study and Series: the tables that queries read.

The Collection of a Series is the one that the RSNA's CTP has written into its files, else that of the root, else the
name of the top folder below the root, else the name given to the scan, else the name of the root's folder. The values
of a Series, a Study and a Patient are those of the first file by root and path.
"""

import json
import os
import sqlite3
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from itertools import count, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from bulkdl.model.ids import stable_uuid
from bulkdl.model.records import Series
from bulkdl.server.catalogue.files import Root, dump, to_json

_COUNTED: Final = ("modality", "body_part", "manufacturer")
_NO_HEAD: Final[Mapping[str, Mapping[str, Any]]] = {"patient": {}, "study": {}, "extra": {}}
_RECORD_FIELDS: Final = tuple(entry.name for entry in fields(Series))
_FROM_ABOUT: Final = ("license_name", "license_uri", "collection_uri", "released")
_MAX_CONTRADICTIONS: Final = 1_000
_STUDY_OF_SERIES: Final = {"study_uid": "study_uid", "study_date": "study_date", "description": "study_description"}


class Arrangement:
    """Rebuilds the tables `collection`, `patient`, `study` and `series` within a transaction."""

    def __init__(self, database: sqlite3.Connection, roots: Sequence[Root], collection: str | None) -> None:
        self._database = database
        self._roots = roots
        self._collection = collection
        self._numbers = count(1)
        self._described = [root.described() for root in roots]
        self._contradictions: list[list[str]] = []
        self._entered: tuple[str | None, ...] = ()  # Collection, Patient and Study of the last Series
        self._now = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()

    def rebuild(self, losers: Sequence[int]) -> None:
        """Rebuild the tables from all servable files but the `losers`, and store the totals."""
        execute = self._database.execute
        execute("UPDATE file SET served = 1 WHERE served = 0 AND reason IS NULL")
        self._database.executemany("UPDATE file SET served = 0 WHERE id = ?", ((number,) for number in losers))
        self.clear()
        execute("DELETE FROM head WHERE id NOT IN (SELECT head_id FROM file WHERE head_id IS NOT NULL)")
        totals: Counter[str] = Counter()
        rows = execute(
            "SELECT f.series_uid, f.size_bytes, f.mtime_ns, f.root, f.path, f.head_id FROM file AS f "
            "WHERE f.served = 1 AND f.reason IS NULL ORDER BY f.series_uid, f.root, f.path"
        )
        for series_uid, group in groupby(rows, key=itemgetter(0)):
            members = list(group)
            _, _, _, root, path, head_id = members[0]
            self._compare(series_uid, members)
            size_bytes = sum(member[1] for member in members)
            newest = datetime.fromtimestamp(max(member[2] for member in members) // 10**9, UTC).replace(tzinfo=None)
            counted = {"image_count": len(members), "size_bytes": size_bytes, "submitted": newest}
            self._add_series(series_uid, root, Path(os.fsdecode(path)), head_id, counted)
            totals.update(series=1, instances=len(members), size_bytes=size_bytes)
        self.store_totals(totals)
        self._store("contradictions", self._contradictions)

    def clear(self) -> None:
        """Empty the tables."""
        for table in ("collection", "patient", "study", "series", "value_count"):
            self._database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names

    def add_records(self, records: Iterable[Series]) -> Counter[str]:
        """Add Series as an archive describes them, without files. Returns what is to be added to the totals."""
        totals: Counter[str] = Counter()
        for record in records:
            if self._enter(_values(record), _NO_HEAD, {}):
                totals.update(series=1, instances=record.image_count or 0, size_bytes=record.size_bytes or 0)
        return totals

    def store_totals(self, totals: Counter[str]) -> None:
        """Count what the tables have, and store the totals, which have Series, instances and bytes already."""
        execute = self._database.execute
        execute(
            "UPDATE study SET series_count = (SELECT count(*) FROM series AS s WHERE s.study_uid = study.study_uid "
            "AND s.collection_key = study.collection_key AND s.patient_key = study.patient_key)"
        )
        totals["collections"] = execute("SELECT count(*) FROM collection").fetchone()[0]
        totals["patients"] = execute("SELECT count(*) FROM patient").fetchone()[0]
        totals["studies"] = execute("SELECT count(DISTINCT study_uid) FROM study").fetchone()[0]
        self._count_values()
        self._store("totals", totals)
        self._store("stamp", uuid.uuid4().hex)

    def _count_values(self) -> None:
        """Fill the table `value_count`."""
        execute = self._database.execute
        for of in _COUNTED:
            execute(
                "CREATE TEMP TABLE counted AS SELECT DISTINCT collection_key, patient_key, "  # noqa: S608 - the same
                f"{of}_key AS key, json_extract(record, '$.{of}') AS value FROM series WHERE {of}_key IS NOT NULL"
            )
            for name, key in ((of, "key"), (f"{of}=", "value")):
                execute(
                    f"INSERT INTO value_count SELECT ?, collection_key, {key}, min(value), "  # noqa: S608 - the same
                    f"count(DISTINCT patient_key) FROM counted GROUP BY collection_key, {key}",
                    (name,),
                )
            execute("DROP TABLE counted")

    def _store(self, name: str, value: object) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, json.dumps(value)))

    def _compare(self, series_uid: str, members: Sequence[Sequence[Any]]) -> None:
        """Note where the files of a Series name another Patient or another Study than the first."""
        by_head = {int(member[5]): bytes(member[4]) for member in reversed(members)}
        if len(by_head) == 1 or len(self._contradictions) >= _MAX_CONTRADICTIONS:
            return
        *_, first_path, first_head = members[0]
        first = self._head(first_head)["series"]
        for head_id, path in by_head.items():
            other = self._head(head_id)["series"]
            for field in ("patient_id", "study_uid"):
                if other.get(field) != first.get(field):
                    self._contradictions.append([series_uid, field, os.fsdecode(first_path), os.fsdecode(path)])
                    return

    def _head(self, head_id: int) -> dict[str, dict[str, Any]]:
        found = self._database.execute("SELECT record FROM head WHERE id = ?", (head_id,)).fetchone()
        return json.loads(found[0])  # type: ignore[no-any-return]

    def _add_series(self, series_uid: str, number: int, path: Path, head_id: int, counted: Mapping[str, Any]) -> None:
        head, root = self._head(head_id), self._roots[number]
        about = to_json(asdict(root.about))
        series: dict[str, Any] = {
            "annotations": False,
            **to_json(counted),
            **{name: about[name] for name in _FROM_ABOUT if name in about},
            **head["series"],
            **head.get("journal", {}),  # last, because it has better licences and dates than the root
            "series_uid": series_uid,
        }
        series["collection"] = series.get("collection") or self._collection_of(root, path)
        described = self._described[number].get(series["collection"].upper())
        self._enter(series, head, about if described is None else {**about, **to_json(asdict(described))})

    def _enter(self, series: dict[str, Any], head: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
        """Insert the rows of a Series. Returns whether it is new."""
        collection, series_uid = series["collection"], series["series_uid"]
        patient_id = series.setdefault("patient_id", "")
        owner = {"collection": collection, "patient_id": patient_id}
        keys = (collection.upper(), patient_id.upper())
        if self._entered[:2] != keys:  # those of one Patient usually come together
            self._insert("collection", (keys[0], collection, dump(about)))
            self._insert("patient", (*keys, next(self._numbers), dump({**head["patient"], **owner})))
        before, self._entered = self._entered, (*keys, series.get("study_uid"))
        if "study_uid" in series and before != self._entered:
            of_series = {name: series[source] for name, source in _STUDY_OF_SERIES.items() if source in series}
            record = dump({**head["study"], **of_series, **owner})
            self._insert("study", (*keys, series["study_uid"], 0, next(self._numbers), record))
        texts = (series.get(name) for name in ("modality", "body_part", "manufacturer", "model"))
        compared = (None if text is None else text.upper() for text in texts)
        since = series.get("released") or series.get("submitted") or self._now
        values = (next(self._numbers), since, dump(series), dump(head["extra"]), stable_uuid(series_uid))
        return self._insert("series", (series_uid, *keys, series.get("study_uid"), *compared, *values))

    def _insert(self, table: str, values: Sequence[Any]) -> bool:
        """Insert a row, and return whether it is new. A Collection, Patient or Study that exists keeps its values."""
        marks = ", ".join("?" * len(values))
        added = self._database.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", values)  # noqa: S608 - the same
        return added.rowcount > 0

    def _collection_of(self, root: Root, path: Path) -> str:
        if root.collection is not None:
            return root.collection
        folders = path.relative_to(root.path).parts[:-1]
        named = folders[0] if folders else self._collection or root.path.name or "COLLECTION"
        return os.fsencode(named).decode(errors="replace")


def _values(record: Series) -> dict[str, Any]:
    return to_json({name: getattr(record, name) for name in _RECORD_FIELDS})
