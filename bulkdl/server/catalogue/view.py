"""Queries of the catalogue, as one viewer sees it.

Collections may be hidden from a viewer: nothing of them is in any result or count. APIs are given a `CatalogueView` and
never a whole `Catalogue`, so this holds for every endpoint.

Long results are read in pages, one query each, so that a slow reader does not hold up a scan and memory does not grow
with the result. A Series is new since its release, or since its submission if it has no release date.
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeAlias, TypedDict, Unpack, cast

from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue.files import About, ServedFile
from bulkdl.server.catalogue.reports import Totals

_PAGE: Final = 500
_UIDS_PAGE: Final = 50_000  # of UIDs alone: subqueries are evaluated anew for each page
_REMEMBERED: Final = 2_000
_SERIES: Final = (  # in this order, because the sorted table must come first
    "series AS t CROSS JOIN kind AS k ON k.number = t.kind CROSS JOIN patient AS p ON p.number = t.patient "
    "LEFT JOIN study AS st ON st.number = t.study"
)
_OWN: Final = ("description", "image_count", "size_bytes", "series_number", "location", "series_date", "submitted")
_SERIES_COLUMNS: Final = ("t.series_uid", "k.record", "p.record", "st.record", *(f"t.{name}" for name in _OWN))
_MAX_DIGITS: Final = 18  # such a number certainly fits the database's integers
_MAX_NUMBERS: Final = 10_000
_DATES: Final = ("birth_date", "patient_birth_date", "study_date", "series_date", "released")
_MOMENTS: Final = ("submitted", "described")
_FILE_COLUMNS: Final = (
    "id, path, target, series_uid, sop_uid, size_bytes, mtime_ns, instance_number, acquisition_number, md5"
)
_OF_KIND: Final = ("modality", "body_part", "manufacturer", "model")

Condition: TypeAlias = tuple[str, Sequence[Any]]
"""SQL with placeholders, and the values for them."""


@dataclass(frozen=True, slots=True)
class Since:
    """Later than the midnight that begins `day`, or, with `including`, not earlier."""

    day: date
    including: bool = False


class SeriesCriteria(TypedDict, total=False):
    """Criteria for Series; None matches everything. Text is compared without case, UIDs exactly.

    `doi` is the end of the address of a Collection.
    """

    collection: str | None
    patient_id: str | None
    study_uid: str | None
    series_uid: str | None
    modality: str | None
    body_part: str | None
    manufacturer: str | None
    model: str | None
    since: Since | None
    doi: str | None


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
    MD5 of a file. `number_files` reads the numbers by which the files of a Series are sorted: they are not known of the
    files of mirrors and caches. All are those of `Catalogue`.
    """

    def __init__(
        self,
        select: Callable[[str, Sequence[Any]], list[Any]],
        md5: Callable[[ServedFile], bytes],
        hidden: frozenset[str] = frozenset(),
        number_files: Callable[[str], None] = lambda _series_uid: None,
    ) -> None:
        self.select, self.md5, self.hidden, self.number_files = select, md5, hidden, number_files
        self._visibility: tuple[Condition, ...] = (
            ((f"t.collection_key NOT IN ({', '.join('?' * len(hidden))})", sorted(hidden)),) if hidden else ()
        )

    def stamp(self) -> str:
        """A text that changes whenever the Series change; empty before the first scan."""
        return self._stored("stamp", "")  # type: ignore[no-any-return]

    def totals(self) -> Totals:
        """Totals of the last scan; counted now if a Collection is hidden."""
        if not self.hidden:
            return Totals(**self._stored("totals", {}))
        (counted,) = self._rows(
            "SELECT count(DISTINCT t.collection_key), count(DISTINCT t.patient), count(DISTINCT st.study_uid), "
            "count(*), coalesce(sum(t.image_count), 0), coalesce(sum(t.size_bytes), 0) "
            "FROM series AS t LEFT JOIN study AS st ON st.number = t.study"
        )
        return Totals(**dict(zip((field.name for field in fields(Totals)), counted, strict=True)))

    def collections(self) -> list[str]:
        """The names of all Collections, sorted without case."""
        return [name for (name,) in self._rows("SELECT name FROM collection AS t", end="ORDER BY t.collection_key")]

    def about(self, collection: str) -> About:
        """What the root says about a Collection; all fields are None for an unknown one."""
        found = self._rows("SELECT about FROM collection AS t", *_of_row({"collection": collection}))
        return About(**_with_dates(json.loads(found[0][0]) if found else {}))

    def newest(self, collection: str) -> datetime | None:
        """When the newest Series of a Collection was added; None for an unknown Collection."""
        found = self._rows("SELECT t.newest FROM collection AS t", *_of_row({"collection": collection}))
        return datetime.fromisoformat(found[0][0]) if found and found[0][0] is not None else None

    def values_and_patients(self, of: str, **criteria: Unpack[SeriesCriteria]) -> list[tuple[str, int]]:
        """The values of `modality`, `body_part` or `manufacturer`, sorted without case, with numbers of Patients."""
        where, values = all_of([*_of_tally(criteria), *self.below("kind"), (f"k.{of}_key IS NOT NULL", ())])
        return self.select(
            f"SELECT min(k.{of}), count(DISTINCT t.patient) FROM tally AS t JOIN kind AS k ON k.number = t.kind "
            f"{where} GROUP BY k.{of}_key ORDER BY k.{of}_key",
            values,
        )

    def collections_and_patients(self) -> list[tuple[str, int]]:
        """Each Collection with its number of Patients."""
        counted = "(SELECT count(*) FROM patient AS p WHERE p.collection_key = t.collection_key)"
        return self._rows(f"SELECT t.name, {counted} FROM collection AS t", end="ORDER BY t.collection_key")

    def species_and_patients(self) -> list[tuple[str | None, str | None, int]]:
        """Each species, by its code and its description, with its number of Patients."""
        code, name = (f"json_extract(t.record, '$.species_{part}')" for part in ("code", "description"))
        return self._rows(f"SELECT {code}, {name}, count(*) FROM patient AS t", end="GROUP BY 1, 2 ORDER BY 1, 2")

    def shared_values(self, *names: str, **criteria: Unpack[SeriesCriteria]) -> list[tuple[Any, ...]]:
        """The combinations of some values that Series share, such as their licences, sorted.

        The names are those of `Series`; text of the criteria is compared as there.
        """
        columns = ", ".join(f"json_extract(t.record, '$.{name}')" for name in names)
        return self._rows(f"SELECT DISTINCT {columns} FROM kind AS t", *_of_kind(criteria), end=f"ORDER BY {columns}")

    def patients(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Patient]:
        """Patients that meet all criteria, by Collection and ID. One Series must meet those that Patients lack."""
        key = ("collection_key", "patient_key")
        wanted = _of_parents(criteria, "s.patient = t.number", "collection", "patient_id")
        for (record,) in self.pages("patient AS t", key, ("t.record",), wanted):
            yield Patient(**record_values(record))

    def studies(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Study]:
        """Studies that meet all criteria, by Collection, Patient and UID. Studies without a UID are left out."""
        key = ("collection_key", "patient_key", "study_uid")
        is_below = "s.patient = t.patient AND s.study = t.number"
        wanted = _of_parents(criteria, is_below, "collection", "patient_id", "study_uid")
        for record, count in self.pages("study AS t", key, ("t.record", "t.series_count"), wanted):
            yield Study(**record_values(record), series_count=count)

    def series(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[Series]:
        """Series that meet all criteria, in an order that does not change."""
        for row in self.pages(_SERIES, ("number",), _SERIES_COLUMNS, _of_series(criteria)):
            yield _series(*row)

    def series_uids(self, *wanted: Condition, **criteria: Unpack[SeriesCriteria]) -> Iterator[str]:
        """The UIDs of the Series that meet all criteria and further conditions on the table `t` of Series."""
        conditions = [*_of_series(criteria), *wanted]
        found = self.pages("series AS t", ("number",), ("t.series_uid",), conditions, size=_UIDS_PAGE)
        return (uid for (uid,) in found)

    def details(self, **criteria: Unpack[SeriesCriteria]) -> Iterator[SeriesDetail]:
        """Series that meet all criteria, as `series`, each with its Patient and Study."""
        return self.details_where(_of_series(criteria))

    def details_of(self, series_uids: Iterable[str]) -> Iterator[SeriesDetail]:
        """The Series of these UIDs, each with its Patient and Study; sorted within each page of a few hundred.

        Unknown UIDs are left out.
        """
        remaining = iter(dict.fromkeys(series_uids))
        while chunk := list(islice(remaining, _PAGE)):
            yield from self.details_where([among("t.series_uid", chunk)])

    def collection_of(self, series_uid: str) -> str | None:
        """The Collection of a Series, in upper case; None if there is no such Series."""
        found = self._rows("SELECT t.collection_key FROM series AS t", ("t.series_uid = ?", (series_uid,)))
        return found[0][0] if found else None

    def has_series(self, series_uid: str, study_uid: str | None = None) -> bool:
        """Whether there is this Series, in any Study or in this one."""
        return any(True for _ in self.series_uids(series_uid=series_uid, study_uid=study_uid))

    def uuids(self, first: str) -> Iterator[tuple[str, str]]:
        """The UUIDs of Series (`model.ids.stable_uuid`) from `first` on, sorted, each with the UID of its Series."""
        source, wanted = "folder AS f CROSS JOIN series AS t ON t.number = f.series", [("f.uuid >= ?", (first,))]
        pages = self.pages(source, ("uuid",), ("f.uuid", "t.series_uid"), wanted, table="f")
        return ((uuid, series_uid) for uuid, series_uid in pages)

    def files(self, series_uid: str) -> tuple[ServedFile, ...]:
        """The files of a Series, one per instance, by instance number (those without one first), then by path."""
        if self.hidden and self.collection_of(series_uid) is None:
            return ()
        return tuple(self._files("series_uid = ? AND reason IS NULL", "instance_number, path", series_uid))

    def file_of(self, series_uid: str, sop_uid: str) -> ServedFile | None:
        """The file of one instance of a Series. That of a hidden Collection is found, too."""
        return next(self._files("series_uid = ? AND sop_uid = ? AND reason IS NULL", "path", series_uid, sop_uid), None)

    def files_from(self, series_uid: str, start: int, limit: int) -> tuple[ServedFile, ...]:
        """Some of `files`, from a position on."""
        if self.hidden and self.collection_of(series_uid) is None:
            return ()
        order = f"instance_number, path LIMIT {limit:d} OFFSET {start:d}"
        return tuple(self._files("series_uid = ? AND reason IS NULL", order, series_uid))

    def file_count(self, series_uid: str) -> int:
        """How many `files` a Series has."""
        if self.hidden and self.collection_of(series_uid) is None:
            return 0
        query = "SELECT count(*) FROM file WHERE series_uid = ? AND reason IS NULL AND served = 1"
        return int(self.select(query, (series_uid,))[0][0])

    def find_instance(self, sop_uid: str, *, study_uid: str | None = None) -> ServedFile | None:
        """The file of an instance by its UID, in any Study or in this one. If several Series hold it, the first."""
        is_any = study_uid is None and not self.hidden
        files = self._files("sop_uid = ?", "series_uid", sop_uid)
        return next((file for file in files if is_any or self.has_series(file.series_uid, study_uid)), None)

    def file_numbered(self, number: str) -> ServedFile | None:
        """The file with this number in the catalogue."""
        files = self._files("id = ?", "id", _number(number))
        return next((file for file in files if self.collection_of(file.series_uid) is not None), None)

    def series_numbered(self, numbers: Sequence[str]) -> list[str]:
        """The UIDs of the Series with these numbers. Unknown numbers are left out."""
        known = [_number(number) for number in numbers[:_MAX_NUMBERS]]
        rows = self._rows("SELECT t.series_uid FROM series AS t", among("t.number", known), end="ORDER BY 1")
        return [uid for (uid,) in rows]

    def below(self, table: str, *wanted: Condition) -> list[Condition]:
        """The condition on a table `t` that has a column of this name, with numbers of a row of that table `t`.

        No condition if nothing is wanted and everything is visible.
        """
        text, values = self.where(*wanted)
        return [(f"+t.{table} IN (SELECT t.number FROM {table} AS t {text})", values)] if text else []

    def where(self, *wanted: Condition) -> Condition:
        """The WHERE clause for a table `t` that has a `collection_key`: the conditions, and what is visible."""
        return all_of((*wanted, *self._visibility))

    def _rows(self, query: str, *wanted: Condition, end: str = "") -> list[Any]:
        """The rows of a query of a table `t` that meet the conditions; `end` follows its WHERE clause."""
        where, values = self.where(*wanted)
        return self.select(f"{query} {where} {end}", values)

    def _files(self, wanted: str, order: str, *values: object) -> Iterator[ServedFile]:
        query = f"SELECT {_FILE_COLUMNS} FROM file WHERE {wanted} AND served = 1 ORDER BY {order}"
        for number, path, target, *rest in self.select(query, values):
            yield ServedFile(number, Path(os.fsdecode(path)), target and Path(os.fsdecode(target)), *rest)

    def _stored(self, name: str, default: Any) -> Any:
        found = self.select("SELECT value FROM meta WHERE name = ?", (name,))
        return json.loads(found[0][0]) if found else default

    def details_where(
        self, wanted: Sequence[Condition], *, key: tuple[str, ...] = ("number",), size: int = _PAGE
    ) -> Iterator[SeriesDetail]:
        """The Series that meet conditions on their table `t`, each with its Patient and Study, sorted by the `key`."""
        columns = ("k.extra", "st.series_count", *_SERIES_COLUMNS)
        for extra, count, *row in self.pages(_SERIES, key, columns, wanted, size=size):
            _, _, patient, study, *_ = row
            yield SeriesDetail(
                _series(*row),
                Patient(**record_values(patient)),
                None if study is None else Study(**record_values(study), series_count=count),
                **json.loads(extra),
            )

    def pages(
        self,
        source: str,
        key: tuple[str, ...],
        columns: tuple[str, ...],
        wanted: Sequence[Condition],
        *,
        table: str = "t",
        size: int = _PAGE,
    ) -> Iterator[Sequence[Any]]:
        """Columns of the rows that meet the conditions, one page at a time, sorted by the `key` of `table`, unique."""
        ordered = [f"{table}.{name}" for name in key]
        after: tuple[Any, ...] = ()
        while True:
            behind = [(f"({', '.join(ordered)}) > ({', '.join('?' * len(key))})", after)] if after else []
            query, end = f"SELECT {', '.join((*ordered, *columns))} FROM {source}", f"ORDER BY {', '.join(ordered)}"
            rows = self._rows(query, *wanted, *behind, end=f"{end} LIMIT {size}")
            yield from (row[len(key) :] for row in rows)
            if len(rows) < size:
                return
            after = rows[-1][: len(key)]


def _number(text: str) -> int | None:
    """The number of a row; None, which matches no row, if the text is not a number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def _with_dates(values: dict[str, Any]) -> dict[str, Any]:
    for name in _DATES:
        if values.get(name) is not None:
            values[name] = date.fromisoformat(values[name])
    for name in _MOMENTS:
        if values.get(name) is not None:
            values[name] = datetime.fromisoformat(values[name])
    return values


@lru_cache(maxsize=_REMEMBERED)
def record_values(text: str) -> Mapping[str, Any]:
    """The values of a record: those of one Patient, Study or kind are read for many Series."""
    return _with_dates(json.loads(text))


def _series(series_uid: str, kind: str, patient: str, study: str | None, *own: Any) -> Series:
    """The record of a Series, of the columns `_SERIES_COLUMNS`."""
    of_study = record_values(study) if study is not None else {}
    values = {
        "patient_id": record_values(patient)["patient_id"],
        "study_uid": of_study.get("study_uid"),
        "study_date": of_study.get("study_date"),
        "study_description": of_study.get("description"),
        **record_values(kind),
        **_with_dates(dict(zip(_OWN, own, strict=True))),
    }
    return Series(series_uid=SeriesUid(series_uid), **values)


def _of_row(criteria: Mapping[str, Any]) -> list[Condition]:
    """The conditions on a table `t` that has a column for each of the criteria, those of text in upper case."""
    found: list[Condition] = []
    for name, value in criteria.items():
        if value is not None:
            is_uid = name.endswith("_uid")
            column = name if is_uid else f"{name.removesuffix('_id')}_key"
            found.append((f"t.{column} = ?", (value if is_uid else value.upper(),)))
    return found


def _of_kind(criteria: SeriesCriteria) -> list[Condition]:
    """The conditions on a table `t` of kinds."""
    found = _of_row({name: criteria.get(name) for name in ("collection", *_OF_KIND)})
    if (doi := criteria.get("doi")) is not None:
        text = "lower(json_extract(t.record, '$.collection_uri'))"
        found.append((f"substr({text}, -length(?)) = ?", (doi.lower(), doi.lower())))
    return found


def _of_series(criteria: SeriesCriteria) -> list[Condition]:
    """The conditions on a table `t` of Series.

    A `+` keeps SQLite from an index: from that of a larger group, and from all that do not have the order of `number`.
    """
    found = _of_both(criteria)
    is_narrow = any(criteria.get(name) is not None for name in ("patient_id", "study_uid", "series_uid"))
    if (collection := criteria.get("collection")) is not None:
        found.append((f"{'+' if is_narrow else ''}t.collection_key = ?", (collection.upper(),)))
    if kinds := _of_kind(cast("SeriesCriteria", {**criteria, "collection": None})):
        found.append(_in("+t.kind", "kind", kinds))
    return [*found, *_of_row({"series_uid": criteria.get("series_uid")})]


def _of_tally(criteria: SeriesCriteria, table: str = "t") -> list[Condition]:
    """The conditions on the table `tally`, for Series that meet the criteria."""
    found = _of_both(criteria, table)
    if kinds := _of_kind(criteria):
        found.append(_in(f"+{table}.kind", "kind", kinds))
    if (series_uid := criteria.get("series_uid")) is not None:
        key = ", ".join(f"{table}.{name}" for name in ("patient", "study", "kind"))
        found.append((f"({key}) IN (SELECT patient, study, kind FROM series WHERE series_uid = ?)", (series_uid,)))
    return found


def _of_both(criteria: SeriesCriteria, table: str = "t") -> list[Condition]:
    """The conditions on a table of Series, or their tally, that are the same for both."""
    found: list[Condition] = []
    for parent, name in (("patient", "patient_id"), ("study", "study_uid")):
        if wanted := _of_row({name: criteria.get(name)}):
            found.append(_in(f"{table}.{parent}", parent, wanted))
    if (since := criteria.get("since")) is not None:
        found.append((f"{table}.since {'>=' if since.including else '>'} ?", (since.day.isoformat(),)))
    return found


def _in(column: str, table: str, wanted: Sequence[Condition]) -> Condition:
    where, values = all_of(wanted)
    return f"{column} IN (SELECT t.number FROM {table} AS t {where})", values


def _of_parents(criteria: SeriesCriteria, is_below: str, *own: str) -> list[Condition]:
    """The conditions on a table `t` of Patients or Studies, which has the criteria `own`.

    One Series must meet the others: `is_below` says which rows of the tally, as `s`, belong to a row.
    """
    found = _of_row({name: criteria.get(name) for name in own})
    others = cast("SeriesCriteria", {name: value for name, value in criteria.items() if name not in own})
    if below := _of_tally(others, "s"):
        where, values = all_of([(is_below, ()), *below])
        found.append((f"EXISTS (SELECT 1 FROM tally AS s {where})", values))
    return found


def among(column: str, wanted: Sequence[Any]) -> Condition:
    """That a column has one of some values."""
    return f"{column} IN ({', '.join('?' * len(wanted))})", wanted


def all_of(conditions: Sequence[Condition]) -> Condition:
    """A WHERE clause of all conditions; empty if there are none."""
    text = " AND ".join(condition for condition, _ in conditions)
    return (f"WHERE {text}" if text else ""), [value for _, values in conditions for value in values]
