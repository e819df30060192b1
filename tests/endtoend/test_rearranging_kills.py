"""relayout, merge, sync and prune are killed, and the next run ends them. The short form of `make torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.rearranging import VERBS, torture


@pytest.mark.parametrize("verb", VERBS)
async def test_wherever_it_is_killed_the_next_run_ends_it_and_no_file_is_lost_or_doubled(
    tmp_path: Path, verb: str
) -> None:
    found = await torture(tmp_path, verb, kills=3, seed=20_200_103)
    assert found.wrong == []
    assert found.kills == 3
