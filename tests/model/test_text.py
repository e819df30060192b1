from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.model.text import (
    cells,
    decoded,
    did_you_mean,
    error_text,
    fitted,
    folded,
    nearest,
    one_line,
    shortened,
    storable,
)


@given(st.text())
def test_a_text_becomes_one_printable_line(text: str) -> None:
    shown = one_line(text)
    assert shown.isprintable()
    assert one_line(shown) == shown


def test_control_characters_and_line_ends_become_blanks() -> None:
    assert one_line("TCGA\x1b[2J\r\nComplete") == "TCGA [2J Complete"


@pytest.mark.parametrize(("text", "shown"), [("", ""), ("abc", "abc"), ("abcd", "abc…")])
def test_a_long_text_is_cut_and_marked(text: str, shown: str) -> None:
    assert shortened(text, 3) == shown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(ValueError("a\n  b"), "a b", id="two lines"),
        pytest.param(ValueError(), "ValueError", id="no text"),
        pytest.param(OSError(2, "No such file", "secret"), "No such file", id="of the system"),
        pytest.param(ValueError("x" * 500), "x" * 200 + "…", id="long"),
    ],
)
def test_an_error_is_one_bounded_line(error: Exception, text: str) -> None:
    assert error_text(error) == text


@given(st.binary())
def test_any_path_can_be_stored_and_valid_ones_stay(name: bytes) -> None:
    shown = storable(name.decode("utf-8", "surrogateescape"))
    assert shown == name.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("name", "guess"), [("tica", "tcia"), ("TCIA", "tcia"), ("getserie", "getSeries"), ("unlike", None), ("", None)]
)
def test_the_nearest_name_is_found_without_case(name: str, guess: str | None) -> None:
    assert nearest(name, ["tcia", "nlst", "getSeries"]) == guess


def test_a_message_ends_with_a_guess_or_with_the_alternative() -> None:
    assert did_you_mean("tica", ["tcia"]) == "; did you mean tcia?"
    assert did_you_mean("zzz", ["tcia"]) == ""
    assert did_you_mean("zzz", ["tcia"], otherwise=" (known: tcia)") == " (known: tcia)"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_not_part_of_a_text(encoding: str) -> None:
    assert decoded("naïve = 1\r\n".encode(encoding)) == "naïve = 1\r\n"


@pytest.mark.parametrize("content", [b"\xff\xfeodd", b"\xe9t\xe9"], ids=["half a character", "Latin-1"])
def test_what_is_not_text_is_an_error(content: bytes) -> None:
    with pytest.raises(UnicodeDecodeError):
        decoded(content)


@pytest.mark.parametrize("name", ["4D-Lung", "4d_lung", " 4D  lung ", "4D--LUNG"])
def test_a_name_is_the_same_in_each_of_its_spellings(name: str) -> None:
    assert folded(name) == "4d_lung"


@given(st.text(), st.integers(-2, 30))
def test_a_fitted_text_takes_no_more_cells_than_there_are(text: str, most: int) -> None:
    shown = fitted(text, most)
    assert cells(shown) <= max(0, most)
    assert shown == text or shown in {"", "…"} or (shown[-1], shown[:-1]) == ("…", text[: len(shown) - 1])


@pytest.mark.parametrize(
    ("text", "count"), [("abc", 3), ("肺癌", 4), ("e\u0301", 1), ("｡ｱ", 2), ("", 0), ("a\u200bb", 2)]
)
def test_cells_are_those_of_a_terminal(text: str, count: int) -> None:
    assert cells(text) == count
