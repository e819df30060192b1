"""Rows that answer the endpoints of NBIA's Advanced API: counts, descriptions, licences, DICOM tags and drill-downs.

Source: `Get*.java` of the NBIA API and its DAOs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from bulkdl.archive.nbia.values import Value
from bulkdl.errors import BulkdlError
from bulkdl.model.records import Series
from bulkdl.server.catalogue import SeriesDetail
from bulkdl.server.nbia.request import ApiRequest, RequestRefused, Row
from bulkdl.server.nbia.row_values import AUTHORIZED, milliseconds, of_patient


def _counts(of: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda request: _counted(request.view.values_and_patients(of, **request.criteria()))


def _counted(found: Iterable[tuple[str, int]]) -> Iterator[Row]:
    return ({"value": value, "count": count, **AUTHORIZED} for value, count in found)


def _collection_counts(request: ApiRequest) -> Iterable[Row]:
    return _counted(request.view.collections_and_patients())


def _species(request: ApiRequest) -> dict[tuple[str | None, str | None], int]:
    counts: dict[tuple[str | None, str | None], int] = {}
    for patient in map(of_patient, request.view.patients()):
        species = patient["species_code"], patient["species_description"]
        counts[species] = counts.get(species, 0) + 1
    return counts


def _species_counts(request: ApiRequest) -> Iterable[Row]:
    return _counted((str(code or name), count) for (code, name), count in _species(request).items())


def _species_tax(request: ApiRequest) -> Iterable[Row]:
    return ({"species_code": code, "species_description": name} for code, name in _species(request))


def _descriptions(request: ApiRequest) -> Iterable[Row]:
    wanted = request.value("collection")
    for number, name in enumerate(request.view.collections(), start=1):
        if wanted is None or name.upper() == wanted.upper():
            about = request.view.about(name)
            texts = [text for text in (about.description, about.citation) if text] or [name]
            yield {
                "description": "".join(f"<p>{_as_html(text)}</p>" for text in texts),
                "id": number,
                "changed": milliseconds(request.view.newest(name)),
                "collection": name,
                "collection_uri": about.collection_uri,
            }


def _as_html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _of_doi(request: ApiRequest) -> Iterable[Row]:
    doi, seen = (request.value("doi") or "").lower(), set()
    by_series = (request.value("level") or "").lower() == "series"
    for series in request.view.series():
        if not doi or not (series.collection_uri or "").lower().endswith(doi):
            continue
        row: dict[str, Value] = {
            "collection": series.collection,
            "third_party": bool(series.third_party),
            **AUTHORIZED,
        }
        if by_series:
            row["series_uid"] = series.series_uid
        if (key := tuple(row.values())) not in seen:
            seen.add(key)
            yield row


def _licenses(request: ApiRequest) -> Iterable[Row]:
    found = {(series.license_name, series.license_uri) for series in request.view.series() if series.license_name}
    for number, (name, uri) in enumerate(sorted(found, key=str), start=1):
        yield {"name": name, "id": number, "short_name": name, "url": uri}


def _tags(request: ApiRequest) -> Iterable[Row]:
    if request.endpoint.name == "getDicomTagsByImageID":
        number = request.value("image_id") or ""
        file = request.view.file_numbered(number)
    else:
        file = next(iter(request.view.files(request.value("series_uid") or "")), None)
    if file is None:
        if request.api.is_v4:
            raise RequestRefused("", HTTPStatus.OK)
        raise BulkdlError("the instance does not exist")
    from bulkdl.dicom.tags import read_tags  # noqa: PLC0415 - pydicom is slow to import and rarely needed here

    return ({"element": tag.element, "name": tag.name, "data": tag.data} for tag in read_tags(file.path))


def _drilled(request: ApiRequest) -> Iterable[Row]:
    wanted: Iterable[str] = request.uids("series_uids")
    if request.endpoint.name == "getStudyDrillDown":
        wanted = request.view.series_numbered(request.uids("series_ids"))
    by_study: dict[str, list[SeriesDetail]] = {}
    for detail in request.view.details_of(wanted):
        by_study.setdefault(detail.series.study_uid or "", []).append(detail)
    for study_uid, details in by_study.items():
        series = details[0].series
        day = series.study_date
        yield {
            "study_uid": study_uid,
            "study_date": milliseconds(None if day is None else datetime(day.year, day.month, day.day)),  # noqa: DTZ001 - files give no zone
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


def _drilled_images(request: ApiRequest) -> Iterable[Row]:
    for series_uid in request.view.series_numbered(request.uids("series_ids")):
        for file in request.view.files(series_uid):
            yield {"series_uid": file.series_uid, "sop_uid": file.sop_uid, "size_bytes": file.size_bytes}


ADVANCED_ROWS: Final[Mapping[str, Callable[[ApiRequest], Iterable[Row]]]] = {
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
"""Functions by the name of their endpoint."""
