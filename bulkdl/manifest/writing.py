"""Write manifests: `.tcia`, CSV, JSON Lines and s5cmd, line by line as their rows come.

CSV and JSON Lines hold everything that a row says, under the names of DICOM and NBIA. A `.tcia` manifest lists Series
alone, and a manifest for s5cmd the places where they lie; what these cannot hold is an error or, for single instances
of a Series, a note of the caller.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from itertools import chain
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from bulkdl.errors import SelectionError
from bulkdl.manifest import tcia
from bulkdl.manifest.base import ManifestRow
from bulkdl.manifest.columns import guarded_name
from bulkdl.manifest.digest_table import DigestTable
from bulkdl.model.drs_objects import is_drs_location, uri_of

_COLUMNS: Final = {
    "SeriesInstanceUID": "series_uid",
    "StudyInstanceUID": "study_uid",
    "PatientID": "patient_id",
    "Collection": "collection",
    "SOPInstanceUID": "sop_uid",
    "ImageCount": "image_count",
    "FileSize": "size_bytes",
    "Location": "location",
}
_SLIDE_COLUMNS: Final = {
    "collectionName": "collection",
    "subjectId": "patient_id",
    "imageId": "name",
    "imageUrl": "address",
}
_NAMES: Final = frozenset({"PatientID", "Collection", *_SLIDE_COLUMNS})
_ENDPOINT: Final = "s5cmd endpoint"  # with a blank, so it is never the name of a setting in a manifest
_AMAZON: Final = "https://s3.amazonaws.com"
_RESOLVE: Final = "to resolve it, use: bulkdl plan --manifest FILE --save"


class ManifestFormat(StrEnum):
    """A form in which manifests are written."""

    TCIA = "tcia"
    CSV = "csv"
    JSONL = "jsonl"
    S5CMD = "s5cmd"


_Writer: TypeAlias = Callable[[Iterator[ManifestRow], Mapping[str, str]], Iterator[str]]


def write_rows(
    rows: Iterable[ManifestRow],
    file_format: ManifestFormat,
    settings: Mapping[str, str] | None = None,
    *,
    are_unique: bool = False,
) -> Iterator[str]:
    """The lines of a manifest with their ends. What several rows name is written once.

    `settings` are for `.tcia` and s5cmd. Rows that `are_unique` already need no memory.

    Raises SelectionError: a row names something that the form cannot hold.
    """
    return _WRITERS[file_format](iter(rows) if are_unique else _once(rows), settings or {})


def _once(rows: Iterable[ManifestRow]) -> Iterator[ManifestRow]:
    seen = DigestTable()
    return (row for row in rows if seen.add(*_named(row)))


def _named(row: ManifestRow) -> tuple[str, ...]:
    """What a row names, with the level of it."""
    if row.slide is not None:
        return "slide", *row.slide
    if row.sop_uid is not None:
        return "instance", row.sop_uid
    if row.series_uid is not None:
        return "series", row.series_uid, row.location or ""
    if row.study_uid is not None:
        return "study", row.study_uid
    return ("place", row.place) if row.place else ("patient", row.collection, row.patient_id)


def _tcia_lines(rows: Iterator[ManifestRow], settings: Mapping[str, str]) -> Iterator[str]:
    written = DigestTable()  # several rows may name instances of one Series
    uids = (uid for row in rows if written.add(uid := _series_of(row, ".tcia")))
    yield from (f"{line}\n" for line in tcia.compose_lines(uids, settings))


def _csv_lines(rows: Iterator[ManifestRow], _: Mapping[str, str]) -> Iterator[str]:
    first = next(rows, None)
    has_slides = first is not None and first.slide is not None
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")

    def line(cells: Iterable[Any]) -> str:
        out.seek(0)
        out.truncate()
        writer.writerow(cells)  # None is written as an empty cell
        return out.getvalue()

    yield line(_SLIDE_COLUMNS if has_slides else _COLUMNS)
    for row in chain(() if first is None else (first,), rows):
        if (row.slide is not None) is not has_slides:
            raise SelectionError("one table cannot list slides beside series: write JSON Lines")
        yield line(guarded_name(value) if name in _NAMES else value for name, value in _values(row).items())


def _json_lines(rows: Iterator[ManifestRow], _: Mapping[str, str]) -> Iterator[str]:
    for row in rows:
        named = {name: value for name, value in _values(row).items() if value not in {None, ""}}
        yield json.dumps(named, ensure_ascii=False) + "\n"


def endpoint_settings(address: str) -> dict[str, str]:
    """The settings of a manifest for s5cmd whose buckets are at `address`; none for those of the clouds of IDC."""
    is_public = (urlsplit(address).hostname or "").endswith((".amazonaws.com", ".googleapis.com"))
    return {} if is_public else {_ENDPOINT: address.rstrip("/")}


def _s5cmd_lines(rows: Iterator[ManifestRow], settings: Mapping[str, str]) -> Iterator[str]:
    endpoint = settings.get(_ENDPOINT)
    archive = "idc" if endpoint is None else f"idc+{endpoint} --idc-index INDEX"
    yield f"# bulkdl mirror --archive {archive} --manifest FILE --to DIR, or:\n"
    yield f"# s5cmd --no-sign-request --endpoint-url {endpoint or _AMAZON} run FILE\n"
    for row in rows:
        if row.location and is_drs_location(row.location):
            raise SelectionError(f"s5cmd does not download from a data commons: {uri_of(row.location)}")
        if not row.location:
            way = "bulkdl plan --archive idc --manifest FILE --save OUT.s5cmd"
            raise SelectionError(f"it is not known where series {_series_of(row, 's5cmd')} lies; use: {way}")
        bucket, folder, *names = row.location.split("/", 2)
        for name in names[0].split(",") if names else ("*",):
            yield f'cp "s3://{bucket}/{folder}/{name}" .\n'


def _series_of(row: ManifestRow, form: str) -> str:
    if row.series_uid is None:
        place, study = row.place and _place_name(row.place), row.study_uid and f"study {row.study_uid}"
        slide = row.slide and f"slide {row.slide.address}"
        names = (slide, place, study, row.patient_id and f"patient {row.patient_id}")
        named = next(filter(None, names), f"collection {row.collection}")
        raise SelectionError(f"a manifest for {form} lists series, not the {named}; {_RESOLVE}")
    return row.series_uid


def _place_name(place: str) -> str:
    return f"object {uri_of(place)}" if is_drs_location(place) else f"folder s3://{place}"


def _values(row: ManifestRow) -> dict[str, Any]:
    if row.slide is not None:
        return {name: getattr(row.slide, attribute) for name, attribute in _SLIDE_COLUMNS.items()}
    return {name: getattr(row, attribute) for name, attribute in _COLUMNS.items()}


_WRITERS: Final[Mapping[ManifestFormat, _Writer]] = {
    ManifestFormat.TCIA: _tcia_lines,
    ManifestFormat.CSV: _csv_lines,
    ManifestFormat.JSONL: _json_lines,
    ManifestFormat.S5CMD: _s5cmd_lines,
}
