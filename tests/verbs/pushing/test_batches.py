"""How instances are grouped into requests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bulkdl.journal.rows import HeldInstance
from bulkdl.model.ids import SeriesUid, SopInstanceUid, StudyUid
from bulkdl.model.records import Entry
from bulkdl.verbs.pushing.batches import BatchLimits, batches_of
from bulkdl.verbs.pushing.sent_files import PushItem


def item(study: str, size_bytes: int) -> PushItem:
    uid = SopInstanceUid("1.2.3")
    held = HeldInstance(1, SeriesUid("1.2"), uid, "1.dcm", size_bytes, None, None, 0, None, Entry(uid, uid))
    return PushItem(held, StudyUid(study))


async def grouped(limits: BatchLimits, *items: tuple[str, int]) -> list[list[int]]:
    async def given() -> AsyncIterator[PushItem]:
        for study, size_bytes in items:
            yield item(study, size_bytes)

    return [[each.held.size_bytes for each in batch] async for batch in batches_of(given(), limits)]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([("1", 4), ("1", 4), ("1", 4)], [[4, 4], [4]]),
        ([("1", 1)] * 5, [[1, 1, 1], [1, 1]]),
        ([("1", 1), ("2", 1), ("1", 1)], [[1], [1], [1]]),
        ([("1", 1), ("1", 99), ("1", 1)], [[1], [99], [1]]),
    ],
    ids=["none", "bytes", "number", "studies", "a large one alone"],
)
async def test_a_request_is_of_one_study_and_within_the_limits(
    items: list[tuple[str, int]], expected: list[list[int]]
) -> None:
    assert await grouped(BatchLimits(most_instances=3, most_bytes=10), *items) == expected


async def test_requests_are_smaller_after_one_that_was_too_large() -> None:
    limits = BatchLimits(most_instances=100, most_bytes=1_000)
    limits.too_large([item("1", 4), item("1", 4)])
    assert await grouped(limits, *[("1", 2)] * 4) == [[2, 2], [2, 2]]
    limits.too_large([item("1", 900)])  # which does not make them larger again
    assert await grouped(limits, *[("1", 2)] * 4) == [[2, 2], [2, 2]]
