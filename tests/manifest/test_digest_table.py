"""A table of digests says of each name whether it is new, and keeps its flags, however often it grows."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.manifest.digest_table import DigestTable


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.text(max_size=2)), max_size=60), st.booleans())
def test_a_name_is_new_once(names: list[tuple[str, str | None]], only_counts: bool) -> None:  # noqa: FBT001
    table, seen = DigestTable(only_counts=only_counts), set[tuple[str, str]]()
    for first, second in names:
        key = (first, second or "")
        assert table.add(first, second) == (key not in seen)
        seen.add(key)
    assert len(table) == len(seen)


@pytest.mark.parametrize("only_counts", [False, True])
def test_flags_stay_while_it_grows(only_counts: bool) -> None:  # noqa: FBT001
    table = DigestTable(only_counts=only_counts)
    assert [table.mark(1 << (at % 3), f"1.2.{at}") for at in range(5_000)] == [0] * 5_000
    assert [table.mark(0, f"1.2.{at}") for at in range(5_000)] == [1 << (at % 3) for at in range(5_000)]
    assert table.mark(4, "1.2.0") == 1
    assert table.mark(0, "1.2.0") == 5
    assert len(table) == 5_000
