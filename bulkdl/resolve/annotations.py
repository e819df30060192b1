"""The annotations of a selection: what refers to its Series, and what its Series refer to.

Segmentations, structure sets, doses, plans, reports and presentation states are separate Series, which name the Series
of the images that they were made of. `AnnotationClosure` adds both to a selection, in rounds until nothing is
missing. What a Series refers to is stated by the archive; else it is read from the files of the mirror, or from the
heads of the files at the archive.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from bulkdl.archive.base import Archive, FoundSeries
from bulkdl.dicom.references import read_references
from bulkdl.errors import InvalidInstance, RequestFailed
from bulkdl.model.descriptions import Descriptions
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.records import References, Series
from bulkdl.model.selection import Selection
from bulkdl.resolve.object_heads import read_head
from bulkdl.runtime.tasks import as_iterator, run_pool

if TYPE_CHECKING:
    from bulkdl.resolve.denied_series import DeniedSeries

MODALITIES: Final = ("SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "ANN")
"""Those of annotations."""

_PATIENTS_ASKED: Final = 20  # of one collection, above which the whole collection is asked for
_TOLD_AT_ONCE: Final = 500
_PEEKS_AT_ONCE: Final = 16
_PEEK_BYTES: Final = 4 << 20  # references come before what makes annotations large
_PEEKED_INSTANCES: Final = 20  # of one Series
_SHOWN: Final = 20

Read: TypeAlias = Callable[[Sequence[SeriesUid]], Awaitable[Mapping[SeriesUid, References]]]
"""Reads what Series refer to from the files of a mirror; Series without files are left out."""


async def read_nothing(series_uids: Sequence[SeriesUid]) -> Mapping[SeriesUid, References]:
    """Where there is no mirror."""
    del series_uids
    return {}


class _Waiting(NamedTuple):
    """An annotation that was found, and is not selected; with the descriptions that came in its batch."""

    series: Series
    references: References
    descriptions: Descriptions


@dataclass(slots=True)
class AnnotationClosure:
    """What a selection has, and what refers to it, as far as is known.

    `reads` is for the files of the mirror. `peeks`: whether heads of files may be read from the archive; without it
    what only they state is unknown, and counted. `limits` and `denied` leave Series out, of which
    nothing is requested.
    """

    archive: Archive
    reads: Read = read_nothing
    peeks: bool = False
    limits: Selection = field(default_factory=Selection)
    denied: DeniedSeries | None = None
    failures: list[RequestFailed] = field(default_factory=list)
    _selected: set[SeriesUid] = field(default_factory=set)
    _own: set[SopInstanceUid] = field(default_factory=set)  # instances of selected annotations
    _unread: set[SeriesUid] = field(default_factory=set)  # selected annotations whose references are not known yet
    _told_of: set[SeriesUid] = field(default_factory=set)  # of which the archive was asked
    _referring: dict[SeriesUid, References] = field(default_factory=dict)  # selected ones with open references
    _waiting: dict[SeriesUid, _Waiting] = field(default_factory=dict)
    _patients: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # to be asked for
    _asked: defaultdict[str, set[str] | None] = field(default_factory=lambda: defaultdict(set))
    _not_found: dict[SeriesUid, SeriesUid] = field(default_factory=dict)  # what refers to it
    _added: Counter[str] = field(default_factory=Counter)
    _left_out: set[SeriesUid] = field(default_factory=set)
    _unknown: int = 0

    def take(self, batch: Iterable[Series]) -> None:
        """Note Series that are selected."""
        for series in batch:
            self._selected.add(series.series_uid)
            self._waiting.pop(series.series_uid, None)
            asked = self._asked[series.collection]
            if asked is not None and series.patient_id not in asked:
                self._patients[series.collection].add(series.patient_id)
            if (series.modality or "").upper() in MODALITIES:
                self._unread.add(series.series_uid)

    async def extend(self) -> AsyncGenerator[FoundSeries, None]:
        """Yield the Series to add, in rounds until a round finds none. It may be called again when more is known."""
        is_new = True
        while is_new:
            is_new = False
            async for batch in self._round():
                added = tuple(series for series in batch.series if series.series_uid not in self._selected)
                if new := await self._admitted(added):
                    self.take(new)
                    self._added.update(series.modality or "?" for series in new)
                    is_new = True
                    yield FoundSeries(new, descriptions=batch.descriptions.of(new))

    async def _admitted(self, added: tuple[Series, ...]) -> tuple[Series, ...]:
        within = FoundSeries(tuple(filter(self.limits.matches, added)))
        admitted = within if self.denied is None else await self.denied.admit(within)
        uids = {series.series_uid for series in admitted.series}
        self._left_out.update(series.series_uid for series in added if series.series_uid not in uids)
        return admitted.series

    def _may_peek(self, series: Series) -> bool:
        return self.limits.matches(series) and not (self.denied is not None and self.denied.denies(series))

    async def _round(self) -> AsyncGenerator[FoundSeries, None]:
        await self._read_selected()
        async for batch in self._annotations():
            yield batch
        yield self._wanted()
        async for batch in self._referred():
            yield batch

    def notes(self) -> tuple[str, ...]:
        """What was added, and what does not exist, for people."""
        notes = []
        if self._added:
            kinds = ", ".join(f"{count:,} {modality}" for modality, count in sorted(self._added.items()))
            notes.append(f"with annotations: {self._added.total():,} more series ({kinds})")
        absent = [f"series {referring} refers to series {uid}" for uid, referring in self._not_found.items()]
        if self.peeks and not self._unread:
            absent += [
                f"series {uid} refers to instance {sop_uid}"
                for uid, told in self._referring.items()
                for sop_uid in sorted(told.instances - self._own)
            ]
        notes += [f"{text}, which the archive does not have" for text in absent[:_SHOWN]]
        if (more := len(absent) - _SHOWN) > 0:
            notes.append(f"{more:,} more references are to what the archive does not have")
        if unknown := self._unknown + (0 if self.peeks else len(self._unread)):
            text = f"the archive does not state what {unknown:,} annotation series of these patients refer to"
            notes.append(text if self.peeks else f"{text}; mirror reads it from their files")
        return tuple(notes)

    # --- what refers to the selection ---------------------------------------------------------------------------------

    async def _annotations(self) -> AsyncGenerator[FoundSeries, None]:
        """The annotations of the Patients that were not asked for before, which refer to selected Series."""
        for question in self._questions():
            async with aclosing(self.archive.find(question)) as batches:
                async for found in batches:
                    self.failures += (error for _, error in found.failed)
                    new = {each.series_uid: each for each in found.series if each.series_uid not in self._selected}
                    told = await self._told(list(new))
                    told |= await self._peeked(
                        [new[uid] for uid in new.keys() - told.keys() if self._may_peek(new[uid])]
                    )
                    self._unknown += len(new) - len(told)
                    for uid in new.keys() & told.keys():
                        self._waiting[uid] = _Waiting(new[uid], told[uid], found.descriptions)
                    yield self._wanted()

    def _questions(self) -> list[Selection]:
        questions = []
        for collection, patients in self._patients.items():
            names = (collection,) if collection else ()
            asked = self._asked[collection]
            if asked is None or not (names or any(patients)):
                continue
            is_whole = bool(names) and len(asked) + len(patients) > _PATIENTS_ASKED
            ids = () if is_whole else tuple(sorted(patients))
            questions.append(Selection(collections=names, patients=ids, modalities=MODALITIES))
            self._asked[collection] = None if is_whole else asked | patients
        self._patients.clear()
        return questions

    def _wanted(self) -> FoundSeries:
        """Those of the waiting annotations that refer to something selected, or that something selected refers to."""
        referred = {uid for told in self._referring.values() for uid in told.instances}
        wanted = [each for each in self._waiting.values() if self._belongs(each.references, referred)]
        descriptions = {id(each.descriptions): each.descriptions for each in wanted}
        return FoundSeries(
            tuple(each.series for each in wanted), descriptions=Descriptions.joined(descriptions.values())
        )

    def _belongs(self, told: References, referred: set[SopInstanceUid]) -> bool:
        is_apart = self._selected.isdisjoint(told.series) and self._own.isdisjoint(told.instances)
        return not (is_apart and referred.isdisjoint(told.own))

    # --- what the selection refers to ---------------------------------------------------------------------------------

    async def _read_selected(self) -> None:
        """Find out what the selected annotations refer to, from what the archive states, and then from their files.

        The archive may state it for the first instance alone, so a mirror reads the files all the same.
        """
        uids = sorted(self._unread)
        for start in range(0, len(uids), _TOLD_AT_ONCE):
            page = uids[start : start + _TOLD_AT_ONCE]
            read = dict(await self.reads(page))
            rest = [uid for uid in page if uid not in read and uid not in self._told_of]
            told = dict(await self.archive.references(rest)) if rest else {}
            self._told_of.update(rest)
            self._unread -= read.keys() if self.peeks else read.keys() | told.keys()
            for uid, references in (read | told).items():
                self._own |= references.own
                self._referring[uid] = references

    async def _referred(self) -> AsyncGenerator[FoundSeries, None]:
        """The Series that selected ones refer to, and that are not selected."""
        missing = {
            uid: referring
            for referring, told in self._referring.items()
            for uid in sorted(told.series)
            if uid not in self._selected and uid not in self._not_found and uid not in self._left_out
        }
        self._referring = {uid: told for uid, told in self._referring.items() if told.instances - self._own}
        uids = list(missing)
        for start in range(0, len(uids), _TOLD_AT_ONCE):
            asked = uids[start : start + _TOLD_AT_ONCE]
            absent, failed = dict.fromkeys(asked), False
            async with aclosing(self.archive.find(Selection(series=tuple(asked)))) as batches:
                async for found in batches:
                    failed = failed or bool(found.failed)
                    self.failures += (error for _, error in found.failed)
                    for series in found.series:
                        absent.pop(series.series_uid, None)
                    yield found
            if not failed:
                self._not_found |= {uid: missing[uid] for uid in absent}

    # --- references ---------------------------------------------------------------------------------------------------

    async def _told(self, series_uids: Sequence[SeriesUid]) -> dict[SeriesUid, References]:
        """What Series refer to, from the files of the mirror or else from what the archive states."""
        told = dict(await self.reads(series_uids)) if series_uids else {}
        if rest := [uid for uid in series_uids if uid not in told]:
            told |= await self.archive.references(rest)
        return told

    async def _peeked(self, series: Sequence[Series]) -> dict[SeriesUid, References]:
        """What Series refer to, from the heads of their files at the archive."""
        found: dict[SeriesUid, References] = {}

        async def peek(each: Series) -> None:
            try:
                found[each.series_uid] = await self._peek(each)
            except RequestFailed as error:
                self.failures.append(error)
            except InvalidInstance:
                pass  # it stays unknown, which is counted

        if self.peeks and series:
            await run_pool(as_iterator(series), peek, workers=_PEEKS_AT_ONCE, name="peek")
        return found

    async def _peek(self, series: Series) -> References:
        listing = await self.archive.list(series)
        told = References()
        for entry in listing.entries[:_PEEKED_INSTANCES]:
            content = await read_head(self.archive, series, entry, at_most=_PEEK_BYTES)
            told |= await asyncio.to_thread(read_references, content)
        return told
