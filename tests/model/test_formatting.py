from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.model.formatting import command, duration, fit_columns, plural, table
from bulkdl.model.text import cells


@given(st.lists(st.text(min_size=1), min_size=1))
def test_a_command_can_be_pasted_into_a_shell(words: list[str]) -> None:
    assert shlex.split(command(*words)) == ["bulkdl", *words]


def test_a_table_fits_the_terminal() -> None:
    rows = [("a" * 50, "b" * 30, "1,000"), ("a", "b", "2")]
    drawn = table(("name", "what", "count"), rows, left=2, width=60).splitlines()
    assert max(map(len, drawn)) == 60
    assert drawn[1].endswith("…  1,000") or "…" in drawn[1]
    assert [line.split()[-1] for line in drawn] == ["count", "1,000", "2"]


@given(st.lists(st.tuples(st.text(), st.text(), st.integers().map(str)), min_size=1), st.integers(0, 200))
def test_a_narrow_terminal_never_costs_a_number(rows: list[tuple[str, str, str]], width: int) -> None:
    drawn = table(("name", "what", "count"), rows, left=2, width=width).splitlines()
    assert [line.split()[-1] for line in drawn[1:]] == [row[2] for row in rows]


def test_as_many_columns_are_shown_as_fit() -> None:
    heads, rows = fit_columns(["first", "second", "third"], [["a" * 40, "b" * 40, "c"]], 50)
    assert heads == ["first", "second", "third"]
    assert len(rows[0][0]) + len(rows[0][1]) + len("third") + 4 == 50
    heads, rows = fit_columns(["first", "second", "third"], [["a" * 40, "b" * 40, "c"]], 30)
    assert (heads, len(rows[0])) == (["first", "second"], 2)
    assert rows[0][0].endswith("…")


@given(st.lists(st.lists(st.text(), min_size=3, max_size=3)), st.integers(0, 200))
def test_columns_that_fit_are_never_wider_than_the_terminal(rows: list[list[str]], width: int) -> None:
    heads, cut = fit_columns(["one", "two", "three"], rows, width)
    assert all(len(row) == len(heads) for row in cut)
    widths = [max(cells(row[column]) for row in (heads, *cut)) for column in range(len(heads))]
    assert sum(widths) + 2 * (len(heads) - 1) <= max(width, 12)


def test_wide_and_combining_characters_keep_the_columns_in_line() -> None:
    rows = [("肺癌", "1"), ("e\u0301tude", "2"), ("LUNG", "3")]
    assert table(("name", "n"), rows) == "name   n\n肺癌   1\ne\u0301tude  2\nLUNG   3"
    assert table(("name", "n"), [("肺" * 20, "1")], width=20).splitlines()[1] == f"{'肺' * 8}…  1"


def test_columns_line_up() -> None:
    assert table(("name", "count"), [("a", "1,000"), ("longer", "2")]) == "name    count\na       1,000\nlonger      2"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_table_has_a_line_for_each_row_whatever_is_in_it(rows: list[tuple[str, str]]) -> None:
    assert len(table(("a", "b"), rows).split("\n")) == len(rows) + 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (12.4, "12 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (59.7, "1 min 0 s"),
        (9.96, "10 s"),
    ],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("word", "many"), [("request", "requests"), ("retry", "retries"), ("instance", "instances")])
def test_words_agree_with_their_number(word: str, many: str) -> None:
    assert plural(word, 1) == word
    assert plural(word, 0) == plural(word, 2) == many
