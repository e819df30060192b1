"""`Journal` records facts and answers questions, in the vocabulary of the domain.

One object has the only connection that writes. It blocks, so one thread calls it. Each method that records is one
transaction: when it returns, its facts are synced to the disk. The caller makes sure that they are true on the disk.
Questions are answered from keys and from totals that triggers keep (`schema`), never by loading what is counted.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from bulkdl.journal import connection, many_rows, queries, rows, writes
from bulkdl.journal.description_records import DescriptionRecords
from bulkdl.journal.header_records import HeaderRecords
from bulkdl.journal.joined_history import JoinedHistory
from bulkdl.journal.layout_records import LayoutRecords
from bulkdl.journal.rows import Counts, HeldInstance, Run, SeriesRow, WorkCursor, moment, selection_of, series_from
from bulkdl.journal.run_records import RunRecords
from bulkdl.journal.schema import STATE_NUMBERS
from bulkdl.model.ids import SeriesUid, SopInstanceUid, names_files
from bulkdl.model.outcomes import STATE_AFTER, FileNaming, InstanceOutcome, InstanceState, SeriesWork
from bulkdl.model.records import Entry, InstanceKey, Series
from bulkdl.model.reports.base import Failure

if TYPE_CHECKING:
    from bulkdl.model.reports.collections import CollectionStatus

_STATES: Final = {number: state for state, number in STATE_NUMBERS.items()}
_PAGE: Final = 1_000
_NO_RUN: Final = -1
_OWED_AT_ONCE: Final = 3_200  # instances in a page of work, about: each takes a quarter of a KB


class Journal(RunRecords, LayoutRecords, JoinedHistory, DescriptionRecords, HeaderRecords):
    """The journal of one mirror. A context manager; `close` may be called twice.

    The classes that it joins have its methods by subject, and share one connection and its state (`JournalDatabase`).

    What records raises JournalError, and records nothing, if a Series or an instance was never recorded, or if a folder
    belongs to another Series (see `series_in_folder`). All methods raise the errors of `connection.translated`.
    """

    def held_groups(self) -> list[rows.HeldGroup]:
        """What files are held, by what the archive says of their Series. Costs some microseconds a Series."""
        return list(map(rows.HeldGroup.of_row, self._rows(queries.HELD_GROUPS)))

    def state(self) -> str:
        """A text that changes whenever what is held changes, or what is recorded of it."""
        return json.dumps(self._row(queries.MIRROR_STATE))

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
    ) -> None:
        """Record valid instances that were found on the disk, and `series` as their headers describe them.

        `names` are as in `record_instances`. A known Series keeps its record. A new one stays unlisted: only the
        archive knows whether these are all its instances. Entries without a UID are bound as in `record_instances`.
        """
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            for record, folder in series:
                known = database.execute(queries.SERIES_FOLDER, (record.series_uid,))
                if (known.fetchone() or (None,))[0] is None:
                    writes.take_series(database, run, record, folder, moment(now))
            series_ids = {uid: writes.known_series(database, uid) for uid in {o.series_uid for o in outcomes}}
            pairs = zip(outcomes, names, strict=True)
            found = [(series_ids[each.series_uid], each.sop_uid, name, run.id) for each, name in pairs]
            many_rows.change(database, queries.ADD_INSTANCES, found)
            writes.hold(database, run, series_ids, outcomes)
            for series_id in series_ids.values():
                writes.bind_by_checksum(database, series_id)
        self._claims.clear()

    def record_series_failure(
        self, run: Run, series_uid: SeriesUid, *, error: str, message: str, attempts: int
    ) -> None:
        """Record that a Series failed as a whole, or is incomplete. The journal may not know it yet."""
        with self._writing() as database:
            series_id, listing = writes.take_unknown_series(database, run, series_uid)
            if run.selection_id is None and self._is_gone(database, series_uid, series_id):
                return
            writes.link_series(database, run, series_id, series_uid, listing)
            writes.note_failure(database, run, (series_id, ""), (error, message, attempts))

    def record_outcomes(self, run: Run, outcomes: Sequence[InstanceOutcome]) -> None:
        """Record how instances ended, in one transaction, and bind their entries to their UIDs.

        The failure of an instance that is held or withdrawn changes nothing: its file is still in place. What was
        downloaded of an instance that was forgotten meanwhile, because the archive has withdrawn it, is withdrawn.
        """
        with self._writing() as database:
            series_ids = {uid: writes.known_series(database, uid) for uid in {o.series_uid for o in outcomes}}
            for uid in series_ids.keys() & self._shrunk:
                late = [outcome for outcome in outcomes if outcome.series_uid == uid]
                others = [outcome for outcome in outcomes if outcome.series_uid != uid]
                outcomes = [*others, *writes.settle_late(database, run, series_ids[uid], late)]
            held = [outcome for outcome in outcomes if STATE_AFTER[outcome.outcome] is InstanceState.HELD]
            writes.hold(database, run, series_ids, held)
            for outcome in outcomes:
                if STATE_AFTER[outcome.outcome] is not InstanceState.HELD:
                    writes.give_up(database, run, series_ids[outcome.series_uid], outcome)

    def owe_again(self, run: Run) -> int:
        """Owe again what failed or was quarantined, of the run's selection or of everything; returns the number.

        A Series that failed as a whole becomes unlisted, unless the archive did not know it: only resolving finds it.
        So does a Series with a failed entry of which only its list can say more: the archive does not have it, or its
        UID is not known, and its size or checksum may have changed.
        """
        with self._writing() as database:
            scope = {"selection": run.selection_id}
            database.execute(queries.UNLIST_FAILED, scope)
            database.execute(queries.REMOVE_FAILED_ENTRIES, scope)
            instances = database.execute(queries.REMOVE_FAILED_OF_LIST, scope).rowcount
            instances += database.execute(queries.OWE_INSTANCES_AGAIN, {**scope, "run": run.id}).rowcount
            series = database.execute(queries.FORGET_SERIES_FAILURES, scope).rowcount
        return instances + series

    def owe(self, run: Run, keys: Sequence[InstanceKey]) -> None:
        """Owe again held instances whose files are missing or damaged. Instances in other states do not change."""
        with self._writing() as database:
            series_ids = {uid: writes.known_series(database, uid) for uid in {key.series_uid for key in keys}}
            owed = ((run.id, series_ids[key.series_uid], key.sop_uid) for key in keys)
            database.executemany(queries.OWE, owed)

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

    def linked(self, selection_id: int) -> Iterator[SeriesUid]:
        """The Series that hold files and that a selection was resolved to."""
        return (series_uid for (series_uid,) in self._rows(queries.LINKED_SERIES, (selection_id,)))

    def selected(self, selection_id: int | None) -> frozenset[SeriesUid]:
        """The Series that runs found for a selection so far."""
        return frozenset(series_uid for (series_uid,) in self._rows(queries.SELECTED_SERIES, (selection_id,)))

    def series_count(self) -> int:
        """How many Series are recorded."""
        return int((self._row(queries.SERIES_COUNT) or (0,))[0])

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

    def owed_work(
        self, run: Run | None, *, after: WorkCursor | None, limit: int, instances_per_item: int = 500
    ) -> tuple[list[SeriesWork], WorkCursor | None]:
        """The next items of work after `after`, by position, Collection, Patient, Study, Series and instance.

        At most `limit`, and fewer where they have thousands of instances.

        The returned cursor is for the next call; None means the end of the pass. What is listed behind the cursor is
        found by the next pass, begun with None. Instances in flight are still owed, so that pass returns them again. A
        Series that owes more than `instances_per_item` comes in several items, none of them `whole`. A Series with
        entries whose UID or file name is not known comes in one item, because only the worker that downloads all of
        them finds out which have the same.
        """
        work: list[SeriesWork] = []
        cursor, left = after or WorkCursor(), _OWED_AT_ONCE
        while len(work) < limit:
            # The first Series of a page may be the one of the cursor, with nothing left.
            scope = {"selection": selection_of(run), **asdict(cursor), "limit": limit + 1}
            page = self._rows(queries.OWING_SERIES, scope)
            for row in page:
                _, series_uid, study_uid, patient_id, collection, position, *_ = row
                begun = cursor.sop_uid if series_uid == cursor.series_uid else ""
                most = min(limit - len(work), -(-left // instances_per_item))
                items, last = self._items(run, row, begun, most, instances_per_item)
                work += items
                left -= sum(len(item.entries) for item in items)
                cursor = WorkCursor(position, collection, patient_id, study_uid, series_uid, last)
                if len(work) == limit or left <= 0:
                    return work, cursor
            if len(page) <= limit:
                return work, None
        return work, cursor

    def _items(
        self, run: Run | None, row: Sequence[Any], after: str, limit: int, size: int
    ) -> tuple[list[SeriesWork], str]:
        """The work of one owing Series, in items of `size` instances, and the last instance in them."""
        series_id, series_uid, study_uid, _, _, _, folder, image_count, size_bytes, untouched, owed, narrowed = row
        statement = queries.OWED_WANTED_INSTANCES if narrowed else queries.OWED_INSTANCES
        scope = {"series": series_id, "series_uid": series_uid, "selection": selection_of(run)}
        taken: frozenset[str] = frozenset()
        named: dict[str, str] = {}
        naming = self._naming(series_id, series_uid)
        if naming is not None or self._row(queries.OWES_UNBOUND, (series_id,)):
            size = -1  # no limit
            known = queries.BOUND_NAMES if naming is None else queries.NAMES_IN_PLACE
            named = dict(self._rows(known, (series_id,)))
            taken = frozenset(named)
        items: list[SeriesWork] = []
        while len(items) < limit and (found := self._owed_rows(statement, {**scope, "after": after, "limit": size})):
            after = found[-1][0]
            items.append(
                SeriesWork(
                    series_uid=series_uid,
                    study_uid=study_uid or None,
                    folder=folder,
                    entries=tuple(rows.owed_entry(uid, *entry) for uid, _, *entry in found),
                    names=tuple(name if naming is None or name in named else None for _, name, *_ in found),
                    image_count=image_count,
                    size_bytes=size_bytes,
                    whole=bool(untouched) and len(found) == owed,
                    taken=taken,
                    naming=naming,
                )
            )
            if len(found) != size:
                break
        return items, after

    def _owed_rows(self, statement: str, scope: Mapping[str, Any]) -> list[list[Any]]:
        """The columns of owed instances, in the order of the first."""
        return sorted(json.loads(self._row(statement, scope)[0]), key=itemgetter(0))

    def _naming(self, series_id: int, series_uid: str) -> FileNaming | None:
        """How the files of a Series are named, None where their names are made of their UIDs."""
        (template,) = self._row(queries.LAYOUT) or ("",)
        if not names_files(template):
            return None
        series = rows.series_row(self._row(queries.SERIES_BY_UID, (series_uid,))).series
        if series.kind is not None:  # its files have the names that the archive gives them
            return None
        return FileNaming(template, series, dict(self._rows(queries.FORMER_NAMES, (series_id,))))

    def file_names(self, series_uid: SeriesUid) -> dict[str, str]:
        """The names of the files of a Series, each with the SOP Instance UID that has it."""
        row = self._row(queries.SERIES_ID, (series_uid,))
        return dict(self._rows(queries.NAMES_IN_PLACE, row)) if row is not None else {}

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
        from bulkdl.model.reports.collections import CollectionStatus  # noqa: PLC0415 - as above

        return [CollectionStatus(*row) for row in self._rows(queries.COLLECTIONS, {"selection": selection_of(run)})]

    def failures(self, run: Run | None = None, *, limit: int) -> list[Failure]:
        """The first failures: instances, and Series as a whole, that are not in the mirror."""
        scope = {"selection": selection_of(run), "limit": limit}
        return [rows.failure_from(row) for row in self._rows(queries.FAILURES, scope)]

    def failures_by_error(self, run: Run | None = None) -> dict[str, int]:
        """How many instances, and Series as a whole, failed with each code of `bulkdl.errors`."""
        return dict(self._rows(queries.FAILURES_BY_ERROR, {"selection": selection_of(run)}))

    def held(self, *, after: tuple[int, str] | None = None, limit: int) -> list[HeldInstance]:
        """Files of the mirror, by series id and SOP Instance UID, after `after`; fewer than `limit` at the end."""
        series_id, sop_uid = after or (0, "")
        found: list[HeldInstance] = []
        while True:
            page = self._rows(queries.HELD_OF_SERIES, (series_id, sop_uid, limit - len(found)))
            found += (rows.held_instance(row) for row in page)
            if len(found) == limit:
                return found
            following = self._row(queries.HOLDING_SERIES, (series_id,))
            if following is None:
                return found
            series_id, sop_uid = following[0], ""

    def adopted(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series that were adopted, and not downloaded since."""
        return [rows.held_instance(row) for row in self._rows(queries.ADOPTED, (series_uid,))]

    def held_of_series(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series."""
        return [rows.held_instance(row) for row in self._rows(queries.ALL_HELD_OF_SERIES, (series_uid,))]

    def held_without_md5(self, series_uid: SeriesUid) -> list[HeldInstance]:
        """The files of a Series whose MD5 is not known."""
        return [rows.held_instance(row) for row in self._rows(queries.HELD_WITHOUT_MD5, (series_uid,))]

    def held_folders(self, run: Run, *, after: int = 0, limit: int) -> list[rows.HeldFolder]:
        """Folders of the run's selection, or of all, with the files of earlier runs, by series id after `after`."""
        scope = {"selection": run.selection_id, "after": after, "limit": limit}
        return [
            rows.HeldFolder(number, series_uid, folder, self._rows(queries.HELD_FILES, (number, run.id)))
            for number, series_uid, folder in self._rows(queries.HELD_FOLDERS, scope)
        ]

    def held_folder(self, series_uid: SeriesUid) -> rows.HeldFolder | None:
        """The folder and the files of a Series, those that every run put there; None if it has no folder."""
        row = self.find_series(series_uid)
        if row is None or row.folder is None:
            return None
        return rows.HeldFolder(row.id, series_uid, row.folder, self._rows(queries.HELD_FILES, (row.id, _NO_RUN)))

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

    def never_listed(self) -> int:
        """How many Series were found, and neither listed since nor adopted: their instances are not known."""
        return int(self._row(queries.NEVER_LISTED)[0])

    def is_complete(self, series_uid: SeriesUid) -> bool:
        """Whether a Series holds all its recorded instances, and at least one."""
        return bool(self._row(queries.IS_COMPLETE, (series_uid,)) == (1,))

    def series_in_folder(self, folder: str) -> SeriesUid | None:
        """The Series whose folder is `folder`; the case of ASCII letters does not matter."""
        row = self._row(queries.SERIES_IN_FOLDER, (folder,))
        return None if row is None else SeriesUid(row[0])

    def instances(self, series_uid: SeriesUid, *, after: str = "", limit: int) -> list[rows.InstanceRow]:
        """The recorded instances of a Series whose UID is known, by UID, after `after`."""
        return [
            rows.InstanceRow(sop_uid, path, _STATES[state], size_bytes)
            for sop_uid, path, state, size_bytes in self._rows(queries.INSTANCES, (series_uid, after, limit))
        ]

    def instance_table(self, series_uid: SeriesUid) -> Iterator[dict[str, Any]]:
        """The rows of a Series in the view `v_instances`, as text, numbers and None."""
        for row in self._rows(queries.INSTANCE_TABLE, (series_uid,)):
            yield dict(zip(queries.INSTANCE_COLUMNS, row, strict=True))

    def entries(self, series_uid: SeriesUid) -> list[rows.EntryRow]:
        """What is recorded of each entry of a Series; none if the Series is not known."""
        row = self._row(queries.SERIES_ID, (series_uid,))
        found = self._rows(queries.ENTRIES, row) if row is not None else []
        return [rows.EntryRow(key, uid, name, _STATES[state], *reason) for key, uid, name, state, *reason in found]

    def find_held(self, key: InstanceKey) -> rows.HeldPlace | None:
        """Where an instance is in the mirror according to the journal; None if it is not held."""
        row = self._row(queries.FIND_HELD, (key.series_uid, key.sop_uid))
        return None if row is None else rows.HeldPlace(*row)

    def find_all_held(self, keys: Sequence[InstanceKey]) -> dict[InstanceKey, rows.HeldPlace]:
        """Where those of these instances are that are held, by one question: each takes the interpreter lock again."""
        asked = json.dumps([(key.series_uid, key.sop_uid) for key in keys])
        return {keys[number]: rows.HeldPlace(*place) for number, *place in self._rows(queries.FIND_ALL_HELD, (asked,))}
