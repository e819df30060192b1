"""Join journals: runs and selections once, Series with all that is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bulkdl.journal.journal import Journal
from tests.support.journals import filled


def joined(target: Journal, source: Journal) -> int:
    """Join every Series that is in `source`, in its own folder; returns their number."""
    ids, after, count = target.join_history(source.history()), "", 0
    while (known := source.known_series(after)) is not None:
        after = known.series.series_uid
        target.join_series(known, known.folder, known.instances, ids)
        count += 1
    return count


def test_everything_comes_and_only_once(tmp_path: Path) -> None:
    source, target = filled(tmp_path / "a", series=3, instances=4), Journal.create_or_open(tmp_path / "b")
    for _ in range(2):
        assert joined(target, source) == 3
        assert target.counts(None) == source.counts(None)
        assert target.selections() == source.selections()
        assert [(run.verb, run.outcome) for run in target.runs()] == [(r.verb, r.outcome) for r in source.runs()]
    for row in source.series(limit=9):
        uid = row.series.series_uid
        assert target.known_instances(uid) == {
            each: replace(known, run_id=1) for each, known in source.known_instances(uid).items()
        }
        assert [held.path for held in target.held_of_series(uid)] == [held.path for held in source.held_of_series(uid)]


def test_what_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    journal = filled(tmp_path / "a", series=2, instances=3)
    uid = journal.series(limit=1)[0].series.series_uid
    rows = list(journal.known_instances(uid))
    journal.forget_rows(uid, rows[:1])
    assert list(journal.known_instances(uid)) == rows[1:]
    journal.forget_rows(uid, rows[1:])
    assert journal.find_series(uid) is None
    assert journal.counts(None).held == 3


def test_the_same_bytes_are_known_by_their_checksum_or_else_by_their_size(tmp_path: Path) -> None:
    journal = filled(tmp_path / "a", series=1, instances=1)
    (one,) = journal.known_instances(journal.series(limit=1)[0].series.series_uid).values()
    assert one.is_same(replace(one, size_bytes=1))
    assert not one.is_same(replace(one, sha256=b"x" * 32))
    assert one.is_same(replace(one, sha256=None))
    assert not one.is_same(replace(one, sha256=None, size_bytes=1))
