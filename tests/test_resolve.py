"""Which questions find a selection, and what is read into their answers."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.client import connect
from bulkdl.archive.nbia.dialects import NbiaV1
from bulkdl.archive.profiles import Profile
from bulkdl.model.ids import SeriesUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.model.selection import Selection
from bulkdl.resolve import Question, _completed, questions, resolve
from bulkdl.runtime.attempts import Retrier, RetryPolicy
from bulkdl.runtime.concurrency import Limiter
from tests.support import faults
from tests.support.faults import Action, FaultyServer, Script, Seen

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
    return [dict(question.criteria) for question in questions(selection, collections)]


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
    (question,) = questions(Selection(series=(SeriesUid("1.2"),), collections=("A",), modalities=("CT",)))
    assert question == Question({"series_uid": "1.2"}, series_uid="1.2")


def test_a_collection_is_asked_for_once_however_it_is_narrowed() -> None:
    """NBIA compares modalities by the collation of its database; we sift them ourselves."""
    assert asked(Selection(collections=("A",), modalities=("CT", "MR"), body_parts=("CHEST",))) == [{"collection": "A"}]


def test_a_whole_archive_is_asked_for_collection_by_collection() -> None:
    assert asked(Selection(everything=True), ("A", "B")) == [{"collection": "A"}, {"collection": "B"}]


def test_nothing_is_asked_for_of_an_empty_archive() -> None:
    assert questions(Selection(everything=True), ()) == []


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
    """Whatever is combined: the archive's answers, sifted by us, are all that the selection describes."""

    def answer(question: Question) -> list[Series]:
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
        for question in questions(selection, everything)
        for series in answer(question)
        if selection.matches(series)
    }
    assert found == {series.series_uid for series in held if selection.matches(series)}


@given(SELECTIONS)
def test_every_question_can_be_put_to_an_archive(selection: Selection) -> None:
    for question in questions(selection, ("A",)):
        assert NbiaV1().series(question.criteria).name == "getSeries"


def test_a_question_is_told_in_words() -> None:
    assert str(Question({"collection": "A", "patient_id": "P"})) == "collection A, patient id P"
    assert str(Question({})) == "the whole archive"


# --- what the question says and the answer leaves out -----------------------------------------------------------------

QUESTION = Question({"collection": "A", "patient_id": "P"})


def test_what_was_asked_for_and_left_out_of_the_answer_is_filled_in() -> None:
    """Or a Selection by Collection would not match the Series that it found, and their folder had no name."""
    bare = Series(series_uid=SeriesUid("1"))
    completed = _completed(bare, QUESTION)
    assert (completed.collection, completed.patient_id) == ("A", "P")
    assert Selection(collections=("A",), patients=("P",)).matches(completed)


def test_what_the_archive_says_is_left_as_it_is() -> None:
    told = Series(series_uid=SeriesUid("1"), collection="a", patient_id="p")
    assert _completed(told, QUESTION) is told


def test_what_was_not_asked_for_stays_unknown() -> None:
    bare = Series(series_uid=SeriesUid("1"))
    assert _completed(bare, Question({"modality": "CT"})) is bare


# --- many Series by name ----------------------------------------------------------------------------------------------


def rows_of(uids: list[str]) -> str:
    return json.dumps([{"SeriesInstanceUID": uid, "Modality": "CT"} for uid in uids])


async def resolved(
    script: Script, uids: list[str], *, kind: str = "nbia-v4", **criteria: tuple[str, ...]
) -> tuple[set[str], set[str | None], list[str]]:
    """The Series that are found, those that are not, and the paths that were asked."""
    found: set[str] = set()

    async def take(batch: list[Series]) -> None:
        found.update(series.series_uid for series in batch)

    retrier = Retrier(
        limiter=Limiter(ceiling=16),
        policy=RetryPolicy(max_attempts=1, give_up_after_seconds=0, chance=lambda: 0.0),
        stop=asyncio.Event(),
    )
    selection = Selection(series=tuple(SeriesUid(uid) for uid in uids), **criteria)
    async with FaultyServer(script) as server, connect(Profile("x", server.url, kind), retrier) as client:
        resolution = await resolve(selection, client, take)
        assert resolution.series == len(found)
        return found, {question.series_uid for question in resolution.unanswered}, [s.path for s in server.requests]


def answering(known: set[str]) -> Script:
    """An archive that has these Series, by one and by many."""

    def script(seen: Seen) -> Action:
        form = {name: values[0] for name, values in parse_qs(seen.body.decode()).items()}
        asked = form["list"].split(",") if "list" in form else [seen.query["SeriesInstanceUID"]]
        return faults.json(rows_of([uid for uid in asked if uid in known]))

    return script


async def test_a_manifest_of_thousands_costs_a_few_questions() -> None:
    uids = [f"1.2.{number}" for number in range(4_500)]
    missing = {uids[7], uids[4_400]}
    found, unanswered, paths = await resolved(answering(set(uids) - missing), uids)
    assert found == set(uids) - missing
    assert unanswered == missing
    assert paths == ["/v4/getSeriesMetadata"] * 3


async def test_a_family_that_takes_one_at_a_time_is_asked_one_at_a_time() -> None:
    found, unanswered, paths = await resolved(answering({"1.1", "1.2"}), ["1.1", "1.2", "1.3"], kind="nbia-v1")
    assert (found, unanswered) == ({"1.1", "1.2"}, {"1.3"})
    assert paths == ["/v1/getSeries"] * 3


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_an_archive_that_refuses_the_question_for_many_is_asked_for_each(status: int) -> None:
    one_by_one = answering({"1.1", "1.2"})
    found, unanswered, paths = await resolved(
        lambda seen: faults.answer(status=status) if seen.method == "POST" else one_by_one(seen), ["1.1", "1.2", "1.3"]
    )
    assert (found, unanswered) == ({"1.1", "1.2"}, {"1.3"})
    assert paths == ["/v4/getSeriesMetadata", *["/v4/getSeries"] * 3]


async def test_what_was_not_asked_for_is_not_taken() -> None:
    found, unanswered, _ = await resolved(lambda _: faults.json(rows_of(["1.1", "6.6"])), ["1.1", "1.2"])
    assert (found, unanswered) == ({"1.1"}, {"1.2"})


async def test_a_series_that_is_named_and_does_not_match_is_reported() -> None:
    found, unanswered, _ = await resolved(answering({"1.1", "1.2"}), ["1.1", "1.2"], modalities=("MR",))
    assert (found, unanswered) == (set(), {"1.1", "1.2"})
