"""Arrange the served files by Collection, Patient, Study and Series: the tables that queries read.

The Collection of a Series is the one that the RSNA's CTP has written into its files, else that of the root, else the
name of the top folder below the root, else the name given to the scan, else the name of the root's folder. The values
of a Series, a Study and a Patient are those of the first file by root and path.
"""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from itertools import count, groupby
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

from bulkdl.model.descriptions import NO_DESCRIPTIONS, CollectionDescription, Descriptions
from bulkdl.model.grouped_series import GroupedSeries, SharedValues, iso
from bulkdl.model.ids import stable_uuid
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue.files import Root, about_of, dump, to_json
from bulkdl.server.catalogue.reports import Totals

_NO_HEAD: Final[Mapping[str, Mapping[str, Any]]] = {"patient": {}, "study": {}, "extra": {}}
_OWN: Final = ("description", "image_count", "size_bytes", "series_number", "location", "series_date", "submitted")
_FROM_ABOUT: Final = ("license_name", "license_uri", "collection_uri", "released")
_MAX_CONTRADICTIONS: Final = 1_000
_OF_STUDY: Final = ("study_date", "study_description")
_IN_STUDY: Final = ("study_date", "description")  # the same, in the record of a Study
_SHARED: Final = tuple(
    entry.name
    for entry in fields(Series)
    if entry.name not in {"series_uid", "study_uid", "patient_id", *_OF_STUDY, *_OWN}
)
_NAMES: Final = {
    kind: tuple(entry.name for entry in fields(kind) if entry.name != "series_count") for kind in (Patient, Study)
}
_VALUES: Final = {kind: attrgetter(*names) for kind, names in _NAMES.items()}
_own_of, _shared_of = attrgetter(*_OWN), attrgetter(*_SHARED)
_MOST_KINDS: Final = 100_000
_ROWS: Final = 2_000
_INSERT_SERIES: Final = f"INSERT OR IGNORE INTO series VALUES ({', '.join('?' * (7 + len(_OWN)))})"  # noqa: S608 - our own table names


class _SeriesRow(NamedTuple):
    """The values of a Series by where they are stored. `of_study`, `own` and `shared` are in the order of the names.

    A date is text, but in `shared`, where it may be either.
    """

    series_uid: str
    study_uid: str | None
    collection: str
    patient_id: str
    released: date | str | None
    submitted: str | None
    of_study: tuple[Any, ...]
    own: tuple[Any, ...]
    shared: tuple[Any, ...]

    @classmethod
    def of_kind(cls, kind: SharedValues) -> _SeriesRow:
        """What a kind of Series has of a row."""
        return cls("", None, kind.shared.collection, "", kind.shared.released, None, (), (), _shared_of(kind.shared))


class _Kind:
    """A kind of Series, as it is stored."""

    def __init__(self, kind: SharedValues, row: _SeriesRow) -> None:
        self.row = row
        self.since = iso(kind.shared.released)
        uids = {"sop_class_uid": kind.sop_class_uid, "transfer_syntax_uid": kind.transfer_syntax_uid}
        self.extra = {name: uid for name, uid in uids.items() if uid}


@dataclass(frozen=True, slots=True)
class _Parent:
    """A Patient or a Study: its key, its number, and the values that its Series have from it."""

    key: tuple[str, ...] = ()
    number: int = 0
    values: tuple[Any, ...] = ()


_NO_PATIENT: Final = _Parent()
_NO_STUDY: Final = _Parent(values=(None, None))


class Arrangement:
    """Rebuilds the tables of Collections, Patients, Studies and Series within a transaction."""

    def __init__(self, database: sqlite3.Connection, roots: Sequence[Root], collection: str | None) -> None:
        self._database = database
        self._roots = roots
        self._collection = collection
        self._described = [root.described() for root in roots]
        self._contradictions: list[list[str]] = []
        self._patient, self._study = _NO_PATIENT, _NO_STUDY  # those of the last Series
        self._kinds: dict[tuple[Any, ...], int] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._numbers = count(1)
        self._has_numbers = False
        self._now = datetime.now(UTC).replace(tzinfo=None, microsecond=0).isoformat()

    def rebuild(self, losers: Sequence[int]) -> None:
        """Rebuild the tables from all servable files but the `losers`, and store the totals."""
        execute = self._database.execute
        execute("UPDATE file SET served = 1 WHERE served = 0 AND reason IS NULL")
        self._database.executemany("UPDATE file SET served = 0 WHERE id = ?", ((number,) for number in losers))
        self.clear()
        execute("DELETE FROM head WHERE id NOT IN (SELECT head_id FROM file WHERE head_id IS NOT NULL)")
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
        self._flush()
        self.store_totals()
        self._store("contradictions", self._contradictions)

    def clear(self) -> None:
        """Empty the tables. A Series that is added again keeps its number."""
        execute = self._database.execute
        execute("CREATE TEMP TABLE IF NOT EXISTS numbered (series_uid TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID")
        execute("DELETE FROM numbered")
        execute("INSERT INTO numbered SELECT series_uid, number FROM series")
        last: int | None = execute("SELECT max(number) FROM series").fetchone()[0]
        self._has_numbers, self._numbers = last is not None, count((last or 0) + 1)
        for table in ("collection", "patient", "study", "kind", "series", "tally", "alike", "folder"):
            execute(f"DELETE FROM {table}")  # noqa: S608 - our own table names

    def add_records(self, records: Iterable[Series], parents: Descriptions = NO_DESCRIPTIONS) -> None:
        """Add Series as an archive describes them, without files, and what it says of their Patients and Studies."""
        patients = {(each.collection, each.patient_id): _known(each) for each in parents.patients}
        studies = {each.study_uid: _known(each) for each in parents.studies}
        for record in records:
            patient = patients.get((record.collection, record.patient_id), {})
            study = studies.get(record.study_uid, {}) if record.study_uid is not None else {}
            head = {"patient": patient, "study": study, "extra": {}} if patient or study else _NO_HEAD
            self._enter(_row_of_record(record), head, {})
        self._flush()

    def add_grouped(self, index: GroupedSeries) -> None:
        """Add all Series of an archive, which come in groups; a million of them in a third of the time."""
        kinds = [_Kind(each, _SeriesRow.of_kind(each)) for each in index.kinds()]
        numbers = [self._kind_number(kind.row, (), kind.extra) for kind in kinds]
        others: dict[int, tuple[Any, ...]] = {}
        parents = [self._parents_of(at, others, *each) for at, each in enumerate(index.studies())]

        def stored(row: Sequence[Any]) -> tuple[Any, ...]:
            uid, at, study, *own, differing = row
            kind, number = kinds[at], numbers[at]
            if differing is not None or study in others:
                values = others[study] if differing is None else tuple(differing)
                number = self._kind_number(kind.row, values, kind.extra)
            return (self._number_of(uid), uid, *parents[study], number, kind.since or self._now, *own, None)

        for rows in index.rows():
            self._database.executemany(_INSERT_SERIES, map(stored, rows))

    def _parents_of(
        self, at: int, others: dict[int, tuple[Any, ...]], patient: Patient, study: Study
    ) -> tuple[str, int, int]:
        """How a Series refers to its parents. What it has otherwise than these goes into `others`."""
        own = patient.patient_id, iso(study.study_date), study.description
        row = _SeriesRow("", study.study_uid, patient.collection, patient.patient_id, None, None, own[1:], (), ())
        is_new = self._patient.key != (patient.collection.upper(), patient.patient_id.upper())
        entered = self._patient_of(row, {"patient": _known(patient)} if is_new else _NO_HEAD, {})
        below = self._study_of(row, {"study": _known(study)}, entered)
        if own != (*entered.values, *below.values):
            others[at] = own
        return entered.key[0], entered.number, below.number

    def describe(self, collections: Iterable[CollectionDescription]) -> None:
        """Take over what an archive says of its Collections."""
        self._database.executemany(
            "UPDATE collection SET about = ? WHERE collection_key = ?",
            ((dump(to_json(asdict(about_of(each)))), each.collection.upper()) for each in collections),
        )

    def store_totals(self) -> None:
        """Count what the tables have, and store the totals."""
        execute = self._database.execute
        execute("DELETE FROM numbered")
        execute("INSERT INTO tally SELECT patient, study, kind, count(*), max(since) FROM series GROUP BY 1, 2, 3")
        execute(
            "INSERT INTO alike SELECT s.kind, substr(s.since, 1, 4), "
            "coalesce(json_extract(p.record, '$.species_description'), ''), coalesce(s.description, ''), "
            "count(*), coalesce(sum(s.image_count), 0), coalesce(sum(s.size_bytes), 0) "
            "FROM series AS s JOIN patient AS p ON p.number = s.patient GROUP BY 1, 2, 3, 4"
        )
        execute(
            "UPDATE study SET series_count = counted.series "
            "FROM (SELECT study, sum(series) AS series FROM tally GROUP BY study) AS counted "
            "WHERE counted.study = study.number"
        )
        execute(
            "UPDATE collection SET newest = latest.since FROM (SELECT k.collection_key, max(t.since) AS since "
            "FROM tally AS t JOIN kind AS k ON k.number = t.kind GROUP BY k.collection_key) AS latest "
            "WHERE latest.collection_key = collection.collection_key"
        )
        self._database.create_function("stable_uuid", 1, stable_uuid, deterministic=True)
        execute("INSERT INTO folder SELECT stable_uuid(series_uid), number FROM series ORDER BY 1")
        found = execute(
            "SELECT (SELECT count(*) FROM collection), (SELECT count(*) FROM patient), "
            "(SELECT count(DISTINCT study_uid) FROM study), "
            "count(*), coalesce(sum(image_count), 0), coalesce(sum(size_bytes), 0) FROM series"
        ).fetchone()
        self._store("totals", dict(zip((entry.name for entry in fields(Totals)), found, strict=True)))
        self.renew_stamp()

    def renew_stamp(self) -> None:
        """Note that the tables have changed."""
        self._store("stamp", uuid.uuid4().hex)

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
            for name in ("patient_id", "study_uid"):
                if other.get(name) != first.get(name):
                    self._contradictions.append([series_uid, name, os.fsdecode(first_path), os.fsdecode(path)])
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
        about = about if described is None else {**about, **to_json(asdict(described))}
        self._enter(_row_of_values(series), head, about)

    def _enter(self, row: _SeriesRow, head: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Enter a Series, and its Collection, Patient and Study where they are new."""
        patient = self._patient_of(row, head, about)
        study = self._study_of(row, head, patient)
        kind = self._kind_of(row, (*patient.values, *study.values), head["extra"])
        since = row.released or row.submitted or self._now
        key = (self._number_of(row.series_uid), row.series_uid, patient.key[0])
        self._rows.append((*key, patient.number, study.number, kind, str(since), *row.own))
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        self._database.executemany(_INSERT_SERIES, self._rows)
        self._rows.clear()

    def _number_of(self, series_uid: str) -> int:
        if self._has_numbers:
            question = "SELECT number FROM numbered WHERE series_uid = ?"
            if (found := self._database.execute(question, (series_uid,)).fetchone()) is not None:
                return int(found[0])
        return next(self._numbers)

    def _patient_of(self, row: _SeriesRow, head: Mapping[str, Any], about: Mapping[str, Any]) -> _Parent:
        key = (row.collection.upper(), row.patient_id.upper())
        if self._patient.key != key:  # the Series of a Patient usually come together
            if self._patient.key[:1] != key[:1]:
                self._database.execute(
                    "INSERT OR IGNORE INTO collection VALUES (?, ?, ?, NULL)", (key[0], row.collection, dump(about))
                )
            record = {**head["patient"], "collection": row.collection, "patient_id": row.patient_id}
            into = "patient (collection_key, patient_key, record)"
            self._patient = self._parent(key, into, key, record, ("patient_id",))
        return self._patient

    def _study_of(self, row: _SeriesRow, head: Mapping[str, Any], patient: _Parent) -> _Parent:
        if row.study_uid is None:
            return _NO_STUDY
        key = (*patient.key, row.study_uid)
        if self._study.key != key:
            named = {name: value for name, value in zip(_IN_STUDY, row.of_study, strict=True) if value is not None}
            owner = {"study_uid": row.study_uid, "collection": row.collection, "patient_id": row.patient_id}
            into = "study (patient, collection_key, patient_key, study_uid, record)"
            record = {**head["study"], **named, **owner}
            self._study = self._parent(key, into, (patient.number, *key), record, _IN_STUDY)
        return self._study

    def _parent(
        self,
        key: tuple[str, ...],
        into: str,
        values: Sequence[Any],
        record: Mapping[str, Any],
        names: Sequence[str],
    ) -> _Parent:
        """Enter a Patient or a Study. One that exists keeps its values."""
        marks = ", ".join("?" * (len(values) + 1))
        added = self._database.execute(f"INSERT OR IGNORE INTO {into} VALUES ({marks})", (*values, dump(record)))  # noqa: S608 - our own table names
        number = added.lastrowid
        if not added.rowcount:
            table, columns = into.split(" ", 1)[0], ("collection_key", "patient_key", "study_uid")
            where = " AND ".join(f"{column} = ?" for column in columns[: len(key)])
            question = f"SELECT number, record FROM {table} WHERE {where}"  # noqa: S608 - the same
            number, text = self._database.execute(question, key).fetchone()
            record = json.loads(text)
        return _Parent(key, number or 0, tuple(map(record.get, names)))

    def _kind_of(self, row: _SeriesRow, inherited: tuple[Any, ...], extra: Mapping[str, Any]) -> int:
        """The number of the values that a Series shares with others; `inherited` are those that its parents give it."""
        own = (row.patient_id, *row.of_study)
        return self._kind_number(row, own if own != inherited else (), extra)

    def _kind_number(self, row: _SeriesRow, differing: tuple[Any, ...], extra: Mapping[str, Any]) -> int:
        key = (row.shared, differing, *extra.items())
        if (number := self._kinds.get(key)) is not None:
            return number
        values = dict(zip(_SHARED, row.shared, strict=True))
        record = to_json(values) | dict(zip(("patient_id", *_OF_STUDY), differing, strict=False))
        keyed = [value for name in ("modality", "body_part", "manufacturer") for value in _both(values[name])]
        columns = (row.collection.upper(), *keyed, _both(values["model"])[1], dump(record), dump(extra))
        added = self._database.execute("INSERT INTO kind VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()  # a kind that is stored twice does no harm
        number = self._kinds[key] = added.lastrowid or 0
        return number

    def _collection_of(self, root: Root, path: Path) -> str:
        if root.collection is not None:
            return root.collection
        folders = path.relative_to(root.path).parts[:-1]
        named = folders[0] if folders else self._collection or root.path.name or "COLLECTION"
        return os.fsencode(named).decode(errors="replace")


def _known(record: Patient | Study) -> dict[str, Any]:
    """The values of a record, without the archive's own count of Series."""
    given = zip(_NAMES[type(record)], _VALUES[type(record)](record), strict=True)
    return to_json({name: value for name, value in given if value is not None})


def _row_of_record(record: Series) -> _SeriesRow:
    *own, series_date, submitted = _own_of(record)
    added = iso(submitted)
    return _SeriesRow(
        record.series_uid,
        record.study_uid,
        record.collection,
        record.patient_id,
        record.released,
        added,
        (iso(record.study_date), record.study_description),
        (*own, iso(series_date), added),
        _shared_of(record),
    )


def _row_of_values(values: Mapping[str, Any]) -> _SeriesRow:
    """The row of values as JSON."""
    get = values.get
    return _SeriesRow(
        values["series_uid"],
        get("study_uid"),
        values["collection"],
        get("patient_id") or "",
        get("released"),
        get("submitted"),
        tuple(map(get, _OF_STUDY)),
        tuple(map(get, _OWN)),
        tuple(map(get, _SHARED)),
    )


def _both(text: str | None) -> tuple[str | None, str | None]:
    """A value, and how it is compared."""
    return text, None if text is None else text.upper()
