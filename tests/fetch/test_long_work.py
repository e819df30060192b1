from __future__ import annotations

from contextlib import ExitStack

import pytest

from bulkdl.fetch.long_work import LongWork


@pytest.mark.parametrize(
    ("instances", "is_busy", "is_far", "most"),
    [
        *[(1, False, False, 16), (250, False, False, 16), (1_000, False, False, 4), (5_000, False, True, 4)],
        *[(800, False, False, 5), (1, True, False, 2), (1, True, True, 16)],
    ],
)
@pytest.mark.parametrize("is_alone", [False, True])
def test_as_many_bundles_are_under_way_as_fit_into_memory(
    instances: int, most: int, *, is_busy: bool, is_far: bool, is_alone: bool
) -> None:
    work, begun = LongWork(), 0
    with ExitStack() as stack:
        while work.has_room(is_busy=is_busy, is_far=is_far, is_alone=is_alone):
            stack.enter_context(work.bundle(instances))
            begun += 1
    assert begun == most


@pytest.mark.parametrize(
    ("is_busy", "is_alone", "may_begin"), [(True, False, False), (True, True, True), (False, False, True)]
)
@pytest.mark.parametrize("is_far", [False, True])
def test_a_busy_worker_leaves_large_instances_to_others(
    *, is_busy: bool, is_far: bool, is_alone: bool, may_begin: bool
) -> None:
    work = LongWork()
    with work.large(), work.large():
        assert work.has_room(is_busy=is_busy, is_far=is_far, is_alone=is_alone) is may_begin
    assert work.has_room(is_busy=is_busy, is_far=is_far, is_alone=is_alone)


def test_a_bundle_and_a_large_instance_are_enough_for_a_busy_worker() -> None:
    work = LongWork()
    with work.large(), work.bundle(100):
        assert not work.has_room(is_busy=True, is_far=False, is_alone=False)


def test_a_bundle_that_failed_makes_room_as_well() -> None:
    work = LongWork()
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(work.bundle(2_000))
        with pytest.raises(OSError, match="cut"), work.bundle(2_000):
            raise OSError("cut")
        assert work.has_room(is_busy=False, is_far=False, is_alone=False)
