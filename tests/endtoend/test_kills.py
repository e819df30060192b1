"""kill -9 at random instants: nothing wrong is ever visible, and little is fetched twice. The short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.kills import torture


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("transport", "workers"), [("single", 1), ("zip", 1), ("single", 2)])
def test_after_every_kill_what_is_visible_is_right_and_the_end_is_whole(
    tmp_path: Path, transport: str, workers: int
) -> None:
    found = torture(
        tmp_path, kills=6, instances_wanted=400, concurrency=4, transport=transport, workers=workers, seed=20_200_102
    )
    assert found.wrong == ()
    assert found.object_requests <= found.allowed
