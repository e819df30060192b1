"""What is owed of a mirror, and the outcomes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any, Final

from bulkdl.journal import queries, rows, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import Run, WorkCursor, selection_of
from bulkdl.model.ids import SeriesUid, names_files
from bulkdl.model.outcomes import STATE_AFTER, FileNaming, InstanceOutcome, InstanceState, SeriesWork
from bulkdl.model.records import InstanceKey

_OWED_AT_ONCE: Final = 3_200  # instances in a page of work, about: each takes a quarter of a KB


class OwedWork(JournalDatabase):
    """The work of a journal, and its outcomes."""

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
