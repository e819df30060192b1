"""Sums over a mirror, or over a selection: none of them reads every instance."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING

from bulkdl.journal import queries, rows
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import Counts, Run, selection_of
from bulkdl.model.ids import SeriesUid
from bulkdl.model.reports.base import Failure

if TYPE_CHECKING:
    from bulkdl.model.reports.collections import CollectionStatus


class JournalTotals(JournalDatabase):
    """The sums of a journal."""

    def counts(self, run: Run | None) -> Counts:
        """The totals of the run's selection, or of everything. Costs about 100 ns a Series."""
        row = self._row(queries.COUNTS, {"selection": selection_of(run)})
        return Counts(**{field.name: value or 0 for field, value in zip(fields(Counts), row, strict=True)})

    def not_decoded(self, run: Run | None, *, by_run: int | None = None) -> int:
        """How many instances have a note that their pixels were not decoded; with `by_run` only those of that run."""
        (count,) = self._row(queries.NOT_DECODED, {"selection": selection_of(run), "run": by_run})
        return int(count)

    def collections(self, run: Run | None = None) -> list[CollectionStatus]:
        """The totals of each Collection, by name."""
        from bulkdl.model.reports.collections import CollectionStatus  # noqa: PLC0415 - late: few runs need it

        return [CollectionStatus(*row) for row in self._rows(queries.COLLECTIONS, {"selection": selection_of(run)})]

    def failures(self, run: Run | None = None, *, limit: int) -> list[Failure]:
        """The first failures: instances, and Series as a whole, that are not in the mirror."""
        scope = {"selection": selection_of(run), "limit": limit}
        return [rows.failure_from(row) for row in self._rows(queries.FAILURES, scope)]

    def failures_by_error(self, run: Run | None = None) -> dict[str, int]:
        """How many instances, and Series as a whole, failed with each code of `bulkdl.errors`."""
        return dict(self._rows(queries.FAILURES_BY_ERROR, {"selection": selection_of(run)}))

    def held_groups(self) -> list[rows.HeldGroup]:
        """What files are held, by what the archive says of their Series. Costs some microseconds a Series."""
        return list(map(rows.HeldGroup.of_row, self._rows(queries.HELD_GROUPS)))

    def state(self) -> str:
        """A text that changes whenever what is held changes, or what is recorded of it."""
        return json.dumps(self._row(queries.MIRROR_STATE))

    def series_count(self) -> int:
        """How many Series are recorded."""
        return int((self._row(queries.SERIES_COUNT) or (0,))[0])

    def is_complete(self, series_uid: SeriesUid) -> bool:
        """Whether a Series holds all its recorded instances, and at least one."""
        return bool(self._row(queries.IS_COMPLETE, (series_uid,)) == (1,))
