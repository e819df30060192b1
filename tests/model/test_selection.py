"""A selection is refused when it selects nothing, matched without case, and kept as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.errors import InvalidUid, SelectionError
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import Series
from bulkdl.model.selection import AnalysisResults, Selection, SeriesOrder, merge_series, parse_sample, parse_seed

SERIES = Series(
    series_uid=SeriesUid("1.1"),
    study_uid=StudyUid("1.2"),
    patient_id="LUNG-001",
    collection="Demo-Lung",
    modality="CT",
    body_part="CHEST",
    manufacturer="ACME",
    model="Scan 16",
    released=date(2021, 7, 15),
    submitted=datetime(2020, 1, 1, tzinfo=UTC),
)


@pytest.mark.parametrize("selection", [Selection(), Selection(since=date(2020, 1, 1))], ids=["empty", "a date alone"])
def test_a_selection_of_nothing_is_refused(selection: Selection) -> None:
    with pytest.raises(SelectionError, match="nothing is selected"):
        selection.check()


def test_everything_and_something_contradict_each_other() -> None:
    with pytest.raises(SelectionError, match="collections, modalities"):
        Selection(everything=True, collections=("A",), modalities=("CT",)).check()


@pytest.mark.parametrize(
    "selection",
    [Selection(everything=True), Selection(everything=True, since=date(2020, 1, 1)), Selection(shared_lists=("L",))],
)
def test_a_selection_of_something_is_taken(selection: Selection) -> None:
    selection.check()


def selected(field: str, *values: str) -> Selection:
    criteria: dict[str, Any] = {field: values}
    return Selection(**criteria)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("collections", "DEMO-LUNG", "Demo"),
        ("patients", "lung-001", "LUNG-00"),
        ("modalities", "ct", "MR"),
        ("body_parts", "chest", "HEAD"),
        ("manufacturers", "acme", "ACME, Inc."),
        ("models", "scan 16", "Scan*"),
        ("studies", "1.2", "1.20"),
        ("series", "1.1", "1.10"),
    ],
)
class TestOneCriterion:
    def test_one_value_of_several_is_enough(self, field: str, good: str, bad: str) -> None:
        assert selected(field, bad, good).matches(SERIES)

    def test_another_value_does_not_match(self, field: str, good: str, bad: str) -> None:
        assert good != bad
        assert not selected(field, bad).matches(SERIES)

    def test_two_criteria_narrow(self, field: str, good: str, bad: str) -> None:
        others: dict[str, Any] = {"collections": ("Demo-Lung",), "modalities": ("CT",)}
        assert Selection(**{**others, field: (good,)}).matches(SERIES)
        assert not Selection(**{**others, field: (bad,)}).matches(SERIES)

    def test_a_series_that_does_not_say_does_not_match(self, field: str, good: str, bad: str) -> None:
        assert good != bad
        silent = Series(series_uid=SeriesUid("9"))
        assert not selected(field, good).matches(silent)


@pytest.mark.parametrize(
    ("series", "matches"),
    [
        (SERIES, True),
        (replace(SERIES, released=date(2021, 7, 14)), False),
        (replace(SERIES, released=None), False),
        (replace(SERIES, released=None, submitted=datetime(2021, 7, 15, tzinfo=UTC)), True),
        (replace(SERIES, released=None, submitted=None), True),
    ],
    ids=["released that day", "a day early", "submitted early", "submitted that day", "no date at all"],
)
def test_since_keeps_what_may_be_new(series: Series, *, matches: bool) -> None:
    assert Selection(everything=True, since=date(2021, 7, 15)).matches(series) is matches


BY, BY_NC = "https://creativecommons.org/licenses/by/3.0/", "http://creativecommons.org/licenses/by-nc/4.0/"
NBIA_NAME = "Creative Commons Attribution 3.0 Unported License"


@pytest.mark.parametrize(
    ("keywords", "license_name", "uri", "matches"),
    [
        ({"license": "CC BY *"}, "CC BY 4.0", None, True),
        ({"license": "cc by *"}, NBIA_NAME, BY, True),
        ({"license": "*Attribution 3*"}, NBIA_NAME, BY, True),
        ({"license": "CC BY *"}, "something", BY_NC, False),
        ({"license": ["CC BY *", "CC BY-NC *"]}, "something", BY_NC, True),
        ({"license": "*"}, None, None, False),
        ({"deny_license": "*NC*"}, "something", BY_NC, False),
        ({"deny_license": "*NC*"}, NBIA_NAME, BY, True),
        ({"deny_license": "*"}, None, None, True),
        ({"license": "CC*", "deny_license": "*NC*"}, "CC BY-NC 3.0", None, False),
    ],
)
def test_a_licence_is_known_by_the_name_of_the_archive_and_of_creative_commons(
    keywords: dict[str, str], license_name: str | None, uri: str | None, *, matches: bool
) -> None:
    series = replace(SERIES, license_name=license_name, license_uri=uri)
    assert Selection.from_keywords({"everything": True, **keywords}).matches(series) is matches


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("include", (True, True, True)), ("exclude", (True, True, False)), ("only", (False, False, True))],
)
def test_a_series_of_which_nothing_is_known_is_not_an_analysis_result(kind: str, expected: tuple[bool, ...]) -> None:
    selection = Selection.from_keywords({"everything": True, "analysis_results": kind})
    found = tuple(selection.matches(replace(SERIES, third_party=value)) for value in (None, False, True))
    assert found == expected


def test_everything_may_be_narrowed_by_licence_and_kind_which_select_nothing_alone() -> None:
    narrowing = {"license": "CC*", "deny_license": "*NC*", "analysis_results": "only"}
    Selection.from_keywords({"everything": True, **narrowing}).check()
    with pytest.raises(SelectionError, match="nothing is selected"):
        Selection.from_keywords(narrowing).check()


def test_names_the_values_that_are_compared() -> None:
    keywords = {"collection": "A", "modality": ["CT", "MR"], "license": "CC*", "shared_list": "L"}
    assert Selection.from_keywords(keywords).named() == {"collection": ("A",), "modality": ("CT", "MR")}


def test_everything_matches_everything() -> None:
    assert Selection(everything=True).matches(SERIES)


TEXTS = st.lists(st.text(min_size=1), max_size=3).map(tuple)
UIDS = st.lists(st.text("0123456789.", min_size=1, max_size=64), max_size=3).map(tuple)
SELECTIONS = st.builds(
    Selection,
    collections=TEXTS,
    patients=TEXTS,
    studies=UIDS,
    series=UIDS,
    instances=st.lists(st.tuples(UIDS.filter(bool).map(lambda uids: SeriesUid(uids[0])), UIDS), max_size=2).map(tuple),
    modalities=TEXTS,
    body_parts=TEXTS,
    manufacturers=TEXTS,
    models=TEXTS,
    shared_lists=TEXTS,
    since=st.none() | st.dates(),
    licenses=TEXTS,
    denied_licenses=TEXTS,
    analysis_results=st.none() | st.sampled_from(AnalysisResults),
    everything=st.booleans(),
)


@given(SELECTIONS)
def test_a_selection_comes_back_from_json_as_it_went(selection: Selection) -> None:
    """A resumed run selects exactly what the first one did."""
    assert Selection.from_json(json.loads(json.dumps(selection.as_json()))) == selection


@pytest.mark.parametrize("name", ["series", "studies"])
def test_a_journalled_selection_is_checked_again(name: str) -> None:
    with pytest.raises(InvalidUid):
        Selection.from_json({name: ["../x"]})


def test_a_selection_can_be_a_key() -> None:
    one = Selection(series=(SeriesUid("1"),), instances=((SeriesUid("1"), (SopInstanceUid("2"),)),))
    assert len({one, replace(one)}) == 1


def test_alternatives_survive_as_json() -> None:
    selection = Selection(
        modalities=("CT",),
        alternatives=(Selection(series=(SeriesUid("1.2"),)), Selection(collections=("A",), patients=("P", "Q"))),
    )
    assert Selection.from_json(json.loads(json.dumps(selection.as_json()))) == selection


def test_merged_series_become_an_alternative_beside_others() -> None:
    one, two = SeriesUid("1.1"), SeriesUid("1.2")
    studies = Selection(studies=(StudyUid("2.0"),))
    merged = merge_series(
        [Selection(modalities=("CT",), series=(one,)), Selection(series=(two,)), Selection(alternatives=(studies,))]
    )
    assert merged == Selection(modalities=("CT",), alternatives=(Selection(series=(one, two)), studies))
    assert [part.modalities for part in merged.parts()] == [("CT",), ("CT",)]


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_shards_divide_the_series_of_an_archive(parts: int) -> None:
    series = [Series(series_uid=SeriesUid(f"1.2.{number}")) for number in range(400)]
    found = [
        [one for one in series if Selection(everything=True, shard=f"{number}/{parts}").matches(one)]
        for number in range(1, parts + 1)
    ]
    assert sorted(one.series_uid for shard in found for one in shard) == sorted(one.series_uid for one in series)
    assert all(len(shard) > 400 / parts / 2 for shard in found)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", "-1/2"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SelectionError, match="K/N"):
        Selection.from_keywords({"collection": "A", "shard": text})


@pytest.mark.parametrize(
    ("text", "count", "per_patient"), [("3", 3, False), ("3/collection", 3, False), ("2/patient", 2, True)]
)
def test_a_sample_is_of_each_collection_or_patient(text: str, count: int, per_patient: bool) -> None:  # noqa: FBT001 - a table
    sample = parse_sample(text)
    assert (sample.count, sample.per_patient) == (count, per_patient)
    assert parse_sample(str(sample)) == sample


@pytest.mark.parametrize("text", ["0", "", "3/study", "-1", "3/", "1e3", "٣"])
def test_what_is_not_a_sample_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a sample"):
        parse_sample(text)


@pytest.mark.parametrize("text", ["-1", "x", "", "1234567890", "²"])
def test_what_is_not_a_seed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a seed"):
        parse_seed(text)


def test_what_chooses_among_series_survives_as_json() -> None:
    selection = Selection.from_keywords(
        {"collection": "A", "sample": "2/patient", "seed": "7", "limit_bytes": "1.5GB", "order": "smallest-first"}
    )
    assert selection.is_shortlisted
    assert selection.limit_bytes == 1_500_000_000
    assert Selection.from_json(json.loads(json.dumps(selection.as_json()))) == selection
    assert not Selection(collections=("A",), order=SeriesOrder.COLLECTION).is_shortlisted
