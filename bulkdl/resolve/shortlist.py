"""The Series that a selection chooses of all that match it: a sample, an order, as many as a limit allows.

All of them must be known before the first is chosen, and there may be hundreds of thousands. Their records wait in a
temporary file; the memory has some 400 bytes of each.
"""

from __future__ import annotations

import asyncio
import pickle
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterable
from hashlib import sha256
from itertools import islice
from types import TracebackType
from typing import Final, NamedTuple, Self

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.errors import SelectionError
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.ids import SeriesUid
from bulkdl.model.quantities import human_bytes
from bulkdl.model.records import Patient, Series, Study
from bulkdl.model.selection import Selection, SeriesOrder

_IN_MEMORY_BYTES: Final = 4 << 20  # before the records go to the disk
_BATCH: Final = 500
_INSTANCE_BYTES: Final = 500_000  # of an image whose archive gives no size at all: a CT slice


class _Row(NamedTuple):
    """What is compared of a Series: where it belongs, its size, and where its record is in the file."""

    collection: str
    patient_id: str
    study_uid: str
    series_uid: SeriesUid
    size_bytes: int | None
    image_count: int | None
    offset: int


class Shortlist:
    """Collects Series, and then yields those that `selection` chooses, in its order. A context manager.

    `kept` are Series that were chosen in an earlier run of the same selection: they stay chosen, before all others.
    `notes` say what was left out.
    """

    def __init__(self, selection: Selection, archive: Archive, kept: Collection[SeriesUid] = ()) -> None:
        self.notes: list[str] = []
        self.is_exact = True  # whether the archive gave the size of every Series that counts for the limit
        self._selection = selection
        self._archive = archive
        self._kept = kept
        self._rows: dict[SeriesUid, _Row] = {}
        self._names: dict[str, str] = {}  # each name once in memory
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    async def add(self, batch: FoundSeries) -> None:
        """Add Series; those that are there already are ignored."""
        await asyncio.to_thread(self._add, batch)

    def _add(self, batch: FoundSeries) -> None:
        patients = {(each.collection, each.patient_id): each for each in batch.descriptions.patients}
        studies = {str(each.study_uid): each for each in batch.descriptions.studies}
        for series in batch.series:
            if series.series_uid in self._rows:
                continue
            self._rows[series.series_uid] = _Row(
                self._names.setdefault(series.collection, series.collection),
                self._names.setdefault(series.patient_id, series.patient_id),
                self._names.setdefault(series.study_uid or "", series.study_uid or ""),
                series.series_uid,
                series.size_bytes,
                series.image_count,
                self._file.tell(),
            )
            parents = patients.get((series.collection, series.patient_id)), studies.get(series.study_uid or "")
            pickle.dump((series, *parents), self._file)

    async def chosen(self) -> AsyncIterator[FoundSeries]:
        """Yield the chosen Series in batches; nothing can be added after that.

        Raises:
            SelectionError: the first Series is larger than the limit.
            RequestFailed: the archive does not answer how large a Series is.
        """
        rows = self._ordered(self._sampled(list(self._rows.values())))
        if self._selection.limit_bytes is not None:
            rows = await self._within(self._selection.limit_bytes, rows)
        left = iter(rows)
        while page := list(islice(left, _BATCH)):
            yield await asyncio.to_thread(self._read, page)

    def _read(self, rows: Iterable[_Row]) -> FoundSeries:
        found = list(map(self._read_one, rows))
        patients = {patient: None for _, patient, _ in found if patient is not None}
        studies = {study: None for *_, study in found if study is not None}
        descriptions = Descriptions(patients=tuple(patients), studies=tuple(studies))
        return FoundSeries(tuple(series for series, *_ in found), descriptions=descriptions)

    def _read_one(self, row: _Row) -> tuple[Series, Patient | None, Study | None]:
        self._file.seek(row.offset)
        found: tuple[Series, Patient | None, Study | None]
        found = pickle.load(self._file)  # noqa: S301 - written above, into a file that only this process has
        return found

    def _sampled(self, rows: list[_Row]) -> list[_Row]:
        if (sample := self._selection.sample) is None:
            return rows
        groups: defaultdict[tuple[str, ...], list[_Row]] = defaultdict(list)
        for row in rows:
            groups[(row.collection, row.patient_id) if sample.per_patient else (row.collection,)].append(row)
        chosen = [row for group in groups.values() for row in sorted(group, key=self._chance)[: sample.count]]
        what = "patient" if sample.per_patient else "collection"
        self.notes.append(
            f"a sample: {len(chosen):,} of {len(rows):,} series, at most {sample.count:,} of each {what}, "
            f"with the seed {self._selection.seed}"
        )
        return chosen

    def _chance(self, row: _Row) -> tuple[bool, bytes]:
        """Uniform, and the same on every machine; Series of an earlier run come first."""
        digest = sha256(f"{self._selection.seed} {row.series_uid}".encode()).digest()
        return row.series_uid not in self._kept, digest[:8]

    def _ordered(self, rows: list[_Row]) -> list[_Row]:
        rows.sort()
        if self._selection.order is SeriesOrder.SMALLEST_FIRST:
            rows.sort(key=self._size)
        if self._selection.order is SeriesOrder.BREADTH:
            seen = Counter[tuple[str, str]]()
            rank: dict[SeriesUid, int] = {}
            for row in rows:
                rank[row.series_uid] = seen[row.collection, row.patient_id]
                seen[row.collection, row.patient_id] += 1
            rows.sort(key=lambda row: rank[row.series_uid])
        return rows

    def _size(self, row: _Row) -> int:
        """The archive's number; where it gives none, an estimate."""
        return row.size_bytes if row.size_bytes is not None else (row.image_count or 1) * _INSTANCE_BYTES

    async def _within(self, limit: int, rows: list[_Row]) -> list[_Row]:
        """Those that fit into the limit, up to the first one that does not. What was chosen before counts first."""
        chosen: set[SeriesUid] = set()
        total = estimated = size = 0
        for row in sorted(rows, key=lambda row: row.series_uid not in self._kept):
            asked = await self._asked_size(row)
            size = self._size(row) if asked is None else asked
            estimated += asked is None
            if total + size > limit and row.series_uid not in self._kept:
                break
            total += size
            chosen.add(row.series_uid)
        self.is_exact = not estimated
        text = f"{len(chosen):,} of {len(rows):,} series fit into {human_bytes(limit)}"
        if rows and not chosen:
            has = (
                f"has {human_bytes(size)}" if not estimated else f"may have {human_bytes(size)}: its size is not known"
            )
            raise SelectionError(f"nothing fits into --limit-bytes: the first series, {rows[0].series_uid}, {has}")
        if estimated:
            text += f"; the archive does not give the sizes of {estimated:,} of them, which are estimates"
        self.notes.append(text)
        return [row for row in rows if row.series_uid in chosen]

    async def _asked_size(self, row: _Row) -> int | None:
        if row.size_bytes is not None:
            return row.size_bytes
        return (await self._archive.size(row.series_uid)).size_bytes
