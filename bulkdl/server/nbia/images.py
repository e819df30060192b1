"""Instances, with ETag and Range, and zips of whole Series.

Sending an instance is the one thing that is not done in threads: opening a local file takes less time than a change of
threads. Who may see which Series is asked of the catalogue once for each Series, and remembered with its files.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from aiohttp import web

from bulkdl.archive.nbia.endpoints import Endpoint
from bulkdl.server.authentication import Viewer
from bulkdl.server.catalogue import Catalogue, ServedFile, open_served
from bulkdl.server.catalogue.view import CatalogueView
from bulkdl.server.nbia.apis import Api, Credential
from bulkdl.server.nbia.bundles import bundle, new_names, original_names, sequential_names
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.streaming import FailureResponse, Stream, Threads

_CACHED_FILES: Final = 200_000
_READ_AT_ONCE_BYTES: Final = 1 << 16
_RANGE: Final = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)
_NO_SUCH_OF_TCIA: Final = "java.lang.IndexOutOfBoundsException: Index: 0, Size: 0"


@dataclass(frozen=True, slots=True)
class _CachedSeries:
    """A Series that was asked for lately."""

    collection: str
    files: dict[str, ServedFile]


class Downloads:
    """Sends instances and zips of one catalogue."""

    def __init__(self, catalogue: Catalogue, threads: Threads, quirks: frozenset[Quirk]) -> None:
        self._catalogue = catalogue
        self._threads = threads
        self._quirks = quirks
        self._series: OrderedDict[str, _CachedSeries] = OrderedDict()
        self._cached = 0
        self._generation = catalogue.generation

    # --- single instances ---------------------------------------------------------------------------------------------

    async def send_instance(self, request: web.Request, api: Api, viewer: Viewer) -> web.StreamResponse:
        """Answer getSingleImage.

        Raises:
            OSError: the file cannot be read, or has another size than when it was scanned.
            DiskError: the catalogue cannot be read.
        """
        query = request.query
        series_uid = query["SeriesInstanceUID"]
        held = self._remembered(series_uid) or await self._load(series_uid)
        file = None if held is None or held.collection in viewer.hidden else held.files.get(query["SOPInstanceUID"])
        if file is None:
            return FailureResponse("no such instance", as_tcia=_NO_SUCH_OF_TCIA if api.is_tcia else None)
        with open_served(file) as source:
            if Quirk.NO_CONTENT_LENGTH in self._quirks:
                return await _send_in_chunks(request, file, source)
            return await _send(request, file, source)

    def _remembered(self, series_uid: str) -> _CachedSeries | None:
        if self._generation != self._catalogue.generation:
            self._generation = self._catalogue.generation
            self._series.clear()
            self._cached = 0
        found = self._series.get(series_uid)
        if found is not None:
            self._series.move_to_end(series_uid)
        return found

    async def _load(self, series_uid: str) -> _CachedSeries | None:
        generation = self._generation
        held = await self._threads.do(self._find, series_uid)
        if held is not None and series_uid not in self._series and generation == self._catalogue.generation:
            self._series[series_uid] = held
            self._cached += len(held.files)
            while self._cached > _CACHED_FILES and len(self._series) > 1:
                self._cached -= len(self._series.popitem(last=False)[1].files)
        return held

    def _find(self, series_uid: str) -> _CachedSeries | None:
        collection = self._catalogue.collection_of(series_uid)
        if collection is None:
            return None
        return _CachedSeries(collection, {file.sop_uid: file for file in self._catalogue.files(series_uid)})

    # --- bundles ------------------------------------------------------------------------------------------------------

    async def send_bundle(
        self, request: web.Request, api: Api, endpoint: Endpoint, view: CatalogueView
    ) -> web.StreamResponse:
        """Answer getImage and its kin.

        Raises:
            DiskError: the catalogue cannot be read.
        """
        query = request.query
        files = await self._threads.do(view.files, query["SeriesInstanceUID"])
        if not files:
            return _no_bundle(api, endpoint, query["SeriesInstanceUID"])
        is_plain = endpoint.name == "getImage"
        has_license = is_plain and not api.is_tcia
        with_md5 = (
            endpoint.name == "getImageWithMD5Hash"
            or (is_plain and "IncludeMD5" in _names(endpoint) and query.get("IncludeMD5", "").lower() == "yes")
            or (endpoint.name == "getDCMImage" and query.get("MD5Verification", "").lower() == "true")
        )
        if Quirk.SHORT_ZIP in self._quirks and len(files) > 1:
            files, with_md5 = files[:-1], False
        wants_new = endpoint.name == "getDCMImage" or (has_license and query.get("NewFileNames", "").lower() == "yes")
        if endpoint.name == "getImageOther":
            names: Sequence[str] = original_names(files)
        else:
            names = new_names(files) if wants_new else sequential_names(files)
        notes: list[str] = []
        chunks = bundle(
            files,
            names,
            license_text=await self._threads.do(_license, view, files[0].series_uid) if has_license else None,
            md5_of=view.md5 if with_md5 else None,
            on_failure=notes.append,
        )
        headers = {
            "Content-Type": "application/zip" if api.is_tcia else "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{files[0].series_uid}.zip"',
        }
        return await self._threads.stream(request, headers, chunks, notes=notes)


def _names(endpoint: Endpoint) -> set[str]:
    return {parameter.name for parameter in endpoint.parameters}


def _no_bundle(api: Api, endpoint: Endpoint, series_uid: str) -> web.Response:
    """NBIA does not say whether there is no such Series, or whether it may not be seen."""
    if api.is_tcia:
        return FailureResponse("no such Series", as_tcia=_NO_SUCH_OF_TCIA)
    if api.credential is Credential.NONE or endpoint.name == "getDCMImage":
        sentence = f"Image with given SeriesInstanceUID,{series_uid}, is not in public domain."
    else:
        sentence = (
            f"The user has not been granted the access to image with given SeriesInstanceUID,{series_uid}. "
            "Please contact System Admin to resolve this issue."
        )
    return web.Response(status=400, body=sentence.encode(errors="replace"), content_type="application/json")


def _license(view: CatalogueView, series_uid: str) -> str:
    series = next(view.series(series_uid=series_uid), None)
    if series is None:
        return ""
    about = view.about(series.collection)
    lines = [
        f"Collection: {series.collection}",
        f"License: {series.license_name or 'Not Specified'}",
        f"License URL: {series.license_uri or 'Not Specified'}",
        *([f"Citation: {about.citation}"] if about.citation else []),
    ]
    return "\n".join(lines) + "\n"


# --- sending an instance ----------------------------------------------------------------------------------------------


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
    response = Stream(status=status, headers=headers)
    response.content_length = count
    await response.prepare(request)
    if request.method != "HEAD" and request.transport is not None:
        response.bytes_sent = await asyncio.get_running_loop().sendfile(request.transport, source, start, count)
        if response.bytes_sent < count and request.transport is not None:
            request.transport.abort()  # the file was cut just now, and the length is announced already
    await response.write_eof()
    return response


async def _send_in_chunks(request: web.Request, file: ServedFile, source: io.FileIO) -> web.StreamResponse:
    response = Stream(
        headers={
            "Content-Type": "application/dicom",
            "Content-Disposition": f"attachment; filename={file.sop_uid}.dcm",
        }
    )
    response.enable_chunked_encoding()
    await response.prepare(request)
    if request.method != "HEAD":
        while chunk := source.read(_READ_AT_ONCE_BYTES):
            await response.send(chunk)
    await response.write_eof()
    return response


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
