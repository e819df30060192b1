"""Searches by the levels of DICOM: Studies, Series and instances that meet criteria, sorted by their UIDs.

A search begins after any number of results, and reads a page at a time. A Study is found once, although its Series may
belong to several Collections; its values are those of the first that the viewer may see.

Text is compared without case, UIDs exactly. Source of the levels: PS3.4 §C.6.2 (Study Root).
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeAlias

from bulkdl.model.records import Patient, Study
from bulkdl.server.catalogue.view import CatalogueView, Condition, SeriesDetail, all_of, among, record_values

_PAGE: Final = 500
_INSTANCES_PAGE: Final = 2_000
_UPPER: Final = "upper_case"
_STUDIES: Final = "study AS t CROSS JOIN patient AS p ON p.number = t.patient"
_FILES: Final = (
    "file AS f CROSS JOIN series AS t ON t.series_uid = f.series_uid CROSS JOIN kind AS k ON k.number = t.kind "
    "LEFT JOIN head AS h ON h.id = f.head_id"
)


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of these values, exactly."""

    values: tuple[str, ...]

    def condition(self, column: str) -> Condition:
        """The condition on a column or an expression."""
        return among(column, self.values)


@dataclass(frozen=True, slots=True)
class Like:
    """Like one of these patterns, without case: `*` is any text, `?` any character (PS3.4 §C.2.2.2.4)."""

    patterns: tuple[str, ...]

    def condition(self, column: str) -> Condition:
        """The condition on a column or an expression, which gives upper case."""
        found = [self._one(column, pattern.upper()) for pattern in self.patterns]
        return f"({' OR '.join(text for text, _ in found)})", [value for _, values in found for value in values]

    @staticmethod
    def _one(column: str, pattern: str) -> Condition:
        if not ("*" in pattern or "?" in pattern):
            return f"{column} = ?", (pattern,)
        escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return f"{column} LIKE ? ESCAPE '\\'", (escaped.replace("*", "%").replace("?", "_"),)


@dataclass(frozen=True, slots=True)
class Between:
    """From `first` to `last`, including both; None is open. Dates are ISO 8601."""

    first: str | None
    last: str | None

    def condition(self, column: str) -> Condition:
        """The condition on a column or an expression."""
        ends = ((self.first, ">="), (self.last, "<="))
        given = [(f"{column} {sign} ?", (end,)) for end, sign in ends if end is not None]
        return " AND ".join(text for text, _ in given), [value for _, values in given for value in values]


@dataclass(frozen=True, slots=True)
class EqualTo:
    """This number."""

    number: int

    def condition(self, column: str) -> Condition:
        """The condition on a column or an expression."""
        return f"{column} = ?", (self.number,)


Criterion: TypeAlias = OneOf | Like | Between | EqualTo


def _in_record(name: str) -> str:
    return f"json_extract(t.record, '$.{name}')"


def _text(expression: str) -> str:
    return f"{_UPPER}({expression})"


_COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "patient": {
        "patient_name": _text(_in_record("name")),
        "birth_date": _in_record("birth_date"),
        "sex": _text(_in_record("sex")),
    },
    "study": {
        "study_uid": "t.study_uid",
        "patient_id": "t.patient_key",
        "study_date": _in_record("study_date"),
        "study_description": _text(_in_record("description")),
        "study_id": _text(_in_record("study_id")),
    },
    "series": {
        "series_uid": "t.series_uid",
        "series_number": "t.series_number",
        "series_date": "t.series_date",
        "series_description": _text("t.description"),
    },
    "kind": {
        "modality": "t.modality_key",
        "body_part": "t.body_part_key",
        "manufacturer": "t.manufacturer_key",
        "model": "t.model_key",
        "protocol": _text(_in_record("protocol")),
    },
    "file": {
        "sop_uid": "f.sop_uid",
        "instance_number": "f.instance_number",
        "sop_class_uid": "coalesce(json_extract(h.record, '$.extra.sop_class_uid'), "
        "json_extract(k.extra, '$.sop_class_uid'))",
    },
}
"""By table and criterion, what is compared."""

MODALITIES: Final = "modalities_in_study"
"""The criterion that a Study has a Series of one of these modalities."""

_NARROW: Final = frozenset({"study_uid", "patient_id", "patient_name"})


@dataclass(frozen=True, slots=True)
class FoundStudy:
    """A Study that was found. The counts are of what the viewer may see.

    `instance_count` is None if the archive of a cache does not give that of each Series.
    """

    patient: Patient
    study: Study
    modalities: tuple[str, ...] = ()
    series_count: int = 0
    instance_count: int | None = None


@dataclass(frozen=True, slots=True)
class FoundInstance:
    """An instance that was found, of which there is a file."""

    series_uid: str
    sop_uid: str
    instance_number: int | None
    sop_class_uid: str | None
    transfer_syntax_uid: str | None


class HierarchySearch:
    """A search of a view by all of some criteria, each by its name in `_COLUMNS`, or `MODALITIES`. It blocks.

    A Study meets the criteria for Series if one of its Series meets all of them.
    """

    def __init__(self, view: CatalogueView, criteria: Sequence[tuple[str, Criterion]]) -> None:
        self._view = view
        self._criteria = criteria

    def studies(self, *, skip: int = 0, limit: int | None = None) -> Iterator[FoundStudy]:
        """The Studies by UID, without the first `skip`."""
        wanted = [*self._of("study"), *self._of_patients("t.patient"), self._is_first()]
        if of_series := self._of_series_rows("s"):
            # The tally has few rows of each Study, and no row has to be looked up in the table after an index.
            table = "series" if self._of("series") else "tally"
            rows = f"study AS o CROSS JOIN {table} AS s ON s.patient = o.patient AND s.study = o.number"
            where, values = all_of([("o.study_uid = t.study_uid", ()), *self._visible("o"), *of_series])
            wanted.append((f"EXISTS (SELECT 1 FROM {rows} {where})", values))
        key = ("study_uid",)
        if (start := self._start(_STUDIES, key, wanted, skip)) is None:
            return
        size = _PAGE if limit is None else min(limit, _PAGE)
        found = self._view.pages(_STUDIES, key, ("p.record", "t.record"), [*wanted, *start], size=max(1, size))
        remaining = islice(found, limit)
        while chunk := list(islice(remaining, _PAGE)):
            yield from self._counted([Study(**record_values(study)) for _, study in chunk], [one for one, _ in chunk])

    def series(self, *, skip: int = 0, limit: int | None = None) -> Iterator[SeriesDetail]:
        """The Series by UID, without the first `skip`. Those that name no Study are left out."""
        wanted, key = self._wanted_of_series(), ("series_uid",)
        if (start := self._start("series AS t", key, wanted, skip)) is None:
            return
        size = _PAGE if limit is None else max(1, min(limit, _PAGE))
        yield from islice(self._view.details_where([*wanted, *start], key=key, size=size), limit)

    def instances(self, *, skip: int = 0, limit: int | None = None) -> Iterator[FoundInstance]:
        """The instances that have a file, by the UID of their Series and their own, without the first `skip`."""
        wanted = [*self._wanted_of_files(), *self._of("file")]
        key = ("series_uid", "sop_uid")
        if (start := self._start(_FILES, key, wanted, skip, "f")) is None:
            return
        columns = ("f.series_uid", "f.sop_uid", "f.instance_number", "h.record", "k.extra")
        size = _INSTANCES_PAGE if limit is None else max(1, min(limit, _INSTANCES_PAGE))
        found = self._view.pages(_FILES, key, columns, [*wanted, *start], table="f", size=size)
        yield from (_instance(*row) for row in islice(found, limit))

    def lacks_numbers(self) -> bool:
        """Whether there are files in the Series that meet the criteria whose instance numbers were never read."""
        where, values = all_of([*self._wanted_of_files(), ("f.is_numbered = 0", ())])
        return bool(self._view.select(f"SELECT 1 FROM file AS f {where} LIMIT 1", values))

    def _wanted_of_files(self) -> list[Condition]:
        """The conditions on the table `f` of files, but for those of single files."""
        where, values = self._view.where(*self._wanted_of_series())
        return [
            ("f.reason IS NULL AND f.served = 1", ()),
            (f"f.series_uid IN (SELECT t.series_uid FROM series AS t {where})", values),
        ]

    def _wanted_of_series(self) -> list[Condition]:
        """The conditions on the table `t` of Series. A `+` keeps SQLite from an index that has not their order."""
        is_narrow = any(name in _NARROW and not _is_pattern(one) for name, one in self._criteria)
        plus = "" if is_narrow else "+"
        wanted: list[Condition] = [("+t.study <> 0", ()), *self._of("series")]
        if kinds := self._of("kind"):
            wanted.append(self._among("+t.kind", "kind", kinds))
        if studies := self._of("study"):
            wanted.append(self._among(f"{plus}t.study", "study", studies))
        wanted += self._of_patients(f"{plus}t.patient")
        for modalities in self._modalities("m"):
            where, values = all_of([("m.patient = t.patient AND m.study = t.study", ()), modalities])
            wanted.append((f"EXISTS (SELECT 1 FROM tally AS m {where})", values))
        return wanted

    def _of(self, table: str) -> list[Condition]:
        columns = _COLUMNS[table]
        return [one.condition(columns[name]) for name, one in self._criteria if name in columns]

    def _of_patients(self, column: str) -> list[Condition]:
        wanted = self._of("patient")
        return [self._among(column, "patient", wanted)] if wanted else []

    def _of_series_rows(self, alias: str) -> list[Condition]:
        """The conditions that one Series of a Study meets, and those that another one may meet."""
        wanted = [(text.replace("t.", f"{alias}."), values) for text, values in self._of("series")]
        if kinds := self._of("kind"):
            wanted.append(self._among(f"{alias}.kind", "kind", kinds))
        for text, values in self._modalities("m"):
            same = f"m.patient = {alias}.patient AND m.study = {alias}.study"
            wanted.append((f"EXISTS (SELECT 1 FROM tally AS m WHERE {same} AND {text})", values))
        return wanted

    def _modalities(self, alias: str) -> list[Condition]:
        columns = _COLUMNS["kind"]
        return [
            self._among(f"{alias}.kind", "kind", [one.condition(columns["modality"])])
            for name, one in self._criteria
            if name == MODALITIES
        ]

    def _among(self, column: str, table: str, wanted: Sequence[Condition]) -> Condition:
        where, values = self._view.where(*wanted)
        return f"{column} IN (SELECT t.number FROM {table} AS t {where})", values

    def _visible(self, alias: str) -> list[Condition]:
        hidden = sorted(self._view.hidden)
        text, values = among(f"{alias}.collection_key", hidden)
        return [(f"NOT {text}", values)] if hidden else []

    def _is_first(self) -> Condition:
        """That a row is the first of its Study: there is one for each Collection and Patient."""
        same: list[Condition] = [("o.study_uid = t.study_uid AND o.number < t.number", ())]
        where, values = all_of([*same, *self._visible("o")])
        return f"NOT EXISTS (SELECT 1 FROM study AS o {where})", values

    def _start(
        self, source: str, key: tuple[str, ...], wanted: Sequence[Condition], skip: int, table: str = "t"
    ) -> list[Condition] | None:
        """The condition for what follows the first `skip` rows; None if there are not so many."""
        if not skip:
            return []
        ordered = ", ".join(f"{table}.{name}" for name in key)
        where, values = self._view.where(*wanted)
        query = f"SELECT {ordered} FROM {source} {where} ORDER BY {ordered} LIMIT 1 OFFSET ?"
        rows = self._view.select(query, [*values, skip - 1])
        return [(f"({ordered}) > ({', '.join('?' * len(key))})", rows[0])] if rows else None

    def _counted(self, studies: Sequence[Study], patients: Sequence[str]) -> Iterator[FoundStudy]:
        """Studies with their Patients and with what their Series sum up to."""
        where, values = self._view.where(among("st.study_uid", [study.study_uid for study in studies]))
        rows = self._view.select(
            "SELECT st.study_uid, k.modality, count(*), count(t.image_count), coalesce(sum(t.image_count), 0) "
            "FROM study AS st CROSS JOIN series AS t ON t.study = st.number CROSS JOIN kind AS k ON k.number = t.kind "
            f"{where} GROUP BY st.study_uid, k.modality ORDER BY st.study_uid, k.modality",
            values,
        )
        by_study: dict[str, list[Sequence[Any]]] = {}
        for uid, *counted in rows:
            by_study.setdefault(uid, []).append(counted)
        for study, patient in zip(studies, patients, strict=True):
            counted = by_study.get(study.study_uid, [])
            series = sum(number for _, number, _, _ in counted)
            is_known = series == sum(known for _, _, known, _ in counted)
            yield FoundStudy(
                Patient(**record_values(patient)),
                study,
                tuple(modality for modality, *_ in counted if modality is not None),
                series,
                sum(images for *_, images in counted) if is_known else None,
            )


def _is_pattern(criterion: Criterion) -> bool:
    return isinstance(criterion, Like) and any("*" in one or "?" in one for one in criterion.patterns)


def _instance(series_uid: str, sop_uid: str, number: int | None, head: str | None, extra: str) -> FoundInstance:
    """An instance, with what is known of its header, or else of the first of its Series."""
    known = {**json.loads(extra), **(json.loads(head).get("extra", {}) if head is not None else {})}
    return FoundInstance(series_uid, sop_uid, number, known.get("sop_class_uid"), known.get("transfer_syntax_uid"))
