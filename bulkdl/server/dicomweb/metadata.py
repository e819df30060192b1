"""The attributes of instances without their bulk data (WADO-RS metadata), sent while the files are read.

Files are read in the inspection process. Of a file that cannot be read, the UIDs alone are given: the others of its
Series stay of use, and the access log says which it was. Asked for by itself, it is an error.

Source: PS3.18 §10.4.1.1.2.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from http import HTTPStatus
from itertools import chain
from typing import Final

from aiohttp import web

from bulkdl.errors import InvalidInstance
from bulkdl.server.catalogue import ServedFile
from bulkdl.server.dicomweb.attributes import CHARACTER_SET, UTF_8
from bulkdl.server.dicomweb.exchange import DicomWebRefusal, DicomWebRequest, not_acceptable, not_found
from bulkdl.server.dicomweb.instances import each_file, requested_files
from bulkdl.server.dicomweb.json_elements import element
from bulkdl.server.dicomweb.media_types import json_type
from bulkdl.server.inspection import Inspection
from bulkdl.server.responses import stream_body

BULK_DATA: Final = "bulkdata"
"""The name below an instance of what its bulk data is at."""


async def metadata(request: DicomWebRequest) -> web.StreamResponse:
    """Send the attributes of the instances of the path.

    Raises:
        DicomWebRefusal: there are none, or the client takes no JSON, or the only one cannot be read.
        Unavailable: the archive of a cache does not send the first.
    """
    media = json_type(request.accepted)
    if media is None:
        raise not_acceptable("metadata is sent as application/dicom+json")
    notes: list[str] = []
    async with requested_files(request) as files:
        found = each_file(request, files)
        if (first := await anext(found, None)) is None:
            raise not_found("instance")
        begun = await _read(request, first, notes)
        if notes and request.uid("instance"):
            raise DicomWebRefusal(HTTPStatus.INTERNAL_SERVER_ERROR, f"the instance cannot be read: {notes[0]}")

        async def chunks() -> AsyncGenerator[bytes, None]:
            yield b"[" + begun
            async for file in found:
                yield b",\n" + await _read(request, file, notes)
            yield b"]\n"

        return await stream_body(request.http, {"Content-Type": media}, chunks(), notes=notes)


async def _read(request: DicomWebRequest, file: ServedFile, notes: list[str]) -> bytes:
    """The attributes of a file as a JSON object."""
    bulk_url = f"{request.address_of(file)}/{BULK_DATA}"
    try:
        read: bytes = await request.context.inspector.read(Inspection.METADATA, file, bulk_url)
    except InvalidInstance as error:
        notes.append(f"{file.sop_uid}: {error}")
        uids = (("00080018", file.sop_uid), ("0020000D", request.uid("study")), ("0020000E", file.series_uid))
        known = chain([(CHARACTER_SET, element("CS", [UTF_8]))], ((tag, element("UI", [uid])) for tag, uid in uids))
        return json.dumps(dict(known)).encode()
    return read
