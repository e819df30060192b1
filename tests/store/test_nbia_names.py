"""The names that the NBIA Data Retriever gives to images: its rules, and that no two are the same."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkdl.model.ids import parse_sop_uid
from bulkdl.store.layout import InstanceNumbers
from bulkdl.store.nbia_names import image_names

Numbers = list[tuple[int | None, int | None]]


def images(numbers: Numbers) -> list[InstanceNumbers]:
    """Images by (Acquisition Number, Instance Number), with UIDs in their order."""
    return [
        InstanceNumbers(parse_sop_uid(f"1.{at + 100}"), None, number, acquisition)
        for at, (acquisition, number) in enumerate(numbers)
    ]


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        ([], []),
        ([(1, 7)], ["1-1"]),
        ([(1, 3), (1, 1), (1, 2)], ["1-3", "1-1", "1-2"]),
        ([(1, number) for number in range(1, 11)], [f"1-{number:02}" for number in range(1, 11)]),
        ([(1, 1), (1, 2), (2, 3), (2, 4)], ["1-1", "1-2", "2-1", "2-2"]),
        ([(5, 1), (3, 2), (5, 3)], ["1-1", "2-1", "3-1"]),  # every change counts, also back to a known one
        ([(at, at) for at in range(1, 11)], [f"{at:02}-01" for at in range(1, 11)]),
        ([(None, None), (None, None)], ["1-1", "1-2"]),
        ([(1, 1), (1, None)], ["1-2", "1-1"]),
        ([(1, 5)] * 11, [f"1-{at}" for at in range(1, 12)]),  # the width is that of the different numbers
        ([(None, 1), (0, 2)], ["1-1", "1-2"]),  # a missing number is 0 at first
        ([(2, 1), (None, 2), (None, 3)], ["1-1", "2-1", "3-1"]),  # and differs from the next missing one later
    ],
    ids=str,
)
def test_counts_as_the_server_does(numbers: Numbers, names: list[str]) -> None:
    assert image_names(images(numbers)) == names


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.none() | st.integers(0, 3), st.none() | st.integers(0, 9)), max_size=30),
    st.randoms(use_true_random=False),
)
def test_no_two_are_the_same_and_the_order_given_does_not_matter(numbers: Numbers, random: object) -> None:
    named = dict(zip(images(numbers), image_names(images(numbers)), strict=True))
    assert len(set(named.values())) == len(numbers)
    shuffled = sorted(named, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert image_names(shuffled) == [named[each] for each in shuffled]
