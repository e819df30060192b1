"""Read what answers of NBIA and TCIA v3 have beside Series: Patients, Studies, descriptions of Collections. Pure.

getSeries of v4 has some values of Patients and Studies, getSeriesMetadata of v4 nearly all, getSeries of the other
families none. Rows that cannot be read are left out: the Series are what a run downloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from bulkdl.archive.nbia.endpoints import Attribute
from bulkdl.archive.nbia.values import read_values
from bulkdl.model.descriptions import CollectionDescription, Descriptions
from bulkdl.model.ids import StudyUid, is_uid
from bulkdl.model.records import Patient, Study

_OF_PATIENT: Final = {f"patient_{name}": name for name in ("name", "birth_date", "sex")}
_PATIENT_FIELDS: Final = tuple(field.name for field in fields(Patient))
_STUDY_FIELDS: Final = tuple(field.name for field in fields(Study))
# What a Series has itself says nothing more of its parents.
_OF_SERIES: Final = frozenset({"collection", "patient_id", "study_uid", "study_date", "description", "series_count"})
_KEYS: Final = frozenset({"collection", "patient_id", "study_uid"})
_MOST_CHARACTERS: Final = 500_000  # of a description


def describes_parents(attributes: Iterable[Attribute]) -> bool:
    """Whether an answer with these attributes has values of Patients and Studies that Series do not have."""
    named = {attribute.field for attribute in attributes}
    return not named.isdisjoint({*_OF_PATIENT, *_PATIENT_FIELDS, *_STUDY_FIELDS} - _OF_SERIES)


def parents_in(attributes: tuple[Attribute, ...], rows: Iterable[Mapping[str, Any]]) -> Descriptions:
    """The Patients and Studies that rows of Series, or of Studies, have; each once, as its first row has it."""
    patients: dict[tuple[str, str], Patient] = {}
    studies: dict[tuple[str, str, str], Study] = {}
    keys = [attribute.name for attribute in attributes if attribute.field in _KEYS]
    seen: set[tuple[str, ...]] = set()
    for row in rows:
        raw = tuple(str(row.get(name)) for name in keys)
        if raw in seen:  # most rows are further Series of a Study
            continue
        seen.add(raw)
        values = read_values(attributes, row, required=())
        key = str(values.get("collection") or ""), str(values.get("patient_id") or "")
        if key not in patients:
            patients[key] = _patient(values)
        study_uid = str(values.get("study_uid") or "")
        if is_uid(study_uid) and (*key, study_uid) not in studies:
            studies[*key, study_uid] = _study(values, is_row_of_series="series_uid" in values)
    return Descriptions(patients=tuple(patients.values()), studies=tuple(studies.values()))


def _patient(values: Mapping[str, Any]) -> Patient:
    given = {name: values[name] for name in _PATIENT_FIELDS if values.get(name) is not None}
    given |= {name: values[field] for field, name in _OF_PATIENT.items() if values.get(field) is not None}
    return Patient(**{"patient_id": "", **given})


def _study(values: Mapping[str, Any], *, is_row_of_series: bool) -> Study:
    given = {name: values[name] for name in _STUDY_FIELDS if values.get(name) is not None}
    given.pop("series_count", None)  # of the archive, which may have more of them than a mirror
    if is_row_of_series:  # its description is that of the Series, and its name, birth date and sex are the Patient's
        for name in ("description", *_OF_PATIENT, "ethnic_group"):
            given.pop(name, None)
        given["description"] = values.get("study_description")
    return Study(**{**given, "study_uid": StudyUid(given["study_uid"])})


def collections_in(collection: str, rows: Iterable[Mapping[str, Any]]) -> tuple[CollectionDescription, ...]:
    """The description of a Collection in the rows of getCollectionDescriptions; none if no row is of it."""
    found = [row for row in rows if str(row.get("collectionName") or "").casefold() == collection.casefold()]
    return tuple(_described(collection, row) for row in found[:1])


def _described(collection: str, row: Mapping[str, Any]) -> CollectionDescription:
    text = row.get("description")
    html = text if isinstance(text, str) and 0 < len(text) <= _MOST_CHARACTERS else None
    address = row.get("descriptionURI")
    return CollectionDescription(
        collection=collection,
        html=html,
        description=_text_of(html) if html is not None else None,
        uri=address if isinstance(address, str) and address else None,
        updated=_moment(row.get("collectionDescTimestamp")),
    )


def _text_of(html: str) -> str:
    from bulkdl.model.markup import html_text  # noqa: PLC0415 - late: runs ask for few descriptions, after they began

    return html_text(html)


def _moment(milliseconds: object) -> str | None:
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(milliseconds, int) and not isinstance(milliseconds, bool):
            return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None).isoformat()
    return None
