"""What a journal says of runs, their selections and archives, and the properties of the mirror."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bulkdl.journal import queries, rows, writes
from bulkdl.journal.database import JournalDatabase
from bulkdl.journal.rows import Run, moment, without_secrets
from bulkdl.model.reports.base import RunOutcome
from bulkdl.model.selection import Selection

if TYPE_CHECKING:
    from bulkdl.model.reports.log import RunSummary


class RunRecords(JournalDatabase):
    """The runs, selections and archives of a journal."""

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

    def archives(self) -> list[tuple[str, str]]:
        """The archives that the mirror is made from: the name that the user gave, and the address."""
        return self._rows(queries.ARCHIVES)

    @rows.of_records
    def first_run_at(self) -> datetime | None:
        """When the first run began; None before it."""
        ((found,),) = self._rows(queries.FIRST_RUN)
        return None if found is None else datetime.fromisoformat(found)

    def property(self, name: str) -> str | None:
        """A property of the mirror as a whole; None if it was never set."""
        row = self._row(queries.PROPERTY, (name,))
        return None if row is None else str(row[0])

    def set_property(self, name: str, value: str) -> None:
        """Set a property of the mirror as a whole."""
        with self._writing() as database:
            database.execute(queries.SET_PROPERTY, (name, value))
