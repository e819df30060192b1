"""The rows of manifests: those of a Series, and what is counted of rows while they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bulkdl.manifest import ManifestRow
from bulkdl.manifest.digest_table import DigestTable
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import Series
from bulkdl.model.selection import folder_of


def rows_of_series(series: Series, wanted: Mapping[SeriesUid, Sequence[SopInstanceUid]]) -> Iterator[ManifestRow]:
    """The row of a Series, or those of its `wanted` instances."""
    row = ManifestRow(
        collection=series.collection,
        patient_id=series.patient_id,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        location=series.location,
    )
    if series.series_uid in wanted:
        yield from (replace(row, sop_uid=sop_uid) for sop_uid in wanted[series.series_uid])
    else:
        yield replace(row, image_count=series.image_count, size_bytes=series.size_bytes)


class CountedRows:
    """Rows, counted while they are read.

    `series` are the Series, slides and folders that they name; `instances` are named singly, and of `unplaced` ones it
    is not known where they lie.
    """

    def __init__(self, rows: Iterable[ManifestRow]) -> None:
        self.series = DigestTable(only_counts=True)
        self.instances = 0
        self.unplaced = 0
        self._rows = rows

    def __iter__(self) -> Iterator[ManifestRow]:
        for row in self._rows:
            self.instances += row.sop_uid is not None or (row.place is not None and is_object(row.place))
            self.unplaced += row.sop_uid is not None and not is_object(row.location or "")
            if named := row.series_uid or (row.slide.address if row.slide else folder_of(row.place or "")):
                self.series.add(named)
            yield row


def is_object(location: str) -> bool:
    """Whether a location is that of one object in a folder."""
    return location.endswith(".dcm")
