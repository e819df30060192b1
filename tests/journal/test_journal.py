from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from bulkdl.errors import JournalError, LayoutError
from bulkdl.journal.journal import Journal
from bulkdl.journal.rows import Counts, WorkCursor
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import NOT_DECODED, InstanceState, Outcome
from bulkdl.model.records import InstanceKey, Series
from bulkdl.model.reports.base import Failure, RunOutcome
from bulkdl.model.selection import Selection
from tests.support.journals import (
    EVERYTHING,
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
    from collections.abc import Iterator
    from pathlib import Path

    from bulkdl.journal.rows import Run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    with Journal.create_or_open(path) as journal:
        yield journal


def narrowed(series: int, *numbers: int) -> Selection:
    uid = series_uid(series)
    return Selection(series=(uid,), instances=((uid, tuple(sop_uid(series, number) for number in numbers)),))


def owed(journal: Journal, run: Run | None) -> list[SopInstanceUid | None]:
    work, _ = journal.owed_work(run, after=None, limit=100)
    return [entry.sop_uid for item in work for entry in item.entries]


def states(journal: Journal, series: int) -> list[str]:
    return [row.state.value for row in journal.instances(series_uid(series), limit=100)]


# --- runs -------------------------------------------------------------------------------------------------------------


def test_remembers_the_last_run_and_how_it_ended(journal: Journal) -> None:
    assert journal.last_run() is None
    begin(journal)
    run = begin(journal, None, verb="resume")
    under_way = journal.last_run()
    assert under_way is not None
    assert (under_way.outcome, under_way.ended_at) == (None, None)
    journal.end_run(run.id, outcome=RunOutcome.PARTIAL, counts={"held": 3}, now=NOW + timedelta(hours=1))
    last = journal.last_run()
    assert last is not None
    assert (last.id, last.verb, last.archive_name, last.selection_id) == (2, "resume", "tcia", None)
    assert (last.started_at, last.ended_at) == (NOW, NOW + timedelta(hours=1))
    assert last.outcome is RunOutcome.PARTIAL


def test_takes_the_same_criteria_in_another_order_for_the_same_selection(journal: Journal) -> None:
    first = begin(journal, Selection(collections=("A", "B"), modalities=("CT",)))
    again = begin(journal, Selection(modalities=("CT",), collections=("B", "A")))
    other = begin(journal, Selection(collections=("A",), modalities=("CT",)))
    assert first.selection_id == again.selection_id != other.selection_id
    assert len(journal.selections()) == 2


def test_gives_selections_back_as_they_were_made(journal: Journal) -> None:
    wanted = replace(narrowed(1, 2, 3), since=date(2024, 2, 29))
    begin(journal, EVERYTHING)
    run = begin(journal, wanted)
    journal.end_resolving(run)
    first, second = journal.selections()
    assert (first.selection, first.is_resolved) == (EVERYTHING, False)
    assert (second.id, second.selection, second.is_resolved) == (run.selection_id, wanted, True)
    assert second.archive_url == "https://archive.example/services/v1"


def test_follows_an_archive_that_has_moved(journal: Journal) -> None:
    begin(journal)
    journal.begin_run(
        verb="mirror",
        archive_name="tcia",
        archive_url="https://new.example",
        selection=EVERYTHING,
        settings={},
        now=NOW,
    )
    assert [row.archive_url for row in journal.selections()] == ["https://new.example"]


def test_never_stores_a_secret(journal: Journal, path: Path) -> None:
    run = journal.begin_run(
        verb="mirror",
        archive_name="https://user:hush-1@archive.example",
        archive_url="https://user:hush-1@archive.example/v1?api_key=hush-2",
        selection=EVERYTHING,
        settings={"password": "hush-3", "api_key": "hush-4", "proxy": "http://me:hush-5@proxy", "concurrency": 8},
        now=NOW,
    )
    journal.record_series_failure(
        run, series_uid(1), error="rejected", message="GET https://a:hush-6@x/?token=hush-7", attempts=1
    )
    journal.close()
    content = path.read_bytes()
    assert b"hush" not in content
    assert b'"concurrency": 8' in content
    assert b"archive.example/v1" in content


# --- series and instances ---------------------------------------------------------------------------------------------


def test_gives_a_series_back_as_the_archive_described_it(journal: Journal) -> None:
    full = replace(record(1, image_count=3), annotations=False, license_uri="https://…/", series_number=0)
    bare = Series(series_uid=series_uid(2))
    journal.record_series(begin(journal), [(full, "a"), (bare, "b")], now=NOW)
    rows = journal.series(limit=10)
    assert [(row.series, row.folder) for row in rows] == [(full, "a"), (bare, "b")]
    assert journal.find_series(series_uid(2)) == rows[1]
    assert [row.series for row in journal.series(after=rows[0].id, limit=10)] == [bare]
    assert journal.find_series(series_uid(3)) is None


def test_keeps_what_a_later_record_leaves_out(journal: Journal) -> None:
    run = begin(journal)
    journal.record_series(run, [(record(1, image_count=3), folder(1))], now=NOW)
    journal.record_series(run, [(Series(series_uid=series_uid(1), modality="MR"), folder(1))], now=NOW)
    row = journal.find_series(series_uid(1))
    assert row is not None
    assert row.series == replace(record(1, image_count=3), modality="MR")


def test_keeps_the_folder_that_files_lie_in(journal: Journal) -> None:
    run = begin(journal)
    journal.record_series(run, [(record(1), "first")], now=NOW)
    journal.record_series(run, [(replace(record(1), description="revised"), "second")], now=NOW)
    row = journal.find_series(series_uid(1))
    assert row is not None
    assert row.folder == "first"


@pytest.mark.parametrize(("collection", "patient"), [("B", "P1"), ("A", "P2")])
def test_says_which_series_the_archive_has_under_other_names(journal: Journal, collection: str, patient: str) -> None:
    run = begin(journal)
    before = replace(record(1), collection="A", patient_id="P1")
    after = replace(before, collection=collection, patient_id=patient)
    assert journal.record_series(run, [(before, "A"), (record(2), "C")], now=NOW) == []
    assert journal.record_series(run, [(after, "A"), (record(2), "C")], now=NOW) == [before]
    nameless = Series(series_uid=series_uid(1))
    assert journal.record_series(run, [(nameless, "A")], now=NOW) == []


def test_refuses_a_folder_that_is_taken_and_records_none_of_the_group(journal: Journal) -> None:
    run = begin(journal)
    journal.record_series(run, [(record(1), "Scans/a")], now=NOW)
    assert journal.series_in_folder("scans/A") == series_uid(1)
    assert journal.series_in_folder("scans/b") is None
    with pytest.raises(JournalError, match="folder"):
        journal.record_series(run, [(record(2), "Scans/b"), (record(3), "SCANS/A")], now=NOW)
    assert len(journal.series(limit=10)) == 1


def test_refuses_what_no_column_can_hold(journal: Journal) -> None:
    with pytest.raises(JournalError, match="cannot hold"):
        journal.record_series(begin(journal), [(replace(record(1), image_count=10**30), "a")], now=NOW)
    assert journal.series(limit=10) == []


def test_counts_no_instances_that_no_series_can_have(journal: Journal) -> None:
    absurd = [(replace(record(n), image_count=1 << 62), folder(n)) for n in range(4)]
    journal.record_series(begin(journal), [*absurd, (replace(record(4), image_count=7), folder(4))], now=NOW)
    counts = journal.counts(None)
    assert (counts.series_selected, counts.promised_instances, counts.instances_unlike) == (5, 7, 4 + 7)


def test_asks_for_the_instances_of_new_series_page_by_page(journal: Journal) -> None:
    run = begin(journal)
    journal.record_series(run, [(record(n), folder(n)) for n in range(5)], now=NOW)
    page = journal.unlisted_series(run, limit=3)
    assert [row.series for row in page] == [record(0), record(1), record(2)]
    assert [row.wanted for row in page] == [None] * 3
    assert [row.folder for row in journal.unlisted_series(run, after=page[-1].id)] == [folder(3), folder(4)]
    list_instances(journal, run, 3, range(2))
    assert [row.series for row in journal.unlisted_series(run, after=page[-1].id)] == [record(4)]


@pytest.mark.parametrize(
    ("change", "asks_again"),
    [
        ({"image_count": 4}, True),
        ({"size_bytes": 3001}, True),
        ({"submitted": NOW + timedelta(days=1)}, True),
        ({"released": NOW.date() + timedelta(days=1)}, True),
        ({"description": "axial, revised"}, False),
        ({"image_count": None, "submitted": None}, False),
        ({}, False),
    ],
    ids=["count", "size", "submitted", "released", "description", "silence", "nothing"],
)
def test_asks_again_when_the_archive_says_that_a_series_changed(
    journal: Journal,
    change: dict[str, Any],
    asks_again: bool,  # noqa: FBT001 - a table of cases
) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    changed = replace(record(1, image_count=3), **change)
    journal.record_series(run, [(changed, folder(1))], now=NOW)
    assert [row.series.series_uid for row in journal.unlisted_series(run)] == [series_uid(1)] * asks_again


def test_owes_what_a_longer_list_adds_and_keeps_the_rest_as_it_is(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(2))
    journal.record_outcomes(run, [outcome(1, 0), outcome(1, 1, Outcome.FAILED)])
    list_instances(journal, run, 1, range(3))
    assert states(journal, 1) == ["held", "failed", "owed"]


def test_lists_the_same_instance_once_however_often_it_is_named(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, [2, 1, 2])
    assert owed(journal, run) == [sop_uid(1, 1), sop_uid(1, 2)]


def test_refuses_instances_of_a_series_that_it_does_not_know(journal: Journal) -> None:
    with pytest.raises(JournalError, match=series_uid(9)):
        list_instances(journal, begin(journal), 9, range(2))


def test_keeps_file_names_that_differ_from_the_uid(journal: Journal) -> None:
    run = begin(journal)
    journal.record_series(run, [(record(1), "a/b"), (record(2), "")], now=NOW)
    odd = SopInstanceUid("1.2.")
    journal.record_instances(run, series_uid(1), [listed(odd), listed(sop_uid(1, 1))], ["1.2%2E.dcm", None])
    list_instances(journal, run, 2, [7])
    (first, second), _ = journal.owed_work(run, after=None, limit=5)
    assert {entry.sop_uid: name for entry, name in zip(first.entries, first.names, strict=True)} == {
        odd: "1.2%2E.dcm",
        sop_uid(1, 1): f"{sop_uid(1, 1)}.dcm",
    }
    assert second.names == (f"{sop_uid(2, 7)}.dcm",)
    paths = [row.path for n in (1, 2) for row in journal.instances(series_uid(n), limit=5)]
    assert paths == ["a/b/1.2%2E.dcm", f"a/b/{sop_uid(1, 1)}.dcm", f"{sop_uid(2, 7)}.dcm"]


# --- folders ----------------------------------------------------------------------------------------------------------


def test_keeps_the_layout_of_its_first_run(journal: Journal) -> None:
    assert journal.settle_layout("first", "default") == "first"
    assert journal.settle_layout(None, "default") == "first"
    assert journal.settle_layout("first", "default") == "first"
    with pytest.raises(LayoutError, match="first"):
        journal.settle_layout("second", "default")


def test_settles_the_default_layout_where_none_is_wanted(journal: Journal) -> None:
    assert journal.settle_layout(None, "default") == "default"
    assert journal.settle_layout(None, "later default") == "default"


def test_gives_a_folder_name_to_the_first_owner_that_asks(path: Path) -> None:
    with Journal.create_or_open(path) as journal:
        assert not journal.is_taken("scans", "Scans")
        assert not journal.is_taken("scans", "Scans")
        assert journal.is_taken("scans", "SCANS")
        journal.record_series(begin(journal), [(record(1), "Scans/1")], now=NOW)
        journal.record_series(begin(journal), [(record(2), "Scans/2")], now=NOW)
    with Journal.create_or_open(path) as journal:
        assert journal.is_taken("scans", "SCANS")
        assert not journal.is_taken("scans", "Scans")


# --- outcomes ---------------------------------------------------------------------------------------------------------


def test_keeps_the_facts_of_a_held_file(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    assert journal.find_held(InstanceKey(series_uid(1), sop_uid(1, 0))) is None
    journal.record_outcomes(run, [outcome(1, 0)._replace(notes=("meta differs",))])
    (held,) = journal.held(limit=10)
    assert (held.series_uid, held.sop_uid, held.path) == (
        series_uid(1),
        sop_uid(1, 0),
        f"{folder(1)}/{sop_uid(1, 0)}.dcm",
    )
    assert (held.size_bytes, held.md5, held.sha256) == (1000, bytes(16), bytes(32))
    assert (held.mtime_ns, held.transfer_syntax_uid) == (1_700_000_000_000_000_000, "1.2.840.10008.1.2.1")
    place = journal.find_held(InstanceKey(series_uid(1), sop_uid(1, 0)))
    assert place is not None
    assert (place.path, place.size_bytes, place.run_id) == (held.path, 1000, run.id)


def test_finds_those_of_many_instances_that_are_held(journal: Journal) -> None:
    run = begin(journal)
    keys = []
    for number in (1, 2):
        record_listed(journal, run, number, range(2))
        journal.record_outcomes(run, [outcome(number, 1)])
        keys += [InstanceKey(series_uid(number), sop_uid(number, position)) for position in range(3)]
    assert journal.find_all_held([*keys, keys[1]]) == {key: journal.find_held(key) for key in (keys[1], keys[4])}
    assert journal.find_all_held([]) == {}


def test_says_why_what_failed_is_not_here(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(
        run, [outcome(1, 0, Outcome.FAILED, error="timed-out"), outcome(1, 1, Outcome.QUARANTINED), outcome(1, 2)]
    )
    journal.record_series_failure(run, series_uid(1), error="short-at-source", message="3 of\n 4", attempts=2)
    assert journal.failures(run, limit=10) == [
        Failure(series_uid(1), None, "short-at-source", "3 of 4", 2),
        Failure(series_uid(1), sop_uid(1, 0), "timed-out", "no luck with 0", 8),
        Failure(series_uid(1), sop_uid(1, 1), "unsound", "no luck with 1", 8),
    ]
    assert len(journal.failures(run, limit=2)) == 2
    assert journal.failures_by_error(run) == {"short-at-source": 1, "timed-out": 1, "unsound": 1}


def test_keeps_the_latest_reason_of_a_failure(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    journal.record_outcomes(run, [outcome(1, 0, Outcome.QUARANTINED)])
    journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED, error="timed-out")])
    assert journal.failures_by_error() == {"timed-out": 1}
    assert states(journal, 1) == ["failed"]


def test_forgets_a_failure_when_the_instance_comes_after_all(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED)])
    journal.record_outcomes(run, [outcome(1, 0)])
    assert journal.failures(limit=10) == []
    assert states(journal, 1) == ["held"]


def test_ignores_a_failure_of_an_instance_whose_file_is_in_place(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(2))
    journal.record_outcomes(run, [outcome(1, 0)])
    journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED), outcome(1, 1, Outcome.FAILED), outcome(1, 1)])
    assert states(journal, 1) == ["held", "held"]
    assert journal.failures(limit=10) == []


@pytest.mark.parametrize("kind", [Outcome.FETCHED, Outcome.FAILED])
def test_records_nothing_of_a_group_with_an_outcome_of_an_unknown_instance(journal: Journal, kind: Outcome) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    with pytest.raises(JournalError, match="not in the journal"):
        journal.record_outcomes(run, [outcome(1, 0), outcome(1, 5, kind)])
    assert states(journal, 1) == ["owed"]


def test_takes_an_empty_group(journal: Journal) -> None:
    journal.record_outcomes(begin(journal), [])


# --- what is owed -----------------------------------------------------------------------------------------------------


def test_owes_by_collection_patient_study_and_series(journal: Journal) -> None:
    run = begin(journal)
    for number, collection in ((5, "B"), (9, "A"), (3, "B"), (2, "B"), (4, "A")):
        record_listed(journal, run, number, range(1), collection=collection)
    work, cursor = journal.owed_work(run, after=None, limit=100)
    assert [item.series_uid for item in work] == [series_uid(n) for n in (4, 9, 2, 3, 5)]
    assert cursor is None


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_gives_out_everything_owed_once_whatever_the_pages(journal: Journal, limit: int) -> None:
    run = begin(journal)
    for number, count in ((1, 7), (2, 0), (3, 4), (4, 1), (5, 9)):
        record_listed(journal, run, number, range(count))
    given: list[SopInstanceUid | None] = []
    cursor: WorkCursor | None = None
    while True:
        work, cursor = journal.owed_work(run, after=cursor, limit=limit, instances_per_item=4)
        assert len(work) <= limit
        assert all(1 <= len(item.entries) <= 4 for item in work)
        given += [entry.sop_uid for item in work for entry in item.entries]
        if cursor is None:
            break
    assert given == [sop_uid(number, i) for number, count in ((1, 7), (3, 4), (4, 1), (5, 9)) for i in range(count)]


def test_a_page_of_work_has_few_series_where_they_are_large(journal: Journal) -> None:
    run = begin(journal)
    for number in range(5):
        record_listed(journal, run, number, range(2_000))
    work, cursor = journal.owed_work(run, after=None, limit=32, instances_per_item=1_500)
    assert [len(item.entries) for item in work] == [1_500, 500, 1_500]
    rest, _ = journal.owed_work(run, after=cursor, limit=32, instances_per_item=1_500)
    assert [len(item.entries) for item in rest] == [500, 1_500, 500, 1_500]


def test_gives_out_in_the_order_that_the_last_run_asked_for(journal: Journal) -> None:
    run = begin(journal)
    for number in range(1, 5):
        record_listed(journal, run, number, range(1))
    wanted = [record(number) for number in (3, 1, 4, 2)]
    journal.record_series(run, [(each, folder(1)) for each in wanted], now=NOW, first_position=1)
    given: list[str] = []
    cursor: WorkCursor | None = None
    while True:
        work, cursor = journal.owed_work(run, after=cursor, limit=1)
        given += [item.series_uid for item in work]
        if cursor is None:
            break
    assert given == [each.series_uid for each in wanted]
    assert journal.selected(run.selection_id) == set(given)


def test_calls_work_whole_only_when_the_item_is_the_series(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    record_listed(journal, run, 2, range(3))
    record_listed(journal, run, 3, range(5))
    journal.record_outcomes(run, [outcome(2, 0)])
    work, _ = journal.owed_work(run, after=None, limit=10, instances_per_item=3)
    assert [(item.series_uid, len(item.entries), item.whole) for item in work] == [
        (series_uid(1), 3, True),
        (series_uid(2), 2, False),
        (series_uid(3), 3, False),
        (series_uid(3), 2, False),
    ]
    assert (work[0].image_count, work[0].size_bytes, work[0].folder) == (3, 3000, folder(1))


def test_owes_nothing_of_what_ended(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(4))
    journal.record_outcomes(
        run,
        [
            outcome(1, 0),
            outcome(1, 1, Outcome.FAILED),
            outcome(1, 2, Outcome.QUARANTINED),
            outcome(1, 3, Outcome.REUSED),
        ],
    )
    assert journal.owed_work(run, after=None, limit=10) == ([], None)


def test_owes_again_what_failed_in_the_selection_and_no_more(journal: Journal) -> None:
    narrow = begin(journal, narrowed(1, 0))
    record_listed(journal, narrow, 1, [0])
    wide = begin(journal, Selection(series=(series_uid(1), series_uid(2))))
    record_listed(journal, wide, 1, range(3))
    record_listed(journal, wide, 2, range(2))
    journal.record_outcomes(wide, [outcome(1, n, Outcome.FAILED) for n in range(2)] + [outcome(1, 2)])
    journal.record_outcomes(wide, [outcome(2, n, Outcome.QUARANTINED) for n in range(2)])
    assert journal.owe_again(begin(journal, narrowed(1, 0))) == 1
    assert states(journal, 1) == ["owed", "failed", "held"]
    assert states(journal, 2) == ["quarantined", "quarantined"]
    assert journal.owe_again(begin(journal, None, verb="resume")) == 3
    assert states(journal, 1) == ["owed", "owed", "held"]
    assert states(journal, 2) == ["owed", "owed"]
    assert journal.failures(limit=10) == []


def test_lists_again_the_series_that_failed_as_a_whole(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(2))
    journal.record_series(run, [(record(2), folder(2))], now=NOW)
    for number in (1, 2):
        journal.record_series_failure(run, series_uid(number), error="server-error", message="502", attempts=8)
    assert journal.unlisted_series(run) == []
    again = begin(journal, None, verb="resume")
    assert journal.owe_again(again) == 2
    assert [row.series.series_uid for row in journal.unlisted_series(again)] == [series_uid(1), series_uid(2)]
    assert states(journal, 1) == ["owed", "owed"]


@pytest.mark.parametrize("verb", ["resume", "mirror"])
def test_lists_again_the_series_of_an_instance_that_the_archive_does_not_have(journal: Journal, verb: str) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    missing, damaged = outcome(1, 0, Outcome.FAILED, error="not-found"), outcome(1, 1, Outcome.FAILED)
    journal.record_outcomes(run, [missing, damaged, outcome(1, 2)])
    if verb == "resume":
        run = begin(journal, None, verb="resume")
        assert journal.owe_again(run) == 2
    else:
        run = begin(journal)
        journal.record_series(run, [(record(1), folder(1))], now=NOW)
    assert [row.series.series_uid for row in journal.unlisted_series(run)] == [series_uid(1)]
    assert states(journal, 1) == ["owed", "held"]
    assert journal.failures(limit=10) == []
    record_listed(journal, run, 1, range(3))
    assert states(journal, 1) == ["owed", "owed", "held"]


def test_leaves_a_series_that_the_archive_did_not_know_to_resolving(journal: Journal) -> None:
    wanted = Selection(series=(series_uid(1),))
    journal.record_series_failure(begin(journal, wanted), series_uid(1), error="not-found", message="", attempts=1)
    again = begin(journal, wanted)
    assert journal.owe_again(again) == 0
    assert journal.counts(again) == Counts(series_selected=1, series_failed=1, series_unsized=1)
    assert journal.unlisted_series(again) == []
    journal.record_series(again, [(record(1), folder(1))], now=NOW)
    assert journal.failures(again, limit=5) == []
    assert [row.folder for row in journal.unlisted_series(again)] == [folder(1)]


def test_gives_what_failed_before_another_chance_when_another_selection_holds_it(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(2))
    journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED), outcome(1, 1)])
    other = begin(journal, Selection(collections=("PHANTOM",)))
    journal.owe_again(other)
    journal.record_series(other, [(record(1, image_count=2), folder(1))], now=NOW)
    assert states(journal, 1) == ["owed", "held"]
    journal.record_outcomes(other, [outcome(1, 0, Outcome.FAILED)])
    journal.record_series(other, [(record(1, image_count=2), folder(1))], now=NOW)
    assert states(journal, 1) == ["failed", "held"], "not in the run in which it failed"


def test_gives_what_failed_another_chance_in_the_same_run_where_that_is_asked(journal: Journal) -> None:
    run = begin(journal, None)
    record_listed(journal, run, 1, range(2))
    journal.record_outcomes(run, [outcome(1, 0, Outcome.FAILED), outcome(1, 1)])
    journal.record_series(run, [(record(1, image_count=2), folder(1))], now=NOW, again=True)
    assert states(journal, 1) == ["owed", "held"]
    journal.record_series_failure(run, series_uid(1), error="timed-out", message="no answer", attempts=1)
    journal.record_series(run, [(record(1, image_count=2), folder(1))], now=NOW, again=True)
    assert [row.series.series_uid for row in journal.unlisted_series(run)] == [series_uid(1)]


def test_owes_what_turned_out_damaged(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(run, [outcome(1, 0), outcome(1, 1), outcome(1, 2, Outcome.FAILED)])
    journal.owe(run, [InstanceKey(series_uid(1), sop_uid(1, n)) for n in (0, 2)])
    assert [(row.state, row.size_bytes) for row in journal.instances(series_uid(1), limit=5)] == [
        (InstanceState.OWED, None),
        (InstanceState.HELD, 1001),
        (InstanceState.FAILED, None),
    ]
    assert journal.counts(None).held_bytes == 1001


# --- selections that narrow -------------------------------------------------------------------------------------------


def test_wants_and_counts_only_the_instances_that_a_selection_names(journal: Journal) -> None:
    wide = begin(journal)
    record_listed(journal, wide, 1, range(6))
    journal.record_outcomes(wide, [outcome(1, 0), outcome(1, 1), outcome(1, 3, Outcome.FAILED)])
    run = begin(journal, narrowed(1, 1, 2, 3))
    journal.record_series(run, [(record(1, image_count=6), folder(1))], now=NOW)
    assert owed(journal, run) == [sop_uid(1, 2), sop_uid(1, 3)]
    assert journal.counts(run) == Counts(
        series_selected=1, owed=2, held=1, held_bytes=1001, promised_instances=3, series_unsized=1, likely_bytes=2002
    )
    (status,) = journal.collections(run)
    assert (status.instances, status.held, status.owed, status.size_bytes) == (3, 1, 2, 1001)
    journal.record_outcomes(run, [outcome(1, n, Outcome.FAILED) for n in (2, 3, 5)])
    assert [failure.instance for failure in journal.failures(run, limit=9)] == [sop_uid(1, 2), sop_uid(1, 3)]
    assert journal.failures_by_error(run) == {"unsound": 2}


def test_asks_only_for_the_instances_that_are_named(journal: Journal) -> None:
    run = begin(journal, narrowed(1, 4, 2))
    journal.record_series(run, [(record(1, image_count=9), folder(1))], now=NOW)
    (row,) = journal.unlisted_series(run)
    assert row.wanted == frozenset({sop_uid(1, 2), sop_uid(1, 4)})
    list_instances(journal, run, 1, [2, 4])
    assert journal.unlisted_series(None) == []
    (item,), _ = journal.owed_work(run, after=None, limit=9)
    assert not item.whole


def test_asks_for_the_rest_when_a_wider_selection_comes(journal: Journal) -> None:
    run = begin(journal, narrowed(1, 1))
    record_listed(journal, run, 1, [1])
    journal.record_outcomes(run, [outcome(1, 1)])
    wide = begin(journal)
    journal.record_series(wide, [(record(1, image_count=1), folder(1))], now=NOW)
    (row,) = journal.unlisted_series(wide)
    assert row.wanted is None
    list_instances(journal, wide, 1, range(3))
    assert states(journal, 1) == ["owed", "held", "owed"]
    assert journal.counts(run) == replace(journal.counts(run), series_complete=1, owed=0, held=1)


def test_asks_again_when_another_selection_names_other_instances(journal: Journal) -> None:
    run = begin(journal, narrowed(1, 1))
    record_listed(journal, run, 1, [1])
    other = begin(journal, narrowed(1, 2))
    journal.record_series(other, [(record(1, image_count=1), folder(1))], now=NOW)
    (row,) = journal.unlisted_series(other)
    wanted_by_all = frozenset({sop_uid(1, 1), sop_uid(1, 2)})
    assert row.wanted == wanted_by_all, "what all selections want, or the list would be cut again"


def test_asks_nothing_when_a_narrower_selection_comes(journal: Journal) -> None:
    record_listed(journal, begin(journal), 1, range(3))
    run = begin(journal, narrowed(1, 1))
    journal.record_series(run, [(record(1, image_count=3), folder(1))], now=NOW)
    assert journal.unlisted_series(run) == []


def test_asks_again_for_an_instance_that_is_named_and_was_never_listed(journal: Journal) -> None:
    record_listed(journal, begin(journal), 1, range(3))
    run = begin(journal, narrowed(1, 7))
    journal.record_series(run, [(record(1, image_count=3), folder(1))], now=NOW)
    assert len(journal.unlisted_series(run)) == 1


# --- totals -----------------------------------------------------------------------------------------------------------


def test_counts_each_series_as_complete_failed_or_owing(journal: Journal) -> None:
    run = begin(journal)
    for number in range(6):
        journal.record_series(run, [(record(number, image_count=2), folder(number))], now=NOW)
        if number != 5:
            list_instances(journal, run, number, range(2))
    for number in (0, 1, 2, 4):
        journal.record_outcomes(run, [outcome(number, 0), outcome(number, 1)])
    journal.record_series_failure(run, series_uid(1), error="short-at-source", message="", attempts=1)
    record_listed(journal, run, 2, range(2))
    journal.owe(run, [InstanceKey(series_uid(2), sop_uid(2, 0))])
    journal.record_outcomes(run, [outcome(2, 0, Outcome.QUARANTINED)])
    journal.record_outcomes(run, [outcome(3, 0, Outcome.FAILED)])
    assert journal.counts(run) == Counts(
        series_selected=6,
        series_complete=2,  # 0 and 4
        series_failed=2,  # 1, as a whole, and 2, of which nothing is owed
        series_unlisted=1,  # 5; and 3 still owes an instance
        owed=1,
        held=7,
        failed=1,
        quarantined=1,
        held_bytes=4 * 2001 - 1000,
        promised_instances=12,
        promised_bytes=12000,
        likely_bytes=3000,  # of 5 and of what 3 owes
    )
    assert journal.counts(run).instances_selected == 10
    assert journal.counts(run).series.selected == 6


def test_estimates_what_is_owed_from_sizes_or_from_what_is_held_of_the_same_series(journal: Journal) -> None:
    run = begin(journal)
    sizes = [None, None, None, 5000, 5000]
    found = [replace(record(s, image_count=4), size_bytes=size) for s, size in enumerate(sizes)]
    journal.record_series(run, [(one, folder(s)) for s, one in enumerate(found)], now=NOW)
    for s in (0, 1, 3):
        list_instances(journal, run, s, range(4))
    journal.record_outcomes(run, [outcome(0, 0), outcome(0, 1), outcome(3, 0), outcome(3, 1, Outcome.FAILED)])
    counts = journal.counts(run)
    of_held, of_sized, of_unlisted = 2 * (1000 + 1001) // 2, (5000 - 1000) * 2 // 3, 5000
    assert counts.likely_bytes == of_held + of_sized + of_unlisted
    assert counts.instances_unlike == 4 + 4  # of 1, of which nothing is held, and of 2, which is not listed
    assert counts.series_unsized == 3


def test_counts_nothing_in_an_empty_journal(journal: Journal) -> None:
    run = begin(journal)
    assert journal.counts(None) == journal.counts(run) == Counts()
    assert journal.collections() == []
    assert journal.failures_by_error() == {}
    assert journal.held(limit=5) == []


def test_tells_selections_and_collections_apart(journal: Journal) -> None:
    first = begin(journal, Selection(collections=("A",)))
    record_listed(journal, first, 1, range(2), collection="A")
    second = begin(journal, Selection(collections=("B",)))
    record_listed(journal, second, 2, range(3), collection="B")
    assert [journal.counts(run).owed for run in (first, second, None)] == [2, 3, 5]
    assert [(entry.collection, entry.owed) for entry in journal.collections()] == [("A", 2), ("B", 3)]
    assert [entry.collection for entry in journal.collections(second)] == ["B"]
    assert owed(journal, second) == [sop_uid(2, n) for n in range(3)]
    assert len(owed(journal, None)) == 5


@pytest.mark.parametrize("limit", [1, 2, 3, 50])
def test_gives_every_held_file_once_whatever_the_pages(journal: Journal, limit: int) -> None:
    run = begin(journal)
    for number in range(4):
        record_listed(journal, run, number, range(3))
    held = [(0, 0), (0, 2), (2, 0), (2, 1), (2, 2), (3, 1)]
    journal.record_outcomes(run, [outcome(*key) for key in held])
    found: list[SopInstanceUid] = []
    after: tuple[int, str] | None = None
    while page := journal.held(after=after, limit=limit):
        found += [instance.sop_uid for instance in page]
        after = (page[-1].series_id, page[-1].sop_uid)
    assert found == [sop_uid(*key) for key in held]


def test_gives_the_instances_of_a_series_page_by_page(journal: Journal) -> None:
    record_listed(journal, begin(journal), 1, range(3))
    page = journal.instances(series_uid(1), limit=2)
    assert [row.sop_uid for row in page] == [sop_uid(1, 0), sop_uid(1, 1)]
    assert [row.sop_uid for row in journal.instances(series_uid(1), after=page[-1].sop_uid, limit=2)] == [sop_uid(1, 2)]
    assert journal.instances(SeriesUid("9"), limit=2) == []


def test_counts_what_was_not_decoded_until_it_is_recorded_anew(tmp_path: Path) -> None:
    noted = (f"{NOT_DECODED}: no installed decoder supports 1 bits allocated",)
    with Journal.create_or_open(tmp_path / "journal.sqlite") as journal:
        first = begin(journal, Selection(series=(series_uid(1),)))
        record_listed(journal, first, 1, range(3))
        journal.record_outcomes(first, [outcome(1, number)._replace(notes=noted) for number in (0, 1)])
        journal.record_outcomes(first, [outcome(1, 2)._replace(notes=("no SOP Class UID",))])
        second = begin(journal, Selection(series=(series_uid(2),)))
        record_listed(journal, second, 2, range(1))
        journal.record_outcomes(second, [outcome(2, 0)._replace(notes=noted)])
        assert [journal.not_decoded(run) for run in (None, first, second)] == [3, 2, 1]
        assert journal.not_decoded(None, by_run=second.id) == 1
        journal.record_outcomes(second, [outcome(1, 0)])
        assert [journal.not_decoded(run) for run in (None, first, second)] == [2, 1, 1]


# --- what a cache needs -----------------------------------------------------------------------------------------------


def test_says_what_became_of_each_entry(journal: Journal) -> None:
    run = begin(journal, None)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(run, [outcome(1, 0), outcome(1, 2, Outcome.FAILED, error="timed-out")])
    held, owed, failed = journal.entries(series_uid(1))
    assert (held.key, held.sop_uid, held.name) == (sop_uid(1, 0), sop_uid(1, 0), f"{sop_uid(1, 0)}.dcm")
    assert (held.state, owed.state, owed.error) == (InstanceState.HELD, InstanceState.OWED, None)
    assert (failed.state, failed.error) == (InstanceState.FAILED, "timed-out")
    assert journal.entries(series_uid(9)) == []


def test_forgets_a_series_and_counts_it_no_more(journal: Journal) -> None:
    run = begin(journal)
    for number in (1, 2):
        record_listed(journal, run, number, range(2))
        journal.record_outcomes(run, [outcome(number, 0), outcome(number, 1, Outcome.FAILED)])
    kept = journal.counts(None)
    journal.forget_series(series_uid(2))
    journal.forget_series(series_uid(9))
    assert journal.find_series(series_uid(2)) is None
    assert journal.entries(series_uid(2)) == []
    counts = journal.counts(None)
    assert (counts.held, counts.failed, counts.series_selected) == (kept.held / 2, kept.failed / 2, 1)
    assert [row.series.series_uid for row in journal.series(limit=5)] == [series_uid(1)]
    record_listed(journal, run, 2, range(2))
    assert states(journal, 2) == ["owed", "owed"]


# --- what was sent ----------------------------------------------------------------------------------------------------


def unsent(journal: Journal, target: int, *, series: int = 1) -> list[str]:
    row = journal.find_series(series_uid(series))
    return [] if row is None else [held.sop_uid for held in journal.unsent(row.id, target, limit=100)]


def test_knows_what_each_archive_has_not_confirmed(journal: Journal) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(3))
    journal.record_outcomes(run, [outcome(1, 0), outcome(1, 1), outcome(1, 2, Outcome.FAILED)])
    one, other = journal.target("https://one.example/"), journal.target("https://me:secret@other.example/?token=t")
    assert one == journal.target("https://one.example/") != other
    row = journal.find_series(series_uid(1))
    assert row is not None
    (first,) = journal.unsent(row.id, one, limit=1)
    journal.record_sent(begin(journal, None, verb="push").id, one, [first])
    assert unsent(journal, one) == [sop_uid(1, 1)]
    assert unsent(journal, other) == [sop_uid(1, 0), sop_uid(1, 1)]


@pytest.mark.parametrize("kind", ["replaced", "forgotten"])
def test_a_file_that_changed_is_not_confirmed_any_more(journal: Journal, kind: str) -> None:
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    journal.record_outcomes(run, [outcome(1, 0)])
    target = journal.target("https://one.example/")
    row = journal.find_series(series_uid(1))
    assert row is not None
    journal.record_sent(begin(journal, None, verb="push").id, target, journal.unsent(row.id, target, limit=9))
    assert unsent(journal, target) == []
    if kind == "forgotten":
        journal.forget_series(series_uid(1))
    run = begin(journal)
    record_listed(journal, run, 1, range(1))
    journal.owe(run, [InstanceKey(series_uid(1), sop_uid(1, 0))])
    journal.record_outcomes(run, [outcome(1, 0)])
    assert unsent(journal, target) == [sop_uid(1, 0)]
