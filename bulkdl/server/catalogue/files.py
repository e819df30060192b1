"""Find the files of a root, and the values in the header of each: folders are read, mirrors have a journal.

`scan` decides which of them are served.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from fnmatch import translate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bulkdl.dicom.header import Header, read_header
from bulkdl.journal.journal import Journal
from bulkdl.runtime.disk import JOURNAL
from bulkdl.store.walking import FoundKind, walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bulkdl.model.records import Series

_PAGE: Final = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Information about a Collection that its files do not contain."""

    description: str | None = None
    citation: str | None = None
    license_name: str | None = None
    license_uri: str | None = None
    collection_uri: str | None = None
    released: date | None = None


@dataclass(frozen=True, slots=True)
class Root:
    """A folder to serve. `collection` is the Collection of files that do not name one.

    `only` are patterns for paths relative to the folder, with `/`; `*` also matches `/`. A file that several roots hold
    belongs to the first.
    """

    path: Path
    collection: str | None = None
    about: About = field(default_factory=About)
    only: tuple[str, ...] = ()

    @property
    def is_mirror(self) -> bool:
        """Whether the folder is a mirror, whose journal is used instead of the files."""
        return (self.path / JOURNAL).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """The values of a servable file.

    `head` is a JSON object of what the instances of a Series have in common: `collection`, the values of the records
    `patient`, `study` and `series`, and `extra` for values without a field. None is left out; dates are ISO 8601.
    """

    series_uid: str
    sop_uid: str
    head: str
    instance_number: int | None = None
    acquisition_number: int | None = None
    md5: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file that was found. `facts` are None until it is read; `reason` says why it cannot be served."""

    path: Path
    size_bytes: int = 0
    mtime_ns: int = 0
    facts: FileFacts | None = None
    reason: str | None = None


def find_files(root: Root) -> Iterator[FoundFile]:
    """The files of a root, in a stable order. Links that lead out of the folder are reported as unservable.

    Raises:
        JournalError: the journal of a mirror cannot be used.
    """
    if root.is_mirror:
        return _held_files(root.path)
    if not root.only:
        return _walk(root.path)
    wanted = re.compile("|".join(translate(pattern) for pattern in root.only))
    return (found for found in _walk(root.path) if wanted.match(found.path.relative_to(root.path).as_posix()))


def read_facts(path: Path) -> FileFacts:
    """Read the header of a file.

    Raises:
        InvalidInstance: the file cannot be served, and why.
    """
    header = read_header(path)
    return FileFacts(
        series_uid=header.series_uid,
        sop_uid=header.sop_uid,
        head=_head(header),
        instance_number=header.instance_number,
        acquisition_number=header.acquisition_number,
    )


def to_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None, dates and times as ISO 8601."""
    return {
        name: value.isoformat() if isinstance(value, date | datetime) else value
        for name, value in values.items()
        if value is not None
    }


# --- folders ----------------------------------------------------------------------------------------------------------


def _walk(folder: Path) -> Iterator[FoundFile]:
    root = folder.resolve()
    for found in walk(folder):
        path = folder / found.path
        match found.kind:
            case FoundKind.FILE:
                yield FoundFile(path=path, size_bytes=found.size_bytes, mtime_ns=found.mtime_ns)
            case FoundKind.UNREADABLE:
                yield FoundFile(path=path, reason=f"not readable: {found.reason}")
            case FoundKind.LINK:
                yield from _linked(path, root)


def _linked(path: Path, root: Path) -> Iterator[FoundFile]:
    try:
        if not Path(os.path.realpath(path, strict=True)).is_relative_to(root):
            yield FoundFile(path=path, reason="a link that leads out of the folder")
        elif path.is_file():
            status = path.stat()
            yield FoundFile(path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
    except OSError as error:
        yield FoundFile(path=path, reason=f"not readable: {error.strerror or error}")


def _head(header: Header) -> str:
    patient = {
        "patient_id": header.patient_id,
        "name": header.patient_name,
        "birth_date": header.patient_birth_date,
        "sex": header.patient_sex,
        "ethnic_group": header.ethnic_group,
        "phantom": header.phantom,
        "species_code": header.species_code,
        "species_description": header.species_description,
    }
    study = {
        "study_uid": header.study_uid,
        "study_date": header.study_date,
        "description": header.study_description,
        "study_id": header.study_id,
        "admitting_diagnosis": header.admitting_diagnosis,
        "patient_age": header.patient_age,
        "longitudinal_event_type": header.longitudinal_event_type,
        "longitudinal_offset_days": header.longitudinal_offset_days,
    }
    series = {
        "modality": header.modality,
        "body_part": header.body_part,
        "manufacturer": header.manufacturer,
        "model": header.model,
        "software_versions": header.software_versions,
        "protocol": header.protocol,
        "description": header.series_description,
        "series_number": header.series_number,
        "series_date": header.series_date,
        "annotations": False,
    }
    extra = {
        "site": header.site,
        "sop_class_uid": header.sop_class_uid,
        "pixel_spacing_mm": header.pixel_spacing_mm,
        "slice_thickness_mm": header.slice_thickness_mm,
    }
    return _dump(header.collection, patient=patient, study=study, series=series, extra=extra)


def _dump(collection: str | None, **groups: Mapping[str, Any]) -> str:
    groups = {name: to_json(values) for name, values in groups.items()}
    return json.dumps({"collection": collection, **groups}, ensure_ascii=False)


# --- mirrors ----------------------------------------------------------------------------------------------------------


def _held_files(mirror: Path) -> Iterator[FoundFile]:
    with Journal.open_readonly(mirror / JOURNAL) as journal:
        series_uid, head = "", ""
        after: tuple[int, str] | None = None
        while page := journal.held(after=after, limit=_PAGE):
            for held in page:
                if held.series_uid != series_uid:
                    series_uid = held.series_uid
                    row = journal.find_series(held.series_uid)
                    head = "" if row is None else _head_of_record(row.series)
                if not head or ".." in held.path.split("/"):
                    continue
                facts = FileFacts(series_uid=held.series_uid, sop_uid=held.sop_uid, head=head, md5=held.md5)
                yield FoundFile(
                    path=mirror / held.path, size_bytes=held.size_bytes, mtime_ns=held.mtime_ns, facts=facts
                )
            after = page[-1].series_id, page[-1].sop_uid


def _head_of_record(record: Series) -> str:
    series = asdict(record)
    for counted in ("series_uid", "image_count", "size_bytes"):  # counted from the served files instead
        del series[counted]
    collection = series.pop("collection") or None
    patient = {"patient_id": series.pop("patient_id") or None}
    study = {
        "study_uid": series.pop("study_uid"),
        "study_date": series.pop("study_date"),
        "description": series.pop("study_description"),
    }
    return _dump(collection, patient=patient, study=study, series=series)
