"""Single objects by WADO-URI, the older service: the file of an instance, or a picture of it.

The parameters name the Study, the Series and the instance. The first two may be left out, as clients do; a cache needs
the Series.

Source: PS3.18 §9 (URI service), §9.1.2.1 (parameters).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.server.catalogue import ServedFile
from bulkdl.server.dicomweb.exchange import DicomWebRefusal, DicomWebRequest, not_acceptable, not_found
from bulkdl.server.dicomweb.instances import instance_of
from bulkdl.server.dicomweb.media_types import ANY_SYNTAX, DICOM, Offer, read_accept
from bulkdl.server.dicomweb.multipart import syntax_of_file
from bulkdl.server.dicomweb.rendered import FORMS, options_of_uri, picture_of
from bulkdl.server.dicomweb.retrieve import send_instance

WADO_URI: Final = "/wado"
"""The path of the service."""

_JPEG: Final = "image/jpeg"


async def wado_uri(request: DicomWebRequest) -> web.StreamResponse:
    """Send the instance that the parameters name, as `contentType` says; a JPEG if it does not.

    Raises:
        DicomWebRefusal: a parameter is missing or invalid, there is no such instance, or it cannot be sent so.
        Unavailable: the archive of a cache does not send it.
        OSError: the file cannot be read.
    """
    query = request.http.query
    if query.get("requestType") != "WADO":
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "requestType is not WADO")
    media = _media(query.get("contentType"))
    options = options_of_uri(query, FORMS.get(media, ""))
    async with _file(request) as file:
        if media != DICOM:
            content = await picture_of(request, file, options)
            return web.Response(body=content, content_type=media)
        wanted = query.get("transferSyntax", ANY_SYNTAX)
        stored = await request.context.threads.do(syntax_of_file, file)
        if wanted not in {ANY_SYNTAX, "", stored}:
            raise not_acceptable(f"this is stored as {stored}, and nothing is converted")
        return await send_instance(request.http, file)


def _media(content_type: str | None) -> str:
    """The first of the media types that can be sent."""
    offers = read_accept(content_type) if content_type else [Offer(_JPEG)]
    found = next((media for offer in offers for media in (*FORMS, DICOM) if offer.takes(media)), None)
    if found is None:
        raise not_acceptable(f"objects are sent as {DICOM}, image/jpeg or image/png")
    return found


@asynccontextmanager
async def _file(request: DicomWebRequest) -> AsyncIterator[ServedFile]:
    """The file of the instance that the parameters name. A cache keeps it until the block ends."""
    query, do = request.http.query, request.context.threads.do
    sop_uid, series_uid, study_uid = (query.get(name, "") for name in ("objectUID", "seriesUID", "studyUID"))
    if not sop_uid:
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "objectUID is missing")
    if not series_uid:
        if request.context.supply is not None:
            raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "seriesUID is missing, which a cache of an archive needs")
        known = await do(partial(request.view.find_instance, sop_uid, study_uid=study_uid or None))
        if known is None:
            raise not_found("instance")
        series_uid = known.series_uid
    if not await do(request.view.has_series, series_uid, study_uid or None):
        raise not_found("instance")
    async with instance_of(request, series_uid, sop_uid) as file:
        yield file
