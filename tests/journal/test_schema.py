from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bulkdl.journal import schema
from bulkdl.journal.connection import open_to_write
from bulkdl.journal.journal import Journal
from bulkdl.journal.schema import STATE_NUMBERS
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import InstanceState, Outcome
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.selection import Selection
from tests.support.journals import (
    NOW,
    begin,
    folder,
    list_instances,
    listed,
    outcome,
    record,
    record_listed,
    series_uid,
    sop_uid,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with an instance in each of the states that a run leads to."""
    path = tmp_path / "journal.sqlite"
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        record_listed(journal, run, 1, range(4))
        journal.record_outcomes(
            run,
            [outcome(1, 0)._replace(notes=("odd",)), outcome(1, 1, Outcome.FAILED), outcome(1, 2, Outcome.QUARANTINED)],
        )
        journal.record_series_failure(run, series_uid(2), error="not-found", message="no such series", attempts=1)
    return path


def rows(path: Path, question: str) -> list[dict[str, object]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(question)]


def test_shows_instances_in_words(path: Path) -> None:
    found = rows(path, "SELECT * FROM v_instances ORDER BY sop_uid")
    assert [row["state"] for row in found] == ["held", "failed", "quarantined", "owed"]
    assert found[0] == {
        "series_uid": series_uid(1),
        "sop_uid": sop_uid(1, 0),
        "state": "held",
        "path": f"{folder(1)}/{sop_uid(1, 0)}.dcm",
        "size_bytes": 1000,
        "md5": "00" * 16,
        "sha256": "00" * 32,
        "mtime_ns": 1_700_000_000_000_000_000,
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "notes": '["odd"]',
        "run_id": 1,
        "key": sop_uid(1, 0),
    }


def test_shows_no_key_as_a_uid(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        journal.record_series(run, [(record(1), folder(1))], now=NOW)
        journal.record_instances(run, series_uid(1), [Entry("a/b.dcm"), Entry("a/c.dcm", sop_uid(1, 2))], [None, None])
        journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED)._replace(key="a/b.dcm", sop_uid=None)])
    assert [(row["sop_uid"], row["path"], row["key"]) for row in rows(path, "SELECT * FROM v_instances")] == [
        (sop_uid(1, 2), f"{folder(1)}/{sop_uid(1, 2)}.dcm", "a/c.dcm"),
        (None, None, "a/b.dcm"),
    ]
    assert rows(path, "SELECT instance, key FROM v_failures") == [{"instance": None, "key": "a/b.dcm"}]


def test_shows_failures_in_words(path: Path) -> None:
    found = rows(path, "SELECT instance, state, error FROM v_failures")
    assert [tuple(row.values()) for row in found] == [
        (sop_uid(1, 1), "failed", "unsound"),
        (sop_uid(1, 2), "quarantined", "unsound"),
        (None, "failed", "not-found"),
    ]


def test_shows_series_collections_and_runs(path: Path) -> None:
    first, second = rows(path, "SELECT * FROM v_series ORDER BY series_uid")
    assert (first["folder"], first["listing"], first["held"], first["owed"]) == (folder(1), "whole", 1, 1)
    assert (second["folder"], second["listing"], second["error"]) == (None, "unlisted", "not-found")
    assert rows(path, "SELECT collection, series, instances, held_bytes FROM v_collections WHERE collection <> ''") == [
        {"collection": "PHANTOM", "series": 1, "instances": 4, "held_bytes": 1000}
    ]
    assert rows(path, "SELECT verb, archive, outcome, catalogue FROM v_runs") == [
        {"verb": "mirror", "archive": "tcia", "outcome": None, "catalogue": None}
    ]


def test_shows_where_a_series_is_and_in_which_release_it_was_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        journal.note_catalogue(run, "IDC release 25")
        journal.record_series(run, [(replace(record(1), location="idc-open-data/5f0d"), folder(1))], now=NOW)
    assert rows(path, "SELECT location FROM v_series") == [{"location": "idc-open-data/5f0d"}]
    assert rows(path, "SELECT catalogue FROM v_runs") == [{"catalogue": "IDC release 25"}]


def test_answers_the_examples_of_its_documentation(path: Path) -> None:
    examples = re.findall(r"sqlite> (.+);", schema.__doc__ or "")
    assert len(examples) > 5
    for example in examples:
        rows(path, example)


def test_documents_every_table_and_view(path: Path) -> None:
    for row in rows(path, "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"):
        assert f"`{row['name']}`" in (schema.__doc__ or "")


def test_documents_every_column_of_the_views(path: Path) -> None:
    entries = re.findall(r"^- `(v_\w+)`: (.+?)(?=^-|\n\n)", schema.__doc__ or "", re.MULTILINE | re.DOTALL)
    assert len(entries) == 6
    missing = {
        (view, column["name"])
        for view, text in entries
        for column in rows(path, f"PRAGMA table_info({view})")
        if str(column["name"]) not in text
    }
    assert missing == set()


def test_numbers_every_state(path: Path) -> None:
    assert STATE_NUMBERS.keys() == set(InstanceState)
    with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        connection.execute("UPDATE instance SET state = 5")


def test_keeps_totals_even_when_rows_are_removed_by_hand(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM instance")
        connection.commit()
    assert rows(path, "SELECT held, owed, failed, quarantined, held_bytes FROM tally WHERE collection <> ''") == [
        {"held": 0, "owed": 0, "failed": 0, "quarantined": 0, "held_bytes": 0}
    ]
    assert [row["error"] for row in rows(path, "SELECT error FROM failure")] == ["not-found"]


def test_takes_well_under_400_bytes_for_an_instance(tmp_path: Path) -> None:
    """10 million instances are to fit in 4 GB, with UIDs as long as archives make them."""
    path = tmp_path / "big.sqlite"
    series, instances = 50, 1000
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        for number in range(series):
            uid = series_uid(number)
            journal.record_series(run, [(record(number), folder(number))], now=NOW)
            stem = f"1.3.6.1.4.1.14519.5.2.1.7009.2403.{number:09d}"
            long = [SopInstanceUid(f"{stem}.{i * 7919 % 1000:020d}") for i in range(instances)]
            journal.record_instances(run, uid, [listed(sop) for sop in long], [None] * instances)
            outcomes = [outcome(number, i)._replace(key=long[i], sop_uid=long[i]) for i in range(instances)]
            journal.record_outcomes(run, outcomes)
    assert path.stat().st_size / (series * instances) < 400


def test_never_looks_through_all_instances(path: Path) -> None:
    """No fact or question may cost more because the mirror is large; SQLite tells how it means to go about each."""
    narrow = Selection(series=(series_uid(1),), instances=((series_uid(1), (sop_uid(1, 0), sop_uid(1, 3))),))
    key = InstanceKey(series_uid(1), sop_uid(1, 0))
    asked: list[str] = []
    Journal.create_or_open(path).close()
    database = open_to_write(path)
    with Journal(path, database) as journal:
        database.set_trace_callback(asked.append)
        for selection in (Selection(everything=True), narrow, None):
            run = begin(journal, selection)
            journal.owe_again(run)
            journal.record_series(run, [(record(n, image_count=5), folder(n)) for n in (1, 3)], now=NOW)
            journal.unlisted_series(run)
            list_instances(journal, run, 3, range(3))
            journal.record_outcomes(run, [outcome(3, 0), outcome(3, 1, Outcome.FAILED)])
            journal.owe(run, [key])
            journal.owed_work(run, after=None, limit=10)
            journal.counts(run)
            journal.collections(run)
            journal.failures(run, limit=10)
            journal.failures_by_error(run)
        journal.held(limit=10)
        journal.instances(series_uid(1), limit=10)
        journal.find_held(key)
        journal.find_series(series_uid(1))
        journal.series_in_folder(folder(1))
        journal.last_run()
        target = journal.target("https://store.example/dicom-web/")
        journal.record_sent(begin(journal, None).id, target, journal.unsent(1, target, limit=10))
        database.set_trace_callback(None)
        statements = {text for text in asked if re.match(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", text)}
        steps = [row[-1] for text in statements for row in database.execute(f"EXPLAIN QUERY PLAN {text}")]
    assert len(statements) > 40
    scans = {step for step in steps if step.startswith("SCAN")}
    tables = {scan.split()[1] for scan in scans}
    # Tallies and failures when they are totalled, the few selections (q), and the last of the runs (r). No tables are
    # the rows that a statement has itself (s, v), and an answer that becomes one text.
    assert tables <= {"tally", "tallies", "f", "q", "r", "s", "v", "CONSTANT", "listed"}, scans
