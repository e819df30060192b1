"""Rows that answer the search endpoints, in the requested format: one function per endpoint, for all APIs that have it.

A field that a row lacks is left out of the answer. `apis` and `renderings` write the values. Source: `V1_*.java`,
`v4/*.java`, `getData.java`, the `Get*.java` of the Advanced API, and the DAOs of NBIA.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from html import escape
from http import HTTPStatus
from typing import Any, Final, TypeVar

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, Answer, Endpoint
from bulkdl.errors import BulkdlError
from bulkdl.model.records import Patient, Series, Study
from bulkdl.server.access import GUEST
from bulkdl.server.catalogue import SeriesDetail, Since
from bulkdl.server.nbia.apis import Api
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import RENDERINGS, TCIA_RENDERINGS, Rendering, WireRow, encode, to_json
from bulkdl.server.nbia.request import ApiRequest, RequestRefused, Row

_EPOCH: Final = date(1900, 1, 1)
_REMOVED_CHARACTERS: Final = re.compile(r"[^A-Za-z0-9 .-]")
_MAX_DENIED: Final = 10_000
_HUMAN: Final = {"species_code": "337915000", "species_description": "Homo sapiens"}
_Record = TypeVar("_Record", Patient, Study)
_FIELDS: Final = {
    kind: tuple(entry.name for entry in fields(kind) if entry.name not in {"series", "patient", "study"})
    for kind in (Patient, Study, Series, SeriesDetail)
}
_JSON_QUIRKS: Final = frozenset({Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES})
_NULLS_LEFT_OUT: Final = frozenset({"getCollectionOrSeriesForDOI"})
_OBJECT_ENDPOINTS: Final = frozenset(
    endpoint.name
    for endpoint in NBIA_ADVANCED.values()
    if endpoint.answer is Answer.ROWS and endpoint.default_format == "JSON" and endpoint.name not in _NULLS_LEFT_OUT
)
# As Jackson writes it: nulls are kept, and no rows are an empty array.
_JSON_WITH_NULLS: Final = replace(RENDERINGS["JSON"], begin=lambda _attributes: ("[", encode), is_never_empty=True)


def find_format(api: Api, endpoint: Endpoint, name: str) -> Rendering | None:
    """The format that a request asks for by `name`; None if it is unknown."""
    name = name.upper()
    if not api.is_tcia:
        is_single = len(endpoint.attributes) == 1
        if endpoint.name in _OBJECT_ENDPOINTS:
            return _JSON_WITH_NULLS
        if name == "CSV-DOWNLOAD":
            content_type = "application/force-download" if is_single else "text/csv"
            headers = {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}
            return replace(RENDERINGS["CSV"], content_type=content_type, headers=headers)
        if name == "CSVQUOTED" and not is_single:
            name = "CSV"
    return (TCIA_RENDERINGS if api.is_tcia else RENDERINGS).get(name)


def write_rows(request: ApiRequest, rendering: Rendering, quirks: frozenset[Quirk]) -> Iterator[bytes]:
    """The rows that answer the request, in chunks. Nothing is read before the first chunk is requested.

    With a quirk that changes JSON, the whole answer is held in memory.
    """
    is_json = rendering.content_type == "application/json"
    rows = _wire_rows(request, as_text=is_json and Quirk.SIZES_AS_STRINGS in quirks)
    chunks = rendering.write(request.endpoint.attributes, rows)
    if not is_json or not quirks & _JSON_QUIRKS:
        yield from chunks
        return
    body = b"".join(chunks)
    if Quirk.SINGLE_OBJECT in quirks and body:
        document = json.loads(body)
        if isinstance(document, list) and len(document) == 1:
            body = to_json(document[0])
    if Quirk.ESCAPED_SLASHES in quirks:
        body = body.replace(b"/", rb"\/")
    if body:
        yield body


def _wire_rows(request: ApiRequest, *, as_text: bool) -> Iterator[WireRow]:
    to_wire = request.api.writer(request.endpoint)
    attributes = request.endpoint.attributes
    for row in _ROWS[request.endpoint.name](request):
        wired = {attribute.name: to_wire(attribute, row.get(attribute.field)) for attribute in attributes}
        if as_text:
            wired = {name: str(value) if type(value) in {int, float} else value for name, value in wired.items()}
        yield wired


def _of_record(record: Patient | Study | Series | SeriesDetail) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _FIELDS[type(record)]}


def _of_patient(patient: Patient) -> dict[str, Any]:
    """The values of a Patient. As in NBIA, the default species is human, and the default is not a phantom."""
    values = _of_record(patient)
    if patient.species_code is None and patient.species_description is None:
        values |= _HUMAN
    return {**values, "phantom": bool(patient.phantom)}


def _of_detail(detail: SeriesDetail) -> dict[str, Any]:
    """The values of a Series, its Study and its Patient. Where names are equal, the Series takes precedence."""
    study = {} if detail.study is None else _of_record(detail.study)
    return {
        **_of_patient(detail.patient),
        **{f"patient_{name}": getattr(detail.patient, name) for name in ("name", "birth_date", "sex")},
        **{name: value for name, value in study.items() if value is not None},
        **_of_record(detail.series),
        **_of_record(detail),
        "annotation_bytes": 0,
        "is_released": True,
        "visibility": "1",
    }


def _milliseconds(moment: datetime | date | None) -> int | None:
    """Milliseconds since 1970 of a moment in UTC without a zone, or of a midnight."""
    if moment is None:
        return None
    return int(datetime.fromisoformat(moment.isoformat()).replace(tzinfo=UTC).timestamp() * 1000)


def _values(field: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda request: (
        {field: value} for value, _ in request.view.values_and_patients(field, **request.criteria())
    )


def _new(request: ApiRequest, find: Callable[..., Iterable[_Record]], *criteria: str) -> Iterable[_Record]:
    """The records since the requested date, which v4 includes. A date in another format matches nothing, as in NBIA."""
    if (day := request.day("since")) is None:
        return ()
    return find(**request.criteria(*criteria), since=Since(day, including=request.api.is_v4))


def _series(request: ApiRequest) -> Iterable[Row]:
    if request.api.is_v4:
        return map(_of_detail, request.view.details(**request.criteria()))
    return map(_of_record, request.view.series(**request.criteria()))


def _updated_series(request: ApiRequest) -> Iterable[Row]:
    day = _EPOCH if request.value("since") is None else request.day("since")
    if day is None:
        return ()
    return map(_of_detail, request.view.details(since=Since(day)))


def _size(request: ApiRequest) -> Iterable[Row]:
    """The size of a Series. NBIA v1 and v2 send empty values for an unknown one."""
    found = next(request.view.series(series_uid=request.value("series_uid") or ""), None)
    count = None if found is None else found.image_count
    if count is None and (request.api.is_tcia or request.api.is_v4):
        return ()
    return ({"size_bytes": None if found is None else found.size_bytes, "image_count": count},)


def _sop_uids(request: ApiRequest) -> Iterable[str]:
    if request.sop_uids is not None:
        return request.sop_uids
    return (file.sop_uid for file in request.view.files(request.value("series_uid") or ""))


def _contents(request: ApiRequest) -> Iterable[Row]:
    found = request.shared_list()
    return map(_of_detail, request.view.details_of(found.series_uids if found is not None else ()))


def _metadata_of_one(request: ApiRequest) -> Iterable[Row]:
    """NBIA answers 204 for an unknown Series, and removes special characters from texts."""
    if (found := next(request.view.details(series_uid=request.value("series_uid")), None)) is None:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    values = _of_detail(found)
    for name in ("study_description", "description"):
        values[name] = _REMOVED_CHARACTERS.sub("", values[name] or "")
    values["manufacturer"] = (values["manufacturer"] or "").replace(",", " ")
    return (values,)


def _denied(request: ApiRequest) -> Iterable[Row]:
    """The requested Series that the named user may not see.

    The NBIA Data Retriever sends no token with this question, only the name that it logs in with. Anyone can send a
    name, so nothing is said of another user that depends on what the sender cannot see: such a Series, and one that
    does not exist, is denied to the sender alone. The download, which needs a token, says whether the user may have it.
    """
    wanted = request.uids("series_uids")[:_MAX_DENIED]
    user = request.authenticator.viewer_of_user(request.value("user") or "")
    shown = {str(detail.series.series_uid): detail.series.collection for detail in request.view.details_of(wanted)}
    is_sender = request.value("user") in {None, "", GUEST, request.viewer.name}
    denied = [uid for uid in wanted if (shown[uid].upper() in user.hidden if uid in shown else is_sender)]
    if not denied:
        raise RequestRefused("", HTTPStatus.NO_CONTENT)
    return [{"series_uid": uid} for uid in denied]


def _counts(of: str) -> Callable[[ApiRequest], Iterable[Row]]:
    return lambda request: _counted(request.view.values_and_patients(of, **request.criteria()))


def _counted(found: Iterable[tuple[str, int]]) -> Iterator[Row]:
    return ({"value": value, "count": count} for value, count in found)


def _species(request: ApiRequest) -> dict[tuple[str | None, str | None], int]:
    human = (_HUMAN["species_code"], _HUMAN["species_description"])
    counted: Counter[tuple[str | None, str | None]] = Counter()
    for code, name, count in request.view.species_and_patients():
        counted[human if code is None and name is None else (code, name)] += count
    return counted


def _descriptions(request: ApiRequest) -> Iterable[Row]:
    wanted = request.value("collection")
    for number, name in enumerate(request.view.collections(), start=1):
        if wanted is None or name.upper() == wanted.upper():
            about = request.view.about(name)
            texts = [text for text in (about.description, about.citation) if text] or [name]
            yield {
                "description": about.html or "".join(f"<p>{escape(text, quote=False)}</p>" for text in texts),
                "id": number,
                "changed": _milliseconds(about.described or request.view.newest(name)),
                "collection": name,
                "collection_uri": about.collection_uri,
            }


def _of_doi(request: ApiRequest) -> Iterable[Row]:
    view, doi = request.view, request.value("doi") or ""
    if doi and (request.value("level") or "").lower() == "series":
        return (
            {"collection": one.collection, "third_party": bool(one.third_party), "series_uid": one.series_uid}
            for one in view.series(doi=doi)
        )
    found = view.shared_values("collection", "third_party", doi=doi) if doi else ()
    return [
        {"collection": name, "third_party": flag}
        for name, flag in dict.fromkeys((name, bool(flag)) for name, flag in found)
    ]


def _licenses(request: ApiRequest) -> Iterable[Row]:
    found = [row for row in request.view.shared_values("license_name", "license_uri") if row[0]]
    for number, (name, uri) in enumerate(found, start=1):
        yield {"name": name, "id": number, "short_name": name, "url": uri}


def _tags(request: ApiRequest) -> Iterable[Row]:
    if request.inspected is None:
        if request.api.is_v4:
            raise RequestRefused("", HTTPStatus.OK)
        raise BulkdlError("the instance does not exist")
    return ({"element": tag.element, "name": tag.name, "data": tag.data} for tag in request.inspected)


def _drilled(request: ApiRequest) -> Iterable[Row]:
    wanted: Iterable[str] = request.uids("series_uids")
    if request.endpoint.name == "getStudyDrillDown":
        wanted = request.view.series_numbered(request.uids("series_ids"))
    by_study: dict[str, list[SeriesDetail]] = {}
    for detail in request.view.details_of(wanted):
        by_study.setdefault(detail.series.study_uid or "", []).append(detail)
    for study_uid, details in by_study.items():
        series = details[0].series
        yield {
            "study_uid": study_uid,
            "study_date": _milliseconds(series.study_date),
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


_ROWS: Final[Mapping[str, Callable[[ApiRequest], Iterable[Row]]]] = {
    "getCollectionValues": lambda request: ({"collection": name} for name in request.view.collections()),
    "getModalityValues": _values("modality"),
    "getBodyPartValues": _values("body_part"),
    "getManufacturerValues": _values("manufacturer"),
    **dict.fromkeys(
        ("getPatient", "getPatientByCollectionAndModality", "PatientsByModality"),
        lambda request: map(_of_patient, request.view.patients(**request.criteria())),
    ),
    "NewPatientsInCollection": lambda request: map(_of_patient, _new(request, request.view.patients, "collection")),
    "getPatientStudy": lambda request: map(_of_record, request.view.studies(**request.criteria())),
    "NewStudiesInPatientCollection": lambda request: map(
        _of_record, _new(request, request.view.studies, "collection", "patient_id")
    ),
    "getSeries": _series,
    "getUpdatedSeries": _updated_series,
    "getSeriesSize": _size,
    "getSOPInstanceUIDs": lambda request: ({"sop_uid": sop_uid} for sop_uid in _sop_uids(request)),
    **dict.fromkeys(("getContentsByName", "ContentsByName"), _contents),
    "getSeriesMetaData": _metadata_of_one,
    **dict.fromkeys(
        (*(f"getSeriesMetadata{version}" for version in ("", "2", "3", "Combined")), "getSeriesQCInfo"),
        lambda request: map(_of_detail, request.view.details_of(request.uids("series_uids"))),
    ),
    "getDeniedSeries": _denied,
    "getCollectionValuesAndCounts": lambda request: _counted(request.view.collections_and_patients()),
    "getModalityValuesAndCounts": _counts("modality"),
    "getBodyPartValuesAndCounts": _counts("body_part"),
    "getManufacturerValuesAndCounts": _counts("manufacturer"),
    "getSpeciesValuesAndCounts": lambda request: _counted(
        (str(code or name), count) for (code, name), count in _species(request).items()
    ),
    "getSpeciesTax": lambda request: (
        {"species_code": code, "species_description": name} for code, name in _species(request)
    ),
    "getCollectionDescriptions": _descriptions,
    "getCollectionOrSeriesForDOI": _of_doi,
    "getLicenses": _licenses,
    **dict.fromkeys(("getDicomTags", "getDicomTagsByImageID"), _tags),
    **dict.fromkeys(("getStudyDrillDown", "getStudyDrillDownWithSeriesIds"), _drilled),
    "getImageDrillDown": _drilled_images,
}
