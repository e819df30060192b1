"""What a merge reads of one journal, and adds to another one."""

from __future__ import annotations

from collections.abc import Sequence

from bulkdl.journal import merging, queries, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.model.ids import SeriesUid


class JoinedHistory(JournalDatabase):
    """The rows of a journal as a merge copies them."""

    def history(self) -> merging.History:
        """The runs, selections and descriptions of this journal, for another one."""
        return merging.read_history(self._rows)

    def known_series(self, after: str) -> merging.KnownSeries | None:
        """All that is recorded of the first Series after a UID; None at the end."""
        return merging.read_series(self._rows, after)

    def known_instances(self, series_uid: SeriesUid) -> dict[str, merging.KnownInstance]:
        """All that is recorded of the instances of a Series, by their rows."""
        row = self._row(queries.SERIES_ID, (series_uid,))
        return merging.read_instances(self._rows, row[0]) if row is not None else {}

    def join_history(self, history: merging.History) -> merging.JoinedIds:
        """Record the runs, selections and descriptions of another journal; returns their ids here. Safe to repeat."""
        with self._writing() as database:
            return merging.join_history(database, history)

    def join_series(
        self,
        known: merging.KnownSeries,
        folder: str | None,
        instances: Sequence[merging.KnownInstance],
        ids: merging.JoinedIds,
    ) -> None:
        """Record what another journal has of a Series, and these instances of it, whose files are there durably."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            merging.join_series(database, known, folder, instances, ids)
        self._claims.clear()

    def forget_rows(self, series_uid: SeriesUid, sop_uids: Sequence[str]) -> None:
        """Forget instances of a Series, which another mirror has now; and the Series, if it has no other."""
        with self._writing() as database:
            series_id = writes.known_series(database, series_uid)
            database.executemany(queries.REMOVE_INSTANCE, ((series_id, sop_uid) for sop_uid in sop_uids))
            database.executemany(queries.REMOVE_ENTRY, ((series_id, sop_uid) for sop_uid in sop_uids))
            if database.execute(queries.HAS_INSTANCES, (series_id,)).fetchone() is None:
                for statement in queries.FORGET_SERIES:
                    database.execute(statement, (series_id,))
