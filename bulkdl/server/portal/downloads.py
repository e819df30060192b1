"""Files of what was chosen: manifests, a table, a lock file, or a zip.

What is chosen is a Series, a Study, what a search finds, or the cart. Lines are written as their Series are read, so a
list of a million Series takes no more memory than one of ten. What a cache does not have is downloaded for a zip.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice
from typing import Final, NamedTuple

from aiohttp import web

from bulkdl.errors import DiskError
from bulkdl.manifest.base import ManifestRow
from bulkdl.manifest.tcia import settings_of
from bulkdl.manifest.writing import ManifestFormat, write_rows
from bulkdl.model.ids import is_uid, stable_uuid
from bulkdl.model.records import Series
from bulkdl.server.bucket.index import BUCKET
from bulkdl.server.catalogue import CatalogueView, SeriesDetail, ServedFile
from bulkdl.server.context import ServerContext
from bulkdl.server.nbia.downloads import ZipMember, bundle
from bulkdl.server.portal.facets import all_series, parse_facets
from bulkdl.server.portal.listings import image_count
from bulkdl.server.portal.lock_files import MOST_SERIES, lock_chunks, why_no_lock
from bulkdl.server.portal.pages import HEADERS, PageMissing, PageRequest
from bulkdl.server.supply import NeededFiles

_TYPES: Final = {
    "tcia": "application/x-nbia-manifest-file",
    "s5cmd": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "lock": "text/plain; charset=utf-8",
    "zip": "application/zip",
}
_NAMES: Final = {"lock": "bulkdl.lock", "zip": "images.zip"}
_LISTS: Final = {"tcia": "Manifest (.tcia)", "s5cmd": "Manifest for s5cmd", "csv": "Table (CSV)"}
_CHUNK_LINES: Final = 500
_MOST_ZIPPED: Final = 100_000
"""How many instances a zip may have: where each lies in it is in memory until its end, 0.7 kB for each."""
_MOST_SERIES: Final = {"zip": _MOST_ZIPPED, "lock": MOST_SERIES}
"""How many Series the forms may have that are made of files."""


class Offers(NamedTuple):
    """The forms of a download that a page offers, with their titles, and why others are not among them."""

    forms: Mapping[str, str]
    reasons: Sequence[str] = ()


class _Body(NamedTuple):
    """The chunks of a file; an empty chunk stands for what `more` waits for."""

    chunks: Iterator[bytes]
    more: Callable[[], Awaitable[None]] | None = None


def lists_only() -> Offers:
    """The forms of any number of Series, which are lists of them."""
    return Offers(_LISTS)


def offers(request: PageRequest, chosen: Iterable[str], *, series: int = 0, images: int = 0) -> Offers:
    """What can be downloaded of the `chosen` Series, which are not read if the page knows that they are too many.

    `series` and `images` are how many, where the page knows. Blocking.
    """
    uids = [] if series > MOST_SERIES else list(islice(chosen, MOST_SERIES + 1))
    no_lock, no_zip = why_no_lock(request, uids, series or len(uids)), _why_no_zip(images)
    forms = {**_LISTS, **({} if no_lock else {"lock": "Lock file"}), **({} if no_zip else {"zip": "Zip of the files"})}
    return Offers(forms, list(filter(None, (no_lock, no_zip))))


def _why_no_zip(images: int) -> str:
    return f"This server makes no zip of more than {_MOST_ZIPPED:,} images." if images > _MOST_ZIPPED else ""


async def send_download(http: web.Request, request: PageRequest, context: ServerContext) -> web.StreamResponse:
    """Send the file that the parameters name: its `format`, and what is chosen.

    Raises:
        PageMissing: the format is unknown, nothing is chosen, or it cannot be written in this form.
        Unavailable: the archive of a cache does not send the first file.
        DiskError: what is served cannot be read.
    """
    form = request.value("format")
    if form not in _TYPES:
        raise PageMissing(f"There is no format of this name; there are {', '.join(_TYPES)}.")
    headers = {
        **HEADERS,
        "Content-Type": _TYPES[form],
        "Content-Disposition": f'attachment; filename="{_NAMES.get(form, f"manifest.{form}")}"',
    }
    chosen = chosen_series(request)
    if form in _MOST_SERIES:
        chosen = iter(await context.threads.do(bounded, request.view, chosen, form))
    if http.method == "HEAD":
        return await context.threads.stream(http, headers, iter(()))
    async with AsyncExitStack() as stack:
        body = await _body(form, request, context, chosen, stack)
        if body.more is not None:
            await body.more()
        first = await context.threads.do(next, body.chunks, b"")
        return await context.threads.stream(http, headers, body.chunks, first, more=body.more)


async def _body(
    form: str, request: PageRequest, context: ServerContext, chosen: Iterator[str], stack: AsyncExitStack
) -> _Body:
    if form == "lock":
        return _Body(_encoded(await lock_chunks(request, context, list(chosen), stack)))
    if form != "zip":
        return _Body(manifest_chunks(request, chosen, form))
    if request.supply is None:
        return _Body(_zip(file for uid in chosen for file in request.view.files(uid)))
    needed = NeededFiles(request.supply, chosen, partial(context.threads.do, request.view.files))
    stack.push_async_callback(needed.aclose)
    return _Body(_zip(needed), needed.more)


def chosen_series(request: PageRequest) -> Iterator[str]:
    """The UIDs of the Series that are chosen. Nothing chosen is not everything.

    Raises:
        PageMissing: nothing is chosen.
    """
    view = request.view
    if request.value("of") == "cart":
        return iter(view.series_numbered([str(number) for number in request.cart]))
    if request.value("of") == "search":
        return all_series(view, parse_facets(request.query))
    if request.value("of") == "patient" and (patient_id := request.value("patient")):
        return view.series_uids(collection=request.value("collection"), patient_id=patient_id)
    for name in ("series", "study"):
        if is_uid(uid := request.value(name)):
            return view.series_uids(**{f"{name}_uid": uid})  # type: ignore[arg-type]
    raise PageMissing("Nothing is chosen.")


def bounded(view: CatalogueView, chosen: Iterator[str], form: str) -> list[str]:
    """The chosen Series, sorted, if they are few enough for a form that is made of their files. Blocking.

    Raises:
        PageMissing: there are none, or too many.
    """
    most = _MOST_SERIES[form]
    uids = sorted(islice(chosen, most + 1))
    if not uids:
        raise PageMissing("Nothing is chosen.")
    if len(uids) > most:
        raise PageMissing(f"This is more than {most:,} series: download a manifest instead.")
    if form == "zip" and (reason := _why_no_zip(image_count(view, uids))):
        raise PageMissing(f"{reason} Download a manifest instead.")
    return uids


def manifest_chunks(request: PageRequest, chosen: Iterator[str], form: str) -> Iterator[bytes]:
    """The lines of a manifest of the chosen Series, which all differ, many lines at a time."""
    rows = (_row(detail.series) for detail in _details(request.view, chosen))
    if form == ManifestFormat.S5CMD:
        return _encoded(_bucket_lines(rows, request.origin))
    settings = settings_of(f"{request.origin}/nbia-api/services")
    return _encoded(write_rows(rows, ManifestFormat(form), settings, are_unique=True))


def _bucket_lines(rows: Iterator[ManifestRow], origin: str) -> Iterator[str]:
    """A manifest for the bucket of this server, which has what the archive of a cache has."""
    yield f"# s5cmd --no-sign-request --endpoint-url {origin} run FILE\n"
    for row in rows:
        yield f'cp "s3://{BUCKET}/{stable_uuid(row.series_uid or "")}/*" .\n'


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    while some := list(islice(lines, _CHUNK_LINES)):
        yield "".join(some).encode(errors="replace")


def _details(view: CatalogueView, chosen: Iterator[str]) -> Iterator[SeriesDetail]:
    """The Series of UIDs that differ, without a list of all of them."""
    while some := list(islice(chosen, _CHUNK_LINES)):
        yield from view.details_of(some)


def _row(series: Series) -> ManifestRow:
    return ManifestRow(
        collection=series.collection,
        patient_id=series.patient_id,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        image_count=series.image_count,
        size_bytes=series.size_bytes,
        location=series.location,
    )


def _zip(files: Iterable[ServedFile | None]) -> Iterator[bytes]:
    """A zip with a folder for each Series. It breaks off if a file cannot be read: it is incomplete then."""
    return bundle(map(_named, files), on_failure=_fail)


def _named(file: ServedFile | None) -> ZipMember:
    return None if file is None else (file, f"{file.series_uid}/{file.sop_uid}.dcm")


def _fail(reason: str) -> None:
    raise DiskError(reason)
