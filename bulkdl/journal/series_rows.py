"""Series as they are recorded, with what is held and owed of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bulkdl.journal import queries, rows
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import SeriesRow
from bulkdl.model.ids import SeriesUid

_PAGE: Final = 1_000


class SeriesRows(JournalDatabase):
    """The Series of a journal, one by one."""

    def series(self, *, after: int = 0, limit: int) -> list[SeriesRow]:
        """Every Series, by id, after the id `after`."""
        return [rows.series_row(row) for row in self._rows(queries.SERIES_PAGE, (after, limit))]

    def all_series(self) -> Iterator[SeriesRow]:
        """Every Series, by id. They are read page by page, so the journal may be written meanwhile."""
        after = 0
        while page := self.series(after=after, limit=_PAGE):
            yield from page
            after = page[-1].id

    def find_series(self, series_uid: SeriesUid) -> SeriesRow | None:
        """One Series; None if it was never recorded."""
        row = self._row(queries.SERIES_BY_UID, (series_uid,))
        return None if row is None else rows.series_row(row)

    def places_of(self, series_uids: Sequence[SeriesUid]) -> dict[SeriesUid, tuple[str, str]]:
        """The Collection and the Patient of those of these Series that are recorded."""
        found = ((uid, self._row(queries.PLACE_OF_SERIES, (uid,))) for uid in series_uids)
        return {uid: (row[0], row[1]) for uid, row in found if row is not None}

    def series_in_folder(self, folder: str) -> SeriesUid | None:
        """The Series whose folder is `folder`; the case of ASCII letters does not matter."""
        row = self._row(queries.SERIES_IN_FOLDER, (folder,))
        return None if row is None else SeriesUid(row[0])
