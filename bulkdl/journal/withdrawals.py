"""What archives do not have any more, or a selection does not name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from bulkdl.journal import queries, rows, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import HeldInstance, Run
from bulkdl.model.ids import SeriesUid


class Withdrawals(JournalDatabase):
    """The withdrawn and left-out Series and files of a journal."""

    def vanished(self, run: Run) -> tuple[dict[SeriesUid, int], int]:
        """The Series that earlier runs found for the run's selection and this run did not, each with its files' number.

        And how many files the whole selection holds.
        """
        (held,) = self._row(queries.HELD_OF_SELECTION, (run.selection_id,)) or (0,)
        return dict(self._rows(queries.VANISHED, (run.selection_id, run.id))), held

    def unlink(self, run: Run, series_uids: Iterable[SeriesUid], *, withdraw: bool) -> int:
        """Take Series out of the run's selection. With `withdraw` the archive does not have them any more.

        Their files are marked as withdrawn then, unless another selection still finds them, and what they owed is
        forgotten. Returns how many files were marked.
        """
        marked = 0
        with self._writing() as database:
            for series_uid in series_uids:
                series_id = writes.known_series(database, series_uid)
                database.execute(queries.UNLINK, (run.selection_id, series_id))
                if withdraw and writes.is_gone(database, series_id):
                    count, _ = writes.withdraw(database, run, series_id, ())
                    marked += count
                    self._shrunk.add(series_uid)
                    self._withdrawn.add(series_uid)
                    database.execute(queries.FORGET_FAILURE, (series_id, ""))
                    writes.end_listing(database, series_id)
        return marked

    def leave_out(self, run: Run, series_uids: Iterable[SeriesUid]) -> None:
        """Take Series of which nothing was downloaded out of the run's selection; forget those of no other one."""
        with self._writing() as database:
            for series_uid in series_uids:
                series_id = writes.known_series(database, series_uid)
                database.execute(queries.UNLINK, (run.selection_id, series_id))
                if not database.execute(queries.LINKS, (series_id,)).fetchone():
                    for statement in queries.FORGET_SERIES:
                        database.execute(statement, (series_id,))

    def withdraw(self, run: Run, series_uid: SeriesUid, listed: Collection[str]) -> int:
        """Mark the files of a Series whose keys the archive's whole list does not have; returns their number.

        Instances that were owed and are not listed are forgotten.
        """
        with self._writing() as database:
            marked, is_shrunk = writes.withdraw(database, run, writes.known_series(database, series_uid), listed)
        if is_shrunk:
            self._shrunk.add(series_uid)
        return marked

    def list_uncompared(self, run: Run) -> None:
        """Have the Series listed again that the run found for its selection, and that no `sync` compared since."""
        with self._writing() as database:
            database.execute(queries.LIST_UNCOMPARED, (run.selection_id, run.id))

    def is_uncompared(self, series_uid: SeriesUid) -> bool:
        """Whether the content of a Series has changed, and no `sync` compared its files with the list since."""
        return self._row(queries.IS_UNCOMPARED, (series_uid,)) is not None

    def end_comparing(self, series_uid: SeriesUid) -> None:
        """Record that a `sync` has compared the files of a Series with its list."""
        with self._writing() as database:
            database.execute(queries.MARK_COMPARED, (writes.known_series(database, series_uid),))

    def linked(self, selection_id: int) -> Iterator[SeriesUid]:
        """The Series that hold files and that a selection was resolved to."""
        return (series_uid for (series_uid,) in self._rows(queries.LINKED_SERIES, (selection_id,)))

    def selected(self, selection_id: int | None) -> frozenset[SeriesUid]:
        """The Series that runs found for a selection so far."""
        return frozenset(series_uid for (series_uid,) in self._rows(queries.SELECTED_SERIES, (selection_id,)))

    def withdrawn_total(self) -> tuple[int, int]:
        """How many files are withdrawn, and their bytes."""
        count, size_bytes = self._row(queries.WITHDRAWN_TOTAL) or (0, 0)
        return count, size_bytes

    def withdrawn_files(self, *, limit: int) -> list[HeldInstance]:
        """The first withdrawn files; `forget` removes them from the journal."""
        return [rows.held_instance(row) for row in self._rows(queries.WITHDRAWN_FILES, (limit,))]

    def forget(self, instances: Iterable[HeldInstance]) -> None:
        """Remove instances whose files are gone."""
        with self._writing() as database:
            keys = [(each.series_id, each.sop_uid) for each in instances]
            database.executemany(queries.REMOVE_INSTANCE, keys)
            database.executemany(queries.REMOVE_ENTRY, keys)
