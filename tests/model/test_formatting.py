from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.model.formatting import command, duration, plural, table


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


def test_columns_line_up() -> None:
    assert table(("name", "count"), [("a", "1,000"), ("longer", "2")]) == "name    count\na       1,000\nlonger      2"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_a_table_has_a_line_for_each_row_whatever_is_in_it(rows: list[tuple[str, str]]) -> None:
    assert len(table(("a", "b"), rows).split("\n")) == len(rows) + 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (12.4, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (59.7, "1 min 0 s")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("word", "many"), [("request", "requests"), ("retry", "retries"), ("instance", "instances")])
def test_words_agree_with_their_number(word: str, many: str) -> None:
    assert plural(word, 1) == word
    assert plural(word, 0) == plural(word, 2) == many
