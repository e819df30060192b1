"""The states of an instance, and the outcomes that lead to them."""

from __future__ import annotations

import pytest

from bulkdl.model.ids import SeriesUid
from bulkdl.model.outcomes import STATE_AFTER, InstanceState, Outcome, SeriesWork
from bulkdl.model.records import Entry


def test_every_outcome_leads_to_a_state() -> None:
    assert set(STATE_AFTER) == set(Outcome)


def test_no_outcome_leaves_an_instance_owed_or_withdrawn() -> None:
    assert not {InstanceState.OWED, InstanceState.WITHDRAWN} & set(STATE_AFTER.values())


@pytest.mark.parametrize(
    ("sizes", "of_series", "images", "mean"),
    [
        ([10, 20], 1000, 2, 15),
        ([None, None], 1000, 4, 250),
        ([None, None], 1000, None, 500),
        ([None, None], None, 4, 0),
    ],
    ids=["listed", "a part of the series", "a series of unknown length", "unknown"],
)
def test_the_mean_of_instances_is_that_of_the_list_or_of_the_series(
    sizes: list[int | None], of_series: int | None, images: int | None, mean: float
) -> None:
    work = SeriesWork(
        series_uid=SeriesUid("1.2"),
        study_uid=None,
        folder="folder",
        entries=tuple(Entry(str(number), size_bytes=size) for number, size in enumerate(sizes)),
        names=(None,) * len(sizes),
        image_count=images,
        size_bytes=of_series,
    )
    assert work.mean_bytes == mean
