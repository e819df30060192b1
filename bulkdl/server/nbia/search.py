"""The simple search of NBIA's portal: a form of criteria, answered by a page of Patients and counts of values.

Values of one criterion are alternatives; different criteria must all be met. A Series whose value is unknown does not
match a range, because ignoring the criterion would return too much. Source: `SearchUtil.java` and
`PatientSearchSummary.java`.
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any, Final, TypeAlias

from bulkdl.server.catalogue.view import SERIES_WITH_PARENTS, CatalogueView, Condition, among
from bulkdl.server.nbia.request import RequestRefused

_PAGE: Final = 500
_MAX_CRITERIA: Final = 2_000
_MAX_PAGE: Final = 10_000
_AGES: Final = {"D": 1, "W": 7, "M": 30, "Y": 365}
_UNITS: Final = " ".join(f"WHEN '{unit}' THEN {days}" for unit, days in _AGES.items())
_AGE: Final = "json_extract(st.record, '$.patient_age')"  # at the Study: `061Y` in DICOM
_AGE_BETWEEN: Final = f"CAST(substr({_AGE}, 1, 3) AS INTEGER) * CASE substr({_AGE}, 4, 1) {_UNITS} END BETWEEN ? AND ?"
_HUMAN: Final = "337915000"

_COLUMNS: Final[Mapping[str, str]] = {
    "CollectionCriteria": "t.collection_key",
    "ImageModalityCriteria": "t.modality_key",
    "AnatomicalSiteCriteria": "t.body_part_key",
    "BodyPartExaminedCriteria": "t.body_part_key",
    "ManufacturerCriteria": "t.manufacturer_key",
    "ModelCriteria": "t.model_key",
    "SoftwareVersionCriteria": "upper(json_extract(t.record, '$.software_versions'))",
    "PatientCriteria": "t.patient_key",
    "PatientSexCriteria": "upper(json_extract(p.record, '$.sex'))",
    "StudyCriteria": "t.study_uid",
    "SeriesCriteria": "t.series_uid",
    "SpeciesCriteria": f"coalesce(json_extract(p.record, '$.species_code'), '{_HUMAN}')",
}
_FACETS: Final = (
    ("bodyParts", "json_extract(t.record, '$.body_part')"),
    ("modalities", "json_extract(t.record, '$.modality')"),
    ("collections", "json_extract(t.record, '$.collection')"),
    ("species", f"coalesce(json_extract(p.record, '$.species_code'), '{_HUMAN}')"),
)
_ORDERS: Final = {"subject": "patient_key", "studies": "studies", "series": "series", "collection": "collection_key"}
_LENGTHS: Final = {
    "PixelSpacingRangeCriteria": "json_extract(t.extra, '$.pixel_spacing_mm')",
    "SliceThicknessRangeCriteria": "json_extract(t.extra, '$.slice_thickness_mm')",
}
_MAX_MM: Final = 1e9
_PATIENTS: Final = "count(DISTINCT collection_key || char(0) || patient_key)"

_Found: TypeAlias = tuple[list[Any], tuple[int, int | None, int | None], dict[str, list[Any]], Condition]


@dataclass(frozen=True, slots=True)
class SimpleSearch:
    """A parsed search: the `conditions` for a Series, and how many such modalities and Studies a Patient must have."""

    conditions: Sequence[Condition]
    min_modalities: int
    min_studies: int
    start: int
    size: int
    order: str
    descending: bool


def parse_search(form: Mapping[str, str], *, date_format: str) -> SimpleSearch:
    """Parse the fields of a form; `date_format` is for `strptime`."""
    wanted: dict[str, list[str]] = {}
    conditions: list[Condition] = []
    needs_all, min_studies = False, 0
    for number in count():  # like NBIA, stops at the first missing number
        if (kind := form.get(f"criteriaType{number}")) is None:
            break
        if number >= _MAX_CRITERIA:
            raise RequestRefused(f"more than {_MAX_CRITERIA:,} criteria")
        value = form.get(f"value{number}", "")
        if kind in _COLUMNS:
            wanted.setdefault(_COLUMNS[kind], []).append(value)
        elif kind == "MinNumberOfStudiesCriteria":
            min_studies = _number(value, kind)
        elif kind == "ModalityAndedSearchCriteria":
            needs_all = value.lower() == "all"
        elif (condition := _condition(kind, value, form, str(number), date_format)) is not None:
            conditions.append(condition)
    conditions += (among(column, [value.upper() for value in values]) for column, values in wanted.items())
    return SimpleSearch(
        conditions=conditions,
        min_modalities=len({value.upper() for value in wanted.get("t.modality_key", ())}) if needs_all else 0,
        min_studies=min_studies,
        start=_number(form.get("start") or "0", "start"),
        size=min(_number(form.get("size") or "10", "size"), _MAX_PAGE),
        order=form.get("sortField") or "subject",
        descending=(form.get("sortDirection") or "").lower() == "descending",
    )


def _condition(kind: str, value: str, form: Mapping[str, str], number: str, date_format: str) -> Condition | None:
    """The condition for a criterion. Like NBIA, skips a criterion that it does not know."""
    if kind == "DescriptionCriteria":
        pattern = "%" + value.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        return "json_extract(t.record, '$.description') LIKE ? ESCAPE '\\'", (pattern,)
    if kind == "DateRangeCriteria":
        first, last = (_day(form.get(name + number), date_format) for name in ("fromDate", "toDate"))
        return "substr(t.since, 1, 10) BETWEEN ? AND ?", (first or "0001-01-01", last or "9999-12-31")
    if kind == "PatientAgeRangeCriteria":
        return _AGE_BETWEEN, (_days(form.get("from" + number, ""), 0), _days(form.get("to" + number, ""), 1 << 31))
    if kind in _LENGTHS:
        least, most = (_millimetres(form.get(name + number, "")) for name in ("from", "to"))
        return f"{_LENGTHS[kind]} BETWEEN ? AND ?", (least or 0.0, _MAX_MM if most is None else most)
    return None


def _number(text: str, name: str) -> int:
    with suppress(ValueError):
        if 0 <= (number := int(text)) < 1 << 31:
            return number
    raise RequestRefused(f"{name} is not a valid number")


def _day(text: str | None, date_format: str) -> str | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, date_format).date().isoformat()  # noqa: DTZ007 - days have no zone
    except ValueError:
        raise RequestRefused("a date is invalid") from None


def _millimetres(text: str) -> float | None:
    """A length with or without its unit; None if this end of the range is open."""
    text = text.strip().lower().removesuffix("mm").strip()
    if not text:
        return None
    with suppress(ValueError):
        if 0 <= (length := float(text)) <= _MAX_MM:
            return length
    raise RequestRefused("a length is invalid")


def _days(text: str, default: int) -> int:
    """An age in days, given in years or in the unit of its letter."""
    text = text.strip().upper()
    if not text:
        return default
    unit = _AGES.get(text[-1])
    return _number(text if unit is None else text[:-1], "an age") * (unit or _AGES["Y"])


def found_series(view: CatalogueView, search: SimpleSearch) -> Iterator[str]:
    """The UIDs of all matching Series of the Patients found, sorted."""
    head, values = _matching(view, search)
    query = f"{head} SELECT series_uid FROM found WHERE series_uid > ? ORDER BY series_uid LIMIT {_PAGE}"
    after: str | None = ""
    while after is not None:
        rows = view.select(query, [*values, after])
        yield from (uid for (uid,) in rows)
        after = rows[-1][0] if len(rows) == _PAGE else None


def summary(view: CatalogueView, search: SimpleSearch, *, authorized: bool) -> dict[str, Any]:
    """One page of Patients and counts over all of them, as in NBIA's JSON; only v4 sends `authorized`."""
    find = _find_in_collections if _is_of_collections(view, search) else _find
    patients, (total, most, fewest), counted, matching = find(view, search)
    return {
        "resultSet": _results(view, matching, patients, authorized=authorized),
        "totalPatients": total,
        **{
            name: [{"value": value, "count": patients_with} for value, patients_with in rows]
            for name, rows in counted.items()
        },
        **({"maxTimepoints": most, "minTimepoints": fewest} if total else {}),
        "sort": f"{search.order}:{'descending' if search.descending else 'ascending'}",
    }


def _order(search: SimpleSearch) -> str:
    direction = "DESC" if search.descending else "ASC"
    return f"ORDER BY {_ORDERS.get(search.order, 'patient_key')} {direction}, patient_key, collection_key"


def _find(view: CatalogueView, search: SimpleSearch) -> _Found:
    """The Patients of the page, the number of all and of their Studies, the facets, and what matches.

    All in one statement, so that what matches is found once.
    """
    head, values = _matching(view, search)
    by_patient = "FROM found GROUP BY collection_key, patient_key"
    columns = "collection_key, patient_key, count(DISTINCT study_uid) AS studies, count(*) AS series"
    questions = [
        f"SELECT 'patients', * FROM (SELECT {columns} {by_patient} {_order(search)} LIMIT ? OFFSET ?)",
        f"SELECT 'totals', count(*), max(n), min(n), NULL FROM (SELECT count(DISTINCT study_uid) AS n {by_patient})",
        *(
            f"SELECT '{name}', {name}, {_PATIENTS}, NULL, NULL FROM found WHERE {name} IS NOT NULL GROUP BY {name}"
            for name, _ in _FACETS
        ),
    ]
    rows: dict[str, list[Any]] = {"patients": [], **{name: [] for name, _ in _FACETS}}
    for kind, *row in view.select(f"{head} {' UNION ALL '.join(questions)}", [*values, search.size, search.start]):
        rows.setdefault(kind, []).append(row)
    patients = rows["patients"]
    ((total, most, fewest, _),) = rows["totals"]
    counted = {name: sorted(row[:2] for row in rows[name]) for name, _ in _FACETS}
    of_page = among("t.patient_key", [row[1] for row in patients])
    matching = _matching(view, replace(search, conditions=(*search.conditions, of_page)))
    return patients, (total, most, fewest), counted, matching


def _is_of_collections(view: CatalogueView, search: SimpleSearch) -> bool:
    """Whether a search is for whole Collections, whose Patients and values are counted already."""
    needs_series = search.min_studies or search.min_modalities
    if needs_series or not all(text.startswith("t.collection_key ") for text, _ in search.conditions):
        return False
    return not view.select("SELECT 1 FROM series WHERE study_uid IS NULL LIMIT 1", ())  # which no Study counts


def _find_in_collections(view: CatalogueView, search: SimpleSearch) -> _Found:
    """As `_find`, without reading the Series: an archive may have a million."""
    where, values = view.where(*search.conditions)
    of_patient = "FROM study AS st WHERE st.collection_key = t.collection_key AND st.patient_key = t.patient_key"
    patients = view.select(
        f"SELECT t.collection_key, t.patient_key, (SELECT count(*) {of_patient}) AS studies, "
        f"(SELECT sum(st.series_count) {of_patient}) AS series FROM patient AS t {where} {_order(search)} "
        "LIMIT ? OFFSET ?",
        [*values, search.size, search.start],
    )
    (totals,) = view.select(
        "SELECT count(*), max(n), min(n) FROM (SELECT count(*) AS n FROM study AS t "
        f"{where} GROUP BY t.collection_key, t.patient_key)",
        values,
    )
    counted = {
        name: view.select(
            f"SELECT t.value, sum(t.patients) FROM value_count AS t {view.where(*search.conditions, of)[0]} "
            "GROUP BY 1 ORDER BY 1",
            view.where(*search.conditions, of)[1],
        )
        for name, of in (("bodyParts", _exactly("body_part")), ("modalities", _exactly("modality")))
    }
    counted["collections"] = view.select(
        "SELECT c.name, count(*) FROM patient AS t JOIN collection AS c ON c.collection_key = t.collection_key "
        f"{where} GROUP BY 1 ORDER BY 1",
        values,
    )
    species = f"coalesce(json_extract(t.record, '$.species_code'), '{_HUMAN}')"
    counted["species"] = view.select(
        f"SELECT {species}, count(*) FROM patient AS t {where} GROUP BY 1 ORDER BY 1", values
    )
    of_page = among("t.patient_key", [row[1] for row in patients])
    return patients, totals, counted, _matching(view, replace(search, conditions=(of_page,)))


def _exactly(of: str) -> Condition:
    return "t.of = ?", (f"{of}=",)


def _results(
    view: CatalogueView, matching: Condition, page: Sequence[Sequence[Any]], *, authorized: bool
) -> list[dict[str, Any]]:
    """The Patients of a page, in its order. Its rows begin with two keys and end with two counts."""
    head, values = matching
    keys = [key for row in page for key in row[:2]]
    rows_by_patient: dict[tuple[str, str], list[Sequence[Any]]] = {}
    for row in view.select(
        f"{head} SELECT collection_key, patient_key, patient_id, collections, patient_number, study_number, "
        "series_number, modalities, bodyParts FROM found WHERE (collection_key, patient_key) IN "
        f"(VALUES {', '.join(['(?, ?)'] * len(page)) or '(NULL, NULL)'}) ORDER BY study_number, series_number",
        [*values, *keys],
    ):
        rows_by_patient.setdefault((row[0], row[1]), []).append(row[2:])
    return [
        _patient(rows_by_patient[collection_key, patient_key], studies, series, authorized=authorized)
        for collection_key, patient_key, studies, series in page
    ]


def _patient(rows: Sequence[Sequence[Any]], studies: int, series: int, *, authorized: bool) -> dict[str, Any]:
    by_study: dict[int | None, list[int]] = {}
    for row in rows:
        by_study.setdefault(row[3], []).append(row[4])
    return {
        "subjectId": rows[0][0],
        "project": rows[0][1],
        "id": rows[0][2],
        "totalNumberOfStudies": studies,
        "totalNumberOfSeries": series,
        "studyIdentifiers": [
            {"studyIdentifier": study, "seriesIdentifiers": numbers} for study, numbers in by_study.items()
        ],
        "modalities": sorted({row[5] for row in rows if row[5] is not None}),
        "bodyParts": sorted({row[6] for row in rows if row[6] is not None}),
        **({"authorized": 1} if authorized else {}),
    }


def _matching(view: CatalogueView, search: SimpleSearch) -> Condition:
    """The WITH clause that defines `found`: all Series that match, of Patients that have enough of them."""
    where, values = view.where(*search.conditions)
    facets = ", ".join(f"{expression} AS {name}" for name, expression in _FACETS)
    enough, needed = ["count(DISTINCT study_uid) >= ?"], [search.min_studies]
    if search.min_modalities:
        enough.append("count(DISTINCT modality_key) >= ?")
        needed.append(search.min_modalities)
    head = (
        "WITH matching AS MATERIALIZED (SELECT t.collection_key, t.patient_key, t.study_uid, t.series_uid, "
        "t.modality_key, json_extract(p.record, '$.patient_id') AS patient_id, p.number AS patient_number, "
        f"st.number AS study_number, t.number AS series_number, {facets} FROM {SERIES_WITH_PARENTS} {where}), "
        "found AS (SELECT * FROM matching WHERE (collection_key, patient_key) IN (SELECT collection_key, patient_key "
        f"FROM matching GROUP BY collection_key, patient_key HAVING {' AND '.join(enough)}))"
    )
    return head, [*values, *needed]
