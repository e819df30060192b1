"""The routes of the pages: one table, from a path to the template and the function that says what it shows.

Errors are pages, too. What is hidden from a viewer is hidden in `CatalogueView`, as for the APIs.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.server.context import ServerContext
from bulkdl.server.metrics import CONTENT_TYPE, METRICS
from bulkdl.server.portal import browsing
from bulkdl.server.portal.cart import CART, cart, changed, read_cart, write_cart
from bulkdl.server.portal.downloads import send_download
from bulkdl.server.portal.help_pages import PICTURES, help_page, read_picture
from bulkdl.server.portal.instances import InstancePages
from bulkdl.server.portal.openapi import api_docs, openapi
from bulkdl.server.portal.pages import HEADERS, PageMissing, PageRequest, address, render
from bulkdl.server.portal.pictures import Pictures
from bulkdl.server.portal.runs import RunPages
from bulkdl.server.portal.sessions import end_session, is_foreign, start_session, viewer_of
from bulkdl.server.responses import UNREADABLE_FORM, NotedResponse, Unavailable, bare_page

Making: TypeAlias = Callable[[PageRequest], Mapping[str, Any]]
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGES: Final[Mapping[str, tuple[str, Making]]] = {
    "/": ("home", browsing.home),
    "/search": ("search", browsing.search),
    "/collection": ("collection", browsing.collection),
    "/patient": ("patient", browsing.patient),
    "/study": ("study", browsing.study),
    "/series": ("series", browsing.series),
    "/cart": ("cart", cart),
    "/api-docs": ("api_docs", api_docs),
    "/help/": ("help", help_page),
    "/login": ("login", lambda _request: {"message": ""}),
}
_ASSETS: Final = {
    "portal.css": "text/css",
    "portal.js": "text/javascript",
    "runs.js": "text/javascript",
    "viewer.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_JSON: Final = "application/json"
_HTML: Final = "text/html"


def add_routes(
    router: web.UrlDispatcher, context: ServerContext, *, services: str, mirrors: Sequence[Path] = ()
) -> None:
    """Add the routes of all pages. `services` is the path of the address that the command prints: it leads to `/`.

    The runs on `mirrors` are shown as they happen.
    """
    portal, pictures = Portal(context, mirrors), Pictures(context)
    instances = InstancePages(context, pictures)
    for path, (template, make) in _PAGES.items():
        router.add_get(path, portal.page(template, make))
    router.add_get("/help/{topic}", portal.help)
    router.add_get("/runs", portal.runs)
    router.add_get("/runs/events", portal.run_events)
    router.add_get("/openapi.json", portal.openapi)
    router.add_get("/health", portal.health)
    router.add_get("/metrics", metrics)
    router.add_get("/instance", portal.instance(instances))
    router.add_get("/instances", portal.sop_uids(instances))
    router.add_get("/download", portal.download)
    for path, send in (
        ("/picture", pictures.picture),
        ("/mask", pictures.mask),
        ("/contours", pictures.contours),
        ("/facts", pictures.facts),
    ):
        router.add_get(path, send)
    for path, change in (
        ("/cart", portal.change_cart),
        ("/fetch", portal.fetch),
        ("/login", portal.log_in),
        ("/logout", portal.log_out),
    ):
        router.add_post(path, _from_here(change))
    router.add_get("/static/{name}", asset)
    for path in (services, f"{services}/"):
        router.add_route("*", path, to_front_page)


class Portal:
    """The handlers of pages, and what they share."""

    def __init__(self, context: ServerContext, mirrors: Sequence[Path] = ()) -> None:
        self._context = context
        self._has_mirrors = bool(mirrors)
        self._runs = RunPages(mirrors, context.threads)

    def page(self, template: str, make: Making) -> Handler:
        """The handler of a page."""

        async def handle(http: web.Request) -> web.StreamResponse:
            return await self.answer(http, template, make)

        return handle

    async def answer(
        self, http: web.Request, template: str, make: Making, status: HTTPStatus = HTTPStatus.OK
    ) -> web.StreamResponse:
        """The response with a page; with a page that says what is wrong, where it cannot be made."""

        async def made(request: PageRequest) -> web.Response:
            return _html(await self._context.threads.do(_rendered, template, make, request), status)

        return await self._guarded(http, made)

    async def _guarded(
        self, http: web.Request, made: Callable[[PageRequest], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """What `made` gives; a page that says what is wrong, where it fails."""
        request = self.request(http)
        try:
            return await made(request)
        except PageMissing as missing:
            return await self._message(request, "Not found", str(missing), HTTPStatus.NOT_FOUND)
        except Unavailable as error:
            return await self._message(request, "The archive does not answer", str(error), error.status)
        except ConnectionError:
            raise  # the client has left
        except (BulkdlError, OSError) as error:
            reason = "The server cannot read what it serves. Its access log says why."
            page = await self._message(request, "An error", reason, HTTPStatus.INTERNAL_SERVER_ERROR)
            return NotedResponse(str(error), status=page.status, body=page.body, headers=page.headers)

    def instance(self, pages: InstancePages) -> Handler:
        """The handler of the pages of instances."""

        async def handle(http: web.Request) -> web.StreamResponse:
            async def made(request: PageRequest) -> web.Response:
                values = await pages.values(http, request)
                return _html(await self._context.threads.do(render, "instance", request, values), HTTPStatus.OK)

            return await self._guarded(http, made)

        return handle

    def sop_uids(self, pages: InstancePages) -> Handler:
        """The handler of the list of instances of a Series."""

        async def handle(http: web.Request) -> web.StreamResponse:
            async def made(request: PageRequest) -> web.Response:
                body = json.dumps(list(await pages.sop_uids(request, request.uid("series")))).encode()
                return web.Response(body=body, content_type=_JSON, headers=HEADERS)

            return await self._guarded(http, made)

        return handle

    async def download(self, http: web.Request) -> web.StreamResponse:
        """Send a manifest or the files of what is chosen."""
        return await self._guarded(http, lambda request: send_download(http, request, self._context))

    async def runs(self, http: web.Request) -> web.StreamResponse:
        """Send the page of the runs on the mirrors that are served."""

        async def made(request: PageRequest) -> web.Response:
            values = await self._runs.values(request)
            return _html(await self._context.threads.do(render, "runs", request, values), HTTPStatus.OK)

        return await self._guarded(http, made)

    async def run_events(self, http: web.Request) -> web.StreamResponse:
        """Send the numbers of that page as they change."""
        return await self._guarded(http, lambda request: self._runs.events(http, request))

    async def help(self, http: web.Request) -> web.StreamResponse:
        """Send a page of the documentation, or a picture of it."""
        name = http.match_info["topic"]
        if (media_type := PICTURES.get(Path(name).suffix)) is not None:
            content = await self._context.threads.do(read_picture, name)
            if content is not None:
                return web.Response(body=content, content_type=media_type, headers=HEADERS)
        return await self.answer(http, "help", help_page)

    async def openapi(self, http: web.Request) -> web.StreamResponse:
        """Send the APIs as OpenAPI."""
        body = await self._context.threads.do(openapi, f"{http.scheme}://{http.host}")
        return web.Response(body=body, content_type=_JSON, headers=HEADERS)

    async def health(self, http: web.Request) -> web.StreamResponse:
        """Say whether the server can read what it serves."""
        request = self.request(http)
        try:
            document = {"status": "ok", **asdict(await self._context.threads.do(request.view.totals))}
        except BulkdlError as error:
            body = json.dumps({"status": "error"}).encode()
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return NotedResponse(str(error), status=status, body=body, content_type=_JSON, headers=HEADERS)
        if request.supply is not None:
            document["archive"] = request.supply.note
        return web.Response(body=json.dumps(document).encode(), content_type=_JSON, headers=HEADERS)

    async def change_cart(self, http: web.Request) -> web.StreamResponse:
        """Add Series to the cart, or remove them; then go back to the page, or say what is in it, to a script."""
        request, form = self.request(http), await http.post()
        uids = [uid for uid in form.getall("series", ()) if isinstance(uid, str)]
        numbers = await self._context.threads.do(changed, request.view, request.cart, form.get("action"), uids)
        if http.headers.get("Accept") == _JSON:
            document = {"series": len(numbers), "has": form.get("action") == "add"}
            response = web.Response(body=json.dumps(document).encode(), content_type=_JSON, headers=HEADERS)
        else:
            response = _see(_local(form.get("next")) or "/cart")
        response.set_cookie(CART, write_cart(numbers), httponly=True, samesite="Strict", secure=http.secure)
        return response

    async def fetch(self, http: web.Request) -> web.StreamResponse:
        """Begin to download a Series into a cache, and go back to its page as soon as something of it is there."""
        form = await http.post()
        series_uid = str(form.get("series", ""))

        async def made(request: PageRequest) -> web.Response:
            if await self._context.threads.do(request.view.collection_of, series_uid) is None:
                raise PageMissing("There is no such series.")
            if request.supply is not None:
                async with request.supply.arriving(series_uid) as arriving:
                    if arriving is not None:
                        await arriving.more()
            return _see(address("/series", uid=series_uid))

        return await self._guarded(http, made)

    def request(self, http: web.Request) -> PageRequest:
        """What a page is made of."""
        authenticator = self._context.authenticator
        viewer = viewer_of(http, authenticator)
        return PageRequest(
            view=self._context.view_of(viewer),
            viewer=viewer,
            path=http.path,
            query=http.query,
            origin=f"{http.scheme}://{http.host}",
            cart=read_cart(http.cookies.get(CART, "")),
            supply=self._context.supply,
            has_users=authenticator.has_users,
            has_mirrors=self._has_mirrors,
            is_guest=viewer == authenticator.guest,
            match=http.match_info,
        )

    async def _message(self, request: PageRequest, title: str, message: str, status: HTTPStatus) -> web.Response:
        values = {"title": title, "message": message}
        return _html(await self._context.threads.do(render, "message", request, values), status)

    async def log_in(self, http: web.Request) -> web.StreamResponse:
        """Begin the session of a user, in a cookie."""
        form = await http.post()
        name, password = (form.get(field) for field in ("username", "password"))
        login = None
        if isinstance(name, str) and isinstance(password, str):
            login = await self._context.logins.do(self._context.authenticator.log_in, name, password)
        if login is None:
            wrong = {"message": "The user name or the password is wrong."}
            return await self.answer(http, "login", lambda _request: wrong, HTTPStatus.UNAUTHORIZED)
        response = _see("/")
        start_session(response, login.access_token, login.expires_in, is_secure=http.secure)
        return response

    async def log_out(self, http: web.Request) -> web.StreamResponse:
        """End the session of a user."""
        self._context.authenticator.log_out(f"Bearer {http.cookies.get('bulkdl_session', '')}")
        response = _see("/")
        end_session(response)
        return response


def _from_here(change: Handler) -> Handler:
    """Refuse forms of other sites, and those that cannot be read."""

    async def handle(http: web.Request) -> web.StreamResponse:
        if is_foreign(http):
            return web.Response(status=HTTPStatus.FORBIDDEN, text="This form comes from another site.", headers=HEADERS)
        try:
            await http.post()  # which keeps it
        except UNREADABLE_FORM:
            return web.Response(status=HTTPStatus.BAD_REQUEST, text="The form cannot be read.", headers=HEADERS)
        return await change(http)

    return handle


def _local(path: object) -> str | None:
    """A path on this server, to go back to."""
    is_local = isinstance(path, str) and path.startswith("/") and not path.startswith(("//", "/\\"))
    return quote(path, safe="/?&=%+:,;~@!*'()-._", errors="replace") if is_local and isinstance(path, str) else None


def _rendered(template: str, make: Making, request: PageRequest) -> bytes:
    return render(template, request, make(request))


def _html(body: bytes, status: HTTPStatus) -> web.Response:
    return web.Response(status=status, body=body, content_type=_HTML, charset="utf-8", headers=HEADERS)


def _see(path: str) -> web.Response:
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={**HEADERS, "Location": path})


async def asset(http: web.Request) -> web.StreamResponse:
    """Send a file that all pages share."""
    name = http.match_info["name"]
    if name not in _ASSETS:
        return bare_page(HTTPStatus.NOT_FOUND)
    body = files(__package__).joinpath("static", name).read_bytes()
    return web.Response(body=body, content_type=_ASSETS[name], charset="utf-8", headers=HEADERS)


async def metrics(http: web.Request) -> web.StreamResponse:
    """Send what the server did since its start."""
    return web.Response(body=http.app[METRICS].text().encode(), headers={**HEADERS, "Content-Type": CONTENT_TYPE})


async def to_front_page(http: web.Request) -> web.StreamResponse:
    """Send a browser from the printed address to the pages; a client of the API gets the 404 that it knows."""
    is_browser = http.method == "GET" and _HTML in http.headers.get("Accept", "")
    return _see("/") if is_browser else bare_page(HTTPStatus.NOT_FOUND)
