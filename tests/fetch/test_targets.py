"""Where entries belong, before and after their UID is known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bulkdl.errors import ChecksumMismatch, NotFound
from bulkdl.fetch.targets import FileNames, failed, targets_of, uid_of_file
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import Outcome, SeriesWork
from bulkdl.model.records import Entry, InstanceKey

SERIES = SeriesUid("1.2")
WORK = SeriesWork(
    series_uid=SERIES,
    study_uid=None,
    folder="a/b",
    entries=(Entry("1.2.1", SopInstanceUid("1.2.1")), Entry("../k 2.dcm")),
    names=("1.2.1.dcm", None),
    taken=frozenset({"1.2.9.dcm"}),
)


def test_a_listed_uid_gives_the_path_and_the_expected_instance() -> None:
    target, _ = targets_of(WORK)
    assert target.path == "a/b/1.2.1.dcm"
    assert target.expected == InstanceKey(SERIES, SopInstanceUid("1.2.1"))
    assert target.placed(SopInstanceUid("1.2.5")) is target
    assert target.special_name is None


def test_an_unknown_uid_gives_neither_and_its_header_does() -> None:
    _, target = targets_of(WORK)
    assert (target.name, target.expected) == (None, None)
    bound = target.placed(SopInstanceUid("1.2.5"))
    assert bound.path == "a/b/1.2.5.dcm"
    assert bound.special_name is None
    assert bound.entry == target.entry


def test_a_special_name_is_reported_where_it_was_bound() -> None:
    _, target = targets_of(WORK)
    bound = target.placed(SopInstanceUid("1.2."))
    assert bound.special_name == bound.name != "1.2..dcm"


def test_a_file_beside_another_has_a_name_of_its_key() -> None:
    _, target = targets_of(WORK)
    target.names.claim("1.2.9.dcm")
    beside = target.placed(SopInstanceUid("1.2.9"))
    assert beside.is_beside
    assert beside.name == beside.special_name != "1.2.9.dcm"
    assert uid_of_file(str(beside.name)) == "1.2.9"


def test_a_name_belongs_to_one_entry() -> None:
    names = FileNames({"a"})
    assert not names.claim("a")
    assert names.claim("b")
    assert not names.claim("b")
    names.release("b")
    assert names.claim("b")


@pytest.mark.parametrize(
    ("name", "uid"),
    [
        ("1.2.3.dcm", "1.2.3"),
        ("1.2.3", None),
        ("a.dcm", None),
        ("1.2..dcm", None),
        (".dcm", None),
        ("1.2.3.DCM", None),
        ("1.2.3.x0123abcd.dcm", "1.2.3"),
        ("1.2.3.x0123abc.dcm", None),
    ],
)
def test_a_file_name_gives_its_uid(name: str, uid: str | None) -> None:
    assert uid_of_file(name) == uid


def test_a_failure_names_the_entry_and_no_uid_that_is_not_listed() -> None:
    error = NotFound("gone")
    error.attempts = 3
    outcome = failed(targets_of(WORK)[1], error)
    assert (outcome.key, outcome.sop_uid, outcome.outcome) == ("../k 2.dcm", None, Outcome.FAILED)
    assert (outcome.error, outcome.message, outcome.attempts) == ("not-found", "gone", 3)
    assert failed(targets_of(WORK)[0], ChecksumMismatch("x")).outcome is Outcome.QUARANTINED


@pytest.mark.parametrize(
    ("entry_bytes", "series_bytes", "is_bounded"),
    [(None, None, False), (None, 0, False), (1000, None, True), (None, 1000, True), (1000, 5_000_000_000, True)],
    ids=str,
)
def test_a_file_has_a_limit_with_a_wide_margin_where_the_archive_tells_sizes(
    entry_bytes: int | None, series_bytes: int | None, *, is_bounded: bool
) -> None:
    work = replace(WORK, entries=(Entry("k", None, entry_bytes),), names=(None,), size_bytes=series_bytes)
    (target,) = targets_of(work)
    assert (target.most_bytes is not None) == is_bounded
    if target.most_bytes is not None:
        assert 10_000_000 < target.most_bytes < 100_000_000
