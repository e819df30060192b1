"""Series under licences that one `sync` denies: new ones are left out, and those of the mirror stay as they are.

The licences of a selection leave its other Series out of the mirror. A licence that is denied later must not do that:
a Series that the mirror has is still selected, so it is not withdrawn, and nothing of it is requested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final, TypeAlias

from bulkdl.archive.base import FoundSeries
from bulkdl.journal.rows import SeriesRow, is_changed
from bulkdl.model.ids import SeriesUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.model.text import one_line

_MOST_NAMED: Final = 20
_CHANGED: Final = "the archive has changed it"
_INCOMPLETE: Final = "instances of it are missing"

FindSeries: TypeAlias = Callable[[SeriesUid], Awaitable[SeriesRow | None]]
"""Reads what the journal has of a Series."""


@dataclass(slots=True)
class DeniedSeries:
    """The Series under licences that `criteria` deny, as they are found: left out, or kept as the journal has them."""

    criteria: Selection
    find: FindSeries
    _left_out: dict[SeriesUid, str] = field(default_factory=dict)  # the licence of each
    _unchanged: dict[SeriesUid, str] = field(default_factory=dict)  # what `notes` says of each

    def denies(self, series: Series) -> bool:
        """Whether the licence of a Series is denied."""
        return not self.criteria.matches(series)

    async def admit(self, found: FoundSeries) -> FoundSeries:
        """The batch without denied Series that are new to the mirror.

        A denied one that the mirror has is in it as the journal describes it, so that it is not listed again.
        """
        kept = [each for series in found.series if (each := await self._admitted(series)) is not None]
        return replace(found, series=tuple(kept), descriptions=found.descriptions.of(kept))

    async def _admitted(self, series: Series) -> Series | None:
        is_licensed = bool(series.license_name or series.license_uri)
        if is_licensed and not self.denies(series):
            return series
        row = await self.find(series.series_uid)
        licensed = series if row is None or is_licensed else _with_license_of(row.series, series)
        if not self.denies(licensed):
            return series
        if row is None or not _is_in_mirror(row):
            self._left_out[series.series_uid] = _license(licensed)
            return None
        if is_changed(row.series, series):
            self._keep(licensed, _CHANGED)
        elif not row.is_listed or row.owed or row.failed or row.quarantined:
            self._keep(licensed, _INCOMPLETE)
        return _with_license_of(licensed, row.series)

    def may_list(self, series: Series) -> bool:
        """Whether the instances of a recorded Series may be requested. A denied one is named by `notes`."""
        if self.denies(series):
            self._keep(series, _INCOMPLETE)
            return False
        return True

    async def may_fetch(self, series_uid: SeriesUid) -> bool:
        """As `may_list`."""
        row = await self.find(series_uid)
        return row is None or self.may_list(row.series)

    def _keep(self, series: Series, why: str) -> None:
        text = f"series {series.series_uid} stays as it is, because its licence {_license(series)} is denied: {why}"
        self._unchanged.setdefault(series.series_uid, text)

    def notes(self) -> Sequence[str]:
        """How many Series were left out, under which licences, and which Series of the mirror stay as they are."""
        return list(self._notes())

    def _notes(self) -> Iterator[str]:
        if count := len(self._left_out):
            yield f"{count:,} series left out, because the licence is denied: {self._licenses()}"
        yield from islice(self._unchanged.values(), _MOST_NAMED)
        if (more := len(self._unchanged) - _MOST_NAMED) > 0:
            yield f"{more:,} more series stay as they are, because the licence is denied"

    def _licenses(self) -> str:
        counts = sorted(Counter(self._left_out.values()).items(), key=lambda each: (-each[1], each[0]))
        shown = [f"{count:,} under {name}" for name, count in counts[:_MOST_NAMED]]
        more = sum(count for _, count in counts[_MOST_NAMED:])
        return ", ".join([*shown, *([f"{more:,} under others"] if more else [])])


def _is_in_mirror(row: SeriesRow) -> bool:
    """Whether the mirror has files of a Series, or is to have them. It keeps withdrawn files, and marks them so."""
    return row.folder is not None and (row.held > 0 or row.withdrawn == 0)


def _with_license_of(licensed: Series, series: Series) -> Series:
    return replace(series, license_name=licensed.license_name, license_uri=licensed.license_uri)


def _license(series: Series) -> str:
    return one_line(series.license_name or series.license_uri or "")
