"""Retrieval of whole instances (WADO-RS): a Study, a Series or one instance, byte by byte as it is stored.

Nothing is transcoded. A client that accepts only other transfer syntaxes than that of what is stored is answered 406;
one that names none gets what is stored, as it does from servers that store explicit little endian.

Source: PS3.18 §10.4.1.1.1 and §10.4.3.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from bulkdl.server.catalogue import ServedFile, open_served
from bulkdl.server.dicomweb.exchange import DicomWebRequest, not_acceptable
from bulkdl.server.dicomweb.instances import RequestedFiles, each_file, requested_files
from bulkdl.server.dicomweb.media_types import ANY_SYNTAX, DICOM, Offer
from bulkdl.server.dicomweb.multipart import Multipart, file_parts, syntax_of_file
from bulkdl.server.responses import send_file

_AS_STORED: Final = "instances are sent as they are stored, and the client takes other transfer syntaxes alone"


async def retrieve(request: DicomWebRequest) -> web.StreamResponse:
    """Send the instances of the path.

    Raises:
        DicomWebRefusal: there are none, or the client does not take them as they are.
        Unavailable: the archive of a cache does not send the first.
        OSError: the first cannot be read.
    """
    is_single = bool(request.uid("instance"))
    offers = [one for one in request.accepted if one.takes(DICOM) and (is_single or one.is_multipart is not False)]
    if not offers:
        single = " or application/dicom" if is_single else ""
        raise not_acceptable(f'instances are sent as multipart/related; type="application/dicom"{single}')
    async with requested_files(request) as files:
        syntaxes = {one.syntax for one in offers}
        if not syntaxes & {None, ANY_SYNTAX}:
            await _check(request, offers)
        if offers[0].is_multipart is False:
            (file,) = [one async for one in each_file(request, files)]
            return await send_instance(request.http, file)
        return await _send_parts(request, files)


async def send_instance(http: web.Request, file: ServedFile) -> web.StreamResponse:
    """Send one instance as the whole body, or the range of it that is asked for."""
    with open_served(file) as source:
        return await send_file(http, source, {"Content-Type": DICOM})


async def _check(request: DicomWebRequest, offers: list[Offer]) -> None:
    """Refuse files in a transfer syntax that the client does not take, before the first is sent."""
    async with requested_files(request) as files:
        async for file in each_file(request, files):
            stored = await request.context.threads.do(syntax_of_file, file)
            if not any(one.takes_syntax(stored) for one in offers):
                raise not_acceptable(f"{_AS_STORED}: this is {stored}")


async def _send_parts(request: DicomWebRequest, files: RequestedFiles) -> web.StreamResponse:
    multipart = Multipart(DICOM)
    pieces = file_parts(multipart, files, request.address_of)
    headers = {"Content-Type": multipart.content_type}
    do = request.context.threads.do
    first = await do(next, pieces, b"")
    return await request.context.threads.stream(request.http, headers, pieces, first, more=files.more)
