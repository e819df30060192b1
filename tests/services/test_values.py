"""Values in every form that services write come out as plain text, numbers and addresses; none fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.services.values import address_of, decimal_of, is_true, number_of, text_of, texts_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "url", "x"]), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("<p>Made-up <b>collection</b>.</p>", "Made-up collection."),
        ("Demo lung CT &amp; segmentations", "Demo lung CT & segmentations"),
        ("p &lt; 0.05 and 3 < 4 > 2", "p < 0.05 and 3 < 4 > 2"),
        ("BRAIN &lt;x&gt;", "BRAIN <x>"),
        ({"rendered": "Demo &#038; more"}, "Demo & more"),
        ({"label": "CC BY 4.0", "url": "https://example.org/"}, "CC BY 4.0"),
        ({"label": "", "url": "https://example.org/"}, "https://example.org/"),
        (["CT", {"label": "SEG"}, "CT", None, False], "CT, SEG"),
        (False, ""),
        (None, ""),
        (12, "12"),
        ("a\x1b[31m\nb", "a [31m b"),
        ([[[[[["too deep"]]]]]], ""),
    ],
)
def test_a_value_becomes_text_on_one_line_without_markup(value: Any, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize(("value", "flag"), [("1", True), (True, True), ("yes", True), (1, True)])
@pytest.mark.parametrize("empty", ["", "0", 0, False, "False", None, "None", []])
def test_a_flag_is_set_or_one_of_many_forms_of_no(value: Any, flag: bool, empty: Any) -> None:  # noqa: FBT001
    assert is_true(value) is flag
    assert not is_true(empty)


def test_numbers_may_be_texts() -> None:
    assert [number_of(value) for value in ("12", 12, "1,234", "", False, "many", "5.4", -3)] == [
        *(12, 12, 1234, None, None, None, None, None)
    ]
    assert (decimal_of("5.4"), decimal_of({"label": "7"})) == (5.4, 7.0)


@pytest.mark.parametrize("value", ["javascript:alert(1)", "http://[", "https://a b", "ftp://x/", "https:///x", 3, None])
def test_what_is_not_a_web_address_is_none(value: Any) -> None:
    assert address_of(value) is None


@given(JSON)
def test_no_value_fails(value: Any) -> None:
    assert all(text == text.strip() and "\n" not in text for text in texts_of(value))
    assert (number_of(value) or 0) >= 0
    address_of(value)
    is_true(value)
