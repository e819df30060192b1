"""The parameters of searches."""

from __future__ import annotations

import pytest

from bulkdl.server.catalogue.hierarchy import Between, Criterion, EqualTo, Like, OneOf
from bulkdl.server.dicomweb.attributes import Level
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
        ("PatientName", "x" * 300),
    ],
)
def test_invalid_values_are_refused(name: str, value: str) -> None:
    with pytest.raises(DicomWebRefusal) as refused:
        read_search(Level.SERIES, {}, [(name, value)])
    assert refused.value.status == 400


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
