"""The DICOM JSON model as servers write it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkdl.archive.dicomweb.attributes import TAGS, Attributes

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
NAME = st.dictionaries(st.sampled_from(["Alphabetic", "Phonetic"]), PLAIN, max_size=2)
VALUE = PLAIN | NAME | st.lists(PLAIN | NAME | st.lists(PLAIN, max_size=1), max_size=3)
ELEMENT = PLAIN | st.lists(PLAIN, max_size=1) | st.fixed_dictionaries({"Value": VALUE})


@pytest.mark.parametrize(
    ("element", "texts"),
    [
        ({"vr": "LO"}, ()),
        ({"vr": "LO", "Value": []}, ()),
        ({"vr": "LO", "Value": [None]}, ()),
        ({"vr": "LO", "Value": [""]}, ()),
        ({"vr": "LO", "Value": None}, ()),
        (None, ()),
        ({"vr": "LO", "Value": ["A ", "B\0"]}, ("A", "B")),
        ({"vr": "LO", "Value": "A"}, ("A",)),
        ({"vr": "IS", "Value": [12]}, ("12",)),
        ({"vr": "PN", "Value": [{"Alphabetic": "A^B", "Ideographic": "C"}]}, ("A^B",)),
        ({"vr": "PN", "Value": [{"Ideographic": "C"}]}, ("C",)),
        ({"vr": "PN", "Value": ["A^B"]}, ("A^B",)),
        ({"vr": "PN", "Value": [{}]}, ()),
        ({"BulkDataURI": "http://192.0.2.1/"}, ()),
        ({"vr": "LO", "Value": [True, ["x"]]}, ()),
        ("A", ()),
    ],
)
def test_values_are_texts_without_empty_ones(element: object, texts: tuple[str, ...]) -> None:
    for tag in ("0008103E", "0008103e"):
        assert Attributes({tag: element}).texts("SeriesDescription") == texts


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (6, 6),
        ("6", 6),
        (6.0, 6),
        ("6.0", 6),
        ("six", None),
        (6.5, None),
        ("NaN", None),
        ("Infinity", None),
        (1e300, None),
    ],
)
def test_numbers_may_be_texts(value: object, number: int | None) -> None:
    row = Attributes({"00201209": {"vr": "IS", "Value": [value]}})
    assert row.number("NumberOfSeriesRelatedInstances") == number


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("20040119", date(2004, 1, 19)),
        ("2004.01.19", date(2004, 1, 19)),
        ("20041319", None),
        ("2004", None),
        ("2004-W01-1", None),
    ],
)
def test_dates_are_read(value: str, day: date | None) -> None:
    assert Attributes({"00080020": {"vr": "DA", "Value": [value]}}).day("StudyDate") == day


@pytest.mark.parametrize("value", ["1.2.3", "1.2.3\0", "1.2.3 "])
def test_a_uid_is_without_its_padding(value: str) -> None:
    assert Attributes({"0020000D": {"vr": "UI", "Value": [value]}}).uid("StudyInstanceUID") == "1.2.3"


@example({"Value": "\x1f"})
@given(ELEMENT)
def test_whatever_is_sent_is_read_or_left_out(element: Any) -> None:
    attributes = Attributes({TAGS["StudyDate"]: element})
    assert attributes.uid("StudyDate") is None or attributes.text("StudyDate")
    assert attributes.day("StudyDate") is None or attributes.number("StudyDate") or attributes.text("StudyDate")
    assert all(text.strip() for text in attributes.texts("StudyDate"))
