"""The routes of DataCite and of the Collection Manager, at the paths that they have on their hosts.

Requests are anonymous: their sender sees what a guest sees.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final, TypeAlias
from urllib.parse import quote, urlencode

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.manifest.tcia import compose
from bulkdl.server.context import ServerContext
from bulkdl.server.responses import NO_GUESSING, NotedResponse
from bulkdl.server.services.datacite import NOT_FOUND, doi_list, doi_record
from bulkdl.server.services.offers import OfferedDataSet, OfferedDataSets
from bulkdl.server.services.wordpress import WordPressError, page_of

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.Response]]

_MANIFEST: Final = "application/x-nbia-manifest-file"


def add_routes(router: web.UrlDispatcher, context: ServerContext) -> None:
    """Add the routes of both services."""
    handlers = _ServiceHandlers(context)
    for path in ("/dois", "/dois/", "/works", "/works/"):
        router.add_get(path, _guarded(handlers.dois))
    router.add_get("/dois/{doi:.+}", _guarded(handlers.doi))
    for end in ("", "/"):
        router.add_get(f"/api/v{{version:[12]}}/{{endpoint:[a-z_-]+}}{end}", _guarded(handlers.records))
    router.add_get("/wp-content/uploads/{name:[^/]+}.tcia", _guarded(handlers.manifest))


def _guarded(handle: _Handler) -> _Handler:
    """Answer what fails in the server itself as such."""

    async def guarded(http: web.Request) -> web.Response:
        try:
            return await handle(http)
        except (BulkdlError, OSError) as error:
            note = str(error)
        return NotedResponse(note, status=HTTPStatus.INTERNAL_SERVER_ERROR, text="Internal Server Error")

    return guarded


class _ServiceHandlers:
    """The request handlers, and what they share."""

    def __init__(self, context: ServerContext) -> None:
        self._do = context.threads.do
        self._view = context.view_of(context.authenticator.guest)
        self._offers = OfferedDataSets(self._view)

    async def _known(self) -> tuple[OfferedDataSet, ...]:
        return await self._do(self._offers.all)

    async def dois(self, http: web.Request) -> web.Response:
        """Answer a page of the list of DOIs."""
        known, origin = await self._known(), _origin(http)

        def make() -> dict[str, Any]:
            records = [doi_record(each, origin) for each in known if each.doi]
            return doi_list(records, dict(http.query), f"{origin}{http.path}")

        return _json(await self._do(make))

    async def doi(self, http: web.Request) -> web.Response:
        """Answer the record of one DOI."""
        wanted = http.match_info["doi"].casefold()
        for each in await self._known():
            if each.doi == wanted:
                return _json({"data": doi_record(each, _origin(http))})
        return _json(NOT_FOUND, status=HTTPStatus.NOT_FOUND)

    async def records(self, http: web.Request) -> web.Response:
        """Answer a page of an endpoint of the Collection Manager."""
        version, endpoint = int(http.match_info["version"]), http.match_info["endpoint"]
        known = await self._known()
        try:
            page = await self._do(page_of, version, endpoint, dict(http.query), known, _origin(http))
        except WordPressError as error:
            return _json(error.document, status=error.status)
        if version != 1:
            return _json(page.as_v2)
        headers = {"X-WP-Total": str(page.total), "X-WP-TotalPages": str(page.pages)}
        if page.page < page.pages:
            following = urlencode({**http.query, "page": page.page + 1})
            headers["Link"] = f'<{_origin(http)}{quote(http.path)}?{following}>; rel="next"'
        return _json(page.records, headers=headers)

    async def manifest(self, http: web.Request) -> web.Response:
        """Answer the manifest that a download of the Collection Manager links."""
        name = http.match_info["name"]
        known = next((each for each in await self._known() if each.name == name), None)
        if known is None:
            return web.Response(status=HTTPStatus.NOT_FOUND)
        text = await self._do(self._manifest_of, known, _origin(http))
        disposition = f"attachment; filename*=UTF-8''{quote(known.name, safe='')}.tcia"
        headers = {"Content-Type": _MANIFEST, "Content-Disposition": disposition, **NO_GUESSING}
        return web.Response(body=text.encode(), headers=headers)

    def _manifest_of(self, one: OfferedDataSet, origin: str) -> str:
        found = (
            series.series_uid
            for name in one.collections or (one.name,)
            for series in self._view.series(collection=name)
            if not one.is_result or (series.collection_uri or "").lower().endswith(one.doi or "")
        )
        return compose(found, archive=origin, name=f"{one.name}.tcia")


def _origin(http: web.Request) -> str:
    return f"{http.scheme}://{http.host}"


def _json(document: Any, *, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(document, status=status, headers={**(headers or {}), **NO_GUESSING})
