from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from bulkdl.errors import DiskFull
from bulkdl.store.space import Space, check_fits, check_room, measure

if TYPE_CHECKING:
    from pathlib import Path


def test_measures_where_a_mirror_will_be(tmp_path: Path) -> None:
    space = measure(tmp_path / "not" / "there" / "yet")
    assert space.free_bytes == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.5)
    assert space.free_inodes is None or space.free_inodes > 0


def test_exactly_enough_space_is_accepted() -> None:
    check_fits(Space(1000, 10), 1000, 10)
    check_fits(Space(1000, None), 1000, 10**9)


def test_states_how_many_bytes_are_missing() -> None:
    with pytest.raises(DiskFull, match=r"needs 216\.0 GB, 16\.0 GB are free: 200\.0 GB are missing"):
        check_fits(Space(16_000_000_000), 216_000_000_000, 1)


def test_counts_inodes_where_they_are_limited() -> None:
    with pytest.raises(DiskFull, match=r"needs 50,000 files, 12 inodes are free"):
        check_fits(Space(10**12, 12), 1, 50_000)


@pytest.mark.parametrize(
    ("space", "is_enough"),
    [
        (Space(1 << 30), True),
        (Space(1 << 30, 1000), True),
        (Space(1 << 20), False),
        (Space(0), False),
        (Space(1 << 30, 3), False),
        (Space(1 << 30, 0), False),
    ],
)
def test_space_is_kept_for_the_journal_to_end_the_run(space: Space, *, is_enough: bool) -> None:
    if is_enough:
        check_room(space)
    else:
        with pytest.raises(DiskFull, match="resume"):
            check_room(space)
