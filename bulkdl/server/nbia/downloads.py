"""Downloads: single instances, and zips of whole Series.

The catalogue is asked once for the files of a Series and for its Collection; both are cached, so that sending an
instance needs neither a thread nor the database.
"""

import asyncio
import io
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TypeAlias

from aiohttp import web

from bulkdl.errors import DiskError
from bulkdl.server.catalogue import CatalogueView, ServedFile, open_served, read_served
from bulkdl.server.context import ServerContext
from bulkdl.server.nbia.apis import Api, Credential
from bulkdl.server.nbia.errors import server_error
from bulkdl.server.nbia.quirks import Quirk
from bulkdl.server.nbia.request import ApiRequest
from bulkdl.server.responses import SHORT_BYTES, send_content, send_file
from bulkdl.server.supply import Arriving, ArrivingFiles

_CACHED_FILES: Final = 200_000
_NOT_FOUND_OF_TCIA: Final = "java.lang.IndexOutOfBoundsException: Index: 0, Size: 0"
_READ_BYTES: Final = 1 << 19
_PIECE_BYTES: Final = 1 << 18
_ZIP64_FROM_BYTES: Final = 1 << 31
_BLOCK: Final = struct.Struct("<B2H")  # of a block without compression (RFC 1951 §3.2.4)
_BLOCK_BYTES: Final = 0xFFFF
_PLACEHOLDER: Final = ServedFile(0, Path(), None, "", "", 0, 0, None, None, None)
"""Stands for a file that has not arrived yet, where names are made."""
ZipMember: TypeAlias = tuple[ServedFile, str] | None
"""A file of a zip with its name; None for one that has not arrived yet."""


@dataclass(frozen=True, slots=True)
class _CachedSeries:
    """A Series that was requested recently: its Collection, and its files by SOP Instance UID.

    None of the files are known of a Series that a cache has in part.
    """

    collection: str
    files: dict[str, ServedFile] | None


class Downloads:
    """Sends instances and zips of one catalogue."""

    def __init__(self, context: ServerContext, quirks: frozenset[Quirk]) -> None:
        self._catalogue = context.catalogue
        self._threads = context.threads
        self._supply = context.supply
        self._quirks = quirks
        self._has_lengths = Quirk.NO_CONTENT_LENGTH not in quirks
        self._series: OrderedDict[str, _CachedSeries] = OrderedDict()
        self._cached = 0
        self._reading = asyncio.Lock()
        self._generation = context.catalogue.generation

    async def send_instance(self, http: web.Request, api: Api, hidden: frozenset[str]) -> web.StreamResponse:
        """Answer getSingleImage to a viewer from whom the Collections `hidden` are hidden.

        Raises:
            OSError: the file cannot be read, or its size has changed since the scan.
            DiskError: the catalogue cannot be read.
            Unavailable: the archive of a cache does not send it.
        """
        series_uid, sop_uid = http.query["SeriesInstanceUID"], http.query["SOPInstanceUID"]
        if self._supply is None:
            return await self._send_held(http, api, hidden)
        collection = await self._threads.do(self._catalogue.collection_of, series_uid)
        if collection is None or collection in hidden:
            return server_error("no such instance", api, tcia_message=_NOT_FOUND_OF_TCIA)
        async with self._supply.using_one(series_uid, sop_uid):
            return await self._send_held(http, api, hidden)

    async def _send_held(self, http: web.Request, api: Api, hidden: frozenset[str]) -> web.StreamResponse:
        series_uid, sop_uid = http.query["SeriesInstanceUID"], http.query["SOPInstanceUID"]
        series = await self._find_series(series_uid)
        if series is None or series.collection in hidden:
            file = None
        elif series.files is None:
            file = await self._threads.do(self._catalogue.file_of, series_uid, sop_uid)
        else:
            file = series.files.get(sop_uid)
        if file is None:
            return server_error("no such instance", api, tcia_message=_NOT_FOUND_OF_TCIA)
        disposition = f"attachment; filename={file.sop_uid}.dcm"
        headers = {"Content-Type": "application/dicom", "Content-Disposition": disposition}
        if self._has_lengths and file.size_bytes <= SHORT_BYTES:
            return send_content(http, read_served(file), headers, mtime_ns=file.mtime_ns)
        with open_served(file) as source:
            if self._has_lengths:
                return await send_file(http, source, headers)
            return await self._threads.stream(http, headers, iter(partial(source.read, _PIECE_BYTES), b""))

    async def _find_series(self, series_uid: str) -> _CachedSeries | None:
        if (found := self._cached_series(series_uid)) is not None:
            return found
        async with self._reading:  # many clients ask for the first instances of a Series at once
            return self._cached_series(series_uid) or await self._read_series(series_uid)

    def _cached_series(self, series_uid: str) -> _CachedSeries | None:
        if self._generation != self._catalogue.generation:
            self._generation, self._cached = self._catalogue.generation, 0
            self._series.clear()
        if (found := self._series.get(series_uid)) is not None:
            self._series.move_to_end(series_uid)
        return found

    async def _read_series(self, series_uid: str) -> _CachedSeries | None:
        generation = self._generation
        collection = await self._threads.do(self._catalogue.collection_of, series_uid)
        if collection is None:
            return None
        if self._supply is not None and not await self._threads.do(self._supply.is_whole, series_uid):
            return _CachedSeries(collection, None)
        files = {file.sop_uid: file for file in await self._threads.do(self._catalogue.files, series_uid)}
        series = _CachedSeries(collection, files)
        if generation == self._generation == self._catalogue.generation:
            self._series[series_uid] = series
            self._cached += len(files)
            while self._cached > _CACHED_FILES and len(self._series) > 1:
                self._cached -= len(self._series.popitem(last=False)[1].files or ())
        return series

    async def send_bundle(self, http: web.Request, request: ApiRequest) -> web.StreamResponse:
        """Answer getImage and similar endpoints with a zip of a Series.

        Raises:
            DiskError: the catalogue cannot be read.
            Unavailable: the archive of a cache does not send the first instance.
        """
        series_uid = request.parameters["SeriesInstanceUID"]
        if self._supply is None:
            return await self._send_zip(http, request, await self._threads.do(_files, request, series_uid))
        if await self._threads.do(request.view.collection_of, series_uid) is None:
            return _no_bundle(request, series_uid)
        needs_names = request.endpoint.name == "getImageOther"
        keep = self._supply.using if needs_names else self._supply.arriving
        async with keep(series_uid) as arriving:
            if arriving is not None:
                return await self._send_arriving(http, request, arriving)
            return await self._send_zip(http, request, await self._threads.do(_files, request, series_uid))

    async def _send_arriving(self, http: web.Request, request: ApiRequest, arriving: Arriving) -> web.StreamResponse:
        """Send a zip of files that arrive meanwhile, in the order in which they arrive."""
        files = ArrivingFiles(arriving)
        await files.more()
        placeholders = [_PLACEHOLDER] * arriving.count
        return await self._send_zip(http, request, placeholders, files)

    async def _send_zip(
        self,
        http: web.Request,
        request: ApiRequest,
        files: Sequence[ServedFile],
        arriving: ArrivingFiles | None = None,
    ) -> web.StreamResponse:
        view, is_tcia = request.view, request.api.is_tcia
        series_uid = request.parameters["SeriesInstanceUID"]
        if not files:
            return _no_bundle(request, series_uid)
        with_md5 = _wants_md5(request)
        if Quirk.SHORT_ZIP in self._quirks and len(files) > 1:
            files, with_md5 = files[:-1], False
        has_license = request.endpoint.name == "getImage" and not is_tcia
        notes: list[str] = []
        chunks = bundle(
            named(files if arriving is None else arriving, _file_names(request, files)),
            license_text=await self._threads.do(_license, view, series_uid) if has_license else None,
            md5_of=view.md5 if with_md5 else None,
            on_failure=notes.append,
        )
        headers = {
            "Content-Type": "application/zip" if is_tcia else "application/octet-stream",
            "Content-Disposition": f'attachment; filename="{series_uid}.zip"',
            **({"imageCount": str(len(files))} if is_tcia else {}),  # TCIA's Java SDK fails without it
        }
        return await self._threads.stream(
            http, headers, chunks, notes=notes, more=arriving.more if arriving is not None else None
        )


def _wants_md5(request: ApiRequest) -> bool:
    wanted = {"getImage": ("IncludeMD5", "yes"), "getDCMImage": ("MD5Verification", "true")}
    name, word = wanted.get(request.endpoint.name, ("", ""))
    is_asked = request.endpoint.parameter(name) is not None and _is(request, name, word)
    return request.endpoint.name == "getImageWithMD5Hash" or is_asked


def _files(request: ApiRequest, series_uid: str) -> Sequence[ServedFile]:
    """The files of a Series, in the order of their numbers where their names have these."""
    if _has_new_names(request):
        request.view.number_files(series_uid)
    return request.view.files(series_uid)


def _file_names(request: ApiRequest, files: Sequence[ServedFile]) -> list[str]:
    if request.endpoint.name == "getImageOther":
        return original_names(files)
    return new_names(files) if _has_new_names(request) else sequential_names(files)


def _has_new_names(request: ApiRequest) -> bool:
    is_nbia_image = request.endpoint.name == "getImage" and not request.api.is_tcia
    return request.endpoint.name == "getDCMImage" or (is_nbia_image and _is(request, "NewFileNames", "yes"))


def _is(request: ApiRequest, parameter: str, word: str) -> bool:
    return request.parameters.get(parameter, "").lower() == word


def _no_bundle(request: ApiRequest, series_uid: str) -> web.Response:
    """NBIA does not say whether the Series does not exist or is hidden."""
    api = request.api
    if api.is_tcia:
        return server_error("no such Series", api, tcia_message=_NOT_FOUND_OF_TCIA)
    if api.credential is Credential.NONE or request.endpoint.name == "getDCMImage":
        sentence = f"Image with given SeriesInstanceUID,{series_uid}, is not in public domain."
    else:
        sentence = (
            f"The user has not been granted the access to image with given SeriesInstanceUID,{series_uid}. "
            "Please contact System Admin to resolve this issue."
        )
    status = HTTPStatus.BAD_REQUEST
    return web.Response(status=status, body=sentence.encode(errors="replace"), content_type="application/json")


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


def sequential_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `00000001.dcm`, one per file."""
    return [f"{number:08}.dcm" for number in range(1, len(files) + 1)]


def new_names(files: Sequence[ServedFile]) -> list[str]:
    """Names such as `1-01.dcm`: acquisition and instance, counted in the given order, padded to equal widths.

    Where the acquisition number changes, the next acquisition begins and instances are counted from 1 again.
    """
    counts = [len(list(group)) for _, group in groupby(files, key=lambda file: file.acquisition_number)]
    numbers = [(group, number) for group, most in enumerate(counts, start=1) for number in range(1, most + 1)]
    widths = len(str(len(counts))), len(str(max(counts, default=0)))
    return [f"{acquisition:0{widths[0]}}-{instance:0{widths[1]}}.dcm" for acquisition, instance in numbers]


def original_names(files: Sequence[ServedFile]) -> list[str]:
    """The names of the files; with a number before them if several are equal."""
    names = [file.path.name.encode(errors="replace").decode() for file in files]
    if len(set(names)) == len(names):
        return names
    return [f"{number:08}-{name}" for number, name in enumerate(names, start=1)]


def named(files: Iterable[ServedFile | None], names: Iterable[str]) -> Iterator[ZipMember]:
    """Each file with the next of the names."""
    remaining = iter(names)
    return (None if file is None else (file, next(remaining)) for file in files)


def bundle(
    members: Iterable[ZipMember],
    *,
    license_text: str | None = None,
    md5_of: Callable[[ServedFile], bytes] | None = None,
    on_failure: Callable[[str], None] = lambda _message: None,
) -> Iterator[bytes]:
    """The zip in chunks, each but the last of 256 KiB or more; with `md5_of`, it ends with checksums.

    It has the form that NBIA's servers write with `java.util.zip`: deflated, lengths after the data, flat names, the
    current time. Like NBIA's, it ends early but well-formed if a file cannot be read, and `on_failure` gets the reason.
    An empty chunk stands for a member that is None, because its file has not arrived yet.
    """
    sink, sent = _Sink(), list[tuple[ServedFile, str]]()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        if license_text is not None:
            archive.writestr(_entry("LICENSE"), license_text)
        try:
            for member in members:
                if member is None:
                    yield from sink.take(1)
                    yield b""
                    continue
                file, name = member
                if md5_of is not None:
                    sent.append((file, name))
                is_large = file.size_bytes >= _ZIP64_FROM_BYTES
                with open_served(file) as source, archive.open(_entry(name), "w", force_zip64=is_large) as target:
                    target._compressor = _StoringCompressor()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing public
                    while target.write(source.read(_READ_BYTES)):  # no name for it: a slow client would keep it
                        yield from sink.take(_PIECE_BYTES)
            if md5_of is not None:
                lines = [f"{name},{md5_of(file).hex()}\n" for file, name in sent]
                archive.writestr(_entry("md5hashes.csv"), "".join(["Filename,MD5Hash\n", *lines]))
        except (OSError, DiskError) as error:
            on_failure(str(error))
    yield from sink.take(1)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Bytes in pieces, which are joined when they are sent, and not copied before."""

    pieces: list[bytes | memoryview]
    size_bytes: int

    def __len__(self) -> int:
        return self.size_bytes


class _StoringCompressor:
    """A compressor for `zipfile`: deflated in form, without compression, in a tenth of the time of zlib's level 0."""

    def compress(self, data: bytes) -> _Blocks:
        """The data in blocks, none of which is the last."""
        rest, pieces = memoryview(data), list[bytes | memoryview]()
        while rest:
            piece, rest = rest[:_BLOCK_BYTES], rest[_BLOCK_BYTES:]
            pieces += [_BLOCK.pack(0, len(piece), len(piece) ^ _BLOCK_BYTES), piece]
        return _Blocks(pieces, len(data) + _BLOCK.size * (len(pieces) // 2))

    def flush(self) -> bytes:
        """The last block, which is empty."""
        return _BLOCK.pack(1, 0, _BLOCK_BYTES)


class _Sink(io.RawIOBase):
    """The output of `zipfile`. It cannot seek, so lengths and checksums are written after the data."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes | memoryview] = []
        self._size = 0

    def write(self, data: Any, /) -> int:
        self._pieces += data.pieces if isinstance(data, _Blocks) else [data]
        self._size += len(data)
        return len(data)

    def take(self, at_least: int) -> Iterator[bytes]:
        if self._size >= at_least:
            piece = b"".join(self._pieces)
            self._pieces, self._size = [], 0
            yield piece


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, time.localtime()[:6])
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry._compresslevel = 0  # type: ignore[attr-defined]  # noqa: SLF001 - without this, `ZipFile` takes level 6
    entry.external_attr = 0o644 << 16
    return entry
