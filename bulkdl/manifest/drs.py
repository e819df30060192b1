"""Read manifests of data commons: tables whose rows name objects by identifiers of DRS, and lists of these.

The General Commons and the CTDC export CSV with `drs_uri` or `File ID`; Gen3 writes JSON with `object_id`. Names, sizes
and checksums have many spellings, so columns are compared as `columns` does. An identifier without a host or a prefix
is one of the NCI. A `<Series Instance UID>.zip` has the instances of that Series.

Source: manifests of both portals, and the README of Gen3's client (cdis-data-client) for the JSON.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bulkdl.manifest.base import ManifestReading, ManifestRow, Remarks, Text, lines, required
from bulkdl.model.drs_objects import SCHEME, DrsObject, looks_like_object_id, parse_md5
from bulkdl.model.ids import SeriesUid, is_uid
from bulkdl.model.text import shortened

NCI: Final = "nci-crdc.datacommons.io"
"""The host of identifiers that name none."""

_SURE_NAMES: Final = ("drsuri", "drsurl")
_ID_NAMES: Final = ("objectid", "fileid", "guid", "did", "fileuuid")  # which other tables have as well
_HOST_NAMES: Final = ("commonsurl",)
_FILE_NAMES: Final = ("filename", "name")
_SIZE_NAMES: Final = ("filesize", "size", "filesizebytes", "datafilesize", "filesizeinbytes")
_MD5_NAMES: Final = ("md5sum", "md5", "filemd5sum", "datafilechecksumvalue", "checksum", "hash")
_SERIES_NAMES: Final = ("seriesinstanceuid", "seriesuid")
_PATIENT_NAMES: Final = ("participantid", "patientid", "caseid", "subjectid")
_COLLECTION_NAMES: Final = ("studyshortname", "studyacronym", "studycode", "collection", "studyname", "study")
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,15}", re.ASCII)
_SHOWN: Final = 80
_ADDRESS: Final = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DrsColumns:
    """The columns of such a table, by position."""

    ids: tuple[int, ...]
    host: int | None = None
    name: int | None = None
    size: int | None = None
    md5: int | None = None
    series: int | None = None
    patient: int | None = None
    collection: int | None = None


def drs_columns_of(names: Sequence[str]) -> DrsColumns | None:
    """The columns of a table whose columns have these names, as they are compared; None if none has identifiers."""

    def first(known: Sequence[str]) -> int | None:
        return next((names.index(name) for name in known if name in names), None)

    ids = tuple(names.index(name) for name in (*_SURE_NAMES, *_ID_NAMES) if name in names)
    if not ids:
        return None
    columns = (_HOST_NAMES, _FILE_NAMES, _SIZE_NAMES, _MD5_NAMES, _SERIES_NAMES, _PATIENT_NAMES, _COLLECTION_NAMES)
    return DrsColumns(ids, *map(first, columns))


def is_sure(names: Sequence[str]) -> bool:
    """Whether a column of these names says by its name that it has identifiers of DRS."""
    return any(name in names for name in _SURE_NAMES)


def names_object(columns: DrsColumns, text_at: Callable[[int | None], str]) -> bool:
    """Whether a row has an identifier."""
    return any(looks_like_object_id(text_at(index)) for index in columns.ids)


def object_row(columns: DrsColumns, text_at: Callable[[int | None], str]) -> ManifestRow | None:
    """What a row names; None if its cells of identifiers are empty. Raises ValueError: they have something else."""
    identifier = next(filter(None, map(text_at, columns.ids)), "")
    if not identifier:
        return None
    named = _with_host(identifier, _ADDRESS.sub("", text_at(columns.host)).rstrip("/"))
    name, series_uid, size = text_at(columns.name), text_at(columns.series), text_at(columns.size)
    return _row(
        DrsObject(
            object_id=named.object_id,
            host=named.host,
            name=name,
            series_uid=SeriesUid(series_uid) if is_uid(series_uid) else _series_in(name),
            collection=text_at(columns.collection),
            patient_id=text_at(columns.patient),
            size_bytes=int(size) if _WHOLE_NUMBER.fullmatch(size) else None,
            md5=parse_md5(text_at(columns.md5)),
        )
    )


def _with_host(identifier: str, host: str) -> DrsObject:
    if identifier.casefold().startswith(SCHEME):
        return DrsObject.parse(identifier)
    if host:
        return DrsObject.parse(f"{SCHEME}{host}/{identifier}")
    found = DrsObject.parse(identifier)
    if not looks_like_object_id(identifier):
        raise ValueError(f"{shortened(identifier, _SHOWN)!r} is not a DRS identifier")
    return found if found.prefix else DrsObject.parse(f"{SCHEME}{NCI}/{identifier}")


def _series_in(name: str) -> SeriesUid | None:
    stem = name[: -len(".zip")] if name.casefold().endswith(".zip") else ""
    return SeriesUid(stem) if is_uid(stem) and "." in stem else None


def _row(named: DrsObject) -> ManifestRow:
    return ManifestRow(location=str(named))


def recognises(text: str) -> bool:
    """Whether `text` is a list of identifiers."""
    first = next((line.strip() for line in lines(text) if line.strip() and not line.startswith("#")), "")
    return first.casefold().startswith(SCHEME) and "," not in first


def read(text: Text, remarks: Remarks) -> ManifestReading:
    """Read a list of identifiers, one a line. Raises ManifestError: it is empty. Its rows, too: a line is invalid."""

    def rows() -> Iterator[ManifestRow]:
        for number, line in enumerate(text.lines(), start=1):
            if word := line.partition("#")[0].strip(" \t\r\n,;'\""):
                try:
                    yield _row(_with_host(word, ""))
                except ValueError as error:
                    remarks.invalid(number, error)

    return ManifestReading("drs", required(rows(), remarks, "the list of objects is empty"), remarks)
