"""The last items of a run: all of the work, in ever smaller items."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkdl.fetch.last_items import in_last_items
from bulkdl.model.ids import SeriesUid, SopInstanceUid
from bulkdl.model.outcomes import SeriesWork
from bulkdl.model.records import Entry
from tests.support.journals import listed


def work(instances: int, number: int = 1) -> SeriesWork:
    entries = tuple(listed(SopInstanceUid(f"1.{number}.{one}")) for one in range(instances))
    names = tuple(f"{entry.sop_uid}.dcm" for entry in entries)
    return SeriesWork(
        series_uid=SeriesUid(f"1.{number}"),
        study_uid=None,
        folder="folder",
        entries=entries,
        names=names,
        image_count=instances,
        whole=True,
    )


def sizes(page: list[SeriesWork], workers: int) -> list[int]:
    return [len(item.entries) for item in in_last_items(page, lambda: workers, lambda _: True)]


def test_the_items_become_smaller_towards_the_end() -> None:
    assert sizes([work(30, number) for number in range(2)], 2) == [10, 8, 7, 5, 5, 4, 4, 4, 4, 4, 4, 1]


@pytest.mark.parametrize(
    ("workers", "may_be_split", "page"),
    [(1, True, work(100)), (2, False, work(100)), (2, True, replace(work(100), names=(*work(99).names, None)))],
    ids=["one worker", "a bundle", "a name that is not known"],
)
def test_a_series_may_have_to_stay_whole(workers: int, *, may_be_split: bool, page: SeriesWork) -> None:
    assert list(in_last_items([page], lambda: workers, lambda _: may_be_split)) == [page]


def test_the_largest_series_come_first_as_far_as_sizes_are_known() -> None:
    small, large, unknown = work(3, 1), work(2, 2), work(4, 3)
    sized = [
        replace(small, size_bytes=1500),  # of the whole Series
        unknown,
        replace(large, entries=tuple(replace(entry, size_bytes=1000) for entry in large.entries)),
        work(4, 4),
    ]
    items = in_last_items(sized, lambda: 2, lambda _: False)
    assert [item.series_uid for item in items] == ["1.2", "1.1", "1.3", "1.4"]


def test_a_worker_that_joins_is_counted() -> None:
    workers = 1
    items = in_last_items([work(100, number) for number in range(2)], lambda: workers, lambda _: True)
    assert len(next(items).entries) == 100
    workers = 2
    assert len(next(items).entries) == 16


@given(counts=st.lists(st.integers(1, 120), max_size=6), workers=st.integers(1, 9))
def test_every_instance_is_in_one_item(counts: list[int], workers: int) -> None:
    page = [work(count, number) for number, count in enumerate(counts)]
    items = list(in_last_items(page, lambda: workers, lambda _: True))
    expected: list[Entry] = [entry for each in page for entry in each.entries]
    assert [entry for item in items for entry in item.entries] == expected
    assert all(item.names == tuple(f"{entry.sop_uid}.dcm" for entry in item.entries) for item in items)
    assert all(item.whole == (len(item.entries) == item.image_count) for item in items)
