"""The simple search of NBIA's portal: a form of criteria, answered by a page of Patients and counts of values.

Values of one criterion are alternatives; different criteria must all be met. A Series whose value is unknown does not
match a range, because ignoring the criterion would return too much. Source: `SearchUtil.java` and
`PatientSearchSummary.java`.
"""

# ruff: noqa: S608 - SQL is made from our own names; values from outside are bound

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from bulkdl.server.catalogue.view import CatalogueView, Condition, all_of, among
from bulkdl.server.nbia.request import RequestRefused

_MAX_CRITERIA: Final = 2_000
_MAX_CONDITIONS: Final = 100  # all of which must be met; SQLite takes about 500
_MAX_PAGE: Final = 10_000
_PATIENTS_AT_ONCE: Final = 200
_AGES: Final = {"D": 1, "W": 7, "M": 30, "Y": 365}
_UNITS: Final = " ".join(f"WHEN '{unit}' THEN {days}" for unit, days in _AGES.items())
_AGE: Final = "json_extract(t.record, '$.patient_age')"  # at the Study: `061Y` in DICOM
_AGE_BETWEEN: Final = f"CAST(substr({_AGE}, 1, 3) AS INTEGER) * CASE substr({_AGE}, 4, 1) {_UNITS} END BETWEEN ? AND ?"
_HUMAN: Final = "337915000"

_SPECIES: Final = f"coalesce(json_extract({{table}}.record, '$.species_code'), '{_HUMAN}')"

_COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "CollectionCriteria": ("kind", "t.collection_key"),
    "ImageModalityCriteria": ("kind", "t.modality_key"),
    "AnatomicalSiteCriteria": ("kind", "t.body_part_key"),
    "BodyPartExaminedCriteria": ("kind", "t.body_part_key"),
    "ManufacturerCriteria": ("kind", "t.manufacturer_key"),
    "ModelCriteria": ("kind", "t.model_key"),
    "SoftwareVersionCriteria": ("kind", "upper(json_extract(t.record, '$.software_versions'))"),
    "PatientCriteria": ("patient", "t.patient_key"),
    "PatientSexCriteria": ("patient", "upper(json_extract(t.record, '$.sex'))"),
    "StudyCriteria": ("study", "t.study_uid"),
    "SeriesCriteria": ("series", "t.series_uid"),
    "SpeciesCriteria": ("patient", _SPECIES.format(table="t")),
}
"""The criteria that have single values: the table and the column that they are of."""
_ORDERS: Final = {
    "subject": "p.patient_key",
    "studies": "c.studies",
    "series": "c.series",
    "collection": "p.collection_key",
}
_LENGTHS: Final = {
    "PixelSpacingRangeCriteria": "json_extract(t.extra, '$.pixel_spacing_mm')",
    "SliceThicknessRangeCriteria": "json_extract(t.extra, '$.slice_thickness_mm')",
}
_SINCE: Final = "substr(t.since, 1, 10)"
_RELEASED: Final = "json_extract(t.record, '$.released')"  # the same, at the kind of a Series that has it
_TABLES: Final = {
    "PatientAgeRangeCriteria": "study",
    "DateRangeCriteria": "since",
    **dict.fromkeys(_LENGTHS, "kind"),
}
_MAX_MM: Final = 1e9
_COUNTED: Final = "SELECT patient, count(DISTINCT study) AS studies, sum(series) AS series FROM found GROUP BY patient"
_FACETS: Final = ("bodyParts", "modalities", "collections", "species")
_KINDS_FOUND: Final = "count(DISTINCT f.patient), NULL FROM found AS f JOIN kind AS k ON k.number = f.kind"
_PATIENTS_FOUND: Final = "count(*), NULL FROM counted AS c JOIN patient AS p ON p.number = c.patient"
_OF_FOUND: Final = (
    f"SELECT 'bodyParts', k.body_part, {_KINDS_FOUND} WHERE k.body_part IS NOT NULL GROUP BY 2",
    f"SELECT 'modalities', k.modality, {_KINDS_FOUND} WHERE k.modality IS NOT NULL GROUP BY 2",
    f"SELECT 'collections', o.name, {_PATIENTS_FOUND} JOIN collection AS o USING (collection_key) GROUP BY 2",
    f"SELECT 'species', {_SPECIES.format(table='p')}, {_PATIENTS_FOUND} GROUP BY 2",
    "SELECT 'totals', count(*), max(studies), min(studies) FROM counted",
)


@dataclass(frozen=True, slots=True)
class SimpleSearch:
    """A parsed search: the conditions for a Series, and how many such modalities and Studies a Patient must have.

    The `conditions` are by the table that they are of, `kind`, `patient`, `study` or `series`, as `t`; those under
    `since` are of the dates of `series`.
    """

    conditions: Mapping[str, Sequence[Condition]]
    min_modalities: int
    min_studies: int
    start: int
    size: int
    order: str
    descending: bool


def parse_search(form: Mapping[str, str], *, date_format: str) -> SimpleSearch:
    """Parse the fields of a form; `date_format` is for `strptime`."""
    wanted: dict[tuple[str, str], list[str]] = {}
    conditions: dict[str, list[Condition]] = {}
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
            conditions.setdefault(_TABLES.get(kind, "series"), []).append(condition)
    if sum(map(len, conditions.values())) > _MAX_CONDITIONS:
        raise RequestRefused(f"more than {_MAX_CONDITIONS} ranges and descriptions")
    for (table, column), values in wanted.items():
        conditions.setdefault(table, []).append(among(column, [value.upper() for value in values]))
    return SimpleSearch(
        conditions=conditions,
        min_modalities=len({value.upper() for value in wanted.get(_COLUMNS["ImageModalityCriteria"], ())})
        if needs_all
        else 0,
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
        return "t.description LIKE ? ESCAPE '\\'", (pattern,)
    if kind == "DateRangeCriteria":
        first, last = (_day(form.get(name + number), date_format) for name in ("fromDate", "toDate"))
        return f"{_SINCE} BETWEEN ? AND ?", (first or "0001-01-01", last or "9999-12-31")
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
    """The UIDs of all matching Series of the Patients found."""
    wanted = list(_conditions(view, search))
    if search.min_studies or search.min_modalities:
        head, values = _found(view, search)
        patients = f"WITH {head} SELECT DISTINCT patient FROM found"
        wanted.append((f"+t.patient IN ({patients})", values))
    return view.series_uids(*wanted)


@dataclass(frozen=True, slots=True)
class SearchSummary:
    """The answer to a search, as in NBIA's JSON: a page of Patients in batches, and counts over all that match.

    The `patients` are read from the catalogue while they are taken.
    """

    patients: Iterator[list[dict[str, Any]]]
    counts: Mapping[str, Any]


def summary(view: CatalogueView, search: SimpleSearch, *, authorized: bool) -> SearchSummary:
    """Search; only v4 sends `authorized`.

    Everything is counted in one statement, so that what matches is found once.
    """
    head, values = _found(view, search)
    order = f"{_ORDERS.get(search.order, _ORDERS['subject'])} {'DESC' if search.descending else 'ASC'}"
    page = (
        "SELECT * FROM (SELECT 'patients', c.patient, c.studies, c.series FROM counted AS c JOIN patient AS p "
        f"ON p.number = c.patient ORDER BY {order}, p.patient_key, p.collection_key LIMIT ? OFFSET ?)"
    )
    questions = " UNION ALL ".join((page, *_OF_FOUND))
    rows: dict[str, list[Any]] = {"patients": [], **{name: [] for name in _FACETS}}
    statement = f"WITH {head}, counted AS MATERIALIZED ({_COUNTED}) {questions}"
    for kind, *row in view.select(statement, [*values, search.size, search.start]):
        rows.setdefault(kind, []).append(row)
    ((total, most, fewest),) = rows["totals"]
    counts = {
        "totalPatients": total,
        **{
            name: [{"value": value, "count": patients} for value, patients, _ in sorted(rows[name])] for name in _FACETS
        },
        **({"maxTimepoints": most, "minTimepoints": fewest} if total else {}),
        "sort": f"{search.order}:{'descending' if search.descending else 'ascending'}",
    }
    found = rows["patients"]
    batches = (found[first : first + _PATIENTS_AT_ONCE] for first in range(0, len(found), _PATIENTS_AT_ONCE))
    return SearchSummary((_results(view, search, batch, authorized=authorized) for batch in batches), counts)


def _conditions(view: CatalogueView, search: SimpleSearch, source: str = "series") -> Iterator[Condition]:
    """The conditions on the table `source`, as `t`: that of the Series, or their tally where it has what is needed."""
    of_kind, since = (search.conditions.get(name, ()) for name in ("kind", "since"))
    if source == "tally":
        of_kind, since = [*of_kind, *((text.replace(_SINCE, _RELEASED), values) for text, values in since)], ()
    yield from view.below("kind", *of_kind)
    for table in ("patient", "study"):
        if wanted := search.conditions.get(table, ()):
            yield from view.below(table, *wanted)
    yield from (*since, *search.conditions.get("series", ()))


def _source(view: CatalogueView, search: SimpleSearch) -> str:
    """The tally, which has a third of the rows of the Series, unless single Series must be looked at."""
    if search.conditions.get("series"):
        return "series"
    unreleased = f"SELECT 1 FROM kind AS t WHERE {_RELEASED} IS NULL LIMIT 1"
    return "series" if search.conditions.get("since") and view.select(unreleased, ()) else "tally"


def _found(view: CatalogueView, search: SimpleSearch) -> Condition:
    """The tables of a WITH clause that define `found`: what matches, of Patients that have enough of it."""
    source = _source(view, search)
    where, values = all_of([*_conditions(view, search, source)])
    count = "t.series" if source == "tally" else "1"
    rows = f"SELECT t.patient, nullif(t.study, 0) AS study, t.kind, {count} AS series FROM {source} AS t {where}"
    if not (search.min_studies or search.min_modalities):
        return f"found AS MATERIALIZED ({rows})", values
    enough = "count(DISTINCT m.study) >= ? AND count(DISTINCT k.modality_key) >= ?"
    patients = f"SELECT m.patient FROM matching AS m JOIN kind AS k ON k.number = m.kind GROUP BY 1 HAVING {enough}"
    found = f"found AS MATERIALIZED (SELECT * FROM matching WHERE patient IN ({patients}))"
    return f"matching AS MATERIALIZED ({rows}), {found}", [*values, search.min_studies, search.min_modalities]


def _results(
    view: CatalogueView, search: SimpleSearch, page: Sequence[Sequence[Any]], *, authorized: bool
) -> list[dict[str, Any]]:
    """The Patients of a batch, in its order: each with its number, and the numbers of its Studies and Series."""
    rows_by_patient: dict[int, list[Sequence[Any]]] = {}
    where, values = all_of([among("t.patient", [row[0] for row in page]), *_conditions(view, search)])
    for number, *row in view.select(
        "SELECT t.patient, json_extract(p.record, '$.patient_id'), json_extract(k.record, '$.collection'), "
        "st.number, t.number, k.modality, k.body_part FROM series AS t CROSS JOIN patient AS p ON p.number = t.patient "
        "CROSS JOIN kind AS k ON k.number = t.kind LEFT JOIN study AS st ON st.number = t.study "
        f"{where} ORDER BY st.number, t.number",
        values,
    ):
        rows_by_patient.setdefault(number, []).append(row)
    return [
        _patient(number, rows_by_patient[number], studies, series, authorized=authorized)
        for number, studies, series in page
        if number in rows_by_patient
    ]


def _patient(
    number: int, rows: Sequence[Sequence[Any]], studies: int, series: int, *, authorized: bool
) -> dict[str, Any]:
    by_study: dict[int | None, list[int]] = {}
    for row in rows:
        by_study.setdefault(row[2], []).append(row[3])
    return {
        "subjectId": rows[0][0],
        "project": rows[0][1],
        "id": number,
        "totalNumberOfStudies": studies,
        "totalNumberOfSeries": series,
        "studyIdentifiers": [
            {"studyIdentifier": study, "seriesIdentifiers": numbers} for study, numbers in by_study.items()
        ],
        "modalities": sorted({row[4] for row in rows if row[4] is not None}),
        "bodyParts": sorted({row[5] for row in rows if row[5] is not None}),
        **({"authorized": 1} if authorized else {}),
    }
