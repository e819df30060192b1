"""The routes of PathDB: the lists of collections and slides, the cohort table, and the slides themselves.

Requests are anonymous: their sender sees what a guest sees.
"""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.server.catalogue.files import open_unlinked
from bulkdl.server.context import ServerContext
from bulkdl.server.pathdb import documents
from bulkdl.server.pathdb.slides import ServedSlide, ServedSlides
from bulkdl.server.responses import NO_GUESSING, NotedResponse, send_file

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TABLE: Final = "/system/files/collectionmetadata/202401/cohort_builder_v1_01-16-2024.csv"
_NUMBER_DIGITS: Final = 9
_TIFF: Final = "image/tiff"
_PREFIX: Final = "/index.php"


def add_routes(router: web.UrlDispatcher, context: ServerContext, slides: ServedSlides) -> None:
    """Add the routes, each with and without `/index.php` before it."""
    handlers = _PathDbHandlers(context, slides)
    for prefix in ("", _PREFIX):
        router.add_get(f"{prefix}/collections", _guarded(handlers.collections))
        router.add_get(f"{prefix}/listofimages/{{number:[0-9]+}}", _guarded(handlers.slides))
        router.add_get(f"{prefix}{_TABLE}", _guarded(handlers.table))
        router.add_get(f"{prefix}/system/files/wsi/{{path:.+}}", _guarded(handlers.file))


def _guarded(handle: _Handler) -> _Handler:
    """Answer what fails in the server itself as such."""

    async def guarded(http: web.Request) -> web.StreamResponse:
        try:
            return await handle(http)
        except ConnectionError:
            raise  # the client has left
        except (BulkdlError, OSError) as error:
            note = str(error)
        return NotedResponse(note, status=HTTPStatus.INTERNAL_SERVER_ERROR, text="Internal Server Error")

    return guarded


class _PathDbHandlers:
    """The request handlers, and what they share."""

    def __init__(self, context: ServerContext, slides: ServedSlides) -> None:
        self._do = context.threads.do
        self._slides = slides
        self._hidden = context.authenticator.guest.hidden
        self._view = context.view_of(context.authenticator.guest)

    async def _known(self) -> tuple[ServedSlide, ...]:
        return await self._do(self._slides.all, self._hidden)

    async def collections(self, http: web.Request) -> web.Response:
        """Answer the list of collections."""
        return _json(http, documents.collection_list(await self._known()))

    async def slides(self, http: web.Request) -> web.Response:
        """Answer a page of the slides of a collection."""
        page = http.query.get("page", "0")
        if not (page.isascii() and page.isdigit() and len(page) <= _NUMBER_DIGITS):
            page = "0"  # as Drupal
        number = int(http.match_info["number"][:_NUMBER_DIGITS])
        return _json(http, documents.slide_page(await self._known(), number, int(page), _origin(http)))

    async def table(self, http: web.Request) -> web.Response:
        """Answer the cohort table."""
        known = await self._known()
        text = documents.cohort_table(known, await self._do(self._dois), _origin(http))
        return web.Response(body=text.encode(), headers={"Content-Type": "text/csv", **NO_GUESSING})

    def _dois(self) -> dict[str, str]:
        """The DOIs of the collections of the catalogue, by their names in upper case; empty where there is none."""
        addresses = {name.upper(): self._view.about(name).collection_uri or "" for name in self._view.collections()}
        return {name: address.partition("doi.org/")[2].lower() for name, address in addresses.items()}

    async def file(self, http: web.Request) -> web.StreamResponse:
        """Answer a slide, or a range of it."""
        key = quote(f"system/files/wsi/{http.match_info['path']}")
        found = next((each for each in await self._known() if each.key == key), None)
        if found is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="<html><body>Page not found</body></html>")
        kind = mimetypes.guess_type(found.path.name)[0] or _TIFF
        with open_unlinked(found.path) as source:
            return await send_file(http, source, {"Content-Type": kind, **NO_GUESSING})


def _json(http: web.Request, document: list[dict[str, Any]]) -> web.Response:
    if http.query.get("_format") != "json":
        return web.json_response({"message": "Not acceptable format: html"}, status=HTTPStatus.NOT_ACCEPTABLE)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))  # as Drupal writes it
    return web.Response(body=text.encode(), headers={"Content-Type": "application/json", **NO_GUESSING})


def _origin(http: web.Request) -> str:
    return f"{http.scheme}://{http.host}"
