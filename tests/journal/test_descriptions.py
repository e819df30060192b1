"""What an archive says beside its Series: kept, completed by later answers, and read again."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from bulkdl.journal.journal import Journal
from bulkdl.model.descriptions import CollectionDescription, Descriptions, Publication, ResultDescription
from bulkdl.model.ids import StudyUid
from bulkdl.model.records import Patient, Study
from tests.support.journals import NOW, begin, folder, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENT = Patient(
    patient_id="P0", collection="PHANTOM", name="A^B", birth_date=date(1950, 2, 3), sex="F", phantom=False
)
STUDY = Study(
    study_uid=StudyUid("1.2.826.0.2.0"),
    patient_id="P0",
    collection="PHANTOM",
    study_date=date(2001, 2, 3),
    patient_birth_date=date(1950, 2, 3),
    longitudinal_offset_days=2.5,
)
COLLECTION = CollectionDescription(
    collection="PHANTOM",
    html="<p>ä</p>",
    patients=4,
    publications=(Publication(doi="10.1/a", citation="A. (2001)"), Publication(doi="10.1/b")),
)
RESULT = ResultDescription(result="r", title="Result", collections=("PHANTOM", "OTHER"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.create_or_open(tmp_path / "journal.sqlite") as journal:
        yield journal


def test_returns_what_was_recorded(journal: Journal) -> None:
    found = Descriptions(patients=(PATIENT,), studies=(STUDY,), collections=(COLLECTION,), results=(RESULT,))
    journal.record_descriptions(begin(journal), found, now=NOW)
    assert journal.find_patient("PHANTOM", "P0") == PATIENT
    assert journal.find_study("PHANTOM", "P0", STUDY.study_uid) == STUDY
    assert list(journal.collection_descriptions()) == [COLLECTION]
    assert list(journal.result_descriptions()) == [RESULT]
    assert journal.find_patient("PHANTOM", "P1") is None


def test_keeps_what_a_later_answer_leaves_out(journal: Journal) -> None:
    run = begin(journal)
    later = replace(PATIENT, sex="M", name=None, birth_date=None, phantom=None, ethnic_group="x")
    for patient in (PATIENT, later):
        journal.record_descriptions(run, Descriptions(patients=(patient,)), now=NOW)
    assert journal.find_patient("PHANTOM", "P0") == replace(PATIENT, sex="M", ethnic_group="x")


def test_knows_of_which_collections_the_archive_was_not_asked(journal: Journal) -> None:
    run = begin(journal)
    records = [record(1), record(2, collection="OTHER"), record(3, collection="")]
    journal.record_series(run, [(each, folder(n)) for n, each in enumerate(records)], now=NOW)
    assert journal.undescribed(run, limit=5) == ["OTHER", "PHANTOM"]
    journal.end_describing(run, "OTHER", now=NOW)
    assert journal.undescribed(run, limit=5) == ["PHANTOM"]
    assert list(map(journal.is_described, records[:2])) == [False, True]
    assert not journal.is_described(replace(records[1], study_uid=StudyUid("9"))), "a Study that is new"
    assert journal.undescribed(replace(run, archive_id=run.archive_id + 1), limit=5) == []


def test_leaves_out_the_parents_of_other_series() -> None:
    other = replace(PATIENT, patient_id="P9"), replace(STUDY, study_uid=StudyUid("9"))
    found = Descriptions(patients=(PATIENT, other[0]), studies=(STUDY, other[1]), collections=(COLLECTION,))
    assert found.of([record(0)]) == Descriptions(patients=(PATIENT,), studies=(STUDY,), collections=(COLLECTION,))
