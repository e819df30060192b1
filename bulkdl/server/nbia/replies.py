"""Replies of the endpoints that do not answer in rows: texts, manifests, checksums, searches, shared lists.

One function per endpoint, shared by all APIs that have it. Source: `Get*.java`, `Create*.java` and `Delete*.java` of
the NBIA API, and its DAO for `getMD5Hierarchy`.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from bulkdl._version import __version__
from bulkdl.archive.nbia.endpoints import DateForm
from bulkdl.archive.nbia.values import md5_of_md5s
from bulkdl.manifest.tcia import compose_pieces
from bulkdl.server.access import GUEST
from bulkdl.server.catalogue import CatalogueView
from bulkdl.server.nbia.renderings import to_json
from bulkdl.server.nbia.request import ApiRequest, Reply, RequestRefused
from bulkdl.server.nbia.search import SearchSummary, SimpleSearch, found_series, parse_search, summary


def reply(request: ApiRequest) -> Reply:
    """The reply to a request."""
    return _REPLIES[request.endpoint.name](request)


def _page(sentence: str) -> Reply:
    return Reply(f"<html><title>NBIA API</title><body><h1>{sentence}</h1></body></html>".encode(), "text/html")


def _agreement(_request: ApiRequest) -> Reply:
    raise RequestRefused("", HTTPStatus.NOT_FOUND)  # as NBIA does if no text is configured


def _sop_classes(_request: ApiRequest) -> Reply:
    from bulkdl.dicom.tags import uid_names  # noqa: PLC0415 - pydicom is slow to import and rarely needed here

    lines = (f"{uid}={name}\n" for uid, name in uid_names("SOP Class").items())
    headers = {"Content-Disposition": "attachment; filename=UIDNames.properties"}
    return Reply("".join(lines).encode(), "application/octet-stream", headers=headers)


def _md5(request: ApiRequest) -> Reply:
    file = request.view.find_instance(request.value("sop_uid") or "")
    return Reply(b"" if file is None else request.view.md5(file).hex().encode())


def _hierarchy(request: ApiRequest) -> Reply:
    """One MD5 of the MD5s below a Series, a Study, a Patient of a Collection, or a Collection."""
    level, wanted = level_of(request)
    return Reply(pieces=_digest_below(request.view, level, wanted))


def level_of(request: ApiRequest) -> tuple[str, dict[str, Any]]:
    """The lowest level that the criteria of getMD5Hierarchy name, and those that count for it.

    Raises:
        RequestRefused: they name none.
    """
    criteria = request.criteria()
    for level in (("series_uid",), ("study_uid",), ("patient_id", "collection"), ("collection",)):
        if level[0] in criteria:
            wanted = {name: criteria[name] for name in level if name in criteria}
            if len(wanted) == len(level):
                return level[0], wanted
    raise RequestRefused(
        "A SeriesInstanceUID, a StudyInstanceUID, a PatientID with its Collection, or a Collection is needed."
    )


def _digest_below(view: CatalogueView, level: str, criteria: Mapping[str, Any]) -> Iterator[bytes]:
    """The MD5 of a Series is made from its instances, of a Study from its Series, of a Patient from its Studies.

    It comes as the last piece. An empty one follows each file whose MD5 was not known, and each Series.
    """
    tree: dict[str, dict[str, list[str]]] = {}
    for series in view.series(**criteria):
        digests = []
        for file in view.files(series.series_uid):
            digests.append(view.md5(file).hex())
            if file.md5 is None:
                yield b""
        yield b""
        tree.setdefault(series.patient_id, {}).setdefault(series.study_uid or "", []).append(md5_of_md5s(digests))
    if tree:
        yield _digest_of(tree, level).encode()


def _digest_of(tree: Mapping[str, Mapping[str, list[str]]], level: str) -> str:
    """The MD5 at a level, of the MD5s of Series by Patient and Study."""
    of_series = [digest for studies in tree.values() for digests in studies.values() for digest in digests]
    of_studies = [md5_of_md5s(digests) for studies in tree.values() for digests in studies.values()]
    of_patients = [md5_of_md5s(map(md5_of_md5s, studies.values())) for studies in tree.values()]
    first_of = {"series_uid": of_series, "study_uid": of_studies, "patient_id": of_patients}
    return first_of[level][0] if level in first_of else md5_of_md5s(of_patients)


def _manifest(request: ApiRequest, series_uids: Iterable[str], *, annotations: bool = False) -> Reply:
    """A manifest of the Series; `annotations` is the default of the parameter of that name."""
    name = f"manifest-{time.time_ns() // 1_000_000}.tcia"
    if (asked := request.value("with_annotations")) is not None:
        annotations = asked.lower() == "true"
    pieces = compose_pieces(series_uids, archive=request.origin, name=name, annotations=annotations)
    return Reply(content_type="application/x-nbia-manifest-file", pieces=(piece.encode() for piece in pieces))


def _visible(request: ApiRequest, series_uids: Iterable[str]) -> list[str]:
    return [detail.series.series_uid for detail in request.view.details_of(series_uids)]


def _manifest_of_parts(request: ApiRequest) -> Reply:
    """The Series of the listed Patients, Studies and Series: those in any of the lists, or in all of them."""
    parts: list[dict[str, None]] = []
    for field, criterion in (("patient_ids", "patient_id"), ("study_uids", "study_uid"), ("series_uids", "series_uid")):
        wanted: list[dict[str, Any]] = [
            {criterion: text.strip()} for text in (request.value(field) or "").split(",") if text.strip()
        ]
        if wanted:
            parts.append(dict.fromkeys(uid for criteria in wanted for uid in request.view.series_uids(**criteria)))
    if (request.value("any_or_all") or "").lower() == "all":
        found = [uid for uid in parts[0] if all(uid in part for part in parts)] if parts else []
    else:
        found = list(dict.fromkeys(uid for part in parts for uid in part))
    return _manifest(request, found)


def _search_of(request: ApiRequest) -> SimpleSearch:
    date_form = DateForm.MONTH_FIRST if request.endpoint.is_strict else DateForm.DAY_FIRST
    return parse_search(request.parameters, date_format=date_form)


def _found_patients(request: ApiRequest) -> Reply:
    found = summary(request.view, _search_of(request), authorized=request.endpoint.is_strict)
    return Reply(content_type="application/json", pieces=_summary_pieces(found))


def _summary_pieces(found: SearchSummary) -> Iterator[bytes]:
    """The JSON object of a search; a page of many Patients in several pieces."""
    piece = b'{"resultSet":['
    for number, batch in enumerate(found.patients):
        if number:
            yield piece
            piece = b","
        piece += to_json(batch)[1:-1]
    yield piece + b"]," + to_json(found.counts)[1:]


def _shared_list(request: ApiRequest) -> Reply:
    if (found := request.shared_list()) is None:
        return _json(None)
    uids = _visible(request, found.series_uids)
    return _json(
        {
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
    )


def _create_list(request: ApiRequest) -> Reply:
    """Users may create lists; the guest may only if there are no users."""
    if request.viewer.name == GUEST and request.authenticator.has_users:
        raise RequestRefused("User does not have the right to create a list")
    if request.shared_list() is not None:
        raise RequestRefused("Duplicate list name")
    refusal = request.lists.create(
        request.value("shared_list") or "",
        _visible(request, request.uids("series_uids")),
        owner=request.viewer.name,
        made=time.time_ns() // 1_000_000,
        description=request.value("description") or "",
        url=request.value("url") or "",
    )
    if refusal is not None:
        raise RequestRefused(refusal)
    return Reply(b"List created")


def _delete_list(request: ApiRequest) -> Reply:
    found = request.shared_list()
    if found is not None and found.owner != request.viewer.name:
        raise RequestRefused("User does not own the list")
    refusal = request.lists.delete(request.value("shared_list") or "", owner=request.viewer.name)
    if refusal is not None:
        raise RequestRefused(refusal)
    return Reply(b"List deleted")


def _thumbnail(request: ApiRequest) -> Reply:
    """NBIA sends the same text for an instance that does not exist, is hidden, or cannot be decoded."""
    if request.inspected is None:
        raise RequestRefused("The thumbnail could not be made.")
    return Reply(request.inspected, "image/jpeg")


def _json(document: object) -> Reply:
    return Reply(to_json(document), "application/json")


_REPLIES: Final[Mapping[str, Callable[[ApiRequest], Reply]]] = {
    "status": lambda _request: _page("The API is up."),
    "status/version": lambda _request: _page(f"bulkdl {__version__}"),
    "up": lambda _request: Reply(b"up"),
    "hostName": lambda _request: Reply(platform.node().encode(errors="replace")),
    "getUserAgreementTxt": _agreement,
    "getAllSOPClassDefinition": _sop_classes,
    **dict.fromkeys(("getM5HashForImage", "getMD5HashForImage"), _md5),
    "getMD5Hierarchy": _hierarchy,
    **dict.fromkeys(
        ("getManifestText", "getManifestTextV2"),
        lambda request: _manifest(request, _visible(request, request.uids("series_uids"))),
    ),
    "getManifestForCollection": lambda request: _manifest(
        request, request.view.series_uids(collection=request.value("collection")), annotations=True
    ),
    "getManifestFromPatientStudySeries": _manifest_of_parts,
    "getManifestForSimpleSearch": lambda request: _manifest(request, found_series(request.view, _search_of(request))),
    **dict.fromkeys(("getSimpleSearch", "getSimpleSearchWithModalityAndBodyPartPaged"), _found_patients),
    "getSharedList": _shared_list,
    "createSharedList": _create_list,
    "deleteSharedList": _delete_list,
    "getThumbnail": _thumbnail,
}
