"""The parameters of searches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkdl.server.catalogue import Catalogue
from bulkdl.server.catalogue.hierarchy import Between, Criterion, EqualTo, HierarchySearch, Like, OneOf
from bulkdl.server.dicomweb.attributes import ATTRIBUTES, Level
from bulkdl.server.dicomweb.exchange import DicomWebRefusal
from bulkdl.server.dicomweb.query import read_search


@pytest.mark.parametrize(
    ("name", "value", "criterion"),
    [
        ("StudyInstanceUID", "1.2,1.3", ("study_uid", OneOf(("1.2", "1.3")))),
        ("0020000d", "1.2\\1.3", ("study_uid", OneOf(("1.2", "1.3")))),
        ("00100010", "*doe**", ("patient_name", Like(("*doe*",)))),
        ("PatientID", "a,b", ("patient_id", Like(("a,b",)))),
        ("ModalitiesInStudy", "CT\\MR", ("modalities_in_study", Like(("CT", "MR")))),
        ("StudyDate", "20040101", ("study_date", Between("2004-01-01", "2004-01-01"))),
        ("StudyDate", "20040101-20041231", ("study_date", Between("2004-01-01", "2004-12-31"))),
        ("StudyDate", "20040101-", ("study_date", Between("2004-01-01", None))),
        ("StudyDate", "-20041231", ("study_date", Between(None, "2004-12-31"))),
        ("SeriesNumber", "7", ("series_number", EqualTo(7))),
    ],
)
def test_values_become_criteria(name: str, value: str, criterion: tuple[str, Criterion]) -> None:
    assert read_search(Level.SERIES, {}, [(name, value)]).criteria == (criterion,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("abc", "-1", "", "1.5", "1" * 19)),
        ("offset", "-1"),
        *(("StudyDate", value) for value in ("-", "2004", "20041301", "20040101-2005", "2004010120040102", "today")),
        ("SeriesNumber", "one"),
        ("ModalitiesInStudy", ","),
        ("StudyInstanceUID", "\\ ,"),
        ("PatientName", "x" * 300),
        ("Modality", ",".join(f"M{number}" for number in range(1_001))),
    ],
)
def test_invalid_values_are_refused(name: str, value: str) -> None:
    with pytest.raises(DicomWebRefusal) as refused:
        read_search(Level.SERIES, {}, [(name, value)])
    assert refused.value.status == 400


def test_a_search_has_a_bounded_number_of_criteria() -> None:
    names = [("PatientName", f"*{number}*") for number in range(500)]
    with pytest.raises(DicomWebRefusal, match="more than 100 criteria"):
        read_search(Level.STUDY, {}, names)
    assert len(read_search(Level.STUDY, {}, names[:1] * 500).criteria) == 1


def test_unknown_parameters_are_ignored_and_named() -> None:
    search = read_search(Level.STUDY, {}, [("Bogus", "1"), ("SOPInstanceUID", "1.2"), ('"\r\n', "1"), ("limit", "5")])
    assert (search.criteria, search.limit) == ((), 5)
    (warning,) = search.warnings
    assert warning.endswith("ignored: Bogus, SOPInstanceUID.")


def test_what_the_catalogue_does_not_have_matches_nothing() -> None:
    assert read_search(Level.STUDY, {}, [("AccessionNumber", "7")]).finds_nothing
    assert not read_search(Level.STUDY, {}, [("AccessionNumber", "*")]).finds_nothing


def test_fields_are_tags_or_keywords() -> None:
    fields = [("includefield", "00081030,SeriesDescription"), ("includefield", "PatientAge"), ("includefield", "Bogus")]
    assert read_search(Level.STUDY, {}, fields).fields == frozenset({"00081030", "0008103E", "00101010"})
    assert read_search(Level.STUDY, {}, [("includefield", "all")]).fields is None


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    with Catalogue.open(tmp_path_factory.mktemp("empty") / "catalog.sqlite") as opened:
        yield opened


_VALUES = st.text(st.sampled_from("*?%_'\"\\,-; 0129.xX\x00\u00fc\U0001f642"), max_size=12)


@example([("00080061", ",")])
@given(st.lists(st.tuples(st.sampled_from([one.tag for one in ATTRIBUTES]), _VALUES), max_size=3))
def test_each_search_is_refused_or_answered(empty: Catalogue, parameters: list[tuple[str, str]]) -> None:
    for level in Level:
        with suppress(DicomWebRefusal):
            found = HierarchySearch(empty, read_search(level, {}, parameters).criteria)
            assert [*found.studies(skip=1), *found.series(skip=1), *found.instances(skip=1)] == []
