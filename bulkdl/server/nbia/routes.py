"""The routes of the NBIA and TCIA APIs: from an HTTP request to the module that answers it.

The tables in `archive.nbia.endpoints` define the endpoints; `apis` says which API is at which path. `rows` makes
answers of rows, `replies` makes other answers, `downloads` sends instances and bundles.

Source: `V1_*.java`, `V2_*.java`, `v4/*.java` and `getData.java` of the NBIA API, and Bindaas.

No path on disk is made from anything that a client sends. What is hidden from a viewer is hidden in `CatalogueView`.
"""

import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Final, TypeAlias

from aiohttp import web

from bulkdl.archive.nbia.endpoints import OTHER_NAMES, Answer, Endpoint
from bulkdl.errors import BulkdlError, ConfigurationError, InvalidInstance
from bulkdl.model.text import shortened
from bulkdl.server.access import Authenticator, CredentialProblem, Viewer
from bulkdl.server.context import ServerContext
from bulkdl.server.inspection import Inspection
from bulkdl.server.nbia.apis import APIS, SERVICES_PATH, Api, Credential
from bulkdl.server.nbia.downloads import Downloads
from bulkdl.server.nbia.errors import missing_parameter, refusal, server_error, unauthorized, unknown_tcia_endpoint
from bulkdl.server.nbia.logins import Logins
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import RENDERINGS
from bulkdl.server.nbia.replies import level_of, reply
from bulkdl.server.nbia.request import FORMAT, ApiRequest, RequestRefused, check_names, read_form
from bulkdl.server.nbia.rows import find_format, write_rows
from bulkdl.server.nbia.shared_lists import SharedLists
from bulkdl.server.responses import ServerThreads, Unavailable
from bulkdl.server.supply import Supply

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answering: TypeAlias = Callable[[web.Request, ApiRequest], Awaitable[web.StreamResponse]]

_TOKEN_PATHS: Final = ("/nbia-api/oauth/token", f"{SERVICES_PATH}/oauth/token")
_LOGOUT_PATHS: Final = (("POST", f"{SERVICES_PATH}/logout"), ("GET", "/nbia-api/logout"))
_OF_FILES: Final = frozenset(
    ("getSOPInstanceUIDs", "getImageDrillDown", "getThumbnail", "getDicomTags", "getMD5Hierarchy")
)
"""Endpoints that read files of Series, besides the downloads."""
_HASHING: Final = frozenset({"getM5HashForImage", "getMD5HashForImage", "getMD5Hierarchy"})
_MOST_NEEDED: Final = 100
_KEY: Final = "api_key"
_ROW_FORMATS: Final = ("CSV", "HTML", "XML", "JSON")
_INSPECTED: Final = {
    "getThumbnail": Inspection.THUMBNAIL,
    "getDicomTags": Inspection.TAGS,
    "getDicomTagsByImageID": Inspection.TAGS,
}


def add_routes(router: web.UrlDispatcher, context: ServerContext, *, quirks: frozenset[Quirk]) -> None:
    """Add the routes of every NBIA and TCIA API, and of logins: see `make_app`."""
    handlers, logins = _Handlers(context, quirks), Logins(context)
    for api in APIS:
        for endpoint in api.endpoints.values():
            handle = handlers.handler(api, endpoint)
            paths = [api.base + endpoint.path]
            if api.is_tcia and endpoint.name in OTHER_NAMES:
                paths.append(paths[0].replace(endpoint.name, OTHER_NAMES[endpoint.name]))
            for path in paths:
                router.add_route(endpoint.method, path, handle)
                if endpoint.method == "GET":
                    router.add_route("HEAD", path, handle)
                if api.is_tcia:
                    router.add_get(f"{path}/metadata", handlers.metadata_handler(api, endpoint))
        if api.is_tcia:
            router.add_route("*", f"{api.base}{{anything:.*}}", unknown_tcia_endpoint)
    for path in _TOKEN_PATHS:
        router.add_post(path, logins.token)
    for method, path in _LOGOUT_PATHS:
        router.add_route(method, path, logins.log_out)


class _Handlers:
    """The request handlers, and what they share."""

    def __init__(self, context: ServerContext, quirks: frozenset[Quirk]) -> None:
        self._context = context
        self._quirks = quirks
        self._lists = SharedLists(context.catalogue.path.with_suffix(".shared-lists.json"))
        self._downloads = Downloads(context, quirks)

    def handler(self, api: Api, endpoint: Endpoint) -> Handler:
        is_post, is_instance = endpoint.method == "POST", endpoint.answer is Answer.INSTANCE
        answer, required = self._answering(endpoint), endpoint.required

        async def handle(http: web.Request) -> web.StreamResponse:
            viewer = _identify(http, api, endpoint, self._context.authenticator)
            if isinstance(viewer, CredentialProblem):
                return unauthorized(viewer, api, endpoint, self._quirks)
            try:
                parameters = await read_form(http) if is_post else http.query
                if endpoint.is_strict:
                    check_names(endpoint, parameters)
                for name in required:
                    if name not in parameters:
                        return missing_parameter(api, endpoint, name)
                if is_instance:  # without an `ApiRequest`, because there are millions of them
                    return await self._downloads.send_instance(http, api, viewer.hidden)
                request = ApiRequest(
                    api=api,
                    endpoint=endpoint,
                    viewer=viewer,
                    view=self._context.view_of(viewer),
                    parameters=parameters,
                    authenticator=self._context.authenticator,
                    lists=self._lists,
                    origin=f"{http.scheme}://{http.host}",
                )
                return await answer(http, request)
            except (RequestRefused, Unavailable) as refused:
                return refusal(refused, api)
            except ConnectionError:
                raise  # the client has left
            except (BulkdlError, OSError) as error:
                return server_error(str(error), api, tcia_message="The request could not be executed")

        return _with_bindaas_headers(handle) if api.is_tcia else handle

    def _supplied(self, answer: Answering, supply: Supply) -> Answering:
        """Answer as `answer`, after a cache has downloaded the files that a request needs."""

        async def answer_supplied(http: web.Request, request: ApiRequest) -> web.StreamResponse:
            async with AsyncExitStack() as stack:
                return await answer(http, await self._with_files(request, supply, stack))

        return answer_supplied

    async def _with_files(self, request: ApiRequest, supply: Supply, stack: AsyncExitStack) -> ApiRequest:
        """The request, for which a cache keeps the files that it needs until the `stack` ends."""
        needed = await self._context.threads.do(_needed_series, request)
        if request.endpoint.name == "getSOPInstanceUIDs" and needed:
            sop_uids = await supply.sop_uids(needed[0])
            if sop_uids is not None:
                return replace(request, sop_uids=sop_uids)
        for series_uid in needed:
            wanted = request.value("sop_uid") or bool  # the tags may be those of any instance
            is_one = request.endpoint.name in _INSPECTED
            await stack.enter_async_context(
                supply.using_one(series_uid, wanted) if is_one else supply.using(series_uid)
            )
        return request

    def metadata_handler(self, api: Api, endpoint: Endpoint) -> Handler:
        body = _describe_endpoint(endpoint)

        async def handle(http: web.Request) -> web.StreamResponse:
            viewer = _identify(http, api, endpoint, self._context.authenticator)
            if isinstance(viewer, CredentialProblem):
                return unauthorized(viewer, api, endpoint, self._quirks)
            return web.Response(body=body, content_type="application/json")

        return _with_bindaas_headers(handle)

    def _answering(self, endpoint: Endpoint) -> Answering:
        answer, supply = self._answering_of_held(endpoint), self._context.supply
        return answer if supply is None or endpoint.name not in _OF_FILES else self._supplied(answer, supply)

    def _answering_of_held(self, endpoint: Endpoint) -> Answering:
        ways = {Answer.ROWS: self._send_rows, Answer.BUNDLE: self._downloads.send_bundle}
        answer = ways.get(endpoint.answer, self._send_reply)
        if (what := _INSPECTED.get(endpoint.name)) is None:
            return answer

        async def answer_inspected(http: web.Request, request: ApiRequest) -> web.StreamResponse:
            return await answer(http, await self._inspect(request, what))

        return answer_inspected

    async def _inspect(self, request: ApiRequest, what: Inspection) -> ApiRequest:
        """The request with what the inspector reads of its file. An instance that cannot be drawn has no thumbnail."""
        if (file := await self._context.threads.do(request.instance)) is None:
            return request
        try:
            return replace(request, inspected=await self._context.inspector.read(what, file))
        except (InvalidInstance, ConfigurationError):
            if what is Inspection.THUMBNAIL:
                return request
            raise

    async def _send_reply(self, http: web.Request, request: ApiRequest) -> web.StreamResponse:
        threads = self._context.hashing if request.endpoint.name in _HASHING else self._context.threads
        made = await threads.do(reply, request)
        headers = {**made.headers, "Content-Type": made.content_type}
        if made.pieces is None:
            return web.Response(body=made.body, headers=headers)
        return await _send_pieces(http, made.pieces, headers, threads)

    async def _send_rows(self, http: web.Request, request: ApiRequest) -> web.StreamResponse:
        """Send rows. An unknown format is an error only if there are rows."""
        endpoint, do = request.endpoint, self._context.threads.do
        name = request.parameters.get(FORMAT) if endpoint.has_format else None
        name = endpoint.default_format if name is None else name
        found = find_format(request.api, endpoint, name)
        used = found or RENDERINGS["JSON"]
        chunks = write_rows(request, used, self._quirks)
        first = await do(next, chunks, b"")
        if first and found is None:
            unknown = f"unknown format {shortened(name, 20)!r}"
            return server_error(unknown, request.api, tcia_message="Output format is not supported")
        second = await do(next, chunks, b"") if first else b""
        headers = {**used.headers, "Content-Type": used.content_type}
        if not second:
            return web.Response(body=first, headers=headers)
        return await self._context.threads.stream(http, headers, chunks, first, second)


async def _send_pieces(
    http: web.Request, pieces: Iterator[bytes], headers: Mapping[str, str], threads: ServerThreads
) -> web.StreamResponse:
    """Send a body that comes in pieces, with its length if it has only one.

    Where the first takes long, empty ones come before it, so that its work ends when the client leaves.
    """
    while (first := await threads.do(next, pieces, None)) == b"":
        if http.transport is None:
            raise ConnectionResetError
    second = await threads.do(next, pieces, b"") if first else b""
    if not second:
        return web.Response(body=first or b"", headers=headers)
    return await threads.stream(http, headers, pieces, first, second)


def _needed_series(request: ApiRequest) -> list[str]:
    """The UIDs of the Series whose files a request needs, as far as they exist and its viewer may see them.

    Raises:
        RequestRefused: they are too many to be downloaded for one answer.
    """
    if request.endpoint.name == "getImageDrillDown":
        found = request.view.series_numbered(request.uids("series_ids"))
    else:
        is_series = request.endpoint.name != "getMD5Hierarchy"
        criteria = request.criteria("series_uid") if is_series else level_of(request)[1]
        found = [one.series_uid for one in islice(request.view.series(**criteria), _MOST_NEEDED + 1)]
    if len(found) > _MOST_NEEDED:
        raise RequestRefused(f"This is a cache of another archive: ask for at most {_MOST_NEEDED} Series.")
    return found


def _identify(
    http: web.Request, api: Api, endpoint: Endpoint, authenticator: Authenticator
) -> Viewer | CredentialProblem:
    """The viewer, by the credentials that the API takes; MISSING if a key is missing or unknown."""
    if api.credential is Credential.NONE or endpoint.name == "up":
        return authenticator.guest
    if api.credential is Credential.KEY:
        is_known = authenticator.is_key(http.query.get(_KEY) or http.headers.get(_KEY))
        return authenticator.guest if is_known else CredentialProblem.MISSING
    viewer = authenticator.viewer(http.headers.get("Authorization"))
    if viewer is CredentialProblem.MISSING and api.credential is Credential.OPTIONAL_TOKEN:
        return authenticator.guest
    return viewer


def _with_bindaas_headers(handle: Handler) -> Handler:
    """Add Bindaas' headers to each response whose headers are not sent yet."""

    async def timed(request: web.Request) -> web.StreamResponse:
        start = time.perf_counter()
        response = await handle(request)
        if not response.prepared:
            response.headers["Bindaas-version"] = "bulkdl"
            response.headers["Vendor"] = "bulkdl"
            response.headers["responseTime"] = str(round((time.perf_counter() - start) * 1000))
        return response

    return timed


@cache
def _describe_endpoint(endpoint: Endpoint) -> bytes:
    """The JSON of `…/metadata`. Its key names are our own, as the real ones are not documented."""
    parameters = [{"name": parameter.name, "required": parameter.required} for parameter in endpoint.parameters]
    if endpoint.has_format:
        parameters.append({"name": FORMAT, "required": False})
    formats = {Answer.BUNDLE: ["ZIP"], Answer.INSTANCE: ["DICOM"]}
    description = {
        "name": endpoint.name,
        "description": endpoint.description,
        "queryParameters": parameters,
        "returnTypes": formats.get(endpoint.answer, [name for name in _ROW_FORMATS if name in endpoint.formats]),
        "attributes": [
            {
                "name": attribute.name,
                "dicomTag": f"{attribute.tag[:4]} {attribute.tag[4:]}" if attribute.tag else "NA",
                "description": attribute.description,
            }
            for attribute in endpoint.attributes
        ],
    }
    return json.dumps(description, indent=1).encode()
