"""Queries of the catalogue, as one viewer sees it.

Collections may be hidden from a viewer: nothing of them is in any result or count. APIs are given a `CatalogueView` and
never a whole `Catalogue`, so this holds for every endpoint.

Long results are read in pages, one query each, so that a slow reader does not hold up a scan and memory does not grow
with the result. A Series is new since its release, or since its submission if it has no release date.
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypedDict, TypeVar, Unpack, cast

from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue.files import About, ServedFile
from bulkdl.server.catalogue.reports import Totals

SERIES_WITH_PARENTS: Final = (
    "series AS t JOIN patient AS p ON p.collection_key = t.collection_key AND p.patient_key = t.patient_key "
    "LEFT JOIN study AS st ON st.collection_key = t.collection_key AND st.patient_key = t.patient_key "
    "AND st.study_uid = t.study_uid"
)
"""FROM clause for Series `t` with their Patient `p` and Study `st`."""

_PAGE: Final = 500
_PATIENTS: Final = "count(DISTINCT t.collection_key || char(0) || t.patient_key)"
_MAX_DIGITS: Final = 18  # such a number certainly fits the database's integers
_MAX_NUMBERS: Final = 10_000
_DATES: Final = ("birth_date", "patient_birth_date", "study_date", "series_date", "released")
_MOMENTS: Final = ("submitted", "described")
_FILE_COLUMNS: Final = (
    "id, path, target, series_uid, sop_uid, size_bytes, mtime_ns, instance_number, acquisition_number, md5"
)
_VALUE_COLUMNS: Final = {"modality": "modality_key", "body_part": "body_part_key", "manufacturer": "manufacturer_key"}

_Record = TypeVar("_Record", Patient, Study, Series)
Condition: TypeAlias = tuple[str, Sequence[Any]]
"""SQL with placeholders, and the values for them."""


@dataclass(frozen=True, slots=True)
class Since:
    """Later than the midnight that begins `day`, or, with `including`, not earlier."""

    day: date
    including: bool = False


class SeriesCriteria(TypedDict, total=False):
    """Criteria for Series; None matches everything. Text is compared without case, UIDs exactly."""

    collection: str | None
    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    modality: str | None
    body_part: str | None
    manufacturer: str | None
    model: str | None
    since: Since | None


@dataclass(frozen=True, slots=True)
class SeriesDetail:
    """A Series with its Patient and Study, and values from its files that its record has no field for."""

    series: Series
    patient: Patient
    study: Study | None
    site: str | None = None
    sop_class_uid: str | None = None
    transfer_syntax_uid: str | None = None
    pixel_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None


class CatalogueView:
    """The catalogue without `hidden` Collections, named in upper case.

    `select` gives the rows of an SQL query, with those of hidden Collections, which `where` leaves out. `md5` gives the
    MD5 of a file; both are those of `Catalogue`.
    """

    def __init__(
        self,
        select: Callable[[str, Sequence[Any]], list[Any]],
        md5: Callable[[ServedFile], bytes],
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        self.select, self.md5, self.hidden = select, md5, hidden
        self._visibility: tuple[Condition, ...] = (
            ((f"t.collection_key NOT IN ({', '.join('?' * len(hidden))})", sorted(hidden)),) if hidden else ()
        )

    def stamp(self) -> str:
        """A text that is another one after each change of the Series; empty before the first scan."""
        return self._stored("stamp", "")  # type: ignore[no-any-return]

    def totals(self) -> Totals:
        """Totals of the last scan; counted now if a Collection is hidden."""
        if not self.hidden:
            return Totals(**self._stored("totals", {}))
        (counted,) = self._rows(
            f"SELECT count(DISTINCT t.collection_key), {_PATIENTS}, count(DISTINCT t.study_uid), count(*), "
            "coalesce(sum(json_extract(t.record, '$.image_count')), 0), "
            "coalesce(sum(json_extract(t.record, '$.size_bytes')), 0) FROM series AS t"
        )
        return Totals(**dict(zip((field.name for field in fields(Totals)), counted, strict=True)))

    def collections(self) -> list[str]:
        """The names of all Collections, sorted without case."""
        return [name for (name,) in self._rows("SELECT name FROM collection AS t", end="ORDER BY t.collection_key")]

    def about(self, collection: str) -> About:
        """What the root says about a Collection; all fields are None for an unknown one."""
        found = self._rows("SELECT about FROM collection AS t", *_of_series({"collection": collection}))
        return About(**_with_dates(json.loads(found[0][0]) if found else {}))

    def newest(self, collection: str) -> datetime | None:
        """When the newest Series of a Collection was added; None for an unknown Collection."""
        ((found,),) = self._rows("SELECT max(t.since) FROM series AS t", *_of_series({"collection": collection}))
        return None if found is None else datetime.fromisoformat(found)

    def values_and_patients(self, of: str, **criteria: Unpack[SeriesCriteria]) -> list[tuple[str, int]]:
        """The values of `modality`, `body_part` or `manufacturer`, sorted without case, with numbers of Patients."""
        key = _VALUE_COLUMNS[of]
        collection = criteria.get("collection")
        if all(value is None for name, value in criteria.items() if name != "collection"):
            return self._rows(
                "SELECT min(t.value), sum(t.patients) FROM value_count AS t",
                ("t.of = ?", (of,)),
                *([] if collection is None else [("t.collection_key = ?", (collection.upper(),))]),
                end="GROUP BY t.key ORDER BY t.key",
            )
        return self._rows(
            f"SELECT min(json_extract(t.record, '$.{of}')), {_PATIENTS} FROM series AS t",
            *(*_of_series(criteria), (f"t.{key} IS NOT NULL", ())),
            end=f"GROUP BY t.{key} ORDER BY t.{key}",
        )

    def collections_and_patients(self) -> list[tuple[str, int]]:
        """Each Collection with its number of Patients."""
        counted = "(SELECT count(*) FROM patient AS p WHERE p.collection_key = t.collection_key)"
        return self._rows(f"SELECT t.name, {counted} FROM collection AS t", end="ORDER BY t.collection_key")

    def patients(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Patient]:
        """Patients that meet all criteria, by Collection and ID. One Series must meet those that Patients lack."""
        key = ("collection_key", "patient_key")
        for (record,) in self._pages("patient AS t", key, ("t.record",), _of_parents(criteria, key)):
            yield _record(Patient, record)

    def studies(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Study]:
        """Studies that meet all criteria, by Collection, Patient and UID. Studies without a UID are left out."""
        key = ("collection_key", "patient_key", "study_uid")
        wanted = _of_parents(criteria, key)
        for record, count in self._pages("study AS t", key, ("t.record", "t.series_count"), wanted):
            yield _record(Study, record, series_count=count)

    def series(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Series]:
        """Series that meet all criteria, by UID."""
        for (record,) in self._pages("series AS t", ("series_uid",), ("t.record",), _of_series(criteria)):
            yield _record(Series, record)

    def details(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[SeriesDetail]:
        """Series that meet all criteria, by UID, each with its Patient and Study."""
        return self._details(_of_series(criteria))

    def details_of(self, series_uids: Iterable[str]) -> Iterator[SeriesDetail]:
        """The Series of these UIDs, each with its Patient and Study; sorted by UID within each page of a few hundred.

        Unknown UIDs are left out.
        """
        remaining = iter(dict.fromkeys(series_uids))
        while chunk := list(islice(remaining, _PAGE)):
            yield from self._details([among("t.series_uid", chunk)])

    def collection_of(self, series_uid: str) -> str | None:
        """The Collection of a Series, in upper case; None if there is no such Series."""
        found = self._rows("SELECT t.collection_key FROM series AS t", *_of_series({"series_uid": series_uid}))
        return found[0][0] if found else None

    def uuids(self, first: str) -> Iterator[tuple[str, str]]:
        """The UUIDs of Series (`model.ids.stable_uuid`) from `first` on, sorted, each with the UID of its Series."""
        wanted = [("t.uuid >= ?", (first,))]
        pages = self._pages("series AS t", ("uuid",), ("t.uuid", "t.series_uid"), wanted)
        return ((uuid, series_uid) for uuid, series_uid in pages)

    def files(self, series_uid: str) -> tuple[ServedFile, ...]:
        """The files of a Series, one per instance, by instance number (those without one first), then by path."""
        if self.hidden and self.collection_of(series_uid) is None:
            return ()
        return tuple(self._files("series_uid = ? AND reason IS NULL", series_uid, "instance_number, path"))

    def find_instance(self, sop_uid: str) -> ServedFile | None:
        """The file of an instance by its UID. If several Series hold it, the first by UID."""
        files = self._files("sop_uid = ?", sop_uid, "series_uid")
        return next((file for file in files if not self.hidden or self.collection_of(file.series_uid)), None)

    def file_numbered(self, number: str) -> ServedFile | None:
        """The file with this number in the catalogue."""
        files = self._files("id = ?", _number(number), "id")
        return next((file for file in files if self.collection_of(file.series_uid) is not None), None)

    def series_numbered(self, numbers: Sequence[str]) -> list[str]:
        """The UIDs of the Series with these numbers. Unknown numbers are left out."""
        known = [_number(number) for number in numbers[:_MAX_NUMBERS]]
        rows = self._rows("SELECT t.series_uid FROM series AS t", among("t.number", known), end="ORDER BY 1")
        return [uid for (uid,) in rows]

    def where(self, *wanted: Condition) -> Condition:
        """The WHERE clause for a table `t` that has a `collection_key`: the conditions, and what is visible."""
        return _all_of((*wanted, *self._visibility))

    def _rows(self, query: str, *wanted: Condition, end: str = "") -> list[Any]:
        """The rows of a query of a table `t` that meet the conditions; `end` follows its WHERE clause."""
        where, values = self.where(*wanted)
        return self.select(f"{query} {where} {end}", values)

    def _files(self, wanted: str, value: object, order: str) -> Iterator[ServedFile]:
        query = f"SELECT {_FILE_COLUMNS} FROM file WHERE {wanted} AND served = 1 ORDER BY {order}"
        for number, path, target, *rest in self.select(query, (value,)):
            yield ServedFile(number, Path(os.fsdecode(path)), target and Path(os.fsdecode(target)), *rest)

    def _stored(self, name: str, default: Any) -> Any:
        found = self.select("SELECT value FROM meta WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def _details(self, wanted: Sequence[Condition]) -> Iterator[SeriesDetail]:
        columns = ("t.record", "t.extra", "p.record", "st.record", "st.series_count")
        for series, extra, patient, study, count in self._pages(SERIES_WITH_PARENTS, ("series_uid",), columns, wanted):
            yield SeriesDetail(
                _record(Series, series),
                _record(Patient, patient),
                None if study is None else _record(Study, study, series_count=count),
                **json.loads(extra),
            )

    def _pages(
        self, source: str, key: tuple[str, ...], columns: tuple[str, ...], wanted: Sequence[Condition]
    ) -> Iterator[Sequence[Any]]:
        """Columns of the rows that meet the conditions, sorted by `key`, which is unique, one page at a time."""
        ordered = [f"t.{name}" for name in key]
        after: tuple[Any, ...] = ()
        while True:
            behind = [(f"({', '.join(ordered)}) > ({', '.join('?' * len(key))})", after)] if after else []
            query, end = f"SELECT {', '.join((*ordered, *columns))} FROM {source}", f"ORDER BY {', '.join(ordered)}"
            rows = self._rows(query, *wanted, *behind, end=f"{end} LIMIT {_PAGE}")
            yield from (row[len(key) :] for row in rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1][: len(key)]


def _number(text: str) -> int | None:
    """The number of a row; None, which matches no row, if the text is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _with_dates(values: dict[str, Any]) -> dict[str, Any]:
    for name in _DATES:
        if name in values:
            values[name] = date.fromisoformat(values[name])
    for name in _MOMENTS:
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    return values


def _record(kind: type[_Record], text: str, **more: Any) -> _Record:
    return kind(**_with_dates(json.loads(text)), **more)


def _of_series(criteria: SeriesCriteria, table: str = "t") -> list[Condition]:
    """The conditions on a table of Series for some criteria. Columns named `…_key` hold upper case."""
    found: list[Condition] = []
    for name, value in criteria.items():
        column = f"{table}.{_column(name)}"
        if isinstance(value, Since):
            found.append((f"{table}.since {'>=' if value.including else '>'} ?", (value.day.isoformat(),)))
        elif isinstance(value, str):
            found.append((f"{column} = ?", (value.upper() if column.endswith("_key") else value,)))
    return found


def _of_parents(criteria: SeriesCriteria, key: Sequence[str]) -> list[Condition]:
    """The conditions on a table `t` of Patients or Studies. One Series must meet the criteria that are not in `key`."""
    of_key = {name: value for name, value in criteria.items() if _column(name) in key}
    others = {name: value for name, value in criteria.items() if name not in of_key}
    found = _of_series(cast("SeriesCriteria", of_key))
    if below := _of_series(cast("SeriesCriteria", others), "s"):
        where, values = _all_of([*((f"s.{name} = t.{name}", ()) for name in key), *below])
        found.append((f"EXISTS (SELECT 1 FROM series AS s {where})", values))
    return found


def among(column: str, wanted: Sequence[Any]) -> Condition:
    """That a column has one of some values."""
    return f"{column} IN ({', '.join('?' * len(wanted))})", wanted


def _all_of(conditions: Sequence[Condition]) -> Condition:
    """A WHERE clause of all conditions; empty if there are none."""
    text = " AND ".join(condition for condition, _ in conditions)
    return (f"WHERE {text}" if text else ""), [value for _, values in conditions for value in values]


def _column(criterion: str) -> str:
    return criterion if criterion.endswith("_uid") else f"{criterion.removesuffix('_id')}_key"
