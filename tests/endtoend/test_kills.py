"""kill -9 at random instants: no wrong file is ever visible, and few instances are downloaded twice. The short form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.kills import torture


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("transport", "workers"), [("single", 1), ("zip", 1), ("single", 2)])
def test_after_every_kill_visible_files_are_correct_and_the_last_run_completes_the_mirror(
    tmp_path: Path, transport: str, workers: int
) -> None:
    found = torture(
        tmp_path, kills=6, instances_wanted=400, concurrency=4, transport=transport, workers=workers, seed=20_200_102
    )
    assert found.wrong == ()
    assert found.object_requests <= found.allowed
