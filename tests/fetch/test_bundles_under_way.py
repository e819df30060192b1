from __future__ import annotations

import pytest

from bulkdl.fetch.bundles_under_way import BundlesUnderWay


@pytest.mark.parametrize(
    ("instances", "is_busy", "most"),
    [(1, False, 16), (250, False, 16), (1_000, False, 4), (5_000, False, 4), (800, False, 5), (1, True, 2)],
)
def test_as_many_bundles_are_under_way_as_fit_into_memory(instances: int, most: int, *, is_busy: bool) -> None:
    under_way, begun = BundlesUnderWay(), 0
    while under_way.has_room(is_busy=is_busy):
        under_way.begin(instances)
        begun += 1
    assert begun == most


def test_a_bundle_that_failed_makes_room_as_well() -> None:
    under_way = BundlesUnderWay()
    for _ in range(4):
        under_way.begin(2_000)
    with pytest.raises(OSError, match="cut"), under_way.ends(2_000):
        raise OSError("cut")
    assert under_way.has_room(is_busy=False)
