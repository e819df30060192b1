"""Pictures of instances, what lies over them, and what a viewer needs to know of them.

A process with limits reads the files, and pictures are kept on disk. Where there is no picture, a drawing says why:
pages stay whole, whatever they show.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import astuple
from html import escape
from http import HTTPStatus
from math import isfinite
from textwrap import wrap
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from bulkdl.dicom.pictures import PictureOptions
from bulkdl.errors import BulkdlError, ConfigurationError, InvalidInstance
from bulkdl.model.ids import is_uid
from bulkdl.server.catalogue import CatalogueView, ServedFile
from bulkdl.server.context import ServerContext
from bulkdl.server.inspection import Inspection
from bulkdl.server.metrics import METRICS
from bulkdl.server.portal.pages import HEADERS, PageMissing
from bulkdl.server.portal.picture_cache import PictureCache
from bulkdl.server.portal.sessions import viewer_of
from bulkdl.server.responses import Unavailable
from bulkdl.server.supply import Supply

_VERSION: Final = "1"  # of the pictures that are kept
_MOST_SIZE: Final = 4_096
_THUMBNAIL: Final = 128  # up to this size nothing is downloaded for a picture
_MOST_FRAMES: Final = 1 << 31
_PNG: Final = "image/png"
_SVG: Final = "image/svg+xml"
_KEPT: Final = {**HEADERS, "Cache-Control": "private, max-age=300"}
_NOT_HERE: Final = "not downloaded yet"


class Pictures:
    """The handlers of pictures, overlays and facts."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._cache = PictureCache(context.catalogue.path.with_suffix(".pictures"))

    async def picture(self, http: web.Request) -> web.StreamResponse:
        """Send a frame, or a drawing that says why there is none."""
        is_small = False
        try:
            options = parse_options(http.query)
            is_small = options.size is not None and options.size <= _THUMBNAIL
            async with self.file_of(http, downloads="sop" in http.query and not is_small) as file:
                return await self._kept(http, Inspection.PICTURE, file, options)
        except (PageMissing, Unavailable, BulkdlError, OSError) as error:
            return web.Response(body=drawing(_reason(error), is_small=is_small), content_type=_SVG, headers=HEADERS)

    async def mask(self, http: web.Request) -> web.StreamResponse:
        """Send what a segmentation has over an image."""
        try:
            frame = _number(http.query, "frame", 1, _MOST_FRAMES)
            async with self.file_of(http) as image, self.file_of(http, "over", "over_sop") as file:
                over = image, None if frame is None else int(frame)
                return await self._kept(http, Inspection.MASK, file, over)
        except (PageMissing, Unavailable, BulkdlError, OSError) as error:
            return _problem(error)

    async def contours(self, http: web.Request) -> web.StreamResponse:
        """Send the lines that a structure set has over an image."""
        try:
            async with self.file_of(http) as image, self.file_of(http, "over", "over_sop") as file:
                return _json(await self._context.inspector.read(Inspection.CONTOURS, file, image))
        except (PageMissing, Unavailable, BulkdlError, OSError) as error:
            return _problem(error)

    async def facts(self, http: web.Request) -> web.StreamResponse:
        """Send what a viewer needs to know of an instance."""
        try:
            async with self.file_of(http) as file:
                return _json(await self._context.inspector.read(Inspection.FACTS, file))
        except (PageMissing, Unavailable, BulkdlError, OSError) as error:
            return _problem(error)

    @asynccontextmanager
    async def file_of(
        self, http: web.Request, series: str = "series", sop: str = "sop", *, downloads: bool = True
    ) -> AsyncIterator[ServedFile]:
        """The file of an instance that the parameters name, or the middle one of its Series. A cache keeps it.

        Raises:
            PageMissing: there is none, or the viewer may not see it.
            Unavailable: the archive of a cache does not send it.
        """
        view = self._context.view_of(viewer_of(http, self._context.authenticator))
        series_uid, sop_uid = http.query.get(series, ""), http.query.get(sop)
        if not is_uid(series_uid) or await self._context.threads.do(view.collection_of, series_uid) is None:
            raise PageMissing("there is no such series")
        supply = self._context.supply if downloads else None
        async with nullcontext() if supply is None else _kept_by(supply, series_uid, sop_uid):
            file = await self._context.threads.do(_file, view, series_uid, sop_uid)
            if file is None:
                is_cache = self._context.supply is not None
                raise PageMissing(_NOT_HERE if is_cache else "there is no such instance")
            yield file

    async def _kept(self, http: web.Request, what: Inspection, file: ServedFile, more: Any) -> web.Response:
        """Send a picture that is kept, or make it and keep it."""
        key = repr((_VERSION, what, _named(file), astuple(more) if isinstance(more, PictureOptions) else more))
        content = await self._context.threads.do(self._cache.get, key)
        http.app[METRICS].pictures["made" if content is None else "kept"] += 1
        if content is None:
            content = await self._context.inspector.read(what, file, more)
            await self._context.threads.do(self._cache.put, key, content)
        return web.Response(body=content, content_type=_PNG, headers=_KEPT)


def _kept_by(supply: Supply, series_uid: str, sop_uid: str | None) -> AbstractAsyncContextManager[None]:
    return supply.using(series_uid) if sop_uid is None else supply.using_one(series_uid, sop_uid)


def _file(view: CatalogueView, series_uid: str, sop_uid: str | None) -> ServedFile | None:
    if sop_uid is not None:
        return view.file_of(series_uid, sop_uid)
    return next(iter(view.files_from(series_uid, view.file_count(series_uid) // 2, 1)), None)


def _named(file: ServedFile) -> tuple[Any, ...]:
    return str(file.target or file.path), file.size_bytes, file.mtime_ns


def parse_options(query: MultiMapping[str]) -> PictureOptions:
    """The picture that the parameters name: `frame` from 1, `size`, `centre` and `width`.

    Raises:
        PageMissing: a value is not a number, or out of range.
    """
    frame = _number(query, "frame", 1, _MOST_FRAMES)
    size = _number(query, "size", 1, _MOST_SIZE)
    centre, width = _number(query, "centre", -1e9, 1e9), _number(query, "width", 1, 1e9)
    if (centre is None) != (width is None):
        raise PageMissing("a window has a centre and a width")
    return PictureOptions(
        frame=None if frame is None else int(frame) - 1,
        size=None if size is None else int(size),
        centre=centre,
        width=width,
    )


def _number(query: MultiMapping[str], name: str, least: float, most: float) -> float | None:
    if not (text := query.get(name, "")):
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or not least <= number <= most:
        raise PageMissing(f"{name} is not a number from {least:g} to {most:g}")
    return number


def drawing(reason: str, *, is_small: bool = False) -> bytes:
    """An SVG that says why there is no picture. In a small one the letters are larger, and there are fewer of them."""
    size, width, most = (27, 12, 5) if is_small else (14, 22, 9)
    lines = wrap(reason, width)[:most] or [""]
    step = round(size * 1.2)
    top = 100 - step * (len(lines) - 1) / 2 + size / 3
    spans = "".join(
        f'<tspan x="100" y="{top + step * number:g}">{escape(line)}</tspan>' for number, line in enumerate(lines)
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 200" width="200" height="200">'
        '<rect width="200" height="200" fill="#2b3138"/>'
        f'<text font-family="sans-serif" font-size="{size}" fill="#e8ebef" text-anchor="middle">{spans}</text></svg>'
    ).encode(errors="replace")


def _json(document: object) -> web.Response:
    body = json.dumps(document).encode()
    return web.Response(body=body, content_type="application/json", headers=_KEPT)


def _reason(error: Exception) -> str:
    """What is wrong, without paths of this machine."""
    is_public = isinstance(error, PageMissing | Unavailable | InvalidInstance | ConfigurationError)
    return str(error) if is_public else "the server cannot read it now"


def _problem(error: Exception) -> web.Response:
    status = getattr(error, "status", HTTPStatus.UNPROCESSABLE_ENTITY)
    body = json.dumps({"error": _reason(error)}).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=HEADERS)
