"""Kills inside commits, between renaming and journalling, and in recoveries. The short form of `make torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.torture import torture


@pytest.mark.timeout(180)
def test_whatever_point_a_run_dies_at_nothing_wrong_is_visible_and_the_end_is_whole(tmp_path: Path) -> None:
    found = torture(tmp_path, kills=12, seed=20_200_102)
    assert found.wrong == []
    assert found.object_requests <= found.allowed
