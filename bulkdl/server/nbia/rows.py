"""What the endpoints that answer in rows find: one function for each, the same for all APIs that have it.

A row is values by the fields of the endpoint's attributes; a field that is absent is no part of the answer. How values
and formats are written is `APIs`' and `renderings`' affair. Source: `V1_*.java`, `v4/*.java` and the DAOs of NBIA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Any, Final

from bulkdl.archive.nbia.values import Value
from bulkdl.errors import BulkdlError
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.catalogue import SeriesDetail, Since
from bulkdl.server.nbia.apis import Credential
from bulkdl.server.nbia.request import ApiRequest, RequestRefused, Row

_HUMAN: Final = {"species_code": "337915000", "species_description": "Homo sapiens"}
_EPOCH: Final = date(1900, 1, 1)
_AUTHORIZED: Final = {"authorized": 1}
_UNTOLD: Final = re.compile(r"[^A-Za-z0-9 .-]")
_DENIED_AT_ONCE: Final = 10_000


def find_rows(asked: ApiRequest) -> Iterator[Row]:
    """The rows that answer. They are found while they are taken.

    Raises:
        RequestRefused: there is no answer in rows.
    """
    return iter(_ROWS[asked.endpoint.name](asked))


# --- values of records ------------------------------------------------------------------------------------------------

_PATIENT_FIELDS: Final = tuple(entry.name for entry in fields(Patient))
_STUDY_FIELDS: Final = tuple(entry.name for entry in fields(Study))
_SERIES_FIELDS: Final = tuple(entry.name for entry in fields(Series))


def of_patient(patient: Patient) -> dict[str, Any]:
    """The values of a Patient; NBIA takes whoever is not said to be an animal for a human, and nobody for a phantom."""
    values = {name: getattr(patient, name) for name in _PATIENT_FIELDS}
    if patient.species_code is None and patient.species_description is None:
        values |= _HUMAN
    return {**values, "phantom": bool(patient.phantom), **_AUTHORIZED}


def of_study(study: Study) -> dict[str, Any]:
    """The values of a Study."""
    return {**{name: getattr(study, name) for name in _STUDY_FIELDS}, **_AUTHORIZED}


def of_series(series: Series) -> dict[str, Any]:
    """The values of a Series."""
    return {name: getattr(series, name) for name in _SERIES_FIELDS}


def of_detail(detail: SeriesDetail) -> dict[str, Any]:
    """The values of a Series, its Study and its Patient; where they share a name, the Series' own."""
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


# --- search -----------------------------------------------------------------------------------------------------------


def _collections(asked: ApiRequest) -> Iterable[Row]:
    return ({"collection": name} for name in asked.view.collections())


def _values(field: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda asked: ({field: value} for value in asked.view.values(field, **asked.criteria()))


def _patients(asked: ApiRequest) -> Iterable[Row]:
    return map(of_patient, asked.view.patients(**asked.criteria()))


def _new_patients(asked: ApiRequest) -> Iterable[Row]:
    if (since := _since(asked)) is None:
        return ()
    return map(of_patient, asked.view.patients(**asked.criteria("collection"), since=since))


def _studies(asked: ApiRequest) -> Iterable[Row]:
    return map(of_study, asked.view.studies(**asked.criteria()))


def _new_studies(asked: ApiRequest) -> Iterable[Row]:
    if (since := _since(asked)) is None:
        return ()
    return map(of_study, asked.view.studies(**asked.criteria("collection", "patient_id"), since=since))


def _since(asked: ApiRequest) -> Since | None:
    """The day asked for; v4 takes in what is of that very day. A day in another form finds nothing, as with NBIA."""
    day = asked.day("since")
    return None if day is None else Since(day, including=asked.api.credential is Credential.OPTIONAL_TOKEN)


def _series(asked: ApiRequest) -> Iterable[Row]:
    if asked.api.credential is Credential.OPTIONAL_TOKEN:
        return map(of_detail, asked.view.details(**asked.criteria()))
    return map(of_series, asked.view.series(**asked.criteria()))


def _updated_series(asked: ApiRequest) -> Iterable[Row]:
    day = _EPOCH if asked.one("since") is None else asked.day("since")
    if day is None:
        return ()
    return map(of_detail, asked.view.details(since=Since(day)))


def _size(asked: ApiRequest) -> Iterable[Row]:
    size = asked.view.series_size(asked.one("series_uid") or "")
    if size.image_count is None and (asked.api.is_tcia or asked.api.credential is Credential.OPTIONAL_TOKEN):
        return ()
    return ({"size_bytes": size.size_bytes, "image_count": size.image_count},)


def _instances(asked: ApiRequest) -> Iterable[Row]:
    return ({"sop_uid": file.sop_uid} for file in asked.view.files(asked.one("series_uid") or ""))


def _contents(asked: ApiRequest) -> Iterable[Row]:
    found = asked.shared_list()
    return map(of_detail, asked.view.details_of(found.series_uids if found is not None else ()))


def _metadata_of_one(asked: ApiRequest) -> Iterable[Row]:
    """NBIA gives no answer at all for an unknown one, and purges what it tells."""
    found = next(asked.view.details(series_uid=asked.one("series_uid")), None)
    if found is None:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    values = of_detail(found)
    for name in ("study_description", "description"):
        values[name] = _UNTOLD.sub("", values[name] or "")
    values["manufacturer"] = (values["manufacturer"] or "").replace(",", " ")
    return (values,)


def _metadata(asked: ApiRequest) -> Iterable[Row]:
    return map(of_detail, asked.view.details_of(asked.uids("series_uids")))


def _denied(asked: ApiRequest) -> Iterable[Row]:
    """Those of the Series that the user of that name may not see, as far as who asks may know of them.

    For who may not see a Series it is as one that there is not: both are denied.
    """
    wanted = asked.uids("series_uids")[:_DENIED_AT_ONCE]
    of_user = asked.authenticator.viewer_of_user(asked.one("user") or "").hidden
    allowed = {
        detail.series.series_uid
        for detail in asked.view.details_of(wanted)
        if detail.series.collection.upper() not in of_user
    }
    denied = [uid for uid in wanted if uid not in allowed]
    if not denied:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    return ({"series_uid": uid} for uid in denied)


# --- Advanced ---------------------------------------------------------------------------------------------------------


def _counts(of: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda asked: _counted(asked.view.values_and_patients(of, **asked.criteria()))


def _counted(found: Iterable[tuple[str, int]]) -> Iterator[Row]:
    return ({"value": value, "count": count, **_AUTHORIZED} for value, count in found)


def _collection_counts(asked: ApiRequest) -> Iterable[Row]:
    return _counted(asked.view.collections_and_patients())


def _species(asked: ApiRequest) -> dict[tuple[str | None, str | None], int]:
    counts: dict[tuple[str | None, str | None], int] = {}
    for patient in map(of_patient, asked.view.patients()):
        species = patient["species_code"], patient["species_description"]
        counts[species] = counts.get(species, 0) + 1
    return counts


def _species_counts(asked: ApiRequest) -> Iterable[Row]:
    return _counted((str(code or name), count) for (code, name), count in _species(asked).items())


def _species_tax(asked: ApiRequest) -> Iterable[Row]:
    return ({"species_code": code, "species_description": name} for code, name in _species(asked))


def _descriptions(asked: ApiRequest) -> Iterable[Row]:
    wanted = asked.one("collection")
    for number, name in enumerate(asked.view.collections(), start=1):
        if wanted is None or name.upper() == wanted.upper():
            about = asked.view.about(name)
            told = [text for text in (about.description, about.citation) if text]
            yield {
                "description": "".join(f"<p>{_as_html(text)}</p>" for text in told),
                "id": number,
                "changed": _milliseconds(asked.view.newest(name)),
                "collection": name,
                "collection_uri": about.collection_uri,
            }


def _as_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _of_doi(asked: ApiRequest) -> Iterable[Row]:
    doi, seen = (asked.one("doi") or "").lower(), set()
    by_series = (asked.one("level") or "").lower() == "series"
    for series in asked.view.series():
        if not doi or not (series.collection_uri or "").lower().endswith(doi):
            continue
        row: dict[str, Value] = {
            "collection": series.collection,
            "third_party": bool(series.third_party),
            **_AUTHORIZED,
        }
        if by_series:
            row["series_uid"] = series.series_uid
        if (key := tuple(row.values())) not in seen:
            seen.add(key)
            yield row


def _licenses(asked: ApiRequest) -> Iterable[Row]:
    found = {(series.license_name, series.license_uri) for series in asked.view.series() if series.license_name}
    for number, (name, uri) in enumerate(sorted(found, key=str), start=1):
        yield {"name": name, "id": number, "short_name": name, "url": uri}


def _tags(asked: ApiRequest) -> Iterable[Row]:
    if asked.endpoint.name == "getDicomTagsByImageID":
        number = asked.one("image_id") or ""
        file = asked.view.file_numbered(number)
    else:
        file = next(iter(asked.view.files(asked.one("series_uid") or "")), None)
    if file is None:
        if asked.api.credential is Credential.OPTIONAL_TOKEN:
            raise RequestRefused("", HTTPStatus.OK)
        raise BulkdlError("there is no such instance")
    from bulkdl.dicom.tags import read_tags  # noqa: PLC0415 - pydicom is heavy, and this is rarely asked for

    return ({"element": tag.element, "name": tag.name, "data": tag.data} for tag in read_tags(file.path))


def _drilled(asked: ApiRequest) -> Iterable[Row]:
    wanted: Iterable[str] = asked.uids("series_uids")
    if asked.endpoint.name == "getStudyDrillDown":
        wanted = asked.view.series_numbered(asked.uids("series_ids"))
    by_study: dict[str, list[SeriesDetail]] = {}
    for detail in asked.view.details_of(wanted):
        by_study.setdefault(detail.series.study_uid or "", []).append(detail)
    for study_uid, details in by_study.items():
        series = details[0].series
        day = series.study_date
        yield {
            "study_uid": study_uid,
            "study_date": _milliseconds(None if day is None else datetime(day.year, day.month, day.day)),  # noqa: DTZ001 - files tell no zone
            "description": series.study_description,
            "series": [_drilled_series(detail.series) for detail in details],
        }


def _drilled_series(series: Series) -> dict[str, Any]:
    return {
        "seriesInstanceUid": series.series_uid,
        "seriesNumber": series.series_number,
        "modality": series.modality,
        "manufacturer": series.manufacturer,
        "description": series.description,
        "numberImages": series.image_count,
        "totalSizeForAllImagesInSeries": series.size_bytes,
        "patientId": series.patient_id,
        "project": series.collection,
    }


def _drilled_images(asked: ApiRequest) -> Iterable[Row]:
    for series_uid in asked.view.series_numbered(asked.uids("series_ids")):
        for file in asked.view.files(series_uid):
            yield {"series_uid": file.series_uid, "sop_uid": file.sop_uid, "size_bytes": file.size_bytes}


def _milliseconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)


_ROWS: Final[Mapping[str, Callable[[ApiRequest], Iterable[Row]]]] = {
    "getCollectionValues": _collections,
    "getModalityValues": _values("modality"),
    "getBodyPartValues": _values("body_part"),
    "getManufacturerValues": _values("manufacturer"),
    "getPatient": _patients,
    "getPatientByCollectionAndModality": _patients,
    "PatientsByModality": _patients,
    "NewPatientsInCollection": _new_patients,
    "getPatientStudy": _studies,
    "NewStudiesInPatientCollection": _new_studies,
    "getSeries": _series,
    "getUpdatedSeries": _updated_series,
    "getSeriesSize": _size,
    "getSOPInstanceUIDs": _instances,
    "getContentsByName": _contents,
    "ContentsByName": _contents,
    "getSeriesMetaData": _metadata_of_one,
    "getSeriesMetadata": _metadata,
    "getSeriesMetadata2": _metadata,
    "getSeriesMetadata3": _metadata,
    "getSeriesMetadataCombined": _metadata,
    "getSeriesQCInfo": _metadata,
    "getDeniedSeries": _denied,
    "getCollectionValuesAndCounts": _collection_counts,
    "getModalityValuesAndCounts": _counts("modality"),
    "getBodyPartValuesAndCounts": _counts("body_part"),
    "getManufacturerValuesAndCounts": _counts("manufacturer"),
    "getSpeciesValuesAndCounts": _species_counts,
    "getSpeciesTax": _species_tax,
    "getCollectionDescriptions": _descriptions,
    "getCollectionOrSeriesForDOI": _of_doi,
    "getLicenses": _licenses,
    "getDicomTags": _tags,
    "getDicomTagsByImageID": _tags,
    "getStudyDrillDown": _drilled,
    "getStudyDrillDownWithSeriesIds": _drilled,
    "getImageDrillDown": _drilled_images,
}
