"""Which instances were stored at other archives, as those confirmed it."""

from __future__ import annotations

from collections.abc import Sequence

from bulkdl.journal import many_rows, queries, rows
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import HeldInstance, without_secrets


class SentRecords(JournalDatabase):
    """What a mirror has sent, and where to."""

    def target(self, url: str) -> int:
        """The number of the archive at `url`, to which instances are sent."""
        kept = without_secrets(url)
        with self._writing() as database:
            database.execute(queries.ADD_TARGET, (kept,))
            (number,) = database.execute(queries.TARGET_ID, (kept,)).fetchone()
        return int(number)

    def unsent(self, series_id: int, target: int, *, after: str = "", limit: int) -> list[HeldInstance]:
        """Files of a Series that the archive `target` has not confirmed, by SOP Instance UID after `after`.

        A file that changed since counts as not confirmed.
        """
        values = (target, series_id, after, limit)
        return [rows.held_instance(row) for row in self._rows(queries.UNSENT, values)]

    def record_sent(self, run_id: int, target: int, instances: Sequence[HeldInstance]) -> None:
        """Record that the archive `target` has confirmed these instances."""
        found = [(each.series_id, each.sop_uid, target, run_id) for each in instances]
        with self._writing() as database:
            many_rows.change(database, queries.RECORD_SENT, found)
