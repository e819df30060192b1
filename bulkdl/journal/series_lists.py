"""The Series that archives have, and the entries that they list of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from bulkdl.journal import connection, many_rows, queries, rows, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import Run, moment, selection_of, series_from
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import InstanceOutcome
from bulkdl.model.records import Entry, Series


class SeriesLists(JournalDatabase):
    """The Series and entries of a journal."""

    def record_series(
        self,
        run: Run,
        series: Sequence[tuple[Series, str]],
        *,
        now: datetime,
        again: bool = False,
        first_position: int | None = None,
    ) -> list[Series]:
        """Record Series as the archive describes them, each with its folder, as part of the run's selection.

        Safe to repeat. Keeps values of an earlier record that a later one leaves out, and the folder of a Series that
        has one. A Series becomes unlisted when it is new, when its count, size or dates changed, and when the selection
        wants instances that were not listed. What failed in an earlier run, or `again` in this one, is owed again.
        They are downloaded one after the other from `first_position` on, where that is given.

        Returns the earlier records of those that are now under another Collection or Patient.
        """
        moved: list[Series] = []
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            for number, (record, folder) in enumerate(series, start=first_position or 0):
                series_id, listing, before = writes.take_series(database, run, record, folder, moment(now))
                moved += [before] if before is not None else []
                if first_position is not None:
                    database.execute(queries.SET_POSITION, {"id": series_id, "position": number})
                writes.link_series(database, run, series_id, record.series_uid, listing)
                writes.owe_earlier_failures(database, run, series_id, again=again)
        self._claims.clear()
        return moved

    def complete_series(self, series: Series, folder: str, *, now: datetime) -> None:
        """Record what a header says of a Series, and the folder that follows from it, if no file of it is in place."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            writes.complete_series(database, series, folder, moment(now))
        self._claims.clear()

    def record_instances(
        self,
        run: Run,
        series_uid: SeriesUid,
        entries: Sequence[Entry],
        names: Sequence[str | None],
        *,
        missing: Sequence[InstanceOutcome] = (),
        is_whole: bool = False,
    ) -> bool:
        """Record the entries of a Series as listed: all of them, or those that `unlisted_series` calls wanted.

        `names` are their file names, as many as `entries`; None stands for `<sop_uid>.dcm`, and for an entry whose UID
        is not known. New ones become owed, known ones keep their state and name. Of several entries with one UID the
        first is that instance; the others are recorded as entries whose UID is not known. Entries without a UID are
        bound to held instances with the same MD5. An instance requested by name that the archive does not list is
        recorded too; `missing` has its outcome, so that it is never owed. With `is_whole` the list is complete:
        entries of an earlier one, perhaps at another place, are forgotten where they are not held.

        Returns whether the Series holds files, which the caller compares with the list. Until it calls `end_listing`
        then, the Series counts as unlisted: a run that dies before has not compared them.
        """
        with self._writing() as database:
            series_id = writes.known_series(database, series_uid)
            if self._is_gone(database, series_uid, series_id):
                return False
            if is_whole and writes.forget_entries(database, series_id, entries):
                self._shrunk.add(series_uid)
            writes.list_entries(database, run, series_id, entries, names)
            for outcome in missing:
                writes.give_up(database, run, series_id, outcome)
            holds_files = bool((database.execute(queries.HOLDS_FILES, (series_id,)).fetchone() or (0,))[0])
            if not holds_files:
                writes.end_listing(database, series_id)
        return holds_files

    def record_part(self, run: Run, series_uid: SeriesUid, entry: Entry, name: str | None) -> None:
        """Record one entry of a Series that is not listed, as `record_instances` does. It is listed in part then."""
        with self._writing() as database:
            series_id = writes.known_series(database, series_uid)
            writes.list_entries(database, run, series_id, [entry], [name])
            database.execute(queries.LIST_IN_PART, (series_id,))

    def list_whole(self, series_uid: SeriesUid) -> None:
        """Have a Series that is listed in part listed whole by the run."""
        with self._writing() as database:
            database.execute(queries.UNLIST_PART, (series_uid,))

    def record_md5s(self, series_uid: SeriesUid, md5s: Mapping[SopInstanceUid, bytes]) -> None:
        """Record the MD5s of held instances, and bind entries without a UID by them."""
        with self._writing() as database:
            series_id = writes.known_series(database, series_uid)
            database.executemany(queries.SET_MD5, ((md5, series_id, uid) for uid, md5 in md5s.items()))
            writes.bind_by_checksum(database, series_id)

    def end_listing(self, series_uid: SeriesUid) -> None:
        """Record that a Series is listed, and that its files were compared with the list."""
        with self._writing() as database:
            writes.end_listing(database, writes.known_series(database, series_uid))

    def forget_series(self, series_uid: SeriesUid) -> None:
        """Forget a Series and all its instances, before their files are removed. Their folder stays its own."""
        with self._writing() as database:
            row = database.execute(queries.SERIES_ID, (series_uid,)).fetchone()
            for statement in queries.FORGET_SERIES if row is not None else ():
                database.execute(statement, row)

    def record_found(
        self,
        run: Run,
        series: Sequence[tuple[Series, str]],
        outcomes: Sequence[InstanceOutcome],
        names: Sequence[str | None],
        *,
        now: datetime,
        are_received: bool = False,
    ) -> None:
        """Record valid instances that were found on the disk, and `series` as their headers describe them.

        `names` are as in `record_instances`. A known Series keeps its record. A new one stays unlisted, because only
        the archive knows whether these are all its instances, unless clients stored it (`are_received`). Entries
        without a UID are bound as in `record_instances`.
        """
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            for record, folder in series:
                known = database.execute(queries.SERIES_FOLDER, (record.series_uid,)).fetchone()
                if (known or (None,))[0] is None:
                    if are_received and known is None:
                        writes.receive_series(database, record, folder, moment(now))
                    else:
                        writes.take_series(database, run, record, folder, moment(now))
            series_ids = {uid: writes.known_series(database, uid) for uid in {o.series_uid for o in outcomes}}
            pairs = zip(outcomes, names, strict=True)
            found = [(series_ids[each.series_uid], each.sop_uid, name, run.id) for each, name in pairs]
            many_rows.change(database, queries.ADD_INSTANCES, found)
            writes.hold(database, run, series_ids, outcomes)
            for series_id in series_ids.values():
                writes.bind_by_checksum(database, series_id)
        self._claims.clear()

    def unlisted_series(self, run: Run | None, *, after: int = 0, limit: int = 100) -> list[rows.UnlistedSeries]:
        """Series that are not listed, by id, after the id `after`. Those that failed are left out."""
        scope = {"selection": selection_of(run), "after": after, "limit": limit}
        with connection.translated(self.path):
            return [
                rows.UnlistedSeries(
                    number, series_from(record), folder, writes.wanted_instances(self._database, number)
                )
                for *record, number, folder in self._rows(queries.UNLISTED_SERIES, scope)
            ]

    def never_listed(self) -> int:
        """How many Series were found, and neither listed since nor adopted: their instances are not known."""
        return int(self._row(queries.NEVER_LISTED)[0])
