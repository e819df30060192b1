"""One run of `push`: which instances it sends, and what became of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bulkdl.errors import AccessDenied, ArchiveRefused, DuplicateInstance, SelectionError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.events import InstanceFailed, Sink
from bulkdl.model.ids import is_uid
from bulkdl.model.reports.base import Failure, RunOutcome, SeriesCounts
from bulkdl.model.reports.push import PushCounts
from bulkdl.verbs.calls.announcer import Announcer
from bulkdl.verbs.mirrors.open_mirror import OpenMirror
from bulkdl.verbs.pushing.sent_files import PushItem

_PAGE: Final = 1_000
_FAILURES_NAMED: Final = 1_000


class PushSelection(NamedTuple):
    """What is sent of a mirror. The values of one are alternatives, different ones narrow; all empty is everything."""

    collection: tuple[str, ...] = ()
    patient: tuple[str, ...] = ()
    study: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()

    def values_of(self, row: SeriesRow) -> tuple[str, ...]:
        """What a Series has for each field, as it is compared."""
        of = row.series
        found = (of.collection, of.patient_id, of.study_uid, of.series_uid, of.modality)
        return tuple((value or "").casefold() for value in found)


@dataclass(slots=True)
class _OpenSeries:
    """A Series of which instances are on their way."""

    left: int = 0
    has_failures: bool = False
    is_read: bool = False


@dataclass(slots=True)
class Pushing:
    """See `sending.Settlement`. `target` is the number of the archive in the journal, `run_id` that of the run."""

    mirror: OpenMirror
    selection: PushSelection
    target: int
    run_id: int
    stop: asyncio.Event
    sink: Sink
    selected: int = 0
    sent: int = 0
    already: int = 0
    failed_instances: int = 0
    bytes_selected: int = 0
    bytes_sent: int = 0
    left_out: int = 0
    series_selected: int = 0
    series_complete: int = 0
    series_failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    missing: list[Failure] = field(default_factory=list)  # criteria that nothing meets
    warnings: Counter[str] = field(default_factory=Counter)
    _is_counted: bool = False
    _codes: set[str] = field(default_factory=set)
    _open: dict[int, _OpenSeries] = field(default_factory=dict)
    _announcer: Announcer = field(init=False)
    _wanted: list[set[str]] = field(init=False)

    def __post_init__(self) -> None:
        self._wanted = [{value.casefold() for value in values} for values in self.selection]

    async def count(self) -> None:
        """Count what is selected, before the first request."""
        absent = [{value.casefold(): value for value in values} for values in self.selection]
        unmet = [values.copy() for values in absent]
        async for row in self._held_rows():
            if row.series.kind is not None:
                self.left_out += self._is_selected(row)
                continue
            _strike(absent, self.selection.values_of(row))
            if not self._is_selected(row):
                continue
            _strike(unmet, self.selection.values_of(row))
            self.series_selected += 1
            self.selected += row.held
            self.bytes_selected += row.held_bytes
        for name, values, nowhere in zip(PushSelection._fields, unmet, absent, strict=True):
            for key, value in values.items():
                others = "" if key in nowhere else " that meets the other criteria"
                message = f"the mirror holds no instance of the {name} {value}{others}"
                self.missing.append(Failure("", None, SelectionError.code, message, 1))
        self._announcer = Announcer(self.sink, "push", self.selected, "instances")
        self._is_counted = not self.stop.is_set()

    async def _held_rows(self) -> AsyncIterator[SeriesRow]:
        """The Series that hold files."""
        after = 0
        while not self.stop.is_set() and (page := await self.mirror.journal(Journal.series, after=after, limit=_PAGE)):
            after = page[-1].id
            for row in page:
                if row.held:
                    yield row

    def _is_selected(self, row: SeriesRow) -> bool:
        pairs = zip(self._wanted, self.selection.values_of(row), strict=True)
        return all(not values or found in values for values, found in pairs)

    async def items(self) -> AsyncGenerator[PushItem, None]:
        """What the archive has not confirmed, Series by Series, until `stop` is set."""
        async for row in self._held_rows():
            if row.series.kind is None and self._is_selected(row):
                async for item in self._items_of(row):
                    yield item

    async def _items_of(self, row: SeriesRow) -> AsyncIterator[PushItem]:
        state = self._open[row.id] = _OpenSeries()
        found, after = 0, ""
        while not self.stop.is_set() and (page := await self._page(row, after)):
            after = page[-1].held.sop_uid
            found += len(page)
            state.left += len(page)
            for item in page:
                if is_uid(item.held.sop_uid):
                    yield item
                else:
                    self.failed_item(item)
        if not self.stop.is_set():
            state.is_read = True
            self.already += row.held - found
            self._announcer.step(row.held - found)
            self._close_if_done(row.id)

    async def _page(self, row: SeriesRow, after: str) -> list[PushItem]:
        journal = self.mirror.journal
        held = await journal(Journal.unsent, row.id, self.target, after=after, limit=_PAGE)
        return [PushItem(each, row.series.study_uid) for each in held]

    def failed_item(self, item: PushItem) -> None:
        """Another file of the Series has the UID of this one, which has none in the journal for that."""
        message = f"{item.held.path}: another file of its series has the same SOP Instance UID"
        self.failed(item, DuplicateInstance.code, message, 1)

    async def confirmed(self, items: Sequence[PushItem], already: Sequence[PushItem], warnings: Sequence[str]) -> None:
        """See `Settlement.confirmed`."""
        both = [*items, *already]
        await self.mirror.journal(Journal.record_sent, self.run_id, self.target, [item.held for item in both])
        self.sent += len(items)
        self.already += len(already)
        self.bytes_sent += sum(item.held.size_bytes for item in items)
        self.warnings.update(warnings)
        for item in both:
            self._settle(item)

    def failed(self, item: PushItem, error: str, message: str, attempts: int) -> None:
        """See `Settlement.failed`."""
        held = item.held
        self.failed_instances += 1
        self._codes.add(error)
        self._open[held.series_id].has_failures = True
        if len(self.failures) < _FAILURES_NAMED:
            self.failures.append(Failure(held.series_uid, held.sop_uid, error, message, attempts))
        self.sink(InstanceFailed(held.series_uid, held.sop_uid, error, message))
        self._settle(item)

    def _settle(self, item: PushItem) -> None:
        series_id = item.held.series_id
        self._open[series_id].left -= 1
        self._announcer.step()
        self._close_if_done(series_id)

    def _close_if_done(self, series_id: int) -> None:
        state = self._open[series_id]
        if state.is_read and not state.left:
            del self._open[series_id]
            self.series_failed += state.has_failures
            self.series_complete += not state.has_failures

    def judge(self) -> RunOutcome:
        """How the run has ended. Raises ArchiveRefused: nothing was sent, and everything was refused."""
        if not self._is_counted or self.sent + self.already + self.failed_instances < self.selected:
            return RunOutcome.INTERRUPTED
        if self._codes == {AccessDenied.code} and not self.sent + self.already:
            raise ArchiveRefused(f"everything was refused: {self.failures[0].message}")
        return RunOutcome.PARTIAL if self.failed_instances or self.missing else RunOutcome.COMPLETE

    def counts(self) -> dict[str, Any]:
        """The values of a `PushReport` that are counted here."""
        named = (*self.failures, *self.missing)
        return {
            "series": SeriesCounts(self.series_selected, self.series_complete, self.series_failed),
            "instances": PushCounts(self.selected, self.sent, self.already, self.failed_instances),
            "bytes_selected": self.bytes_selected,
            "bytes_sent": self.bytes_sent,
            "failures": named,
            "failures_left_out": self.failed_instances - len(self.failures),
            "left_out": self.left_out,
            "warnings": dict(self.warnings),
        }


def _strike(criteria: Sequence[dict[str, str]], found: Sequence[str]) -> None:
    """Remove from each criterion the value that a Series has."""
    for values, value in zip(criteria, found, strict=True):
        values.pop(value, None)
