"""Rows out of a body, however it is cut into chunks."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.row_reader import RowReader

DATA = Path(__file__).parents[1] / "data" / "answers"
EXAMPLES = sorted(DATA.glob("nbia_v1_*.json"))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=5)


def read(content: bytes, *cuts: int) -> list[dict[str, Any]]:
    """The rows of `content` when it comes in pieces that end at `cuts`."""
    reader = RowReader()
    borders = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    rows: list[dict[str, Any]] = []
    for start, end in pairwise(borders):
        rows += reader.feed(content[start:end])
    return rows + reader.close()


def without_surrogates(value: Any) -> Any:
    return json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


@given(rows=ROWS, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]), cuts=st.lists(st.integers(0, 300)))
def test_rows_come_out_as_they_were_put_in_wherever_the_chunks_end(
    *, rows: list[dict[str, Any]], ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    content = json.dumps(rows, ensure_ascii=ascii_only, indent=indent).encode(errors="replace")
    assert read(content, *cuts) == without_surrogates(rows)


@given(st.binary(max_size=60) | st.text(alphabet='[]{},:"nul\\ud8a1 \ufeff', max_size=30).map(str.encode), st.data())
def test_whatever_comes_is_rows_or_a_value_error(content: bytes, data: st.DataObject) -> None:
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=4))
    try:
        rows = read(content, *cuts)
    except ValueError:
        return
    assert all(isinstance(row, dict) for row in rows)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_documented_answers_are_read(path: Path) -> None:
    content = path.read_bytes()
    assert read(content, *range(0, len(content), 7)) == json.loads(content)


def test_a_row_is_given_as_soon_as_it_is_complete() -> None:
    reader = RowReader()
    assert reader.feed(b'[{"a":1},{"a"') == [{"a": 1}]
    assert reader.feed(b":2}") == [{"a": 2}]
    assert reader.feed(b"]") == []
    assert reader.close() == []


def test_memory_holds_no_more_than_the_row_under_way() -> None:
    reader = RowReader()
    reader.feed(b"[")
    tracemalloc.start()
    for _ in range(1000):
        reader.feed(b'{"a":"' + b"x" * 1000 + b'"},')
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000


def test_a_character_that_a_chunk_splits_stays_whole() -> None:
    content = '[{"a":"é€😀"}]'.encode()
    assert read(content, *range(len(content))) == [{"a": "é€😀"}]


def test_invalid_utf8_damages_its_own_characters_only() -> None:
    assert read(b'[{"a":"M\xfcller"}]') == [{"a": "M\ufffdller"}]


@pytest.mark.parametrize(
    ("spelt", "held"), [("\\ud83d\\ude00", "😀"), ("\\ud83d", "?"), ("\\uDE00x", "?x"), ("\\\\ud83d", "\\ud83d")]
)
def test_halves_of_characters_are_replaced(spelt: str, held: str) -> None:
    """JSON can express them; a database, a file name and a URL cannot hold them."""
    assert read(f'[{{"a":"{spelt}"}}]'.encode()) == [{"a": held}]


def test_an_endless_row_does_not_fill_the_memory() -> None:
    reader = RowReader()
    reader.feed(b'[{"a":"' + b"x" * 3_000_000)
    with pytest.raises(ValueError, match="does not end"):
        reader.feed(b"x" * 3_000_000)


@pytest.mark.parametrize("start", [b"<html>", b"42", b"nonsense", b"]", b"\x00", b"Server was not able"])
def test_another_text_than_a_list_is_refused_at_its_first_word(start: bytes) -> None:
    """Not at its end: it may be a page of a gigabyte."""
    with pytest.raises(ValueError, match=r"instead of a list|not a list"):
        RowReader().feed(start)
