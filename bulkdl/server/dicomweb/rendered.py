"""Pictures of instances, frames and Series (WADO-RS rendered resources): JPEG, or PNG for a client that takes it alone.

The picture of an instance with several frames is that of its middle one, and of a Series that of its middle instance.
`window` and `viewport` say how; the function of a window is linear, and a viewport is the size that the picture fits.

Source: PS3.18 §8.3.5 (query parameters), §10.4.1.1.3 (rendered) and §10.4.1.1.4 (thumbnails).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from math import isfinite
from typing import TYPE_CHECKING, Final

from aiohttp import web

from bulkdl.dicom.pictures import PictureOptions
from bulkdl.errors import ConfigurationError, InvalidInstance
from bulkdl.server.dicomweb.exchange import DicomWebRefusal, DicomWebRequest, not_acceptable, not_found
from bulkdl.server.dicomweb.frames import frame_numbers
from bulkdl.server.dicomweb.instances import instance_of, requested_instance, requested_series
from bulkdl.server.dicomweb.multipart import Multipart
from bulkdl.server.inspection import Inspection
from bulkdl.server.metrics import METRICS
from bulkdl.server.responses import stream_body

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bulkdl.server.catalogue import CatalogueView, ServedFile

FORMS: Final = {"image/jpeg": "JPEG", "image/png": "PNG"}
"""The media types of pictures, and how they are made."""

_THUMBNAIL: Final = 128
_MOST_SIZE: Final = 4_096
_MOST_FRAMES: Final = 100  # in one answer
_LARGEST: Final = 1e9
_WINDOW: Final = 2  # numbers: centre and width


async def rendered(request: DicomWebRequest) -> web.StreamResponse:
    """Send pictures of the Series, the instance or the frames in the path.

    Raises:
        DicomWebRefusal: there is none, no picture can be made of it, or the client takes no JPEG and no PNG.
        Unavailable: the archive of a cache does not send the instance.
    """
    return await _send(request, _options(request.http.query, size=None))


async def thumbnail(request: DicomWebRequest) -> web.StreamResponse:
    """Send a small picture of the Series, the instance or the frame in the path. Raises as `rendered`."""
    return await _send(request, _options(request.http.query, size=_THUMBNAIL))


async def _send(request: DicomWebRequest, options: PictureOptions) -> web.StreamResponse:
    media = _media(request)
    options = replace(options, form=FORMS[media])
    numbers = frame_numbers(request) if request.uid("frames") else ()
    async with _shown(request) as file:
        if numbers:
            await _check(request, file, numbers)
        if len(numbers) > 1:
            return await _send_parts(request, file, options, media, numbers)
        frame = numbers[0] - 1 if numbers else options.frame
        content = await picture_of(request, file, replace(options, frame=frame))
        return web.Response(body=content, content_type=media)


def _media(request: DicomWebRequest) -> str:
    """The first form that the client takes; JPEG if it takes any."""
    for offer in request.accepted:
        for media in FORMS:
            if offer.takes(media):
                return media
    raise not_acceptable("pictures are sent as image/jpeg or image/png")


async def picture_of(request: DicomWebRequest, file: ServedFile, options: PictureOptions) -> bytes:
    """A picture of a file.

    Raises:
        DicomWebRefusal: none can be made of it, or not here.
    """
    try:
        content: bytes = await request.context.inspector.read(Inspection.PICTURE, file, options)
    except (InvalidInstance, ConfigurationError) as error:
        raise not_acceptable(str(error)) from None
    request.http.app[METRICS].pictures["made"] += 1
    return content


async def _check(request: DicomWebRequest, file: ServedFile, numbers: tuple[int, ...]) -> None:
    """Refuse frames that do not exist, or that are too many."""
    if len(numbers) > _MOST_FRAMES:
        message = f"at most {_MOST_FRAMES} frames are rendered for one answer"
        raise DicomWebRefusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    try:
        facts = await request.context.inspector.read(Inspection.FACTS, file)
    except InvalidInstance as error:
        raise not_acceptable(str(error)) from None
    if max(numbers) > facts["frames"]:
        raise not_found("frame")


async def _send_parts(
    request: DicomWebRequest, file: ServedFile, options: PictureOptions, media: str, numbers: tuple[int, ...]
) -> web.StreamResponse:
    multipart = Multipart(media)
    first = await picture_of(request, file, replace(options, frame=numbers[0] - 1))
    instance = request.address_of(file)

    async def chunks() -> AsyncGenerator[bytes, None]:
        for number in numbers:
            content = first
            if number != numbers[0]:
                content = await request.context.inspector.read(
                    Inspection.PICTURE, file, replace(options, frame=number - 1)
                )
            yield multipart.head(media, len(content), f"{instance}/frames/{number}/rendered") + content
        yield multipart.end

    return await stream_body(request.http, {"Content-Type": multipart.content_type}, chunks())


@asynccontextmanager
async def _shown(request: DicomWebRequest) -> AsyncIterator[ServedFile]:
    """The instance in the path, or the middle one of the Series. A cache keeps it until the block ends."""
    async with AsyncExitStack() as stack:
        if request.uid("instance"):
            yield await stack.enter_async_context(requested_instance(request))
            return
        (series_uid,) = await requested_series(request)
        do, supply = request.context.threads.do, request.context.supply
        listed = None
        if supply is not None and not await do(supply.is_whole, series_uid):
            listed = await supply.sop_uids(series_uid)
        if listed:
            middle = listed[len(listed) // 2]
            yield await stack.enter_async_context(instance_of(request, series_uid, middle))
            return
        if supply is not None:
            await stack.enter_async_context(supply.using(series_uid))
        file = await do(_middle, request.view, series_uid)
        if file is None:
            raise not_found("instance")
        yield file


def _middle(view: CatalogueView, series_uid: str) -> ServedFile | None:
    view.number_files(series_uid)
    return next(iter(view.files_from(series_uid, view.file_count(series_uid) // 2, 1)), None)


def _options(query: Mapping[str, str], *, size: int | None) -> PictureOptions:
    """How a picture is made, by the parameters of WADO-RS.

    Raises:
        DicomWebRefusal: one is invalid.
    """
    if viewport := query.get("viewport"):
        size = _size(min(_numbers("viewport", viewport)[:2]))
    if not (window := query.get("window")):
        return PictureOptions(size=size)
    return _windowed(_numbers("window", window.removesuffix(",linear").removesuffix(",LINEAR")), size=size)


def options_of_uri(query: Mapping[str, str], form: str) -> PictureOptions:
    """How a picture is made, by the parameters of WADO-URI. Raises as `_options`."""
    sides = [_numbers(name, query[name], 1)[0] for name in ("rows", "columns") if query.get(name)]
    size = _size(min(sides)) if sides else None
    frame = int(_numbers("frameNumber", query["frameNumber"], 1)[0]) if query.get("frameNumber") else None
    if frame is not None and frame < 1:
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "frameNumber is not a number from 1")
    made = PictureOptions(size=size)
    if query.get("windowCenter") or query.get("windowWidth"):
        window = [_numbers(name, query.get(name, ""), 1)[0] for name in ("windowCenter", "windowWidth")]
        made = _windowed(window, size=size)
    return replace(made, form=form, frame=None if frame is None else frame - 1)


def _size(pixels: float) -> int:
    return int(min(max(pixels, 1), _MOST_SIZE))


def _windowed(numbers: list[float], *, size: int | None) -> PictureOptions:
    if len(numbers) != _WINDOW or numbers[1] < 1:
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, "a window has a centre and a width of at least 1, and is linear")
    return PictureOptions(size=size, centre=numbers[0], width=numbers[1])


def _numbers(name: str, text: str, least: int = _WINDOW) -> list[float]:
    try:
        numbers = [float(one) for one in text.split(",") if one]
    except ValueError:
        numbers = []
    if len(numbers) < least or not all(isfinite(one) and abs(one) <= _LARGEST for one in numbers):
        raise DicomWebRefusal(HTTPStatus.BAD_REQUEST, f"{name} is not a list of {least} or more numbers")
    return numbers
