"""Store instances (STOW-RS, PS3.18 §10.5): `POST /dicom-web/studies`, and `/studies/{study}` for those of one Study.

A request is written to partial files while it arrives, and taken into the mirror as a whole at its end: of one that is
malformed or broken off nothing is stored. Each of its instances has a line in the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from bulkdl.archive.dicomweb.store_answers import (
    FAILED_SOPS,
    FAILURE_REASON,
    OTHER_FAILURES,
    OUT_OF_RESOURCES,
    REFERENCED_SOP_CLASS,
    REFERENCED_SOP_UID,
    REFERENCED_SOPS,
    RETRIEVE_URL,
    reason_text,
)
from bulkdl.errors import BundleError, DiskError, DiskFull
from bulkdl.model.ids import is_uid
from bulkdl.model.text import error_text
from bulkdl.runtime.tasks import in_thread
from bulkdl.server.access import GUEST
from bulkdl.server.dicomweb.exchange import (
    DicomWebRefusal,
    DicomWebRequest,
    error_response,
    not_acceptable,
)
from bulkdl.server.dicomweb.json_elements import Element, element
from bulkdl.server.dicomweb.media_types import DICOM, json_type
from bulkdl.server.dicomweb.spool import MOST_BYTES, Spool
from bulkdl.server.reception import ReceivedInstance, Reception
from bulkdl.server.responses import NotedResponse

_WRITE_BYTES: Final = 1 << 18
_MOST_AT_ONCE: Final = 16


class Storing:
    """The handler, and how many requests it reads. Without a `reception` nothing is stored."""

    def __init__(self, reception: Reception | None) -> None:
        self._reception = reception
        self._at_once = 0

    async def answer(self, request: DicomWebRequest) -> web.StreamResponse:
        """Store what a request has."""
        if self._reception is None:
            message = "this server stores nothing: it was started without --accept-store"
            return _with_header(error_response(HTTPStatus.METHOD_NOT_ALLOWED, message), "Allow", "GET")
        _require_login(request)
        if (media := json_type(request.accepted)) is None:
            raise not_acceptable("the answer to stored instances is JSON alone")
        try:
            spool = Spool(self._reception, _multipart_of(request.http))
        except BundleError as error:
            raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        _check_size(request.http, self._reception)
        if self._at_once >= _MOST_AT_ONCE:
            message = "too many requests are stored now: try again"
            return _with_header(error_response(HTTPStatus.SERVICE_UNAVAILABLE, message), "Retry-After", "2")
        self._at_once += 1
        try:
            received = await self._receive(request, self._reception, spool)
        finally:
            self._at_once -= 1
            await in_thread(spool.discard)
        return _response(request, received, media)

    async def _receive(
        self, request: DicomWebRequest, reception: Reception, spool: Spool
    ) -> Sequence[ReceivedInstance]:
        study_uid = request.uid("study") or None
        if study_uid is not None and not is_uid(study_uid):
            raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "the Study in the address is not a UID")
        try:
            await _read(request.http, spool)
            if not spool.names:
                raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "the request has no instance")
            return await reception.settle(spool.names, study_uid=study_uid, hidden=request.viewer.hidden)
        except (BundleError, HttpProcessingError, web.RequestPayloadError) as error:
            raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"nothing was stored: {error_text(error)}") from error
        except DiskError as error:
            is_full = isinstance(error, DiskFull)
            raise _no_resources(
                HTTPStatus.INSUFFICIENT_STORAGE if is_full else HTTPStatus.INTERNAL_SERVER_ERROR
            ) from error


def _with_header(response: web.Response, name: str, value: str) -> web.Response:
    response.headers[name] = value
    return response


def _require_login(request: DicomWebRequest) -> None:
    """Refuse guests, where there are users."""
    if request.viewer.name == GUEST and request.context.authenticator.has_users:
        raise DicomWebRefusal(HTTPStatus.UNAUTHORIZED, "only users may store instances: log in")


def _multipart_of(http: web.Request) -> str | None:
    """The type of a multipart body, None for a single instance. A browser sends neither to another site by itself."""
    kind = http.content_type.lower()
    if kind == DICOM:
        return None
    if kind != "multipart/related":
        raise DicomWebRefusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f'instances are stored as multipart/related; type="{DICOM}", or as {DICOM}',
        )
    return http.headers["Content-Type"]


def _check_size(http: web.Request, reception: Reception) -> None:
    length = http.content_length or 0
    if length > MOST_BYTES:
        raise _too_large()
    if length and length > reception.partials.free_bytes():
        raise _no_resources(HTTPStatus.INSUFFICIENT_STORAGE)


def _no_resources(status: HTTPStatus) -> DicomWebRefusal:
    return DicomWebRefusal(status, f"nothing was stored: {reason_text(OUT_OF_RESOURCES)}")


def _too_large() -> DicomWebRefusal:
    message = f"a request may have {MOST_BYTES >> 30} GiB at most: send fewer instances in one"
    return DicomWebRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)


async def _read(http: web.Request, spool: Spool) -> None:
    """Write the body of a request."""
    received, waiting = 0, bytearray()
    async for chunk in http.content.iter_any():
        received += len(chunk)
        waiting += chunk
        if received > MOST_BYTES:
            raise _too_large()
        if len(waiting) >= _WRITE_BYTES:
            await in_thread(spool.feed, bytes(waiting))
            waiting.clear()
    if waiting:
        await in_thread(spool.feed, bytes(waiting))
    await in_thread(spool.close)


def _response(request: DicomWebRequest, received: Sequence[ReceivedInstance], media: str) -> web.Response:
    """The answer: 200 if all were stored, 202 if some, 409 if none."""
    stored = [one for one in received if one.reason is None]
    status = HTTPStatus.OK if len(stored) == len(received) else HTTPStatus.ACCEPTED if stored else HTTPStatus.CONFLICT
    note = f"{len(stored)} of {len(received)} instances stored"
    body = json.dumps(document(request.url, received)).encode()
    return NotedResponse(note, status=status, body=body, content_type=media)


def document(url: str, received: Iterable[ReceivedInstance]) -> dict[str, Element]:
    """The Store Instances Response Module (PS3.18 Annex I.2) in JSON; `url` is the address of the service."""
    sequences: dict[str, list[dict[str, Any]]] = {REFERENCED_SOPS: [], FAILED_SOPS: [], OTHER_FAILURES: []}
    studies: dict[str, None] = {}
    for one in received:
        item = {
            REFERENCED_SOP_CLASS: element("UI", [one.sop_class_uid]),
            REFERENCED_SOP_UID: element("UI", [one.sop_uid]),
        }
        if one.reason is None:
            studies[study := f"{url}/studies/{one.study_uid}"] = None
            place = f"{study}/series/{one.series_uid}/instances/{one.sop_uid}"
            sequences[REFERENCED_SOPS].append(item | {RETRIEVE_URL: element("UR", [place])})
        elif one.sop_uid is not None:
            sequences[FAILED_SOPS].append(item | {FAILURE_REASON: element("US", [one.reason])})
        else:
            sequences[OTHER_FAILURES].append({FAILURE_REASON: element("US", [one.reason])})
    found = {tag: {"vr": "SQ", "Value": items} for tag, items in sequences.items() if items}
    return found | ({RETRIEVE_URL: element("UR", studies)} if len(studies) == 1 else {})
