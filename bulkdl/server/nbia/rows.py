"""Rows that answer the search endpoints: one function per endpoint, shared by all APIs that have it.

`advanced_rows` has those of the Advanced API. A row maps fields of the endpoint's attributes to values; a missing field
is left out of the answer. `apis` and `renderings` write the values. Source: `V1_*.java`, `v4/*.java` and the DAOs of
NBIA.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from http import HTTPStatus
from typing import Final

from bulkdl.server.catalogue import Since
from bulkdl.server.nbia.advanced_rows import ADVANCED_ROWS
from bulkdl.server.nbia.request import ApiRequest, RequestRefused, Row
from bulkdl.server.nbia.row_values import of_detail, of_patient, of_series, of_study

_EPOCH: Final = date(1900, 1, 1)
_REMOVED_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9 .-]")
_MAX_DENIED: Final = 10_000


def find_rows(request: ApiRequest) -> Iterator[Row]:
    """The rows that answer a request, found as they are taken.

    Raises:
        RequestRefused: the request has no answer in rows.
    """
    return iter(_ROWS[request.endpoint.name](request))


def _collections(request: ApiRequest) -> Iterable[Row]:
    return ({"collection": name} for name in request.view.collections())


def _values(field: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda request: ({field: value} for value in request.view.values(field, **request.criteria()))


def _patients(request: ApiRequest) -> Iterable[Row]:
    return map(of_patient, request.view.patients(**request.criteria()))


def _new_patients(request: ApiRequest) -> Iterable[Row]:
    if (since := _since(request)) is None:
        return ()
    return map(of_patient, request.view.patients(**request.criteria("collection"), since=since))


def _studies(request: ApiRequest) -> Iterable[Row]:
    return map(of_study, request.view.studies(**request.criteria()))


def _new_studies(request: ApiRequest) -> Iterable[Row]:
    if (since := _since(request)) is None:
        return ()
    return map(of_study, request.view.studies(**request.criteria("collection", "patient_id"), since=since))


def _since(request: ApiRequest) -> Since | None:
    """The requested date, which v4 includes. A date in another format matches nothing, as in NBIA."""
    day = request.day("since")
    return None if day is None else Since(day, including=request.api.is_v4)


def _series(request: ApiRequest) -> Iterable[Row]:
    if request.api.is_v4:
        return map(of_detail, request.view.details(**request.criteria()))
    return map(of_series, request.view.series(**request.criteria()))


def _updated_series(request: ApiRequest) -> Iterable[Row]:
    day = _EPOCH if request.value("since") is None else request.day("since")
    if day is None:
        return ()
    return map(of_detail, request.view.details(since=Since(day)))


def _size(request: ApiRequest) -> Iterable[Row]:
    size = request.view.series_size(request.value("series_uid") or "")
    if size.image_count is None and (request.api.is_tcia or request.api.is_v4):
        return ()
    return ({"size_bytes": size.size_bytes, "image_count": size.image_count},)


def _instances(request: ApiRequest) -> Iterable[Row]:
    return ({"sop_uid": file.sop_uid} for file in request.view.files(request.value("series_uid") or ""))


def _contents(request: ApiRequest) -> Iterable[Row]:
    found = request.shared_list()
    return map(of_detail, request.view.details_of(found.series_uids if found is not None else ()))


def _metadata_of_one(request: ApiRequest) -> Iterable[Row]:
    """NBIA answers 204 for an unknown Series, and removes special characters from texts."""
    found = next(request.view.details(series_uid=request.value("series_uid")), None)
    if found is None:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    values = of_detail(found)
    for name in ("study_description", "description"):
        values[name] = _REMOVED_CHARACTERS.sub("", values[name] or "")
    values["manufacturer"] = (values["manufacturer"] or "").replace(",", " ")
    return (values,)


def _metadata(request: ApiRequest) -> Iterable[Row]:
    return map(of_detail, request.view.details_of(request.uids("series_uids")))


def _denied(request: ApiRequest) -> Iterable[Row]:
    """The requested Series that the named user may not see, and those that do not exist for the sender."""
    wanted = request.uids("series_uids")[:_MAX_DENIED]
    of_user = request.authenticator.viewer_of_user(request.value("user") or "").hidden
    allowed = {
        detail.series.series_uid
        for detail in request.view.details_of(wanted)
        if detail.series.collection.upper() not in of_user
    }
    denied = [uid for uid in wanted if uid not in allowed]
    if not denied:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    return ({"series_uid": uid} for uid in denied)


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
    **ADVANCED_ROWS,
}
