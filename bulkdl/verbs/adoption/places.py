"""Where adopted instances belong in the mirror: the folder of their Series, and a file name that no other one has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bulkdl.dicom.header import Header
from bulkdl.fetch.targets import uid_of_header
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import HeldPlace
from bulkdl.model.ids import SeriesUid, default_file_name
from bulkdl.model.outcomes import InstanceOutcome, Outcome
from bulkdl.model.records import InstanceKey, Series
from bulkdl.store.files import MirrorFiles
from bulkdl.store.layout import InstanceNumbers, Layout
from bulkdl.store.safe_names import fold
from bulkdl.verbs.adoption.sources import Candidate
from bulkdl.verbs.mirrors.open_mirror import place_series


@dataclass(slots=True)
class SeriesPlaces:
    """The folder of a Series, and which instance has each file name in it, by its `fold`ed form."""

    series: Series
    folder: str
    owners: dict[str, str]


def places_of(journal: Journal, placed: Iterable[tuple[Series, str]], layout: Layout) -> dict[SeriesUid, SeriesPlaces]:
    """The places of Series, as the journal has them or else as `placed`. Runs on the journal's thread."""
    places = {}
    for series, folder in placed:
        known = journal.find_series(series.series_uid) if layout.file is not None else None
        names = journal.file_names(series.series_uid) if layout.file is not None else {}
        owners = {fold(name): sop_uid for name, sop_uid in names.items()}
        places[series.series_uid] = SeriesPlaces(known.series if known is not None else series, folder, owners)
    return places


def choose_places(
    candidates: Iterable[Candidate],
    places: Mapping[SeriesUid, SeriesPlaces],
    held: Mapping[InstanceKey, HeldPlace],
    layout: Layout,
    files: MirrorFiles,
) -> None:
    """Set the place of each candidate: that of the held instance, or the first free one. Blocking.

    Each has its header where the layout reads it.
    """
    for candidate in candidates:
        if (known := held.get(candidate.key)) is not None:
            candidate.place = known.path
            continue
        here, sop_uid = places[candidate.key.series_uid], candidate.key.sop_uid
        numbers = _numbers(candidate)
        for name in layout.file_names(here.series, numbers):
            candidate.place = f"{here.folder}/{name}"
            if layout.file is None:
                break
            if _is_free(name, candidate, here, files):
                here.owners[fold(name)] = sop_uid
                break


def _numbers(candidate: Candidate) -> InstanceNumbers:
    header, sop_uid = candidate.header, candidate.key.sop_uid
    if header is None:
        return InstanceNumbers(sop_uid)
    return InstanceNumbers(sop_uid, None, header.instance_number, header.acquisition_number)


def _is_free(name: str, candidate: Candidate, here: SeriesPlaces, files: MirrorFiles) -> bool:
    """Whether a file name is that of the candidate: no other instance has it, and no other file lies there."""
    sop_uid = candidate.key.sop_uid
    if (owner := here.owners.get(fold(name))) is not None:
        return owner == sop_uid
    path = files.absolute(f"{here.folder}/{name}")
    return not path.exists() or uid_of_header(path) == sop_uid


def series_of(header: Header, collection: str) -> Series:
    """The Series that the header of one of its instances describes."""
    values: dict[str, Any] = {each.name: getattr(header, each.name, None) for each in fields(Series)}
    values |= {
        "patient_id": header.patient_id or "",
        "collection": collection,
        "description": header.series_description,
    }
    return Series(**values)


def outcome_of(candidate: Candidate) -> InstanceOutcome:
    """What the journal records of a candidate that is in its place."""
    sop_uid, digests = candidate.key.sop_uid, candidate.digests
    name = candidate.place.rpartition("/")[2]
    return InstanceOutcome(
        series_uid=candidate.key.series_uid,
        key=sop_uid,
        sop_uid=sop_uid,
        outcome=Outcome.REUSED,
        size_bytes=digests.size_bytes,
        md5=digests.md5,
        sha256=digests.sha256,
        mtime_ns=candidate.mtime_ns,
        transfer_syntax_uid=candidate.transfer_syntax_uid,
        sop_class_uid=candidate.header.sop_class_uid if candidate.header is not None else None,
        notes=candidate.notes,
        name=name if name != default_file_name(sop_uid) else None,
    )


def look_up(
    journal: Journal, keys: list[InstanceKey], series: list[Series], layout: Layout
) -> tuple[dict[InstanceKey, HeldPlace], list[tuple[Series, str]], dict[SeriesUid, SeriesPlaces]]:
    """Which instances are held, and the folders and places of Series. Runs on the journal's thread."""
    folders = place_series(journal, series, layout)
    return journal.find_all_held(keys), folders, places_of(journal, folders, layout)
