"""Entries whose key is not the SOP Instance UID: recorded by key, bound to the UID with the outcome."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SopInstanceUid
from bulkdl.model.outcomes import Outcome
from bulkdl.model.records import Entry, InstanceKey
from bulkdl.model.reports.base import Failure
from bulkdl.model.selection import Selection
from tests.support.journals import (
    NOW,
    begin,
    folder,
    list_instances,
    outcome,
    record,
    record_listed,
    series_uid,
    sop_uid,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkdl.journal.rows import Run
    from bulkdl.model.outcomes import InstanceOutcome, SeriesWork


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create_or_open(tmp_path / "journal.sqlite") as journal:
        yield journal


def entry(number: int, *, uid: SopInstanceUid | None = None, md5: bytes | None = None) -> Entry:
    return Entry(f"aa/{number:02d}.dcm", uid, 1000 + number, md5)


def record_entries(journal: Journal, run: Run, entries: list[Entry]) -> None:
    """Record Series 1 with these entries."""
    journal.record_series(run, [(record(1, image_count=len(entries)), folder(1))], now=NOW)
    journal.record_instances(run, series_uid(1), entries, [None] * len(entries))


def held(number: int, *, key: int | None = None) -> InstanceOutcome:
    """The entry `key` was downloaded, and is instance `number`."""
    return outcome(1, number)._replace(key=entry(number if key is None else key).key)


def failed(number: int) -> InstanceOutcome:
    return outcome(1, number, Outcome.FAILED)._replace(key=entry(number).key, sop_uid=None)


def only_work(journal: Journal, run: Run | None, *, at_once: int = 500) -> SeriesWork:
    (work,), _ = journal.owed_work(run, after=None, limit=5, instances_per_item=at_once)
    return work


def test_owes_entries_by_key(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(1), entry(0, md5=b"0" * 16)])
    work = only_work(journal, run)
    assert work.entries == (entry(0, md5=b"0" * 16), entry(1))
    assert work.names == (None, None)
    assert work.whole
    counts = journal.counts(run)
    assert (counts.owed, counts.instances_selected) == (2, 2)


def test_binds_an_entry_to_its_uid_with_the_outcome(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [held(1)])
    (row,) = journal.held(limit=5)
    assert (row.sop_uid, row.path) == (sop_uid(1, 1), f"{folder(1)}/{sop_uid(1, 1)}.dcm")
    assert row.entry == entry(1, uid=sop_uid(1, 1))
    work = only_work(journal, run)
    assert work.entries == (entry(0),)
    assert work.taken == {f"{sop_uid(1, 1)}.dcm"}
    assert (journal.counts(run).held, journal.counts(run).owed) == (1, 1)


def test_binds_nothing_of_a_group_that_is_refused(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0)])
    with pytest.raises(Exception, match="not in the journal"):
        journal.record_outcomes(run, [held(0), outcome(1, 77)])
    assert only_work(journal, run).entries == (entry(0),)


def test_keeps_the_name_of_a_file_that_differs_from_its_uid(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0)])
    odd = SopInstanceUid("1.2.")
    journal.record_outcomes(run, [held(0)._replace(sop_uid=odd, name="1.2%2E.dcm")])
    (row,) = journal.held(limit=5)
    assert row.path == f"{folder(1)}/1.2%2E.dcm"


def test_lists_a_bound_entry_again_without_owing_it(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [held(0)])
    again = begin(journal)
    record_entries(journal, again, [entry(0), entry(1), entry(2)])
    assert only_work(journal, again).entries == (entry(1), entry(2))
    assert journal.counts(again).held == 1


def test_keeps_what_the_list_says_of_an_instance_with_a_known_uid(journal: Journal) -> None:
    run = begin(journal)
    told = [entry(0, uid=sop_uid(1, 0), md5=b"0" * 16), Entry(sop_uid(1, 1), sop_uid(1, 1), 7)]
    record_entries(journal, run, told)
    work = only_work(journal, run)
    assert list(work.entries) == told
    assert work.names == (f"{sop_uid(1, 0)}.dcm", f"{sop_uid(1, 1)}.dcm")
    assert work.taken == frozenset()


def test_names_the_failure_of_an_entry_by_its_key(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [failed(0)])
    assert journal.failures(run, limit=5) == [
        Failure(series_uid(1), None, "unsound", "no luck with 0", 8, key=entry(0).key)
    ]
    assert journal.failures_by_error(run) == {"unsound": 1}
    assert journal.counts(run).failed == 1


@pytest.mark.parametrize("how", ["resume", "mirror"])
def test_lists_a_failed_entry_again_because_its_checksum_may_have_changed(journal: Journal, how: str) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0, md5=md5(1)), entry(1)])
    journal.record_outcomes(run, [failed(0), held(1)])
    if how == "resume":
        assert journal.owe_again(run) == 1
    else:
        run = begin(journal)
        journal.record_series(run, [(record(1, image_count=2), folder(1))], now=NOW)
    assert (journal.counts(run).failed, journal.counts(run).series_unlisted) == (0, 1)
    list_again(journal, run, [entry(0, md5=md5(2)), entry(1)])
    assert only_work(journal, run).entries == (entry(0, md5=md5(2)),)
    journal.record_outcomes(run, [held(0)])
    assert (journal.counts(run).held, journal.failures(run, limit=5)) == (2, [])


def test_owes_a_damaged_instance_again_by_its_key(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0)])
    journal.record_outcomes(run, [held(0)])
    journal.owe(run, [InstanceKey(series_uid(1), sop_uid(1, 0))])
    work = only_work(journal, run)
    assert work.entries == (entry(0, uid=sop_uid(1, 0)),)
    assert work.names == (f"{sop_uid(1, 0)}.dcm",)


# --- several entries with one UID -------------------------------------------------------------------------------------


def test_gives_the_second_entry_with_the_same_uid_its_own_outcome(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [held(0), held(0, key=1)._replace(sha256=b"x" * 32)])
    (row,) = journal.held(limit=5)
    assert (row.entry.key, row.sha256) == (entry(0).key, bytes(32))
    assert [(f.key, f.error) for f in journal.failures(run, limit=5)] == [(entry(1).key, "duplicate-instance")]
    counts = journal.counts(run)
    assert (counts.held, counts.failed, counts.owed) == (1, 1, 0)


def test_keeps_both_entries_where_the_list_itself_gives_them_one_uid(journal: Journal) -> None:
    run = begin(journal)
    uid = sop_uid(1, 0)
    record_entries(journal, run, [entry(0, uid=uid), entry(1, uid=uid), Entry(sop_uid(1, 2), sop_uid(1, 2))])
    work = only_work(journal, run)
    assert [(one.key, one.sop_uid) for one in work.entries] == [
        (entry(0).key, uid),
        (sop_uid(1, 2), sop_uid(1, 2)),
        (entry(1).key, None),
    ]
    assert work.taken == {f"{uid}.dcm"}


def test_an_entry_takes_over_the_instance_whose_key_is_not_listed_any_more(journal: Journal) -> None:
    run = begin(journal)
    uid = sop_uid(1, 0)
    record_entries(journal, run, [entry(0, uid=uid)])
    journal.record_outcomes(run, [held(0)])
    record_entries(journal, run, [entry(5, uid=uid)])
    (row,) = journal.held(limit=5)
    assert row.entry.key == entry(5).key
    assert journal.counts(run).owed == 0


def test_gives_all_entries_of_a_series_to_one_worker(journal: Journal) -> None:
    """Only the worker that downloads all of them can tell which have the same UID."""
    run = begin(journal)
    record_entries(journal, run, [entry(number) for number in range(7)])
    assert len(only_work(journal, run, at_once=2).entries) == 7


# --- files that are here already --------------------------------------------------------------------------------------


def adopted(journal: Journal, numbers: range) -> Run:
    """A journal that was rebuilt from files: their keys are not known."""
    run = begin(journal, None, verb="adopt")
    outcomes = [outcome(1, number, Outcome.REUSED) for number in numbers]
    journal.record_found(run, [(record(1), folder(1))], outcomes, [None] * len(outcomes), now=NOW)
    return run


def test_binds_held_files_to_listed_entries_by_checksum(journal: Journal) -> None:
    adopted(journal, range(3))
    run = begin(journal)
    record_entries(journal, run, [entry(n, md5=bytes([n]) * 16) for n in range(4)])
    assert [one.key for one in only_work(journal, run).entries] == [entry(3).key]
    assert [row.entry.key for row in journal.held(limit=5)] == [entry(n).key for n in range(3)]


def test_binds_listed_entries_to_files_that_are_adopted_later(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(n, md5=bytes([n]) * 16) for n in range(2)])
    adopted(journal, range(2))
    assert journal.owed_work(run, after=None, limit=5) == ([], None)
    assert journal.counts(run).held == 2


def test_binds_listed_entries_to_held_files_whose_md5_is_computed_later(journal: Journal) -> None:
    held_run = begin(journal)
    record_entries(journal, held_run, [Entry(sop_uid(1, number), sop_uid(1, number)) for number in range(2)])
    journal.record_outcomes(held_run, [outcome(1, number)._replace(md5=None) for number in range(2)])
    run = begin(journal)
    list_again(journal, run, [entry(number, md5=md5(number)) for number in range(2)])
    assert len(only_work(journal, run).entries) == 2
    journal.record_md5s(record(1).series_uid, {sop_uid(1, 0): md5(0), sop_uid(1, 1): md5(9)})
    assert [one.key for one in only_work(journal, run).entries] == [entry(1).key]
    assert [row.md5 for row in journal.held(limit=5)] == [md5(0), md5(9)]
    assert journal.held_without_md5(record(1).series_uid) == []


def test_an_entry_without_a_checksum_is_bound_to_a_held_file_by_its_outcome(journal: Journal) -> None:
    adopted(journal, range(1))
    run = begin(journal)
    record_entries(journal, run, [entry(0)])
    work = only_work(journal, run)
    assert (work.entries, work.taken) == ((entry(0),), frozenset())
    journal.record_outcomes(run, [held(0)._replace(outcome=Outcome.REUSED)])
    assert [row.entry.key for row in journal.held(limit=5)] == [entry(0).key]
    assert (journal.counts(run).held, journal.counts(run).owed) == (1, 0)


def test_downloads_entries_without_a_uid_for_a_selection_of_instances(journal: Journal) -> None:
    """Which of them the selection names is known once their headers are read."""
    wanted = sop_uid(1, 1)
    run = begin(journal, Selection(series=(series_uid(1),), instances=((series_uid(1), (wanted,)),)))
    record_entries(journal, run, [entry(0), entry(1), Entry(wanted, wanted)])
    journal.record_outcomes(
        run, [outcome(1, 1, Outcome.FAILED, error="not-found")._replace(message="the archive does not list it")]
    )
    assert [one.key for one in only_work(journal, run).entries] == [entry(0).key, entry(1).key]
    journal.record_outcomes(run, [held(0), held(1)])
    counts = journal.counts(run)
    assert (counts.held, counts.failed, counts.instances_selected) == (1, 0, 1)


def test_keeps_no_row_for_an_archive_that_lists_uids_alone(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(run, [outcome(1, n) for n in range(3)])
    list_instances(journal, run, 1, range(4))
    with closing(sqlite3.connect(journal.path)) as connection:
        assert connection.execute("SELECT count(*) FROM entry").fetchone() == (0,)


# --- a Series that moves ----------------------------------------------------------------------------------------------


def moved(number: int, *, md5: bytes | None = None) -> Entry:
    """The same instance at another place."""
    return replace(entry(number, md5=md5), key=f"bb/{number:02d}.dcm")


def md5(number: int) -> bytes:
    return bytes([number]) * 16


def list_again(journal: Journal, run: Run, entries: list[Entry]) -> None:
    journal.record_instances(run, series_uid(1), entries, [None] * len(entries), is_whole=True)


def test_a_moved_series_is_bound_by_checksum_and_owes_the_rest(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(number, md5=md5(number)) for number in range(4)])
    journal.record_outcomes(run, [held(0), held(1), failed(2)])
    list_again(journal, run, [moved(0, md5=md5(0)), moved(1, md5=md5(9)), moved(2, md5=md5(2)), moved(3, md5=md5(3))])
    counts = journal.counts(run)
    assert (counts.held, counts.owed, counts.failed) == (2, 3, 0)
    work = only_work(journal, run)
    assert [each.key for each in work.entries] == [moved(number).key for number in (1, 2, 3)]
    assert work.taken == {f"{sop_uid(1, 0)}.dcm"}  # the file of the other one is replaced by its revision

    journal.record_outcomes(run, [held(1)._replace(key=moved(1).key, md5=md5(9))])
    assert journal.counts(run).held == 2
    assert [each.entry.key for each in journal.held(limit=5)] == [moved(0).key, moved(1).key]


def test_what_an_archive_by_uid_owes_is_owed_by_key_once_it_moves_to_a_bucket(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(run, [outcome(1, 0)])
    list_again(journal, run, [entry(number, md5=md5(number)) for number in range(3)])
    assert [each.key for each in only_work(journal, run).entries] == [entry(1).key, entry(2).key]
    assert (journal.counts(run).held, journal.counts(run).owed) == (1, 2)


def test_an_archive_by_uid_takes_over_what_a_bucket_owes(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(number) for number in range(3)])
    journal.record_outcomes(run, [held(0)])
    list_again(journal, run, [Entry(sop_uid(1, number), sop_uid(1, number)) for number in range(3)])
    assert [each.key for each in only_work(journal, run).entries] == [sop_uid(1, 1), sop_uid(1, 2)]
    assert (journal.counts(run).held, journal.counts(run).owed) == (1, 2)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_files_of_one_uid_are_both_held(journal: Journal, order: tuple[int, int]) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    names = (None, "beside.dcm")
    journal.record_outcomes(run, [held(7, key=number)._replace(name=names[number]) for number in order])
    assert journal.counts(run).held == 2
    assert {each.path.rpartition("/")[2] for each in journal.held(limit=5)} == {f"{sop_uid(1, 7)}.dcm", "beside.dcm"}
    assert {each.entry.key for each in journal.held(limit=5)} == {entry(0).key, entry(1).key}
    assert {row.path.rpartition("/")[2] for row in journal.instances(series_uid(1), limit=5)} == {
        f"{sop_uid(1, 7)}.dcm",
        "beside.dcm",
    }
    list_again(journal, run, [entry(0), entry(1)])
    assert (journal.counts(run).held, journal.counts(run).owed) == (2, 0)


def test_a_damaged_file_beside_another_is_owed_under_its_name(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [held(7, key=0), held(7, key=1)._replace(name="beside.dcm")])
    (beside,) = [each for each in journal.held(limit=5) if each.path.endswith("beside.dcm")]
    journal.owe(run, [InstanceKey(series_uid(1), beside.sop_uid)])
    work = only_work(journal, run)
    assert (work.entries, work.names) == ((entry(1),), ("beside.dcm",))
    journal.record_outcomes(run, [held(7, key=1)._replace(name="beside.dcm")])
    assert journal.counts(run).held == 2


def test_says_what_became_of_an_entry_whose_uid_was_not_listed(journal: Journal) -> None:
    run = begin(journal)
    record_entries(journal, run, [entry(0), entry(1)])
    journal.record_outcomes(run, [held(0)])
    found = {row.key: (row.sop_uid, row.name) for row in journal.entries(series_uid(1))}
    assert found == {entry(0).key: (sop_uid(1, 0), f"{sop_uid(1, 0)}.dcm"), entry(1).key: (None, None)}
    journal.forget_series(series_uid(1))
    with closing(sqlite3.connect(journal.path)) as database:
        counts = [database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("instance", "entry")]  # noqa: S608
    assert counts == [(0,), (0,)]


EVERYTHING_WRITTEN = (
    "SELECT * FROM instance ORDER BY 1, 2",
    "SELECT * FROM entry ORDER BY 1, 2",
    "SELECT * FROM failure ORDER BY 1, 2",
    "SELECT * FROM tally ORDER BY 1",
)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    """A journal that owes six entries, to copy, because to make one takes a dozen syncs; and its run."""
    path = tmp_path_factory.mktemp("listed") / "journal.sqlite"
    with Journal.create_or_open(path) as journal:
        run = begin(journal)
        record_entries(journal, run, [entry(number, md5=bytes([number]) * 16) for number in range(6)])
    return path, run


def written(
    listed: tuple[Path, Run], path: Path, groups: list[list[InstanceOutcome]]
) -> list[list[tuple[object, ...]]]:
    """All rows of a copy of the `listed` journal that records these outcomes."""
    original, run = listed
    shutil.copyfile(original, path)
    with Journal.create_or_open(path) as journal:
        for group in groups:
            journal.record_outcomes(run, group)
    with closing(sqlite3.connect(path)) as database:
        return [database.execute(question).fetchall() for question in EVERYTHING_WRITTEN]


@given(uids=st.dictionaries(st.integers(0, 5), st.integers(0, 3), min_size=1), failures=st.lists(st.integers(0, 5)))
def test_outcomes_of_one_group_are_recorded_as_one_after_the_other(
    listed: tuple[Path, Run], uids: dict[int, int], failures: list[int]
) -> None:
    """Also where several entries have one UID, or an entry that was held fails."""
    outcomes = [held(uid, key=key) for key, uid in uids.items()] + [failed(key) for key in failures]
    with TemporaryDirectory() as made:
        singly, together = Path(made, "singly"), Path(made, "together")
        assert written(listed, together, [outcomes]) == written(listed, singly, [[each] for each in outcomes])
