"""Files of what was chosen: manifests, a table, a lock file, or a zip.

What is chosen is a Series, a Study, what a search finds, or the cart. Lines are written as their Series are read, so a
list of a million Series takes no more memory than one of ten.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain, islice
from typing import Final

from aiohttp import web

from bulkdl.errors import BulkdlError
from bulkdl.manifest.base import ManifestRow
from bulkdl.manifest.locked import LockedGroup, LockedInstance, LockedSeries, lock_lines
from bulkdl.manifest.tcia import settings_of
from bulkdl.manifest.writing import ManifestFormat, write_rows
from bulkdl.model.ids import SeriesUid, SopInstanceUid, is_uid, stable_uuid
from bulkdl.model.records import Series
from bulkdl.server.bucket.index import BUCKET
from bulkdl.server.catalogue import CatalogueView, SeriesDetail, ServedFile
from bulkdl.server.context import ServerContext
from bulkdl.server.nbia.downloads import bundle
from bulkdl.server.portal.facets import all_series, parse_facets
from bulkdl.server.portal.pages import HEADERS, PageMissing, PageRequest

_TYPES: Final = {
    "tcia": "application/x-nbia-manifest-file",
    "s5cmd": "text/plain; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl",
    "lock": "text/plain; charset=utf-8",
    "zip": "application/zip",
}
_NAMES: Final = {"lock": "bulkdl.lock"}
_CHUNK_LINES: Final = 500
_MOST_ZIPPED: Final = 100_000
_MOST_LOCKED: Final = 2_000


async def send_download(http: web.Request, request: PageRequest, context: ServerContext) -> web.StreamResponse:
    """Send the file that the parameters name: its `format`, and what is chosen.

    Raises:
        PageMissing: the format is unknown, nothing is chosen, or it cannot be written in this form.
        Unavailable: the archive of a cache does not send the files.
    """
    form = request.value("format")
    if form not in _TYPES:
        raise PageMissing(f"There is no format of this name; there are {', '.join(_TYPES)}.")
    chosen = chosen_series(request)
    if form in {"zip", "lock"}:
        uids = await context.threads.do(_bounded, chosen, request, form)
        chunks = _zip(request.view, uids) if form == "zip" else _lock(request, uids)
    else:
        chunks = manifest_chunks(request, chosen, form)
    try:
        first = await context.threads.do(next, chunks, b"")
    except BulkdlError as error:
        raise PageMissing(str(error)) from error
    headers = {
        **HEADERS,
        "Content-Type": _TYPES[form],
        "Content-Disposition": f'attachment; filename="{_NAMES.get(form, f"manifest.{form}")}"',
    }
    return await context.threads.stream(http, headers, chunks, first)


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


def manifest_chunks(request: PageRequest, chosen: Iterator[str], form: str) -> Iterator[bytes]:
    """The lines of a manifest of the chosen Series, which all differ, many lines at a time."""
    services = f"{request.origin}/nbia-api/services"
    rows = (_row(detail.series) for detail in _details(request.view, chosen))
    if form == ManifestFormat.S5CMD and request.supply is None:
        lines = chain(
            [f"# s5cmd --no-sign-request --endpoint-url {request.origin} run FILE\n"],
            (f'cp "s3://{BUCKET}/{stable_uuid(row.series_uid or "")}/*" .\n' for row in rows),
        )
    else:
        lines = chain(write_rows(rows, ManifestFormat(form), settings_of(services), are_unique=True))
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


def _bounded(chosen: Iterator[str], request: PageRequest, form: str) -> list[str]:
    """The chosen Series, if they are few and all their files are here."""
    most = _MOST_ZIPPED if form == "zip" else _MOST_LOCKED
    uids = sorted(islice(chosen, most + 1))
    if not uids:
        raise PageMissing("Nothing is chosen.")
    if len(uids) > most:
        raise PageMissing(f"This is more than {most:,} series: download a manifest instead.")
    if request.supply is not None and not all(map(request.supply.is_whole, uids)):
        raise PageMissing("Not all files are on this server yet: download a manifest instead.")
    return uids


def _zip(view: CatalogueView, uids: Sequence[str]) -> Iterator[bytes]:
    """A zip with a folder for each Series. It breaks off if a file cannot be read: it is incomplete then."""
    named = (f"{file.series_uid}/{file.sop_uid}.dcm" for file in _files(view, uids))
    return bundle(_files(view, uids), named, on_failure=_fail)


def _files(view: CatalogueView, uids: Sequence[str]) -> Iterator[ServedFile]:
    for uid in uids:
        yield from view.files(uid)


def _fail(reason: str) -> None:
    raise PageMissing(reason)


def _lock(request: PageRequest, uids: list[str]) -> Iterator[bytes]:
    """A lock file with the MD5 of each file."""
    view = request.view

    def groups() -> Iterator[LockedGroup]:
        for detail in sorted(view.details_of(uids), key=lambda each: each.series.series_uid):
            series = detail.series
            yield _locked(series), [_instance(view, file) for file in sorted(view.files(series.series_uid), key=_sop)]

    date = datetime.now(UTC).isoformat(timespec="seconds")
    lines = lock_lines(groups, archive=f"nbia {request.origin}/nbia-api/services", date=date)
    while some := list(islice(lines, _CHUNK_LINES)):
        yield "".join(some).encode(errors="replace")


def _sop(file: ServedFile) -> str:
    return file.sop_uid


def _locked(series: Series) -> LockedSeries:
    return LockedSeries(
        SeriesUid(series.series_uid),
        series.study_uid or "",
        series.patient_id,
        series.collection,
        series.modality or "",
        series.license_name or "",
        series.license_uri or "",
        series.collection_uri or "",
        series.released.isoformat() if series.released else "",
    )


def _instance(view: CatalogueView, file: ServedFile) -> LockedInstance:
    return LockedInstance(SopInstanceUid(file.sop_uid), file.size_bytes, view.md5(file), None)
