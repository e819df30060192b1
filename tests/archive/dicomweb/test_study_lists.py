"""How a range of days is split. What is listed is tested over real sockets, in `test_archive`."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.archive.dicomweb.study_lists import Days

FIRST = date(2020, 1, 1)
LISTED = st.lists(st.integers(0, 9).map(lambda day: FIRST + timedelta(days=day)), min_size=1).map(Counter)


@given(LISTED)
def test_the_parts_of_a_range_have_each_day_once_and_end_at_single_days(days: Counter[date]) -> None:
    waiting = [Days()]
    single: list[date] = []
    for _ in range(100):
        if not waiting:
            break
        whole = waiting.pop()
        listed = Counter({day: count for day, count in days.items() if whole.has(day)})
        parts = whole.parts(listed)
        if parts:
            assert all(sum(part.has(day) for part in parts) == 1 for day in listed)
        elif listed:
            single += listed
        waiting += parts
    assert waiting == []
    assert sorted(single) == sorted(days)


@pytest.mark.parametrize(
    ("days", "text"),
    [
        (Days(), "-"),
        (Days(FIRST, None), "20200101-"),
        (Days(None, FIRST), "-20200101"),
        (Days(FIRST, FIRST), "20200101-20200101"),
    ],
)
def test_a_range_is_written_as_the_standard_has_it(days: Days, text: str) -> None:
    assert str(days) == text
