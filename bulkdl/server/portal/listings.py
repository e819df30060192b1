"""Pages of Collections, Patients, Studies, Series and instances: each is read by its keyset, never the whole list."""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bulkdl.server.catalogue import CatalogueView, SeriesDetail
from bulkdl.server.catalogue.view import Condition, all_of, among
from bulkdl.server.portal.facets import pattern_of

PAGE: Final = 50
_COLLECTIONS: Final = 100
_UIDS_AT_ONCE: Final = 5_000
_WITHOUT_PICTURES: Final = "'RTSTRUCT', 'RTPLAN', 'RTDOSE', 'SEG', 'SR', 'PR', 'KO', 'ECG', 'REG', 'DOC', 'M3D', 'ANN'"
_COUNTED: Final = (
    "SELECT t.collection_key, sum(a.series) AS series, sum(a.images) AS images, sum(a.size_bytes) AS size_bytes, "
    "group_concat(DISTINCT t.modality) AS modalities, "
    "group_concat(DISTINCT json_extract(t.record, '$.license_name')) AS licenses "
    "FROM (SELECT kind, sum(series) AS series, sum(images) AS images, sum(size_bytes) AS size_bytes FROM alike "
    "GROUP BY kind) AS a JOIN kind AS t ON t.number = a.kind"
)


@dataclass(frozen=True, slots=True)
class CollectionRow:
    """A Collection with its counts."""

    name: str
    about: dict[str, Any]
    patients: int
    studies: int
    series: int
    images: int
    size_bytes: int
    modalities: tuple[str, ...]
    licenses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParentRow:
    """A Patient or a Study with its counts. `record` has the values of its record in the catalogue."""

    record: dict[str, Any]
    studies: int
    series: int


def collection_rows(
    view: CatalogueView, after: str = "", *, name: str | None = None
) -> tuple[list[CollectionRow], str | None]:
    """A page of Collections after a name in upper case, or only the one with this name; and the key behind the page."""
    wanted: list[Condition] = [("t.collection_key > ?", (after,))]
    if name is not None:
        wanted = [("t.collection_key = ?", (name.upper(),))]
    where, values = view.where(*wanted)
    counts = ", ".join(
        f"(SELECT count(*) FROM {table} AS n WHERE n.collection_key = t.collection_key)"
        for table in ("patient", "study")
    )
    rows = view.select(
        f"WITH counted AS MATERIALIZED ({_COUNTED} {where} GROUP BY 1) "
        f"SELECT t.collection_key, t.name, t.about, {counts}, "
        "n.series, n.images, n.size_bytes, n.modalities, n.licenses FROM collection AS t "
        f"JOIN counted AS n ON n.collection_key = t.collection_key ORDER BY 1 LIMIT {_COLLECTIONS + 1}",
        values,
    )
    found = [_collection_row(*row[1:]) for row in rows[:_COLLECTIONS]]
    return found, rows[_COLLECTIONS - 1][0] if len(rows) > _COLLECTIONS else None


def covers(view: CatalogueView, *, only_held: bool) -> dict[str, str]:
    """A Series whose picture stands for a Collection, by its key; in a cache only of those that were downloaded."""
    where, values = view.where((f"coalesce(t.modality_key, '') NOT IN ({_WITHOUT_PICTURES})", ()))
    series = "SELECT s.series_uid FROM series AS s WHERE s.kind = t.number LIMIT 1"
    found = f"SELECT t.collection_key, min(t.number), ({series}) FROM kind AS t {where} GROUP BY 1"
    if only_held:  # few, of a million Series
        held = "holding AS h JOIN series AS s ON s.series_uid = h.series_uid JOIN kind AS t ON t.number = s.kind"
        found = f"SELECT t.collection_key, min(t.number), s.series_uid FROM {held} {where} GROUP BY 1"
    return {collection_key: uid for collection_key, _, uid in view.select(found, values) if uid is not None}


def _collection_row(name: str, about: str, *values: Any) -> CollectionRow:
    *counts, modalities, licenses = values
    return CollectionRow(name, json.loads(about), *counts, _split(modalities), _split(licenses))  # type: ignore[call-arg]


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(filter(None, (text or "").split(","))))


def patient_rows(
    view: CatalogueView, collection: str | None = None, after: str = "", contains: str = "", limit: int = PAGE
) -> tuple[list[ParentRow], str | None]:
    """A page of Patients after an ID in upper case: of a Collection, or with a text in their IDs."""
    wanted: list[Condition] = [("t.patient_key > ?", (after,))]
    if collection is not None:
        wanted.append(("t.collection_key = ?", (collection.upper(),)))
    if contains:
        wanted.append(("t.patient_key LIKE ? ESCAPE '\\'", (pattern_of(contains.upper()),)))
    where, values = view.where(*wanted)
    order = f"ORDER BY t.patient_key, t.collection_key LIMIT {limit + 1}"
    rows = view.select(f"SELECT t.number, t.patient_key, t.record FROM patient AS t {where} {order}", values)
    counts = _counts(view, [number for number, _, _ in rows[:limit]])
    found = [ParentRow(json.loads(record), *counts.get(number, (0, 0))) for number, _, record in rows[:limit]]
    return found, rows[limit - 1][1] if len(rows) > limit else None


def _counts(view: CatalogueView, patients: Sequence[int]) -> dict[int, tuple[int, int]]:
    """The numbers of Studies and Series of Patients, by their numbers."""
    where, values = all_of([among("patient", patients)])
    query = f"SELECT patient, count(DISTINCT nullif(study, 0)), sum(series) FROM tally {where} GROUP BY 1"
    return {number: (studies, series) for number, studies, series in view.select(query, values)}


def study_rows(
    view: CatalogueView, collection: str, patient_id: str, after: str = ""
) -> tuple[list[ParentRow], str | None]:
    """A page of Studies of a Patient after a UID."""
    where, values = view.where(
        ("t.collection_key = ?", (collection.upper(),)),
        ("t.patient_key = ?", (patient_id.upper(),)),
        ("t.study_uid > ?", (after,)),
    )
    query = f"SELECT t.study_uid, t.record, t.series_count FROM study AS t {where} ORDER BY 1 LIMIT {PAGE + 1}"
    rows = view.select(query, values)
    found = [ParentRow(json.loads(record), 1, count) for _, record, count in rows[:PAGE]]
    return found, rows[PAGE - 1][0] if len(rows) > PAGE else None


def patient_of(view: CatalogueView, collection: str, patient_id: str) -> tuple[int, dict[str, Any]] | None:
    """The number and the record of a Patient; None if there is none."""
    where, values = view.where(
        ("t.collection_key = ?", (collection.upper(),)), ("t.patient_key = ?", (patient_id.upper(),))
    )
    rows = view.select(f"SELECT t.number, t.record FROM patient AS t {where}", values)
    return (rows[0][0], json.loads(rows[0][1])) if rows else None


def studies_of(view: CatalogueView, study_uid: str) -> list[tuple[int, dict[str, Any]]]:
    """The Studies of a UID, with their numbers: several, if several Patients have it."""
    where, values = view.where(("t.study_uid = ?", (study_uid,)))
    query = f"SELECT t.number, t.record FROM study AS t {where} ORDER BY t.collection_key, t.patient_key LIMIT {PAGE}"
    return [(number, json.loads(record)) for number, record in view.select(query, values)]


def series_rows(view: CatalogueView, *wanted: Condition, after: int = 0) -> tuple[list[SeriesDetail], int | None]:
    """A page of Series that meet conditions on a table `t` of Series, after a number."""
    where, values = view.where(*wanted, ("+t.number > ?", (after,)))
    rows = view.select(f"SELECT t.number, t.series_uid FROM series AS t {where} ORDER BY 1 LIMIT {PAGE + 1}", values)
    details = list(view.details_of([uid for _, uid in rows[:PAGE]]))
    return details, rows[PAGE - 1][0] if len(rows) > PAGE else None


def of_studies(numbers: Sequence[int]) -> Condition:
    """The Series of Studies, by the numbers of these."""
    return among("t.study", numbers)


def without_study(patient: int) -> tuple[Condition, Condition]:
    """The Series of a Patient that name no Study."""
    return ("t.patient = ?", (patient,)), ("+t.study = 0", ())


def numbers_of(view: CatalogueView, series_uids: Sequence[str]) -> dict[str, int]:
    """The numbers of Series by their UIDs."""
    where, values = view.where(among("t.series_uid", series_uids))
    return dict(view.select(f"SELECT t.series_uid, t.number FROM series AS t {where}", values))


def image_count(view: CatalogueView, series_uids: Sequence[str]) -> int:
    """How many images Series have together, as far as that is known."""
    total = 0
    for start in range(0, len(series_uids), _UIDS_AT_ONCE):
        where, values = view.where(among("t.series_uid", series_uids[start : start + _UIDS_AT_ONCE]))
        total += view.select(f"SELECT coalesce(sum(t.image_count), 0) FROM series AS t {where}", values)[0][0]
    return total
