"""Moves in the journal: begun, found again by the next run, ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.journal.moves import FileMove, SeriesMove
from tests.support.journals import filled


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = filled(tmp_path / "journal.sqlite", series=2, instances=3)
    journal.settle_layout("old", "old")
    return journal


def test_a_move_is_there_until_it_ends(journal: Journal) -> None:
    one = journal.series_in_order(limit=1)[0]
    uid = one.series.series_uid
    names = [each.sop_uid for each in journal.placed_files(one.id)]
    move = SeriesMove(one.id, str(one.folder), "new/place", (FileMove(names[0], f"{names[0]}.dcm", "1.dcm"),))
    journal.begin_moves([move])
    assert journal.begun_moves() == [move]
    assert journal.series_in_folder("new/place") is None
    journal.end_moves([move])
    assert journal.begun_moves() == []
    assert journal.series_in_folder("new/place") == uid
    placed = {each.sop_uid: (each.name, each.is_named) for each in journal.placed_files(one.id)}
    assert placed.pop(names[0]) == ("1.dcm", True)
    assert all(name == f"{each}.dcm" and not named for each, (name, named) in placed.items())


def test_two_series_may_exchange_their_folders(journal: Journal) -> None:
    one, other = journal.series_in_order(limit=2)
    moves = [
        SeriesMove(one.id, str(one.folder), str(other.folder)),
        SeriesMove(other.id, str(other.folder), str(one.folder)),
    ]
    journal.begin_moves(moves)
    journal.end_moves(moves)
    assert journal.series_in_folder(str(one.folder)) == other.series.series_uid


def test_a_relayout_replaces_the_layout_and_forgets_the_owners(journal: Journal) -> None:
    assert not journal.is_taken("key", "one")
    journal.begin_moves([])
    assert journal.is_taken("key", "other")
    journal.begin_relayout("old")
    assert journal.unfinished_relayout() is None
    journal.begin_relayout("new")
    assert (journal.settle_layout(None, "default"), journal.unfinished_relayout()) == ("new", "new")
    assert not journal.is_taken("key", "other")
    journal.end_relayout()
    assert journal.unfinished_relayout() is None
    assert journal.is_taken("key", "one")


def test_a_trial_records_nothing(journal: Journal) -> None:
    journal.begin_relayout("new", is_trial=True)
    assert journal.settle_layout(None, "default") == "old"
    assert journal.unfinished_relayout() is None
