"""Frames and other bulk data of an instance (WADO-RS), sent from the file as they are stored.

The inspection process finds where they lie; the bytes are read by the server itself. Native frames are
`application/octet-stream`, others have the media type of their transfer syntax.

Source: PS3.18 §10.4.1.1.5 (bulk data) and §10.4.1.1.6 (frames), tables 8.7.3-2 and 8.7.3-5 (media types).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from aiohttp import web

from bulkdl.dicom.bulk_data import BulkData, Piece
from bulkdl.errors import InvalidInstance
from bulkdl.server.catalogue import ServedFile, open_served
from bulkdl.server.dicomweb.exchange import DicomWebRequest, not_acceptable, not_found
from bulkdl.server.dicomweb.instances import requested_instance
from bulkdl.server.dicomweb.media_types import ANY_SYNTAX, OCTET_STREAM, Offer
from bulkdl.server.dicomweb.multipart import Multipart
from bulkdl.server.inspection import Inspection

_JPEG_FAMILY: Final = "1.2.840.10008.1.2.4."
_MEDIA: Final[Mapping[str, str]] = MappingProxyType(
    {
        "1.2.840.10008.1.2.5": "image/dicom-rle",
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (50, 51, 57, 70)), "image/jpeg"),
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (80, 81)), "image/jls"),
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (90, 91)), "image/jp2"),
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (92, 93)), "image/jpx"),
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (110, 111, 112)), "image/jxl"),
        **dict.fromkeys((f"{_JPEG_FAMILY}{end}" for end in (201, 202, 203)), "image/jphc"),
    }
)
"""The media types of encapsulated frames by their transfer syntax. That of others is `application/octet-stream`."""

_NUMBERS: Final = re.compile(r"[1-9][0-9]{0,9}(?:,[1-9][0-9]{0,9})*")
_PIECE_BYTES: Final = 1 << 18


def frame_numbers(request: DicomWebRequest) -> tuple[int, ...]:
    """The frames in the path, counted from 1.

    Raises:
        DicomWebRefusal: it has something else.
    """
    text = request.uid("frames").replace("%2C", ",").replace("%2c", ",")
    if _NUMBERS.fullmatch(text) is None:
        raise not_found("frame: frames are numbers from 1, with commas between them")
    return tuple(map(int, text.split(",")))


async def frames(request: DicomWebRequest) -> web.StreamResponse:
    """Send frames of the instance in the path.

    Raises:
        DicomWebRefusal: there is no such instance or frame, or the client does not take frames as they are stored.
        Unavailable: the archive of a cache does not send the instance.
        OSError: the file cannot be read.
    """
    numbers = frame_numbers(request)
    async with requested_instance(request) as file:
        found = await _found(request, Inspection.FRAMES, file, numbers)
        return await _send(request, file, found, [f"frames/{number}" for number in numbers])


async def bulk_data(request: DicomWebRequest) -> web.StreamResponse:
    """Send the bulk data in the path. Raises as `frames`."""
    place = request.uid("place")
    async with requested_instance(request) as file:
        found = await _found(request, Inspection.BULK_DATA, file, place)
        return await _send(request, file, found, [f"bulkdata/{place}"] * len(found.pieces))


async def _found(request: DicomWebRequest, what: Inspection, file: ServedFile, more: object) -> BulkData:
    try:
        found: BulkData = await request.context.inspector.read(what, file, more)
    except InvalidInstance as error:
        raise not_acceptable(str(error)) from None
    if not found.pieces:
        raise not_found("frame" if what is Inspection.FRAMES else "bulk data")
    return found


async def _send(
    request: DicomWebRequest, file: ServedFile, found: BulkData, names: Sequence[str]
) -> web.StreamResponse:
    media = _MEDIA.get(found.transfer_syntax_uid, OCTET_STREAM) if found.is_encapsulated else OCTET_STREAM
    full = f"{media}; transfer-syntax={found.transfer_syntax_uid}"
    offer = next((one for one in request.accepted if _is_taken(one, media, found, len(names))), None)
    if offer is None:
        raise not_acceptable(f"this is stored as {full}, and nothing is converted")
    stream = request.context.threads.stream
    if offer.is_multipart is False:
        return await stream(request.http, {"Content-Type": full}, _content(file, found.pieces[0]))
    multipart = Multipart(media)
    instance = request.address_of(file)
    parts = _parts(
        multipart, file, full, list(zip(found.pieces, (f"{instance}/{name}" for name in names), strict=True))
    )
    return await stream(request.http, {"Content-Type": multipart.content_type}, parts)


def _is_taken(offer: Offer, media: str, found: BulkData, count: int) -> bool:
    """Whether a client takes what is stored: any transfer syntax as octets, too, which OHIF asks for."""
    if offer.is_multipart is False and count > 1:
        return False
    is_any = offer.takes(OCTET_STREAM) and offer.syntax in {ANY_SYNTAX, found.transfer_syntax_uid}
    return is_any or (offer.takes(media) and offer.takes_syntax(found.transfer_syntax_uid))


def _parts(multipart: Multipart, file: ServedFile, media: str, pieces: Iterable[tuple[Piece, str]]) -> Iterator[bytes]:
    for piece, location in pieces:
        yield multipart.head(media, _size_of(piece), location)
        yield from _content(file, piece)
    yield multipart.end


def _size_of(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else sum(size for _, size in piece)


def _content(file: ServedFile, piece: Piece) -> Iterator[bytes]:
    """The bytes of a piece, in chunks.

    Raises:
        OSError: the file cannot be read, or has changed since the scan.
    """
    if isinstance(piece, bytes):
        yield piece
        return
    with open_served(file) as source:
        for offset, size in piece:
            source.seek(offset)
            left = size
            while left and (chunk := source.read(min(_PIECE_BYTES, left))):
                left -= len(chunk)
                yield chunk
            if left:
                raise OSError(f"{file.path} was truncated while it was sent")
