"""What the endpoints answer that do not answer in rows: texts, manifests, checksums, searches, shared lists.

One function for each, the same for all APIs that have it. Source: `Get*.java`, `Create*.java` and `Delete*.java` of
the NBIA API, and its DAO for `getMD5Hierarchy`.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import groupby
from typing import Any, Final

from bulkdl import __version__
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.server.access import GUEST
from bulkdl.server.catalogue.served_file import open_served
from bulkdl.server.catalogue.view import CatalogueView, SeriesDetail
from bulkdl.server.nbia.request import ApiRequest, Reply, RequestRefused
from bulkdl.server.nbia.search import InvalidForm, SimpleSearch, found_series, read_form, summary
from bulkdl.server.nbia.shared_lists import SharedList

_JSON: Final = "application/json"
_MANIFEST_TYPE: Final = "application/x-nbia-manifest-file"
_NO_THUMBNAIL: Final = "The thumbnail could not be made."
_DAY_FIRST: Final = "%d/%m/%Y"
_MONTH_FIRST: Final = "%m-%d-%Y"


def reply(asked: ApiRequest) -> Reply:
    """The answer.

    Raises:
        RequestRefused: the answer is one of an error's status.
    """
    return _REPLIES[asked.endpoint.name](asked)


# --- texts ------------------------------------------------------------------------------------------------------------


def _text(text: str) -> Callable[[ApiRequest], Reply]:
    return lambda _asked: Reply(text.encode())


def _page(sentence: str) -> Callable[[ApiRequest], Reply]:
    page = f"<html><title>NBIA API</title><body><h1>{sentence}</h1></body></html>"
    return lambda _asked: Reply(page.encode(), "text/html")


def _host_name(_asked: ApiRequest) -> Reply:
    return Reply(platform.node().encode(errors="replace"))


def _agreement(_asked: ApiRequest) -> Reply:
    raise RequestRefused("", HTTPStatus.NOT_FOUND)  # as NBIA does where none is set up


def _sop_classes(_asked: ApiRequest) -> Reply:
    from bulkdl.dicom.tags import sop_class_names  # noqa: PLC0415 - pydicom is heavy, and this is rarely asked for

    lines = (f"{uid}={name}\n" for uid, name in sop_class_names().items())
    headers = {"Content-Disposition": "attachment; filename=UIDNames.properties"}
    return Reply("".join(lines).encode(), "application/octet-stream", headers=headers)


def _md5(asked: ApiRequest) -> Reply:
    file = asked.view.find_instance(asked.one("sop_uid") or "")
    return Reply(b"" if file is None else asked.view.md5(file).hex().encode())


# --- checksums of many ------------------------------------------------------------------------------------------------


def _hierarchy(asked: ApiRequest) -> Reply:
    """One MD5 over those of everything below a Series, a Study, a Patient of a Collection, or a Collection."""
    criteria = asked.criteria()
    for level in (("series_uid",), ("study_uid",), ("patient_id", "collection"), ("collection",)):
        if level[0] in criteria:
            wanted = {name: criteria[name] for name in level if name in criteria}
            if len(wanted) == len(level):
                return Reply(_digest_below(asked.view, level[0], wanted).encode())
    raise RequestRefused(
        "A SeriesInstanceUID, a StudyInstanceUID, a PatientID with its Collection, or a Collection is needed."
    )


def _digest_below(view: CatalogueView, level: str, criteria: Mapping[str, str]) -> str:
    """Series are over their instances, Studies over Series, Patients over Studies, Collections over Patients."""
    found = [(one.patient_id, one.study_uid or "", one.series_uid) for one in view.series(**criteria)]  # type: ignore[arg-type]
    if not found:
        return ""
    tree = sorted(found)
    of_series = [(*key[:2], _joined(view.md5(file).hex() for file in view.files(key[2]))) for key in tree]
    if level == "series_uid":
        return of_series[0][2]
    of_studies = [
        (key[0], _joined(row[2] for row in rows)) for key, rows in groupby(of_series, key=lambda row: row[:2])
    ]
    if level == "study_uid":
        return of_studies[0][1]
    of_patients = [_joined(row[1] for row in rows) for _, rows in groupby(of_studies, key=lambda row: row[0])]
    return of_patients[0] if level == "patient_id" else _joined(of_patients)


def _joined(digests: Iterable[str]) -> str:
    return hashlib.md5("".join(sorted(digests)).encode(), usedforsecurity=False).hexdigest()


# --- manifests --------------------------------------------------------------------------------------------------------


def _manifest(asked: ApiRequest, series_uids: Iterable[str], *, annotations: bool = False) -> Reply:
    name = f"manifest-{time.time_ns() // 1_000_000}.tcia"
    lines = [
        f"downloadServerUrl={asked.origin}/nbia-download/servlet/DownloadServlet",
        f"includeAnnotation={'true' if annotations else 'false'}",
        "noOfrRetry=4",
        f"databasketId={name}",
        "manifestVersion=3.0",
        "ListOfSeriesToDownload=",
        *series_uids,
    ]
    return Reply(("\n".join(lines) + "\n").encode(), _MANIFEST_TYPE)


def _wants_annotations(asked: ApiRequest, *, default: bool) -> bool:
    told = asked.one("with_annotations")
    return default if told is None else told.lower() == "true"


def _manifest_of_list(asked: ApiRequest) -> Reply:
    found = (detail.series.series_uid for detail in asked.view.details_of(asked.uids("series_uids")))
    return _manifest(asked, found, annotations=_wants_annotations(asked, default=False))


def _manifest_of_collection(asked: ApiRequest) -> Reply:
    found = (series.series_uid for series in asked.view.series(collection=asked.one("collection")))
    return _manifest(asked, found, annotations=_wants_annotations(asked, default=True))


def _manifest_of_parts(asked: ApiRequest) -> Reply:
    """The Series of Patients, Studies and Series that are named: of any of these lists, or of all that are given."""
    parts: list[dict[str, None]] = []
    for field, criterion in (("patient_ids", "patient_id"), ("study_uids", "study_uid"), ("series_uids", "series_uid")):
        wanted = [text.strip() for text in (asked.one(field) or "").split(",") if text.strip()]
        if wanted:
            parts.append(dict.fromkeys(_series_of(asked.view, criterion, wanted)))
    if (asked.one("any_or_all") or "").lower() == "all":
        found = [uid for uid in parts[0] if all(uid in part for part in parts)] if parts else []
    else:
        found = list(dict.fromkeys(uid for part in parts for uid in part))
    return _manifest(asked, found, annotations=_wants_annotations(asked, default=False))


def _series_of(view: CatalogueView, criterion: str, values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from (series.series_uid for series in view.series(**{criterion: value}))  # type: ignore[arg-type]


# --- simple search ----------------------------------------------------------------------------------------------------


def _search_of(asked: ApiRequest) -> SimpleSearch:
    form = {name: values[0] for name, values in asked.given.items()}
    try:
        return read_form(form, date_format=_MONTH_FIRST if asked.endpoint.is_strict else _DAY_FIRST)
    except InvalidForm as error:
        raise RequestRefused(str(error)) from error


def _simple_search(asked: ApiRequest) -> Reply:
    return _json(summary(asked.view, _search_of(asked), authorized=asked.endpoint.is_strict))


def _manifest_of_search(asked: ApiRequest) -> Reply:
    return _manifest(asked, found_series(asked.view, _search_of(asked)))


# --- shared lists -----------------------------------------------------------------------------------------------------


def _shared_list(asked: ApiRequest) -> Reply:
    found = asked.shared_list()
    return _json(None if found is None else _told(found, list(asked.view.details_of(found.series_uids))))


def _told(found: SharedList, visible: list[SeriesDetail]) -> dict[str, Any]:
    uids = [detail.series.series_uid for detail in visible]
    return {
        "name": found.name,
        "comment": found.description,
        "hyperlink": found.url,
        "date": found.made,
        "id": found.id,
        "userName": found.owner,
        "seriesInstanceUIDs": uids,
        "seriesInstanceUidsList": uids,
        "usageCount": 0,
        "dateString": datetime.fromtimestamp(found.made / 1000, UTC).strftime("%m/%d/%Y"),
    }


def _create_list(asked: ApiRequest) -> Reply:
    """Anybody who has a name may; where nobody has one, the guest."""
    if asked.viewer.name == GUEST and asked.authenticator.has_users:
        raise RequestRefused("User does not have the right to create a list")
    if asked.shared_list() is not None:
        raise RequestRefused("Duplicate list name")
    visible = [detail.series.series_uid for detail in asked.view.details_of(asked.uids("series_uids"))]
    refusal = asked.lists.create(
        asked.one("shared_list") or "",
        visible,
        owner=asked.viewer.name,
        made=time.time_ns() // 1_000_000,
        description=asked.one("description") or "",
        url=asked.one("url") or "",
    )
    if refusal is not None:
        raise RequestRefused(refusal)
    return Reply(b"List created")


def _delete_list(asked: ApiRequest) -> Reply:
    found = asked.shared_list()
    if found is not None and found.owner != asked.viewer.name:
        raise RequestRefused("User does not own the list")
    refusal = asked.lists.delete(asked.one("shared_list") or "", owner=asked.viewer.name)
    if refusal is not None:
        raise RequestRefused(refusal)
    return Reply(b"List deleted")


# --- pictures ---------------------------------------------------------------------------------------------------------


def _thumbnail(asked: ApiRequest) -> Reply:
    """The picture; NBIA says the same of what there is not, what may not be seen, and what cannot be drawn."""
    from bulkdl.dicom.thumbnail import thumbnail  # noqa: PLC0415 - heavy, and this is rarely asked for

    sop_uid = asked.one("sop_uid")
    for file in asked.view.files(asked.one("series_uid") or ""):
        if file.sop_uid == sop_uid:
            try:
                open_served(file).close()
                return Reply(thumbnail(file.path), "image/jpeg")
            except (OSError, InvalidInstance, ConfigurationError) as error:
                raise RequestRefused(_NO_THUMBNAIL) from error
    raise RequestRefused(_NO_THUMBNAIL)


def _json(document: object) -> Reply:
    return Reply(json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(errors="replace"), _JSON)


_REPLIES: Final[Mapping[str, Callable[[ApiRequest], Reply]]] = {
    "status": _page("The API is up."),
    "status/version": _page(f"bulkdl {__version__}"),
    "up": _text("up"),
    "hostName": _host_name,
    "getUserAgreementTxt": _agreement,
    "getAllSOPClassDefinition": _sop_classes,
    "getM5HashForImage": _md5,
    "getMD5HashForImage": _md5,
    "getMD5Hierarchy": _hierarchy,
    "getManifestTextV2": _manifest_of_list,
    "getManifestText": _manifest_of_list,
    "getManifestForCollection": _manifest_of_collection,
    "getManifestFromPatientStudySeries": _manifest_of_parts,
    "getManifestForSimpleSearch": _manifest_of_search,
    "getSimpleSearchWithModalityAndBodyPartPaged": _simple_search,
    "getSimpleSearch": _simple_search,
    "getSharedList": _shared_list,
    "createSharedList": _create_list,
    "deleteSharedList": _delete_list,
    "getThumbnail": _thumbnail,
}
