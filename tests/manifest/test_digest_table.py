"""A table of digests says of each name whether it is new, and keeps its flags, however often it grows."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.manifest.digest_table import DigestTable


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=3), st.none() | st.text(max_size=2)), max_size=60))
def test_a_name_is_new_once(names: list[tuple[str, str | None]]) -> None:
    table, seen = DigestTable(), set[tuple[str, str]]()
    for first, second in names:
        key = (first, second or "")
        assert table.add(first, second) == (key not in seen)
        seen.add(key)
    assert len(table) == len(seen)


def test_flags_stay_while_it_grows() -> None:
    table = DigestTable()
    assert [table.mark(1 << (at % 3), f"1.2.{at}") for at in range(5_000)] == [0] * 5_000
    assert [table.mark(0, f"1.2.{at}") for at in range(5_000)] == [1 << (at % 3) for at in range(5_000)]
    assert table.mark(4, "1.2.0") == 1
    assert table.mark(0, "1.2.0") == 5
    assert len(table) == 5_000
