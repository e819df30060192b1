"""Records of the catalogue as the values of a row, by the fields of the endpoints' attributes."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, Final

from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue import SeriesDetail

AUTHORIZED: Final = {"authorized": 1}

_HUMAN: Final = {"species_code": "337915000", "species_description": "Homo sapiens"}
_PATIENT_FIELDS: Final = tuple(entry.name for entry in fields(Patient))
_STUDY_FIELDS: Final = tuple(entry.name for entry in fields(Study))
_SERIES_FIELDS: Final = tuple(entry.name for entry in fields(Series))


def of_patient(patient: Patient) -> dict[str, Any]:
    """The values of a Patient. As in NBIA, the default species is human, and the default is not a phantom."""
    values = {name: getattr(patient, name) for name in _PATIENT_FIELDS}
    if patient.species_code is None and patient.species_description is None:
        values |= _HUMAN
    return {**values, "phantom": bool(patient.phantom), **AUTHORIZED}


def of_study(study: Study) -> dict[str, Any]:
    """The values of a Study."""
    return {**{name: getattr(study, name) for name in _STUDY_FIELDS}, **AUTHORIZED}


def of_series(series: Series) -> dict[str, Any]:
    """The values of a Series."""
    return {name: getattr(series, name) for name in _SERIES_FIELDS}


def of_detail(detail: SeriesDetail) -> dict[str, Any]:
    """The values of a Series, its Study and its Patient. Where names are equal, the Series takes precedence."""
    patient, study = of_patient(detail.patient), {} if detail.study is None else of_study(detail.study)
    return {
        **patient,
        "patient_name": detail.patient.name,
        "patient_birth_date": detail.patient.birth_date,
        "patient_sex": detail.patient.sex,
        **{name: value for name, value in study.items() if value is not None},
        **of_series(detail.series),
        "site": detail.site,
        "sop_class_uid": detail.sop_class_uid,
        "pixel_spacing_mm": detail.pixel_spacing_mm,
        "slice_thickness_mm": detail.slice_thickness_mm,
        "annotation_bytes": 0,
        "is_released": True,
        "visibility": "1",
    }


def milliseconds(moment: datetime | None) -> int | None:
    """Milliseconds since 1970 of a moment in UTC without a zone."""
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)
