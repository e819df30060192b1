"""The cache of an archive in the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.model.ids import SeriesUid, StudyUid, stable_uuid
from bulkdl.model.outcomes import Outcome
from bulkdl.model.records import Series
from bulkdl.server.catalogue import Catalogue, Since
from bulkdl.server.catalogue.holdings import HeldFile, Holdings
from tests.support.journals import begin, folder, outcome, record_listed, series_uid, sop_uid

ROOT = Path("/mirror")
SOURCE = {"archive": "demo", "release": "7"}


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path / "catalogue.sqlite") as catalogue:
        yield catalogue


def series(number: int, *, collection: str = "LUNG", study: int = 1) -> Series:
    return Series(
        series_uid=SeriesUid(f"1.2.{number}"),
        study_uid=StudyUid(f"1.3.{study}"),
        patient_id="P1",
        collection=collection,
        modality="CT",
        image_count=number,
        size_bytes=number * 1000,
        study_date=date(2020, 1, 2),
        released=date(2021, 3, 4),
        location=f"bucket/{number}",
    )


def held_file(number: int) -> HeldFile:
    return HeldFile(f"1.4.{number}", f"1.4.{number}.dcm", 100 + number, 5, bytes([number]) * 16)


def test_has_the_series_that_an_archive_describes(catalogue: Catalogue) -> None:
    holdings = Holdings(catalogue, ROOT)
    assert holdings.source() == {}
    with holdings.loading(SOURCE) as arrangement:
        arrangement.add_records([series(1), series(2)])
        arrangement.add_records([series(2), series(3, collection="HEAD", study=2)])
    assert holdings.source() == SOURCE
    assert list(catalogue.series()) == [series(1), series(2), series(3, collection="HEAD", study=2)]
    totals = catalogue.totals()
    assert (totals.collections, totals.patients, totals.studies, totals.series) == (2, 2, 2, 3)
    assert (totals.instances, totals.size_bytes) == (6, 6000)
    assert [(study.study_uid, study.series_count, study.study_date) for study in catalogue.studies()] == [
        ("1.3.2", 1, date(2020, 1, 2)),
        ("1.3.1", 2, date(2020, 1, 2)),
    ]
    assert next(catalogue.uuids(stable_uuid("1.2.2"))) == (stable_uuid("1.2.2"), "1.2.2")
    assert list(catalogue.series(since=Since(date(2021, 3, 4)))) == []
    assert catalogue.files("1.2.1") == ()


def test_a_series_has_its_own_values_where_those_of_its_patient_and_study_are_others(catalogue: Catalogue) -> None:
    records = [
        series(1),
        replace(series(2), patient_id="p1", collection="Lung", study_date=None, study_description="of another"),
        replace(series(3), study_uid=None, submitted=datetime(2020, 1, 2, 3, 4)),  # noqa: DTZ001 - archives have no zone
        replace(series(4), modality="ct", software_versions="v", third_party=True),
    ]
    with Holdings(catalogue, ROOT).loading(SOURCE) as arrangement:
        arrangement.add_records(records)
    assert list(catalogue.series()) == records
    assert [detail.series for detail in catalogue.details()] == records
    assert catalogue.values_and_patients("modality", collection="lung") == [("CT", 1)]


def test_a_later_load_replaces_all(catalogue: Catalogue) -> None:
    holdings = Holdings(catalogue, ROOT)
    for number in (1, 2):
        with holdings.loading({"release": str(number)}) as arrangement:
            arrangement.add_records([series(number)])
    assert [one.series_uid for one in catalogue.series()] == ["1.2.2"]
    assert catalogue.totals().series == 1


def test_a_series_keeps_its_number_in_later_loads(catalogue: Catalogue) -> None:
    for numbers in ([2, 3], [1, 3, 2]):
        with Holdings(catalogue, ROOT).loading(SOURCE) as arrangement:
            arrangement.add_records([series(number) for number in numbers])
    assert [catalogue.series_numbered([number]) for number in ("1", "2", "3")] == [["1.2.2"], ["1.2.3"], ["1.2.1"]]


def test_a_load_that_fails_changes_nothing(catalogue: Catalogue) -> None:
    holdings = Holdings(catalogue, ROOT)
    with holdings.loading(SOURCE) as arrangement:
        arrangement.add_records([series(1)])
    with pytest.raises(AttributeError), holdings.loading({"release": "8"}) as arrangement:
        arrangement.add_records([series(2), None])  # type: ignore[list-item] # the archive fails in the middle
    assert [one.series_uid for one in catalogue.series()] == ["1.2.1"]
    assert holdings.source() == SOURCE


def test_has_the_files_that_were_entered_until_they_are_removed(catalogue: Catalogue) -> None:
    holdings = Holdings(catalogue, ROOT)
    with holdings.loading(SOURCE) as arrangement:
        arrangement.add_records([series(1)])
    holdings.enter("1.2.1", "LUNG/P1", [held_file(1)])
    assert not holdings.is_whole("1.2.1")
    holdings.enter("1.2.1", "LUNG/P1", [held_file(1), held_file(2)])
    holdings.complete("1.2.1")
    assert holdings.is_whole("1.2.1")
    found = {(file.path, file.size_bytes, file.mtime_ns, file.md5) for file in catalogue.files("1.2.1")}
    assert found == {(ROOT / f"LUNG/P1/1.4.{n}.dcm", 100 + n, 5, bytes([n]) * 16) for n in (1, 2)}
    assert holdings.size_bytes() == 203
    holdings.lose("1.2.1", ["1.4.2"])
    assert ([file.sop_uid for file in catalogue.files("1.2.1")], holdings.is_whole("1.2.1")) == (["1.4.1"], False)
    before = catalogue.generation
    holdings.remove("1.2.1")
    assert catalogue.generation > before
    assert (catalogue.files("1.2.1"), holdings.size_bytes(), holdings.is_whole("1.2.1")) == ((), 0, False)
    assert catalogue.totals().series == 1


def test_knows_what_was_used_least(catalogue: Catalogue) -> None:
    holdings = Holdings(catalogue, ROOT)
    for number in (1, 2, 3):
        holdings.enter(f"1.2.{number}", f"F{number}", [held_file(number)])
    later = 4_000_000_000  # seconds
    holdings.note_use({"1.2.1": later + 2, "1.2.2": later + 1, "1.2.3": later + 3})
    holdings.note_use({"1.2.3": later - 5})
    first = holdings.least_used((0, ""), 2)
    assert first == [(1000 * (later + 1), "1.2.2", 102), (1000 * (later + 2), "1.2.1", 101)]
    assert holdings.least_used(first[-1][:2], 2) == [(1000 * (later + 3), "1.2.3", 103)]


def test_is_made_to_agree_with_the_journal(catalogue: Catalogue, tmp_path: Path) -> None:
    holdings = Holdings(catalogue, ROOT)
    with Journal.create_or_open(tmp_path / "journal.sqlite") as journal:
        run = begin(journal, None)
        for number in (1, 2):
            record_listed(journal, run, number, range(2))
        journal.record_outcomes(run, [outcome(1, 0), outcome(1, 1), outcome(2, 0), outcome(2, 1, Outcome.FAILED)])
        holdings.enter("1.9", "STALE", [held_file(1)])
        holdings.agree_with(journal)
        assert {file.path for file in catalogue.files(series_uid(1))} == {
            ROOT / folder(1) / f"{sop_uid(1, n)}.dcm" for n in (0, 1)
        }
        assert [holdings.is_whole(series_uid(number)) for number in (1, 2)] == [True, False]
        assert catalogue.files("1.9") == ()
        before = catalogue.generation
        holdings.agree_with(journal)
        assert catalogue.generation == before
