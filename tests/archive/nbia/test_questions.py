"""Which questions find a selection, and what is added to their answers."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.base import SeriesQuestion
from bulkdl.archive.nbia.dialects import NbiaV1
from bulkdl.archive.nbia.questions import completed, plan_questions
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable

ATTRIBUTES: dict[str, Callable[[Series], str | None]] = {
    "series_uid": lambda series: series.series_uid,
    "study_uid": lambda series: series.study_uid,
    "patient_id": lambda series: series.patient_id,
    "collection": lambda series: series.collection,
    "model": lambda series: series.model,
    "manufacturer": lambda series: series.manufacturer,
    "body_part": lambda series: series.body_part,
    "modality": lambda series: series.modality,
}


def asked(selection: Selection, collections: tuple[str, ...] = ()) -> list[dict[str, str]]:
    return [dict(question.criteria) for question in plan_questions(selection, collections)]


@pytest.mark.parametrize(
    ("selection", "criteria"),
    [
        (Selection(collections=("A", "B")), [{"collection": "A"}, {"collection": "B"}]),
        (Selection(patients=("P", "Q")), [{"patient_id": "P"}, {"patient_id": "Q"}]),
        (Selection(studies=(StudyUid("1"), StudyUid("2"))), [{"study_uid": "1"}, {"study_uid": "2"}]),
        (Selection(series=(SeriesUid("1"), SeriesUid("2"))), [{"series_uid": "1"}, {"series_uid": "2"}]),
        (Selection(shared_lists=("L",)), [{"shared_list": "L"}]),
        (Selection(modalities=("CT", "MR")), [{"modality": "CT"}, {"modality": "MR"}]),
        (Selection(body_parts=("CHEST",)), [{"body_part": "CHEST"}]),
        (Selection(manufacturers=("M",)), [{"manufacturer": "M"}]),
        (Selection(models=("M",)), [{"model": "M"}]),
    ],
    ids=lambda value: "" if isinstance(value, list) else ", ".join(value.as_json()),
)
def test_one_criterion_is_one_question_for_each_of_its_values(
    selection: Selection, criteria: list[dict[str, str]]
) -> None:
    assert asked(selection) == criteria


def test_a_patient_of_a_collection_is_asked_for_as_such() -> None:
    """The same ID names different Patients in different Collections."""
    assert asked(Selection(collections=("A", "B"), patients=("P",))) == [
        {"collection": "A", "patient_id": "P"},
        {"collection": "B", "patient_id": "P"},
    ]


def test_a_named_series_is_asked_for_by_name_whatever_else_narrows() -> None:
    (question,) = plan_questions(Selection(series=(SeriesUid("1.2"),), collections=("A",), modalities=("CT",)))
    assert question == SeriesQuestion({"series_uid": "1.2"}, series_uid=SeriesUid("1.2"))


def test_a_collection_is_asked_for_once_however_it_is_narrowed() -> None:
    """NBIA compares modalities by the collation of its database, so bulkdl filters them itself."""
    assert asked(Selection(collections=("A",), modalities=("CT", "MR"), body_parts=("CHEST",))) == [{"collection": "A"}]


def test_a_whole_archive_is_asked_for_collection_by_collection() -> None:
    assert asked(Selection(everything=True), ("A", "B")) == [{"collection": "A"}, {"collection": "B"}]


def test_nothing_is_asked_for_of_an_empty_archive() -> None:
    assert plan_questions(Selection(everything=True), ()) == []


WORDS = st.sampled_from(["A", "a", "B", "C"])
UIDS = st.sampled_from(["1", "2", "3"])
SERIES = st.builds(
    Series,
    series_uid=st.sampled_from([f"1.{number}" for number in range(9)]).map(SeriesUid),
    study_uid=UIDS.map(StudyUid),
    patient_id=WORDS,
    collection=WORDS,
    modality=st.none() | WORDS,
    body_part=st.none() | WORDS,
    manufacturer=st.none() | WORDS,
    model=st.none() | WORDS,
    released=st.none() | st.sampled_from([date(2020, 1, 1), date(2022, 1, 1)]),
)


def some(values: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, max_size=2, unique=True).map(tuple)


SELECTIONS = st.builds(
    Selection,
    collections=some(WORDS),
    patients=some(WORDS),
    studies=some(UIDS),
    series=some(st.sampled_from([f"1.{number}" for number in range(9)])),
    modalities=some(WORDS),
    body_parts=some(WORDS),
    manufacturers=some(WORDS),
    models=some(WORDS),
    since=st.none() | st.just(date(2021, 1, 1)),
)


@given(selection=SELECTIONS, held=st.lists(SERIES, unique_by=lambda series: series.series_uid))
def test_the_questions_lose_nothing_that_matches(selection: Selection, held: list[Series]) -> None:
    """Whatever is combined: the archive's answers, filtered by bulkdl, are all that the selection describes."""

    def answer(question: SeriesQuestion) -> list[Series]:
        return [
            series
            for series in held
            if all(
                (ATTRIBUTES[name](series) or "").casefold() == value.casefold()
                for name, value in question.criteria.items()
            )
        ]

    everything = tuple({series.collection for series in held}) if selection == Selection(since=selection.since) else ()
    found = {
        series.series_uid
        for question in plan_questions(selection, everything)
        for series in answer(question)
        if selection.matches(series)
    }
    assert found == {series.series_uid for series in held if selection.matches(series)}


@given(SELECTIONS)
def test_every_question_can_be_put_to_an_archive(selection: Selection) -> None:
    for question in plan_questions(selection, ("A",)):
        assert NbiaV1().series(question.criteria).name == "getSeries"


def test_a_question_is_described_in_words() -> None:
    assert str(SeriesQuestion({"collection": "A", "patient_id": "P"})) == "collection A, patient id P"
    assert str(SeriesQuestion({})) == "the whole archive"


# --- what the question says and the answer leaves out -----------------------------------------------------------------

QUESTION = SeriesQuestion({"collection": "A", "patient_id": "P"})


def test_what_was_asked_for_and_left_out_of_the_answer_is_filled_in() -> None:
    """A Selection by Collection must match the Series that it found, and their folder needs a name."""
    bare = Series(series_uid=SeriesUid("1"))
    found = completed(bare, QUESTION)
    assert (found.collection, found.patient_id) == ("A", "P")
    assert Selection(collections=("A",), patients=("P",)).matches(found)


def test_what_the_archive_says_is_left_as_it_is() -> None:
    told = Series(series_uid=SeriesUid("1"), collection="a", patient_id="p")
    assert completed(told, QUESTION) is told


def test_what_was_not_asked_for_stays_unknown() -> None:
    bare = Series(series_uid=SeriesUid("1"))
    assert completed(bare, SeriesQuestion({"modality": "CT"})) is bare
