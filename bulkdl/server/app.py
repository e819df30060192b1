"""The embedded archive's HTTP face: request → catalogue → rendering, as NBIA's own server answers.

Which endpoints there are, their parameters and attributes, is read in `archive.endpoints`; formats are written by
`archive.renderings`. What is here is NBIA's behaviour: an empty body for nothing found, errors as English sentences
with odd labels, unknown parameters ignored, 500 for an unknown instance. Source: `V1_*.java` and `getData.java` of its
API. Better than the real one: instances have an ETag and honour Range.

The catalogue blocks, so it is asked in a few threads; long answers are made there too, a chunk at a time when the
client has taken the one before. The exception is sending an instance: opening a local file takes less time than a
change of threads. No path is made of anything that a client sends.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from email.utils import formatdate, parsedate_to_datetime
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from bulkdl.archive.endpoints import NBIA_V1, Answer, Endpoint
from bulkdl.archive.renderings import RENDERINGS, Rendering, to_wire
from bulkdl.errors import BulkdlError, ConfigurationError
from bulkdl.server.bundles import bundle, new_names, open_served, sequential_names

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from bulkdl.model.records import Patient
    from bulkdl.server.catalog import Catalog, ServedFile

SERVICES_PATH: Final = "/nbia-api/services"

_V1: Final = f"{SERVICES_PATH}/v1/"
_THREADS: Final = 4
_CACHED_FILES: Final = 200_000
_READ_AT_ONCE_BYTES: Final = 1 << 16
_SHUTDOWN_SECONDS: Final = 2.0
_BACKLOG: Final = 1024
_WITHOUT_SECOND_COMMA: Final = frozenset({"getSeriesSize", "getSOPInstanceUIDs", "getContentsByName"})
_FAILED: Final = b"Server was not able to process your request\nnull"
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One request that was answered. `bytes_sent` is of the body; `note` says why it failed, where that is known."""

    method: str
    path_qs: str
    status: int
    bytes_sent: int
    seconds: float
    note: str | None = None


def make_app(catalog: Catalog, *, middlewares: Sequence[Any] = ()) -> web.Application:
    """The archive as an aiohttp application. The catalogue stays the caller's, who closes it afterwards."""
    archive = _Archive(catalog)
    app = web.Application(middlewares=middlewares)
    app.router.add_get("/", archive.welcome)
    for endpoint in NBIA_V1.values():
        app.router.add_get(_V1 + endpoint.path, archive.answering(endpoint))
    app.router.add_route("*", "/{anything:.*}", _not_found)
    app.on_cleanup.append(archive.close)
    return app


@asynccontextmanager
async def serving(
    catalog: Catalog,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    access_log: Callable[[AccessRecord], None] | None = None,
    middlewares: Sequence[Any] = (),
) -> AsyncIterator[str]:
    """Serve for the length of the block; gives the base address, `http://127.0.0.1:PORT/nbia-api/services`.

    Port 0 takes a free one. `access_log` is called in the event loop after each answer. At the end requests under way
    are given two seconds.

    Raises:
        ConfigurationError: nobody can listen at that address.
    """
    runner = web.AppRunner(
        make_app(catalog, middlewares=middlewares),
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


def _access_logger(sink: Callable[[AccessRecord], None]) -> type[AbstractAccessLogger]:
    class Logger(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            sent, note = 0, None
            if isinstance(response, _Stream):
                sent, note = response.bytes_sent, response.note
            elif isinstance(response, web.Response) and isinstance(response.body, bytes) and request.method != "HEAD":
                sent = len(response.body)
            if isinstance(response, _Failure):
                note = response.note
            sink(AccessRecord(request.method, request.path_qs, response.status, sent, time, note))

    return Logger


class _Stream(web.StreamResponse):
    """An answer that knows how much of its body it has sent, and why it ended early."""

    bytes_sent = 0
    note: str | None = None

    async def send(self, chunk: bytes) -> None:
        await self.write(chunk)
        self.bytes_sent += len(chunk)


class _Failure(web.Response):
    """What NBIA answers to everything that goes wrong; `note` is for our own log."""

    def __init__(self, note: str) -> None:
        super().__init__(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=_FAILED, content_type="text/plain")
        self.note = note


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _CollectionName:
    collection: str


def _with_species(patient: Patient) -> Patient:
    """NBIA takes whoever is not said to be an animal for a human, and nobody for a phantom."""
    if patient.species_code is None and patient.species_description is None:
        patient = replace(patient, species_code="337915000", species_description="Homo sapiens")
    return replace(patient, phantom=bool(patient.phantom))


_ROWS: Final[Mapping[str, Callable[[Catalog, dict[str, str]], Iterable[object]]]] = {
    "getCollectionValues": lambda catalog, _: map(_CollectionName, catalog.collections()),
    "getPatient": lambda catalog, criteria: map(_with_species, catalog.patients(**criteria)),
    "getPatientStudy": lambda catalog, criteria: catalog.studies(**criteria),
    "getSeries": lambda catalog, criteria: catalog.series(**criteria),
    "getSeriesSize": lambda catalog, criteria: [catalog.series_size(**criteria)],
    "getSOPInstanceUIDs": lambda catalog, criteria: catalog.files(**criteria),
    "getContentsByName": lambda _catalog, _criteria: (),  # nobody can share a list here yet; unknown names give nothing
}


def _rendering(name: str, endpoint: Endpoint) -> tuple[Rendering, dict[str, str]] | None:
    """How to write the format of that name, and headers that go with it; None for a format that NBIA does not know."""
    is_single = len(endpoint.attributes) == 1
    word = name.upper()
    if word == "CSV-DOWNLOAD":
        content_type = "application/force-download" if is_single else "text/csv"
        rendering = Rendering(content_type, RENDERINGS["CSV"].write)
        return rendering, {"Content-Disposition": 'attachment; filename="SeriesMetaData.csv"'}
    if word == "CSVQUOTED" and not is_single:
        word = "CSV"
    found = RENDERINGS.get(word)
    return None if found is None else (found, {})


# --- requests ---------------------------------------------------------------------------------------------------------


class _Archive:
    """What the handlers share: the catalogue, the threads to ask it in, and the files of the latest Series."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="bulkdl-server")
        self._files: OrderedDict[str, dict[str, ServedFile]] = OrderedDict()
        self._cached = 0
        self._generation = catalog.generation

    async def close(self, _app: web.Application) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def answering(self, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler of an endpoint."""
        answer = {
            Answer.ROWS: self._rows,
            Answer.INSTANCE: self._instance,
            Answer.BUNDLE: self._bundle,
            Answer.TEXT: self._text,
        }[endpoint.answer]
        required = endpoint.required
        sentence = _sentence(endpoint).encode()

        async def handle(request: web.Request) -> web.StreamResponse:
            query = request.query
            for name in required:
                if name not in query:
                    return web.Response(status=400, body=sentence, content_type="application/json")
            try:
                return await answer(request, endpoint)
            except ConnectionError:
                raise  # the client has left
            except (BulkdlError, OSError) as error:
                return _Failure(str(error))

        return handle

    async def _in_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    # --- rows and texts -----------------------------------------------------------------------------------------------

    async def _rows(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        criteria = {p.field: request.query[p.name] for p in endpoint.parameters if p.name in request.query}
        format_name = request.query.get("format", "JSON")
        found = _rendering(format_name, endpoint)
        rendering, headers = found or (RENDERINGS["JSON"], {})
        rows = (
            {attribute.name: to_wire(attribute, getattr(record, attribute.field)) for attribute in endpoint.attributes}
            for record in _ROWS[endpoint.name](self._catalog, criteria)
        )
        chunks = rendering.write(endpoint.attributes, rows)
        first = await self._in_thread(next, chunks, b"")
        if first and found is None:
            return _Failure(f"unknown format {format_name[:20]!r}")
        second = await self._in_thread(next, chunks, b"") if first else b""
        headers["Content-Type"] = rendering.content_type
        if not second:
            return web.Response(body=first, headers=headers)
        return await self._stream(request, headers, chunks, first, second)

    async def _text(self, request: web.Request, _endpoint: Endpoint) -> web.StreamResponse:
        file = await self._in_thread(self._catalog.find_instance, request.query["SOPInstanceUid"])
        digest = b"" if file is None else await self._in_thread(self._catalog.md5, file)
        return web.Response(body=digest.hex().encode(), content_type="text/plain")

    async def _stream(
        self,
        request: web.Request,
        headers: Mapping[str, str],
        chunks: Iterator[bytes],
        *first: bytes,
        notes: Sequence[str] = (),
    ) -> web.StreamResponse:
        """Send chunks as they are made; `notes` is looked at when all are."""
        response = _Stream(headers=headers)
        response.enable_chunked_encoding()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            for chunk in first:
                await response.send(chunk)
            while chunk := await self._in_thread(next, chunks, b""):
                await response.send(chunk)
            await response.write_eof()
        finally:
            response.note = "; ".join(notes) or None
            if isinstance(chunks, Generator):
                with suppress(ValueError):  # a thread may still be at work on the chunk that nobody waits for
                    chunks.close()
        return response

    # --- bundles ------------------------------------------------------------------------------------------------------

    async def _bundle(self, request: web.Request, endpoint: Endpoint) -> web.StreamResponse:
        series_uid = request.query["SeriesInstanceUID"]
        files = await self._in_thread(self._catalog.files, series_uid)
        if not files:
            sentence = f"Image with given SeriesInstanceUID,{series_uid}, is not in public domain."
            return web.Response(status=400, body=sentence.encode(errors="replace"), content_type="application/json")
        wants_new = request.query.get("NewFileNames", "").lower() == "yes"
        with_md5 = endpoint.name == "getImageWithMD5Hash"
        notes: list[str] = []
        chunks = bundle(
            files,
            new_names(files) if wants_new and not with_md5 else sequential_names(files),
            license_text=None if with_md5 else await self._in_thread(self._license, series_uid),
            md5_of=self._catalog.md5 if with_md5 else None,
            on_failure=notes.append,
        )
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{files[0].series_uid}.zip"',
        }
        return await self._stream(request, headers, chunks, notes=notes)

    def _license(self, series_uid: str) -> str:
        series = next(self._catalog.series(series_uid=series_uid), None)
        if series is None:
            return ""
        about = self._catalog.about(series.collection)
        lines = [
            f"Collection: {series.collection}",
            f"License: {series.license_name or 'Not Specified'}",
            f"License URL: {series.license_uri or 'Not Specified'}",
            *([f"Citation: {about.citation}"] if about.citation else []),
        ]
        return "\n".join(lines) + "\n"

    # --- single instances ---------------------------------------------------------------------------------------------

    async def _instance(self, request: web.Request, _endpoint: Endpoint) -> web.StreamResponse:
        query = request.query
        files = self._cached_files(query["SeriesInstanceUID"]) or await self._load(query["SeriesInstanceUID"])
        file = files.get(query["SOPInstanceUID"])
        if file is None:
            return _Failure("no such instance")
        with open_served(file) as source:
            return await _send(request, file, source)

    def _cached_files(self, series_uid: str) -> dict[str, ServedFile] | None:
        if self._generation != self._catalog.generation:
            self._generation = self._catalog.generation
            self._files.clear()
            self._cached = 0
        found = self._files.get(series_uid)
        if found is not None:
            self._files.move_to_end(series_uid)
        return found

    async def _load(self, series_uid: str) -> dict[str, ServedFile]:
        files = {file.sop_uid: file for file in await self._in_thread(self._catalog.files, series_uid)}
        if files and series_uid not in self._files:
            self._files[series_uid] = files
            self._cached += len(files)
            while self._cached > _CACHED_FILES and len(self._files) > 1:
                self._cached -= len(self._files.popitem(last=False)[1])
        return files

    # --- the front page -----------------------------------------------------------------------------------------------

    async def welcome(self, _request: web.Request) -> web.Response:
        """A page for people who open the address in a browser."""
        page = await self._in_thread(_welcome_page, self._catalog)
        return web.Response(body=page.encode(errors="replace"), content_type="text/html", charset="utf-8")


async def _send(request: web.Request, file: ServedFile, source: io.FileIO) -> web.StreamResponse:
    """Send an instance, or the part that is asked for: small ones with their headers, others by sendfile."""
    size_bytes, mtime_ns = file.size_bytes, os.fstat(source.fileno()).st_mtime_ns
    etag, modified = f'"{mtime_ns:x}-{size_bytes:x}"', formatdate(mtime_ns // 10**9, usegmt=True)
    headers = {
        "Content-Type": "application/dicom",
        "Content-Disposition": f"attachment; filename={file.sop_uid}.dcm",
        "Accept-Ranges": "bytes",
        "ETag": etag,
        "Last-Modified": modified,
    }
    status, start, count = HTTPStatus.OK, 0, size_bytes
    if (wanted := request.headers.get("Range")) and _is_current(request.headers.get("If-Range"), etag, modified):
        status, start, count = _part(wanted, size_bytes)
        if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return web.Response(status=status, headers={"Content-Range": f"bytes */{size_bytes}"})
        if status is HTTPStatus.PARTIAL_CONTENT:
            headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{size_bytes}"
    if count <= _READ_AT_ONCE_BYTES:
        source.seek(start)
        return web.Response(status=status, body=source.read(count), headers=headers)
    response = _Stream(status=status, headers=headers)
    response.content_length = count
    await response.prepare(request)
    if request.method != "HEAD" and request.transport is not None:
        response.bytes_sent = await asyncio.get_running_loop().sendfile(request.transport, source, start, count)
        if response.bytes_sent < count and request.transport is not None:
            request.transport.abort()  # the file was cut just now, and the length is announced already
    await response.write_eof()
    return response


def _sentence(endpoint: Endpoint) -> str:
    comma = "" if endpoint.name in _WITHOUT_SECOND_COMMA else ","
    verb = "is" if len(endpoint.required) == 1 else "are"
    return f"A parameter, {' and '.join(endpoint.required)}{comma} {verb} required for this API call."


async def _not_found(request: web.Request) -> web.Response:
    is_known = request.path in {_V1 + endpoint.path for endpoint in NBIA_V1.values()}
    status = HTTPStatus.METHOD_NOT_ALLOWED if is_known else HTTPStatus.NOT_FOUND
    said = f"{status.value} - {status.phrase}"
    page = f"<html><head><title>{said}</title></head><body><h1>HTTP Status {said}</h1></body></html>"
    return web.Response(status=status, body=page.encode(), content_type="text/html")


def _is_current(if_range: str | None, etag: str, modified: str) -> bool:
    """Whether a Range is to be honoured (RFC 9110 §13.1.5): no condition, our ETag, or our very date."""
    if if_range is None or if_range == etag:
        return True
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(if_range) == parsedate_to_datetime(modified)
    return False


def _part(wanted: str, size_bytes: int) -> tuple[HTTPStatus, int, int]:
    """Status, first byte and count for a Range; what is no single range gives the whole (RFC 9110 §14.2)."""
    whole = HTTPStatus.OK, 0, size_bytes
    unsatisfiable = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0, 0
    found = _RANGE.fullmatch(wanted)
    if found is None or found.groups() == ("", ""):
        return whole
    first, last = found.groups()
    if not first:
        count = min(int(last), size_bytes)
        return (HTTPStatus.PARTIAL_CONTENT, size_bytes - count, count) if count else unsatisfiable
    start, end = int(first), int(last) if last else size_bytes - 1
    if last and end < start:
        return whole
    count = min(end, size_bytes - 1) - start + 1
    return (HTTPStatus.PARTIAL_CONTENT, start, count) if count > 0 else unsatisfiable


def _welcome_page(catalog: Catalog) -> str:
    totals = catalog.totals()
    collections = []
    for name in catalog.collections()[:1000]:
        about = catalog.about(name)
        told = [about.description, about.citation, about.license_name]
        collections.append(f"<li><b>{escape(name)}</b><br>{'<br>'.join(escape(text) for text in told if text)}</li>")
    endpoints = []
    for endpoint in NBIA_V1.values():
        parameters = "&".join(f"{p.name}=…" for p in endpoint.parameters)
        address = f"{_V1}{endpoint.path}" + (f"?{parameters}" if parameters else "")
        shown = escape(address)
        linked = shown if endpoint.required else f'<a href="{escape(_V1 + endpoint.path)}">{shown}</a>'
        endpoints.append(f"<li><code>{linked}</code><br>{escape(endpoint.description)}</li>")
    return (
        "<!DOCTYPE html><html lang='en'><head><title>bulkdl archive</title></head><body><h1>A bulkdl archive</h1>"
        f"<p>{totals.collections:,} Collections, {totals.patients:,} Patients, {totals.series:,} Series, "
        f"{totals.instances:,} instances, {totals.size_bytes:,} bytes, served through the NBIA Search API. "
        f"Mirror it with <code>bulkdl mirror --archive http://ADDRESS{SERVICES_PATH} --everything --to DIR</code>.</p>"
        f"<h2>Collections</h2><ul>{''.join(collections)}</ul><h2>Endpoints</h2><ul>{''.join(endpoints)}</ul>"
        "</body></html>"
    )
