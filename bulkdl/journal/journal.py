"""`Journal` records facts and answers questions, in the vocabulary of the domain.

One object has the only connection that writes. It blocks, so one thread calls it. Each method that records is one
transaction: when it returns, its facts are synced to the disk. The caller makes sure that they are true on the disk.
Questions are answered from keys and from totals that triggers keep (`schema`), never by loading what is counted.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bulkdl.errors import JournalUnreadable, LayoutError
from bulkdl.journal import connection, many_rows, merging, moves, queries, rows, writes
from bulkdl.journal.rows import Counts, HeldInstance, Run, SeriesRow, WorkCursor, moment, series_from, without_secrets
from bulkdl.journal.schema import STATE_NUMBERS
from bulkdl.model.descriptions import CollectionDescription, Descriptions, ResultDescription
from bulkdl.model.ids import SeriesUid, SopInstanceUid, names_files
from bulkdl.model.outcomes import STATE_AFTER, FileNaming, InstanceOutcome, InstanceState, SeriesWork
from bulkdl.model.records import Entry, InstanceKey, Patient, Series, Study
from bulkdl.model.reports.base import Failure, RunOutcome
from bulkdl.model.selection import Selection

if TYPE_CHECKING:
    from bulkdl.model.reports.collections import CollectionStatus
    from bulkdl.model.reports.log import RunSummary

_STATES: Final = {number: state for state, number in STATE_NUMBERS.items()}

_PAGE: Final = 1_000
_NO_RUN: Final = -1
_OWED_AT_ONCE: Final = 3_200  # instances in a page of work, about: each takes a quarter of a KB


def _selection_of(run: Run | None) -> int | None:
    return None if run is None else run.selection_id


class Journal:
    """The journal of one mirror. A context manager; `close` may be called twice.

    What records raises JournalError, and records nothing, if a Series or an instance was never recorded, or if a folder
    belongs to another Series (see `series_in_folder`). All methods raise the errors of `connection.translated`.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self.path = path
        self._database = database
        self._asking = threading.Lock()  # a task that is cancelled leaves behind the thread that asks for it
        self._claims: dict[str, str] = {}  # folders by owner, recorded with the next Series
        self._forgets_owners = False  # of folders, in a trial of another layout
        self._shrunk: set[SeriesUid] = set()  # of which instances were forgotten that a worker may have in hand
        self._withdrawn: set[SeriesUid] = set()  # and that no selection names any more

    @classmethod
    def create_or_open(cls, path: Path) -> Self:
        """Open the journal at `path` for writing; create it if there is no file. Raises as `connection` says."""
        if not path.exists():
            connection.create(path)
        return cls(path, connection.open_to_write(path))

    @classmethod
    def open_readonly(cls, path: Path) -> Self:
        """Open the journal at `path` for reading, beside a writer, and in a folder that cannot be written."""
        return cls(path, connection.open_to_read(path))

    def check(self) -> None:
        """Read the whole file, and compare its tables with their indexes: JournalUnreadable if it is damaged. Slow."""
        row = self._row("PRAGMA quick_check(1)")
        if row is None or row[0] != "ok":
            raise JournalUnreadable(f"the journal {self.path} is damaged: {row[0] if row else 'no answer'}")

    def close(self) -> None:
        """Close the database, after the question that another thread asks. Everything recorded is already on disk."""
        with connection.translated(self.path), self._asking:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Answer all questions of the block from one moment, even if a writer works meanwhile. Keep it short."""
        with connection.translated(self.path):
            self._database.execute("BEGIN")
        try:
            yield
        finally:
            with connection.translated(self.path):
                self._database.execute("COMMIT")

    def begin_run(
        self,
        *,
        verb: str,
        archive_name: str,
        archive_url: str,
        selection: Selection | None,
        settings: Mapping[str, object],
        now: datetime,
    ) -> Run:
        """Record that a run begins. The same criteria in any order are the same selection of an archive of that name.

        Settings whose names contain password, key or token are left out, and so are such parts of addresses.
        """
        with self._writing() as database:
            name, url = without_secrets(archive_name), without_secrets(archive_url)
            database.execute(queries.RENEW_ARCHIVE, (name, url))
            (archive_id,) = database.execute(queries.ARCHIVE_ID, (name,)).fetchone()
            selection_id = None if selection is None else writes.selection_id(database, archive_id, selection)
            begun = (verb, archive_id, selection_id, rows.settings_text(settings), moment(now))
            run_id = database.execute(queries.ADD_RUN, begun).lastrowid
        return Run(id=int(run_id or 0), archive_id=archive_id, selection_id=selection_id)

    def note_catalogue(self, run: Run, release: str) -> None:
        """Record in which release of its index the archive looks up Series."""
        with self._writing() as database:
            database.execute(queries.NOTE_CATALOGUE, (release, run.id))

    def last_catalogue(self) -> str | None:
        """The release of the index in which the last run looked up Series; None if no archive has one."""
        row = self._row(queries.LAST_CATALOGUE)
        return None if row is None else str(row[0])

    def catalogues(self) -> list[str]:
        """Every release of the index in which a run looked up Series."""
        return [str(release) for (release,) in self._rows(queries.CATALOGUES)]

    def end_resolving(self, run: Run) -> None:
        """Record that resolving is complete: all Series of the run's selection are recorded."""
        with self._writing() as database:
            database.execute(queries.MARK_RESOLVED, (run.id, run.selection_id))

    def forget_selection(self, run: Run) -> None:
        """Forget a run's selection that never found anything, and unknown Series that only it asked for."""
        with self._writing() as database:
            if database.execute(queries.FOUND_BY_SELECTION, (run.selection_id,)).fetchone():
                return
            unknown = database.execute(queries.UNKNOWN_TO_ALL, {"selection": run.selection_id}).fetchall()
            for statement in queries.FORGET_UNKNOWN_SERIES:
                database.executemany(statement, unknown)
            for statement in queries.FORGET_SELECTION:
                database.execute(statement, (run.selection_id,))

    def end_run(self, run_id: int, *, outcome: RunOutcome, counts: Mapping[str, object], now: datetime) -> None:
        """Record how a run ended; `counts` are kept as JSON, for people."""
        with self._writing() as database:
            ended = (moment(now), outcome.value, json.dumps(counts, default=str), run_id)
            database.execute(queries.END_RUN, ended)
            writes.forget_empty_series(database)

    @rows.of_records
    def last_run(self) -> rows.RunRow | None:
        """The latest run, which may not have ended; None before the first."""
        row = self._row(queries.LAST_RUN)
        if row is None:
            return None
        run_id, verb, name, url, selection_id, started, ended, outcome = row
        begun, end = datetime.fromisoformat(started), datetime.fromisoformat(ended) if ended else None
        return rows.RunRow(run_id, verb, name, url, selection_id, begun, end, RunOutcome(outcome) if outcome else None)

    @rows.of_records
    def runs(self) -> list[RunSummary]:
        """Every run, oldest first."""
        from bulkdl.model.reports.log import RunSummary  # noqa: PLC0415 - late: most runs ask for neither report

        found = []
        for number, verb, archive, begun, end, outcome, counts in self._rows(queries.RUNS):
            document = json.loads(counts) if counts else {}
            told = {name: document.get(name) or {} for name in ("instances", "bytes", "changes")}
            found.append(RunSummary(number, verb, archive, begun, end, outcome, **told))
        return found

    @rows.of_records
    def runs_of(self, verb: str) -> list[rows.VerbRun]:
        """The runs of a verb, oldest first."""
        found = self._rows(queries.RUNS_OF_VERB, (verb,))
        return [
            rows.VerbRun(json.loads(settings), RunOutcome(outcome) if outcome else None) for settings, outcome in found
        ]

    @rows.of_records
    def last_settings(self, verb: str) -> tuple[int, dict[str, Any]] | None:
        """The latest run of `verb`, and its settings as `begin_run` was given them; None if there is none."""
        row = self._row(queries.LAST_SETTINGS, (verb,))
        return (row[0], json.loads(row[1])) if row is not None else None

    @rows.of_records
    def counts_of_runs(self, archive_name: str, archive_url: str, *, limit: int) -> list[dict[str, Any]]:
        """What `end_run` was given for the latest runs with an archive of that name or address, newest first."""
        found = self._rows(queries.COUNTS_OF_RUNS, (archive_name, archive_url, limit))
        return [json.loads(counts) for (counts,) in found]

    @rows.of_records
    def unanswered(self) -> list[str]:
        """What the last run of each selection asked for and did not find, without what names a Series."""
        found = [json.loads(counts).get("unanswered", ()) for (counts,) in self._rows(queries.LAST_COUNTS)]
        return list(dict.fromkeys(message for messages in found for message in messages))

    @rows.of_records
    def selections(self) -> list[rows.SelectionRow]:
        """Every selection that was mirrored here, oldest first."""
        return [
            rows.SelectionRow(number, Selection.from_json(json.loads(criteria)), name, url, bool(resolved))
            for number, criteria, name, url, resolved in self._rows(queries.SELECTIONS)
        ]

    def held_groups(self) -> list[rows.HeldGroup]:
        """What files are held, by what the archive says of their Series. Costs some microseconds a Series."""
        return list(map(rows.HeldGroup.of_row, self._rows(queries.HELD_GROUPS)))

    def state(self) -> str:
        """A text that changes whenever what is held changes, or what is recorded of it."""
        return json.dumps(self._row(queries.MIRROR_STATE))

    def property(self, name: str) -> str | None:
        """A property of the mirror as a whole; None if it was never set."""
        row = self._row(queries.PROPERTY, (name,))
        return None if row is None else str(row[0])

    def set_property(self, name: str, value: str) -> None:
        """Set a property of the mirror as a whole."""
        with self._writing() as database:
            database.execute(queries.SET_PROPERTY, (name, value))

    def archives(self) -> list[tuple[str, str]]:
        """The archives that the mirror is made from: the name that the user gave, and the address."""
        return self._rows(queries.ARCHIVES)

    @rows.of_records
    def first_run_at(self) -> datetime | None:
        """When the first run began; None before it."""
        ((found,),) = self._rows(queries.FIRST_RUN)
        return None if found is None else datetime.fromisoformat(found)

    def sop_class(self, series_id: int) -> str | None:
        """The SOP class of a Series: of an instance that was validated, or of `keep_sop_classes`; None if unknown."""
        row = self._row(queries.SOP_CLASS, (series_id,))
        return None if row is None else str(row[0])

    def keep_sop_classes(self, found: Mapping[int, str]) -> None:
        """Record the SOP class of Series by their ids, as the header of their first file has it."""
        with self._writing() as database:
            database.executemany(queries.KEEP_SOP_CLASS, found.items())

    def headers(self, held: Sequence[HeldInstance], keywords: Sequence[str]) -> dict[str, dict[str, str]]:
        """The attributes of the instances whose files were read for all `keywords`, by their paths.

        An attribute that the file does not have is left out.
        """
        wanted = frozenset(keywords)
        known = {one.path: record for one in held if wanted <= (record := self._header(one)).keys()}
        return {
            path: {keyword: value for keyword in keywords if (value := record[keyword]) is not None}
            for path, record in known.items()
        }

    def _header(self, held: HeldInstance) -> dict[str, str | None]:
        row = self._row(queries.HEADER, (held.series_id, held.sop_uid, held.mtime_ns))
        found: dict[str, str | None] = json.loads(row[0]) if row is not None else {}
        return found

    def keep_headers(
        self, read: Iterable[tuple[HeldInstance, Mapping[str, str] | str]], keywords: Sequence[str]
    ) -> None:
        """Record the attributes that were read from files, beside those of earlier times; not why others were not."""
        with self._writing() as database:
            for held, values in read:
                if not isinstance(values, str):
                    record = {**self._header(held), **{keyword: values.get(keyword) for keyword in keywords}}
                    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
                    database.execute(queries.KEEP_HEADER, (held.series_id, held.sop_uid, held.mtime_ns, text))

    def layout(self) -> str | None:
        """The template of the mirror's folders and files; None before the first run."""
        row = self._row(queries.LAYOUT)
        return str(row[0]) if row is not None else None

    def settle_layout(self, wanted: str | None, default: str) -> str:
        """The template of the mirror's folders. The first run sets it to `wanted` or else `default`; it never changes.

        Raises:
            LayoutError: the mirror has another layout than `wanted`.
        """
        row = self._row(queries.LAYOUT)
        if row is None:
            settled = wanted or default
            with self._writing() as database:
                database.execute(queries.SET_LAYOUT, (settled,))
            return settled
        if wanted is not None and wanted != row[0]:
            raise LayoutError(f"this mirror has the layout {row[0]}, and keeps it; to change it, use bulkdl relayout")
        return str(row[0])

    def is_taken(self, key: str, owner: str) -> bool:
        """Whether the folder of `key` belongs to another owner. If it is free, it belongs to `owner` from now on.

        The claim is recorded with the next Series (`record_series`). `Layout.folder` calls it.
        """
        known = self._claims.get(key)
        if known is None:
            row = None if self._forgets_owners else self._row(queries.FOLDER_OWNER, (key,))
            known = row[0] if row else self._claims.setdefault(key, owner)
        return bool(known != owner)

    def begin_relayout(self, template: str, *, is_trial: bool = False) -> None:
        """Begin to move every Series to where another layout wants it, or begin a trial, of which nothing is recorded.

        The layout counts at once, for new Series too, and the folders have no owners any more.
        """
        if (row := self._row(queries.LAYOUT)) is not None and row[0] == template:
            return
        self._claims.clear()
        if is_trial:
            self._forgets_owners = True
            return
        with self._writing() as database:
            database.execute(moves.FORGET_OWNERS)
            database.execute(moves.REPLACE_LAYOUT, (template,))
            database.execute(moves.SET_BEGUN, (template,))

    def unfinished_relayout(self) -> str | None:
        """The layout of a relayout that did not end; None if there is none."""
        begun = self._row(moves.BEGUN)
        return str(begun[0]) if begun is not None else None

    def end_relayout(self) -> None:
        """Record that every Series is where the layout wants it."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            database.execute(moves.FORGET_BEGUN)
        self._claims.clear()

    def begin_moves(self, series_moves: Sequence[moves.SeriesMove]) -> None:
        """Record moves before the first file is renamed."""
        with self._writing() as database:
            database.executemany(queries.CLAIM_FOLDER, self._claims.items())
            moves.begin_moves(database, series_moves)
        self._claims.clear()

    def end_moves(self, series_moves: Sequence[moves.SeriesMove]) -> None:
        """Record the new places of Series whose files are there, durably."""
        with self._writing() as database:
            moves.end_moves(database, series_moves)

    def begun_moves(self) -> list[moves.SeriesMove]:
        """The moves that were begun and have not ended."""
        return [
            moves.SeriesMove(
                number, before, after, tuple(moves.FileMove(*each) for each in self._rows(moves.MOVED_NAMES, (number,)))
            )
            for number, before, after in self._rows(moves.MOVES)
        ]

    def placed_files(self, series_id: int) -> list[moves.PlacedFile]:
        """The instances of a Series with the names of their files."""
        return [
            moves.PlacedFile(uid, name, bool(named), bool(in_place), bool(owed), key, size)
            for uid, name, named, in_place, owed, key, size in self._rows(moves.FILES, (series_id,))
        ]

    def series_in_order(self, *, after: str = "", limit: int) -> list[SeriesRow]:
        """Every Series that has a folder, by UID, after the UID `after`."""
        return [rows.series_row(row) for row in self._rows(queries.SERIES_BY_ORDER, (after, limit))]

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

    def record_descriptions(self, run: Run, found: Descriptions, *, now: datetime) -> None:
        """Record what the archive says beside its Series. Safe to repeat."""
        with self._writing() as database:
            writes.keep_descriptions(database, run, found, moment(now))

    def end_describing(self, run: Run, collection: str, *, now: datetime) -> None:
        """Record that the archive was asked to describe a Collection, even if it sent no description."""
        with self._writing() as database:
            nothing = Descriptions(collections=(CollectionDescription(collection=collection),))
            writes.keep_descriptions(database, run, nothing, moment(now))
            database.execute(queries.KEEP_BARE_STUDIES, (collection,))

    def is_described(self, series: Series) -> bool:
        """Whether the archive was asked what it says of the Collection and the Study of a Series."""
        if self._row(queries.FIND_DESCRIBED, (series.collection,)) is None:
            return False
        study = (series.collection, series.patient_id, series.study_uid)
        return series.study_uid is None or self._row(queries.FIND_STUDY, study) is not None

    def undescribed(self, run: Run, *, limit: int) -> list[str]:
        """The first Collections of Series of the run's archive of which it was never asked."""
        return [name for (name,) in self._rows(queries.UNDESCRIBED, (run.archive_id, limit))]

    def collection_descriptions(self) -> Iterator[CollectionDescription]:
        """What the archives say of Collections, by name."""
        for _, record in self._rows(queries.COLLECTION_DESCRIPTIONS):
            yield rows.description_from(CollectionDescription, record)

    def result_descriptions(self) -> Iterator[ResultDescription]:
        """What the archives say of analysis results, by name."""
        for _, record in self._rows(queries.RESULT_DESCRIPTIONS):
            yield rows.description_from(ResultDescription, record)

    def find_patient(self, collection: str, patient_id: str) -> Patient | None:
        """What the archive says of a Patient; None if nothing is recorded."""
        row = self._row(queries.FIND_PATIENT, (collection, patient_id))
        return None if row is None else rows.description_from(Patient, row[0])

    def find_study(self, collection: str, patient_id: str, study_uid: str) -> Study | None:
        """What the archive says of a Study; None if nothing is recorded."""
        row = self._row(queries.FIND_STUDY, (collection, patient_id, study_uid))
        return None if row is None else rows.description_from(Study, row[0])

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

    def _is_gone(self, database: sqlite3.Connection, series_uid: SeriesUid, series_id: int) -> bool:
        """Whether a Series was withdrawn while it was listed."""
        return series_uid in self._withdrawn and writes.is_gone(database, series_id)

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
        scope = {"selection": _selection_of(run), "after": after, "limit": limit}
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
            scope = {"selection": _selection_of(run), **asdict(cursor), "limit": limit + 1}
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
        scope = {"series": series_id, "series_uid": series_uid, "selection": _selection_of(run)}
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
        row = self._row(queries.COUNTS, {"selection": _selection_of(run)})
        return Counts(**{field.name: value or 0 for field, value in zip(fields(Counts), row, strict=True)})

    def not_decoded(self, run: Run | None, *, by_run: int | None = None) -> int:
        """How many instances have a note that their pixels were not decoded; with `by_run` only those of that run."""
        (count,) = self._row(queries.NOT_DECODED, {"selection": _selection_of(run), "run": by_run})
        return int(count)

    def collections(self, run: Run | None = None) -> list[CollectionStatus]:
        """The totals of each Collection, by name."""
        from bulkdl.model.reports.collections import CollectionStatus  # noqa: PLC0415 - as above

        return [CollectionStatus(*row) for row in self._rows(queries.COLLECTIONS, {"selection": _selection_of(run)})]

    def failures(self, run: Run | None = None, *, limit: int) -> list[Failure]:
        """The first failures: instances, and Series as a whole, that are not in the mirror."""
        scope = {"selection": _selection_of(run), "limit": limit}
        return [rows.failure_from(row) for row in self._rows(queries.FAILURES, scope)]

    def failures_by_error(self, run: Run | None = None) -> dict[str, int]:
        """How many instances, and Series as a whole, failed with each code of `bulkdl.errors`."""
        return dict(self._rows(queries.FAILURES_BY_ERROR, {"selection": _selection_of(run)}))

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

    def uncounted_series(self, *, after: str = "", limit: int) -> list[SeriesUid]:
        """The Series, by UID, with files that have no counted name yet: `nbia_image` of a layout."""
        return [SeriesUid(uid) for (uid,) in self._rows(queries.UNCOUNTED, (after, limit))]

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

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: synced when the block ends, rolled back when it raises."""
        with connection.translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # after some errors SQLite has rolled back by itself
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, question: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> list[Any]:
        with connection.translated(self.path), self._asking:
            return self._database.execute(question, values).fetchall()

    def _row(self, question: str, values: Mapping[str, Any] | Sequence[Any] = ()) -> Any:
        with connection.translated(self.path), self._asking:
            return self._database.execute(question, values).fetchone()
