"""The view that the archive's endpoints put to the catalogue, each answered for somebody.

Some Collections may be hidden from who asks; then nothing of such a Collection is in any answer, and it counts nowhere.
APIs are given a `CatalogueView` and never a whole `Catalogue`, so this holds for every endpoint.

Answers that can be long are read in pages, each a question of its own, so nobody who reads slowly holds up a scan, and
memory does not grow with the answer. Something is new since its release, or its submission where nobody released it.
"""

# ruff: noqa: S608 - SQL is put together from names of our own; what anybody sends is bound

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from bulkdl.model.records import Patient, Series, SeriesSize, Study
from bulkdl.server.catalogue import scan
from bulkdl.server.catalogue.files import About
from bulkdl.server.catalogue.scan import Totals

_PAGE: Final = 500
_MOST_DIGITS: Final = 18  # as many as surely fit the database's integers
_MOST_NUMBERS: Final = 10_000
_DATES: Final = ("birth_date", "patient_birth_date", "study_date", "series_date", "released")
_FILE_COLUMNS: Final = "id, path, series_uid, sop_uid, size_bytes, mtime_ns, instance_number, acquisition_number, md5"
_VALUE_COLUMNS: Final = {"modality": "modality_key", "body_part": "body_part_key", "manufacturer": "manufacturer_key"}

_Record = TypeVar("_Record", Patient, Study, Series)
Condition: TypeAlias = tuple[str, Sequence[Any]]


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


@dataclass(frozen=True, slots=True)
class Since:
    """Later than the midnight that begins `day`; `including` counts that midnight in."""

    day: date
    including: bool = False

    def condition(self, column: str) -> Condition:
        """The same, in SQL."""
        return f"{column} {'>=' if self.including else '>'} ?", (self.day.isoformat(),)


@dataclass(frozen=True, slots=True)
class SeriesDetail:
    """A Series with its Patient and Study, and what files say of it that its record has no room for."""

    series: Series
    patient: Patient
    study: Study | None
    site: str | None = None
    sop_class_uid: str | None = None
    pixel_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None


class CatalogueView(ABC):
    """What can be asked; who asks does not see `hidden` Collections, named in upper case."""

    def __init__(self, hidden: frozenset[str] = frozenset()) -> None:
        self.hidden = hidden
        self._veil: tuple[Condition, ...] = (
            ((f"t.collection_key NOT IN ({', '.join('?' * len(hidden))})", sorted(hidden)),) if hidden else ()
        )

    @abstractmethod
    def select(self, question: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of an SQL question; what is hidden is left out by `where`, not here."""

    @abstractmethod
    def md5(self, file: ServedFile) -> bytes:
        """The MD5 of a file: remembered, or computed now and remembered.

        Raises:
            OSError: the file cannot be read.
            DiskError: the catalogue cannot be written.
        """

    # --- counts and names ---------------------------------------------------------------------------------------------

    def totals(self) -> Totals:
        """What is served, counted by the last scan, or now where something is hidden."""
        if not self.hidden:
            found = self.select("SELECT value FROM meta WHERE name = 'totals'")
            return scan.totals_of(found[0][0] if found else None)
        where, values = self.where()
        (counted,) = self.select(
            "SELECT count(DISTINCT t.collection_key), count(DISTINCT t.collection_key || char(0) || t.patient_key), "
            "count(DISTINCT t.study_uid), count(*), "
            "coalesce(sum(json_extract(t.record, '$.image_count')), 0), "
            f"coalesce(sum(json_extract(t.record, '$.size_bytes')), 0) FROM series AS t {where}",
            values,
        )
        names = ("collections", "patients", "studies", "series", "instances", "size_bytes")
        return Totals(**dict(zip(names, counted, strict=True)))

    def collections(self) -> list[str]:
        """The names of all Collections, ordered without case."""
        where, values = self.where()
        return [
            name
            for (name,) in self.select(f"SELECT name FROM collection AS t {where} ORDER BY t.collection_key", values)
        ]

    def about(self, collection: str) -> About:
        """What the root says of a Collection; nothing, for an unknown one."""
        where, values = self.where(("t.collection_key = ?", (collection.upper(),)))
        found = self.select(f"SELECT about FROM collection AS t {where}", values)
        return About(**_with_dates(json.loads(found[0][0]) if found else {}))

    def newest(self, collection: str) -> datetime | None:
        """When a Collection last got something new; None, for an unknown one."""
        where, values = self.where(("t.collection_key = ?", (collection.upper(),)))
        (found,) = self.select(f"SELECT max(t.since) FROM series AS t {where}", values)
        return None if found[0] is None else datetime.fromisoformat(found[0])

    def values(self, of: str, **criteria: str | None) -> list[str]:
        """The different values of `modality`, `body_part` or `manufacturer`, ordered without case.

        Criteria are those of `series`.
        """
        return [value for value, _ in self.values_and_patients(of, **criteria)]

    def values_and_patients(self, of: str, **criteria: str | None) -> list[tuple[str, int]]:
        """The different values, as for `values`, and how many Patients have each."""
        key = _VALUE_COLUMNS[of]
        where, values = self.where(*_series_conditions(**criteria), (f"t.{key} IS NOT NULL", ()))
        return [
            (value, count)
            for value, count in self.select(
                f"SELECT min(json_extract(t.record, '$.{of}')), "
                f"count(DISTINCT t.collection_key || char(0) || t.patient_key) FROM series AS t {where} "
                f"GROUP BY t.{key} ORDER BY t.{key}",
                values,
            )
        ]

    def collections_and_patients(self) -> list[tuple[str, int]]:
        """Each Collection, and how many Patients it has."""
        where, values = self.where()
        return [
            (name, count)
            for name, count in self.select(
                "SELECT t.name, (SELECT count(*) FROM patient AS p WHERE p.collection_key = t.collection_key) "
                f"FROM collection AS t {where} ORDER BY t.collection_key",
                values,
            )
        ]

    # --- records ------------------------------------------------------------------------------------------------------

    def patients(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        modality: str | None = None,
        since: Since | None = None,
    ) -> Iterator[Patient]:
        """Patients that meet every criterion given, by Collection and ID; the last two are of any of their Series."""
        conditions = _equal(("t.collection_key", _upper(collection)), ("t.patient_key", _upper(patient_id)))
        of_series = _equal(("s.modality_key", _upper(modality))) + ([since.condition("s.since")] if since else [])
        if of_series:
            conditions.append(
                _exists("s.collection_key = t.collection_key AND s.patient_key = t.patient_key", of_series)
            )
        for row in self._pages("patient AS t", ("collection_key", "patient_key"), ("t.record",), conditions):
            yield _record(Patient, row[0])

    def studies(
        self,
        *,
        collection: str | None = None,
        patient_id: str | None = None,
        study_uid: str | None = None,
        since: Since | None = None,
    ) -> Iterator[Study]:
        """Studies that meet every criterion given, by Collection, Patient and UID; those without a UID are left out."""
        conditions = _equal(
            ("t.collection_key", _upper(collection)), ("t.patient_key", _upper(patient_id)), ("t.study_uid", study_uid)
        )
        if since is not None:
            same = "s.study_uid = t.study_uid AND s.collection_key = t.collection_key AND s.patient_key = t.patient_key"
            conditions.append(_exists(same, [since.condition("s.since")]))
        key = ("collection_key", "patient_key", "study_uid")
        for record, count in self._pages("study AS t", key, ("t.record", "t.series_count"), conditions):
            yield _record(Study, record, series_count=count)

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
        since: Since | None = None,
    ) -> Iterator[Series]:
        """Series that meet every criterion given, by UID."""
        conditions = _series_conditions(
            collection=collection,
            patient_id=patient_id,
            study_uid=study_uid,
            series_uid=series_uid,
            modality=modality,
            body_part=body_part,
            manufacturer=manufacturer,
            model=model,
        )
        if since is not None:
            conditions.append(since.condition("t.since"))
        for (record,) in self._pages("series AS t", ("series_uid",), ("t.record",), conditions):
            yield _record(Series, record)

    def details(self, *, since: Since | None = None, **criteria: str | None) -> Iterator[SeriesDetail]:
        """Series as `series` gives them, each with all that is known around it."""
        conditions = _series_conditions(**criteria) + ([since.condition("t.since")] if since else [])
        return self._details(conditions)

    def details_of(self, series_uids: Iterable[str]) -> Iterator[SeriesDetail]:
        """The same for the Series of these UIDs, by UID within each few hundred; unknown ones are left out."""
        remaining = iter(dict.fromkeys(series_uids))
        while chunk := list(islice(remaining, _PAGE)):
            yield from self._details([among("t.series_uid", chunk)])

    def series_size(self, series_uid: str) -> SeriesSize:
        """Bytes and instances of a Series; None and None for an unknown one, as NBIA has it."""
        found = next(self.series(series_uid=series_uid), None)
        return SeriesSize(None, None) if found is None else SeriesSize(found.size_bytes, found.image_count)

    # --- instances ----------------------------------------------------------------------------------------------------

    def collection_of(self, series_uid: str) -> str | None:
        """The Collection of a Series, in upper case; None where there is no such Series."""
        where, values = self.where(("t.series_uid = ?", (series_uid,)))
        found = self.select(f"SELECT t.collection_key FROM series AS t {where}", values)
        return found[0][0] if found else None

    def files(self, series_uid: str) -> tuple[ServedFile, ...]:
        """The files of a Series, one for each instance, by instance number, those without one first; then by path."""
        if self.hidden and self.collection_of(series_uid) is None:
            return ()
        rows = self.select(
            f"SELECT {_FILE_COLUMNS} FROM file WHERE series_uid = ? AND reason IS NULL AND served = 1 "
            "ORDER BY instance_number, path",
            (series_uid,),
        )
        return tuple(_file(row) for row in rows)

    def find_instance(self, sop_uid: str) -> ServedFile | None:
        """The file of an instance by its own UID alone; of several Series that hold it, the first by UID."""
        rows = self.select(
            f"SELECT {_FILE_COLUMNS} FROM file WHERE sop_uid = ? AND served = 1 ORDER BY series_uid", (sop_uid,)
        )
        files = (_file(row) for row in rows)
        return next((file for file in files if not self.hidden or self.collection_of(file.series_uid)), None)

    def file_numbered(self, number: str) -> ServedFile | None:
        """The file of that number in the catalogue."""
        rows = self.select(f"SELECT {_FILE_COLUMNS} FROM file WHERE id = ? AND served = 1", (_number(number),))
        file = _file(rows[0]) if rows else None
        return file if file is not None and self.collection_of(file.series_uid) is not None else None

    def series_numbered(self, numbers: Sequence[str]) -> list[str]:
        """The UIDs of the Series of these numbers, unknown ones left out."""
        known = [_number(number) for number in numbers[:_MOST_NUMBERS]]
        where, values = self.where(among("t.number", known))
        return [uid for (uid,) in self.select(f"SELECT t.series_uid FROM series AS t {where} ORDER BY 1", values)]

    # --- machinery ----------------------------------------------------------------------------------------------------

    def where(self, *conditions: Condition) -> Condition:
        """The WHERE of a question to a table called `t` that has a `collection_key`: these conditions and the veil."""
        every = (*conditions, *self._veil)
        text = " AND ".join(condition for condition, _ in every)
        return (f"WHERE {text}" if text else ""), [value for _, values in every for value in values]

    def _details(self, conditions: Sequence[Condition]) -> Iterator[SeriesDetail]:
        source = (
            "series AS t JOIN patient AS p ON p.collection_key = t.collection_key AND p.patient_key = t.patient_key "
            "LEFT JOIN study AS st ON st.collection_key = t.collection_key AND st.patient_key = t.patient_key "
            "AND st.study_uid = t.study_uid"
        )
        columns = ("t.record", "t.extra", "p.record", "st.record", "st.series_count")
        for series, extra, patient, study, count in self._pages(source, ("series_uid",), columns, conditions):
            yield SeriesDetail(
                _record(Series, series),
                _record(Patient, patient),
                None if study is None else _record(Study, study, series_count=count),
                **json.loads(extra),
            )

    def _pages(
        self, source: str, key: tuple[str, ...], columns: tuple[str, ...], conditions: Sequence[Condition]
    ) -> Iterator[Sequence[Any]]:
        """Columns of the rows that meet the conditions, in the order of the table's `key`, page by page."""
        ordered = [f"t.{name}" for name in key]
        after: tuple[Any, ...] = ()
        while True:
            behind = [(f"({', '.join(ordered)}) > ({', '.join('?' * len(key))})", after)] if after else []
            where, values = self.where(*conditions, *behind)
            rows = self.select(
                f"SELECT {', '.join((*ordered, *columns))} FROM {source} {where} "
                f"ORDER BY {', '.join(ordered)} LIMIT {_PAGE}",
                values,
            )
            for row in rows:
                yield row[len(key) :]
            if len(rows) < _PAGE:
                return
            after = rows[-1][: len(key)]


def among(column: str, wanted: Sequence[Any]) -> Condition:
    """That a column has one of some values."""
    return f"{column} IN ({', '.join('?' * len(wanted))})", wanted


def _series_conditions(
    *,
    collection: str | None = None,
    patient_id: str | None = None,
    study_uid: str | None = None,
    series_uid: str | None = None,
    modality: str | None = None,
    body_part: str | None = None,
    manufacturer: str | None = None,
    model: str | None = None,
) -> list[Condition]:
    return _equal(
        ("t.collection_key", _upper(collection)),
        ("t.patient_key", _upper(patient_id)),
        ("t.study_uid", study_uid),
        ("t.series_uid", series_uid),
        ("t.modality_key", _upper(modality)),
        ("t.body_part_key", _upper(body_part)),
        ("t.manufacturer_key", _upper(manufacturer)),
        ("t.model_key", _upper(model)),
    )


def _equal(*wanted: tuple[str, str | None]) -> list[Condition]:
    """That columns have values, where these are not None."""
    return [(f"{column} = ?", (value,)) for column, value in wanted if value is not None]


def _exists(joined: str, of_series: Sequence[Condition]) -> Condition:
    """That a row of `t` has a Series, joined so, which meets the conditions."""
    text = " AND ".join([joined, *(condition for condition, _ in of_series)])
    return f"EXISTS (SELECT 1 FROM series AS s WHERE {text})", [value for _, values in of_series for value in values]


def _number(text: str) -> int | None:
    """The number of a row; None, which no row has, for what is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


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
