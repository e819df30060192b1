"""The embedded archive's HTTP face: it says who asks, reads what is asked, and sends what was found.

Which endpoints there are, their parameters and attributes, is read in `archive.endpoints`; where each api is, in
`APIs`. Rows are found by `finding`, other answers made by `replying`, instances and zips sent by `images`. What is
here is how the servers themselves behave: empty bodies for nothing found, errors as English sentences with odd labels,
500 for what is unknown. Source: `V1_*.java`, `V2_*.java`, `v4/*.java` and `getData.java` of NBIA's API, and Bindaas.

No path is made of anything that a client sends, and what is hidden from a client is hidden below, in `questions`.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from bulkdl.archive.nbia.endpoints import NBIA_ADVANCED, Answer, Attribute, Endpoint
from bulkdl.errors import BulkdlError, ConfigurationError
from bulkdl.server.access import AccessRules
from bulkdl.server.authentication import Authenticator, CredentialProblem, Viewer
from bulkdl.server.catalogue import Catalogue
from bulkdl.server.nbia.apis import APIS, SERVICES_PATH, Api, Credential
from bulkdl.server.nbia.images import Downloads
from bulkdl.server.nbia.index_page import front_page
from bulkdl.server.nbia.logins import Logins
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.renderings import RENDERINGS, JsonValue, Rendering
from bulkdl.server.nbia.replies import reply
from bulkdl.server.nbia.request import ApiRequest, RequestRefused
from bulkdl.server.nbia.rows import find_rows
from bulkdl.server.nbia.shared_lists import SharedLists
from bulkdl.server.streaming import FailureResponse, Stream, Threads

if TYPE_CHECKING:
    from multidict import MultiMapping

__all__ = ["SERVICES_PATH", "AccessRecord", "make_app", "serving"]

_SHUTDOWN_SECONDS: Final = 2.0
_BACKLOG: Final = 1024
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_LARGEST_FORM_BYTES: Final = 1 << 24
_MOST_FIELDS: Final = 100_000
_LONGEST_NAME: Final = 80
_CHUNK_CHARACTERS: Final = 1 << 16
_TOKEN_PATHS: Final = ("/nbia-api/oauth/token", f"{SERVICES_PATH}/oauth/token")
_LOGOUT_PATHS: Final = (("POST", f"{SERVICES_PATH}/logout"), ("GET", "/nbia-api/logout"))
_WITHOUT_SECOND_COMMA: Final = frozenset(
    (
        *("getSeriesSize", "getSOPInstanceUIDs", "getSeriesMetaData", "getContentsByName"),
        *("NewPatientsInCollection", "NewStudiesInPatientCollection"),
    )
)
_FOR_ANYBODY: Final = frozenset({"up"})
_FORMAT: Final = "format"
_KEY: Final = "api_key"
_SECRET: Final = re.compile(r"((?:^|[?&])api_key=)[^&]*", re.IGNORECASE)
_PARAMETER_MISSING: Final = 471  # Bindaas has numbers of its own


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One request that was answered. `bytes_sent` is of the body; `note` says why it failed, where that is known.

    An API key in the address is left out of `path_qs`.
    """

    method: str
    path_qs: str
    status: int
    bytes_sent: int
    seconds: float
    note: str | None = None


def make_app(
    catalogue: Catalogue,
    *,
    rules: AccessRules | None = None,
    quirks: frozenset[Quirk] = frozenset(),
    middlewares: Sequence[Any] = (),
) -> web.Application:
    """The archive as an aiohttp application. The catalogue stays the caller's, who closes it afterwards.

    Raises:
        DiskError: the shared lists beside the catalogue cannot be read.
    """
    archive = _Archive(catalogue, rules or AccessRules(), quirks)
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_FORM_BYTES)
    app.router.add_get("/", archive.welcome)
    for api in APIS:
        for endpoint in api.endpoints.values():
            app.router.add_route(endpoint.method, api.base + endpoint.path, archive.answering(api, endpoint))
            if endpoint.method == "GET":
                app.router.add_route("HEAD", api.base + endpoint.path, archive.answering(api, endpoint))
            if api.is_tcia:
                app.router.add_get(f"{api.base}{endpoint.path}/metadata", archive.describing(api, endpoint))
    for path in _TOKEN_PATHS:
        app.router.add_post(path, archive.token)
    for method, path in _LOGOUT_PATHS:
        app.router.add_route(method, path, archive.log_out)
    app.router.add_route("*", "/{anything:.*}", _not_found)
    app.on_cleanup.append(archive.close)
    return app


@asynccontextmanager
async def serving(
    catalogue: Catalogue,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    access_log: Callable[[AccessRecord], None] | None = None,
    rules: AccessRules | None = None,
    quirks: frozenset[Quirk] = frozenset(),
    middlewares: Sequence[Any] = (),
) -> AsyncIterator[str]:
    """Serve for the length of the block; gives the base address, `http://127.0.0.1:PORT/nbia-api/services`.

    Port 0 takes a free one. `access_log` is called in the event loop after each answer. At the end requests under way
    are given two seconds.

    Raises:
        ConfigurationError: nobody can listen at that address.
        DiskError: the shared lists beside the catalogue cannot be read.
    """
    runner = web.AppRunner(
        make_app(catalogue, rules=rules, quirks=quirks, middlewares=middlewares),
        access_log_class=_access_logger(access_log) if access_log else AbstractAccessLogger,
        access_log=logging.getLogger(__name__) if access_log else None,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, backlog=_BACKLOG).start()
        except OSError as error:
            raise ConfigurationError(f"cannot listen at {host}, port {port}: {error.strerror or error}") from error
        address, bound = runner.addresses[0][:2]
        yield f"http://{f'[{address}]' if ':' in address else address}:{bound}{SERVICES_PATH}"
    finally:
        await runner.cleanup()


_Given: TypeAlias = "dict[str, list[str]] | MultiMapping[str]"
"""Parameters as they came: of a form, or of an address alone."""


def _access_logger(sink: Callable[[AccessRecord], None]) -> type[AbstractAccessLogger]:
    class Logger(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            sent, note = 0, None
            if isinstance(response, Stream):
                sent, note = response.bytes_sent, response.note
            elif isinstance(response, web.Response) and isinstance(response.body, bytes) and request.method != "HEAD":
                sent = len(response.body)
            if isinstance(response, FailureResponse):
                note = response.note
            path_qs = _SECRET.sub(r"\1…", request.path_qs)
            sink(AccessRecord(request.method, path_qs, response.status, sent, time, note))

    return Logger


# --- who asks ---------------------------------------------------------------------------------------------------------


def _identified(
    request: web.Request, api: Api, endpoint: Endpoint, authenticator: Authenticator
) -> Viewer | CredentialProblem:
    """Who asks, as far as the api wants to know; MISSING too for a key that is missing or unknown."""
    if api.credential is Credential.NONE or endpoint.name in _FOR_ANYBODY:
        return authenticator.guest
    if api.credential is Credential.KEY:
        is_known = not authenticator.needs_key or authenticator.is_key(
            request.query.get(_KEY) or request.headers.get(_KEY)
        )
        return authenticator.guest if is_known else CredentialProblem.MISSING
    who = authenticator.viewer(request.headers.get("Authorization"))
    return (
        authenticator.guest if who is CredentialProblem.MISSING and api.credential is Credential.OPTIONAL_TOKEN else who
    )


def _unknown(who: CredentialProblem, api: Api, endpoint: Endpoint, quirks: frozenset[Quirk]) -> web.Response:
    """The answer to somebody who is not known."""
    refused = web.Response(status=HTTPStatus.UNAUTHORIZED)
    if api.credential is Credential.KEY:
        return refused
    refused.headers["WWW-Authenticate"] = "Bearer"
    if Quirk.EMPTY_TOKEN not in quirks or api.name == "nbia-advanced" or endpoint.name in NBIA_ADVANCED:
        return refused
    if endpoint.answer is not Answer.ROWS or endpoint.name == "getCollectionValues":
        return FailureResponse("no token") if who is CredentialProblem.MISSING else refused
    if api.credential is Credential.OPTIONAL_TOKEN and endpoint.name == "getSeries":
        return FailureResponse("broken SQL")
    return web.Response(body=b"")


# --- formats ----------------------------------------------------------------------------------------------------------


def _nulls_and_all(_attributes: Sequence[Attribute], rows: Iterable[Mapping[str, JsonValue]]) -> Iterator[bytes]:
    """JSON as Jackson writes it: nulls stay, and nothing found is an empty array."""
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    pieces, size, between = ["["], 0, ""
    for row in rows:
        pieces.append(between + encode(row))
        between = ","
        size += len(pieces[-1])
        if size >= _CHUNK_CHARACTERS:
            yield "".join(pieces).encode(errors="replace")
            pieces, size = [], 0
    yield "".join([*pieces, "]"]).encode(errors="replace")


_OBJECTS: Final = Rendering("application/json", _nulls_and_all)
_NULLS_LEFT_OUT: Final = frozenset({"getCollectionOrSeriesForDOI"})


def _rendering(api: Api, endpoint: Endpoint, word: str) -> tuple[Rendering, dict[str, str]] | None:
    """How to write the format of that name, and headers that go with it; None for a format that is not known."""
    word = word.upper()
    if api.is_tcia:
        found = api.renderings.get(word)
        return None if found is None else (found, {})
    if endpoint.name in _OBJECT_ENDPOINTS:
        return _OBJECTS, {}
    is_single = len(endpoint.attributes) == 1
    if word == "CSV-DOWNLOAD":
        content_type = "application/force-download" if is_single else "text/csv"
        rendering = Rendering(content_type, RENDERINGS["CSV"].write)
        return rendering, {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}
    if word == "CSVQUOTED" and not is_single:
        word = "CSV"
    found = RENDERINGS.get(word)
    return None if found is None else (found, {})


_OBJECT_ENDPOINTS: Final = frozenset(
    endpoint.name
    for endpoint in NBIA_ADVANCED.values()
    if endpoint.answer is Answer.ROWS and endpoint.default_format == "JSON" and endpoint.name not in _NULLS_LEFT_OUT
)


def _written(asked: ApiRequest, *, as_text: bool) -> Iterator[Mapping[str, JsonValue]]:
    """The rows as they go over the wire. Nothing is found before the first is wanted."""
    to_wire = asked.api.writer(asked.endpoint)
    attributes = asked.endpoint.attributes
    for row in find_rows(asked):
        wired = {attribute.name: to_wire(attribute, row.get(attribute.field)) for attribute in attributes}
        yield {name: _texts(value) for name, value in wired.items()} if as_text else wired


def _texts(value: JsonValue) -> JsonValue:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _quirked(chunks: Iterator[bytes], quirks: frozenset[Quirk]) -> Iterator[bytes]:
    """JSON with the habits that were asked for; an answer that has them is short, or fits in memory at least."""
    body = b"".join(chunks)
    if Quirk.SINGLE_OBJECT in quirks and body:
        rows = json.loads(body)
        if isinstance(rows, list) and len(rows) == 1:
            body = json.dumps(rows[0], ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    if Quirk.ESCAPED_SLASHES in quirks:
        body = body.replace(b"/", rb"\/")
    if body:
        yield body


# --- requests ---------------------------------------------------------------------------------------------------------


class _Archive:
    """What the handlers share."""

    def __init__(self, catalogue: Catalogue, rules: AccessRules, quirks: frozenset[Quirk]) -> None:
        self._catalogue = catalogue
        self._quirks = quirks
        self._authenticator = Authenticator(rules)
        self._threads = Threads()
        self._logins = Logins(self._authenticator, self._threads)
        self._lists = SharedLists(catalogue.path.with_suffix(".shared-lists.json"))
        self._images = Downloads(catalogue, self._threads, quirks)

    async def close(self, _app: web.Application) -> None:
        self._threads.close()

    def answering(self, api: Api, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of an endpoint."""
        answer = self._how(api, endpoint)
        required = endpoint.required

        async def handle(request: web.Request) -> web.StreamResponse:
            who = _identified(request, api, endpoint, self._authenticator)
            if not isinstance(who, Viewer):
                return _unknown(who, api, endpoint, self._quirks)
            try:
                given = await _posted(request) if endpoint.method == "POST" else request.query
                if endpoint.is_strict:
                    _check_names(endpoint, given)
                for name in required:
                    if name not in given:
                        return _missing(api, endpoint, name)
                return await answer(request, who, given)
            except RequestRefused as refused:
                return _refusal(refused)
            except ConnectionError:
                raise  # the client has left
            except (BulkdlError, OSError) as error:
                return FailureResponse(str(error), as_tcia="The request could not be executed" if api.is_tcia else None)

        return _timed(handle) if api.is_tcia else handle

    def _how(
        self, api: Api, endpoint: Endpoint
    ) -> Callable[[web.Request, Viewer, _Given], Awaitable[web.StreamResponse]]:
        async def rows(request: web.Request, who: Viewer, given: _Given) -> web.StreamResponse:
            return await self._rows(request, self._asked(request, api, endpoint, who, given))

        async def instance(request: web.Request, who: Viewer, _given: _Given) -> web.StreamResponse:
            return await self._images.send_instance(request, api, who)

        async def zipped(request: web.Request, who: Viewer, _given: _Given) -> web.StreamResponse:
            view = self._catalogue.without(who.hidden)
            return await self._images.send_bundle(request, api, endpoint, view)

        async def whole(request: web.Request, who: Viewer, given: _Given) -> web.StreamResponse:
            made = await self._threads.do(reply, self._asked(request, api, endpoint, who, given))
            return web.Response(
                status=made.status, body=made.body, headers={**made.headers, "Content-Type": made.content_type}
            )

        return {Answer.ROWS: rows, Answer.INSTANCE: instance, Answer.BUNDLE: zipped}.get(endpoint.answer, whole)

    def _asked(self, request: web.Request, api: Api, endpoint: Endpoint, who: Viewer, given: _Given) -> ApiRequest:
        return ApiRequest(
            api=api,
            endpoint=endpoint,
            viewer=who,
            view=self._catalogue.without(who.hidden),
            parameters=given if isinstance(given, dict) else {name: given.getall(name) for name in given},
            authenticator=self._authenticator,
            lists=self._lists,
            origin=str(request.url.origin()),
        )

    async def _rows(self, request: web.Request, asked: ApiRequest) -> web.StreamResponse:
        endpoint, api = asked.endpoint, asked.api
        words = asked.parameters.get(_FORMAT) if endpoint.has_format else None
        word = words[0] if words else endpoint.default_format
        found = _rendering(api, endpoint, word)
        rendering, headers = found or (RENDERINGS["JSON"], {})
        is_json = rendering.content_type == "application/json"
        rows = _written(asked, as_text=is_json and Quirk.SIZES_AS_STRINGS in self._quirks)
        chunks = rendering.write(endpoint.attributes, rows)
        if is_json and self._quirks & {Quirk.SINGLE_OBJECT, Quirk.ESCAPED_SLASHES}:
            chunks = _quirked(chunks, self._quirks)
        first = await self._threads.do(next, chunks, b"")
        if first and found is None:
            note = f"unknown format {word[:20]!r}"
            return FailureResponse(note, as_tcia="Output format is not supported" if api.is_tcia else None)
        second = await self._threads.do(next, chunks, b"") if first else b""
        headers["Content-Type"] = rendering.content_type
        if not second:
            return web.Response(body=first, headers=headers)
        return await self._threads.stream(request, headers, chunks, first, second)

    def describing(self, api: Api, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of an endpoint's metadata."""
        body = json.dumps(_metadata(endpoint), indent=1).encode()

        async def handle(request: web.Request) -> web.StreamResponse:
            who = _identified(request, api, endpoint, self._authenticator)
            if not isinstance(who, Viewer):
                return _unknown(who, api, endpoint, self._quirks)
            return web.Response(body=body, content_type="application/json")

        return _timed(handle)

    # --- logins and the front page ------------------------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Answer a request for tokens."""
        try:
            fields = await _posted(request)
            return await self._logins.token({name: values[0] for name, values in fields.items()})
        except RequestRefused as refused:
            return _refusal(refused)

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        """End a session."""
        return await self._logins.log_out(request)

    async def welcome(self, request: web.Request) -> web.StreamResponse:
        """A page for people who open the address in a browser."""
        view = self._catalogue.without(self._authenticator.guest.hidden)
        try:
            page = await self._threads.do(front_page, view, str(request.url.origin()))
        except BulkdlError as error:
            return FailureResponse(str(error))
        return web.Response(body=page.encode(errors="replace"), content_type="text/html", charset="utf-8")


async def _posted(request: web.Request) -> dict[str, list[str]]:
    """The fields of a form, as texts that can be written anywhere, and what the address adds; files are left out."""
    try:
        if request.content_type == _FORM_TYPE:  # aiohttp would take no more than a thousand fields
            text = (await request.read()).decode(errors="replace")
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        else:
            pairs = [(name, value) for name, value in (await request.post()).items() if isinstance(value, str)]
    except (ValueError, LookupError, RuntimeError, HttpProcessingError) as error:  # what aiohttp raises on bad forms
        raise RequestRefused("The form cannot be read.") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(_clean(name), []).append(_clean(value))
    return {**{name: request.query.getall(name) for name in request.query}, **fields}


def _clean(text: str) -> str:
    return text.encode(errors="replace").decode()


def _check_names(endpoint: Endpoint, given: Iterable[str]) -> None:
    for name in given:
        if endpoint.parameter(name) is None and not (endpoint.has_format and name == _FORMAT):
            allowed = [parameter.name for parameter in endpoint.parameters] + [_FORMAT] * endpoint.has_format
            kind = "form" if endpoint.method == "POST" else "query"
            raise RequestRefused(f"Invalid {kind} parameter: '{name}'. Allowed parameters are: [{', '.join(allowed)}]")


def _missing(api: Api, endpoint: Endpoint, name: str) -> web.Response:
    if api.is_tcia:
        said = {
            "errorDescription": "A mandatory query parameter was not given",
            "suggestedAction": "See the API documentation",
            "detailedMessage": name,
        }
        body = json.dumps(said, separators=(",", ":")).encode()
        return web.Response(status=_PARAMETER_MISSING, body=body, content_type="application/json")
    return web.Response(status=400, body=_sentence(endpoint).encode(), content_type="application/json")


def _refusal(refused: RequestRefused) -> web.Response:
    return web.Response(status=refused.status, body=str(refused).encode(errors="replace"), content_type="text/plain")


def _sentence(endpoint: Endpoint) -> str:
    comma = "" if endpoint.name in _WITHOUT_SECOND_COMMA else ","
    verb = "is" if len(endpoint.required) == 1 else "are"
    return f"A parameter, {' and '.join(endpoint.required)}{comma} {verb} required for this API call."


def _timed(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """With the headers that Bindaas adds, where they are not sent yet."""

    async def timed(request: web.Request) -> web.StreamResponse:
        start = time.perf_counter()
        response = await handle(request)
        if not response.prepared:
            response.headers["Bindaas-version"] = "bulkdl"
            response.headers["Vendor"] = "bulkdl"
            response.headers["responseTime"] = str(round((time.perf_counter() - start) * 1000))
        return response

    return timed


def _metadata(endpoint: Endpoint) -> dict[str, Any]:
    """What TCIA v3 tells of an endpoint; the names of its parts are our own, since nobody wrote them down."""
    parameters = [{"name": parameter.name, "required": parameter.required} for parameter in endpoint.parameters]
    if endpoint.has_format:
        parameters.append({"name": _FORMAT, "required": False})
    kinds = {Answer.BUNDLE: ["ZIP"], Answer.INSTANCE: ["DICOM"]}
    return {
        "name": endpoint.name,
        "description": endpoint.description,
        "queryParameters": parameters,
        "returnTypes": kinds.get(endpoint.answer, [name for name in _TOLD_FORMATS if name in endpoint.formats]),
        "attributes": [
            {
                "name": attribute.name,
                "dicomTag": f"{attribute.tag[:4]} {attribute.tag[4:]}" if attribute.tag else "NA",
                "description": attribute.description,
            }
            for attribute in endpoint.attributes
        ],
    }


_TOLD_FORMATS: Final = ("CSV", "HTML", "XML", "JSON")


async def _not_found(request: web.Request) -> web.Response:
    known = {api.base + endpoint.path for api in APIS for endpoint in api.endpoints.values()}
    status = HTTPStatus.METHOD_NOT_ALLOWED if request.path in known else HTTPStatus.NOT_FOUND
    if status is HTTPStatus.NOT_FOUND and any(request.path.startswith(f.base) for f in APIS if f.is_tcia):
        name = request.path.removesuffix("/metadata").rpartition("/")[2][:_LONGEST_NAME]
        return FailureResponse("no such endpoint", as_tcia=f"QueryEndpoint [{name}] not found")
    said = f"{status.value} - {status.phrase}"
    page = f"<html><head><title>{said}</title></head><body><h1>HTTP Status {said}</h1></body></html>"
    return web.Response(status=status, body=page.encode(), content_type="text/html")
